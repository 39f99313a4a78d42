/*
 * The devices of groups, and their places on the guest's PCI buses
 *
 * A plan (qemu-p2p plan --format libvirt) comes with all addresses, switches
 * and host bridges.  What has no address here gets a root port of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "xml.h"

/* Buses of a PCI segment; libvirt counts pcie-root as the first. */
#define MAX_BUS 255

static xmlNode *devices_of(XmlDoc *doc)
{
    return xml_child(xmlDocGetRootElement(doc), NULL, "devices");
}

/* --- Which devices can be members ---------------------------------------- */

static bool is_virtio(const xmlNode *device)
{
    g_autofree char *model = xml_attribute(device, "model");
    xmlNode *inner = xml_child(device, NULL, "model");
    g_autofree char *inner_model = xml_attribute(inner, "type");

    if (xml_is(device, NULL, "disk") ||
        (xml_is(device, NULL, "controller") &&
         xml_attribute_is(device, "type", "virtio-serial"))) {
        return true;
    }
    return g_str_has_prefix(model ?: inner_model ?: "", "virtio");
}

static bool check_kind(const XmlMember *member, GError **error)
{
    const xmlNode *device = member->device;
    g_autofree char *type = xml_attribute(device, "type");
    g_autofree char *bus = xml_attribute(xml_child(device, NULL, "target"),
                                         "bus");
    g_autofree char *address = xml_attribute(xml_child(device, NULL,
                                                       "address"), "type");

    if (xml_is(device, NULL, "controller") && g_strcmp0(type, "pci") == 0) {
        xml_error(error, device, "%s is a bus; members are devices",
                  member->alias);
    } else if (xml_is(device, NULL, "hostdev") &&
               g_strcmp0(type, "pci") != 0) {
        xml_error(error, device, "%s is a hostdev of type '%s'; only type "
                  "'pci' can be in a group", member->alias, type ?: "none");
    } else if (xml_is(device, NULL, "disk") &&
               g_strcmp0(bus, "virtio") != 0) {
        xml_error(error, device, "%s is a disk on a bus '%s', not a PCI "
                  "device; give its <controller type='%s'> an alias, and name "
                  "that", member->alias, bus ?: "none", bus ?: "...");
    } else if (address && strcmp(address, "pci") != 0) {
        xml_error(error, device, "%s has an address of type '%s'; only PCI "
                  "devices can be in a group", member->alias, address);
    } else {
        return true;
    }
    return false;
}

static bool check_device(const XmlMember *member, GError **error)
{
    const xmlNode *driver = xml_child(member->device, NULL, "driver");

    if (!check_kind(member, error)) {
        return false;
    }
    if (is_virtio(member->device) && !xml_attribute_is(driver, "iommu", "on")) {
        xml_error(error, member->device, "%s is a virtio device without "
                  "iommu='on' in its <driver>: it would reach memory past its "
                  "group, and QEMU refuses that; add it", member->alias);
        return false;
    }
    return true;
}

/* Devices by alias; one that two have is in @twice. */
static GHashTable *list_aliases(XmlDoc *doc, GHashTable *twice)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                              NULL);

    for (xmlNode *n = xml_child(devices_of(doc), NULL, NULL); n;
         n = xml_next(n, NULL, NULL)) {
        char *alias = xml_attribute(xml_child(n, NULL, "alias"), "name");

        if (!alias) {
            continue;
        }
        if (g_hash_table_contains(table, alias)) {
            g_hash_table_insert(twice, g_strdup(alias), n);
        }
        g_hash_table_insert(table, alias, n);
    }
    return table;
}

bool xml_find_devices(XmlDoc *doc, XmlMetadata *metadata, GError **error)
{
    g_autoptr(GHashTable) twice = g_hash_table_new_full(g_str_hash,
                                                        g_str_equal, g_free,
                                                        NULL);
    g_autoptr(GHashTable) devices = list_aliases(doc, twice);

    for (guint i = 0; i < metadata->members->len; i++) {
        XmlMember *member = metadata->members->pdata[i];
        const xmlNode *other = g_hash_table_lookup(twice, member->alias);

        member->device = g_hash_table_lookup(devices, member->alias);
        if (!member->device) {
            xml_error(error, member->node, "the domain has no device with "
                      "<alias name='%s'/>; add it to the device that is meant",
                      member->alias);
            return false;
        }
        if (other) {
            xml_error(error, other, "the alias %s has been given twice",
                      member->alias);
            return false;
        }
        if (!check_device(member, error)) {
            return false;
        }
    }
    return true;
}

/* --- Buses --------------------------------------------------------------- */

static bool is_pci_controller(const xmlNode *node, const char *model)
{
    return xml_is(node, NULL, "controller") &&
           xml_attribute_is(node, "type", "pci") &&
           (!model || xml_attribute_is(node, "model", model));
}

/* The bus that a device is on, or -1: it has no place yet. */
static int bus_of(const xmlNode *device)
{
    const xmlNode *address = xml_child(device, NULL, "address");

    return address && xml_attribute_is(address, "type", "pci")
           ? xml_attribute_number(address, "bus") : -1;
}

/* Whether @name of @node is a PCI bus, if it is there. */
static bool check_bus(const xmlNode *node, const char *name, GError **error)
{
    g_autofree char *text = xml_attribute(node, name);
    int number = xml_attribute_number(node, name);

    if (text && (number < 0 || number > MAX_BUS)) {
        xml_error(error, node, "%s='%.80s' is not a PCI bus; there are 0 to "
                  "%d", name, text, MAX_BUS);
        return false;
    }
    return true;
}

static bool check_buses(XmlDoc *doc, GError **error)
{
    for (xmlNode *n = xml_child(devices_of(doc), NULL, NULL); n;
         n = xml_next(n, NULL, NULL)) {
        const xmlNode *address = xml_child(n, NULL, "address");

        if (is_pci_controller(n, NULL) && !check_bus(n, "index", error)) {
            return false;
        }
        if (address && xml_attribute_is(address, "type", "pci") &&
            !check_bus(address, "bus", error)) {
            return false;
        }
    }
    return true;
}

/* Whether the machine is PCI Express: it has pcie-root, to which ports go. */
static bool has_root_ports(XmlDoc *doc)
{
    xmlNode *os = xml_child(xmlDocGetRootElement(doc), NULL, "os");
    g_autofree char *machine = xml_attribute(xml_child(os, NULL, "type"),
                                             "machine");

    if (machine && (strstr(machine, "q35") ||
                    g_str_has_prefix(machine, "virt"))) {
        return true;
    }
    for (xmlNode *n = xml_child(devices_of(doc), NULL, "controller"); n;
         n = xml_next(n, NULL, "controller")) {
        if (is_pci_controller(n, "pcie-root")) {
            return true;
        }
    }
    return false;
}

/*
 * Above all that are named: a number below may be what libvirt makes.  To be
 * called after check_buses().
 */
static int unused_bus(XmlDoc *doc)
{
    int last = 0;

    for (xmlNode *n = xml_child(devices_of(doc), NULL, NULL); n;
         n = xml_next(n, NULL, NULL)) {
        last = MAX(last, bus_of(n));
        if (is_pci_controller(n, NULL)) {
            last = MAX(last, xml_attribute_number(n, "index"));
        }
    }
    return last + 1;
}

static xmlNode *last_pci_controller(XmlDoc *doc)
{
    xmlNode *last = NULL;

    for (xmlNode *n = xml_child(devices_of(doc), NULL, "controller"); n;
         n = xml_next(n, NULL, "controller")) {
        last = is_pci_controller(n, NULL) ? n : last;
    }
    return last;
}

/* --- Placing ------------------------------------------------------------- */

static void set_number(xmlNode *node, const char *name, const char *format,
                       int number)
{
    g_autofree char *text = g_strdup_printf(format, number);

    xmlSetProp(node, BAD_CAST name, BAD_CAST text);
}

static void add_port(XmlDoc *doc, int bus, xmlNode *device)
{
    xmlNode *last = last_pci_controller(doc);
    xmlNode *next = last ? xml_next(last, NULL, NULL) : device;
    xmlNode *port = next ? xml_insert_before(next, NULL, "controller")
                         : xml_append(devices_of(doc), NULL, "controller");

    xmlSetProp(port, BAD_CAST "type", BAD_CAST "pci");
    set_number(port, "index", "%d", bus);
    xmlSetProp(port, BAD_CAST "model", BAD_CAST "pcie-root-port");
}

static void set_address(xmlNode *device, int bus)
{
    /* <address type='pci'/> asks libvirt for any. */
    xmlNode *address = xml_child(device, NULL, "address")
                       ?: xml_append(device, NULL, "address");

    xmlSetProp(address, BAD_CAST "type", BAD_CAST "pci");
    xmlSetProp(address, BAD_CAST "domain", BAD_CAST "0x0000");
    set_number(address, "bus", "0x%02x", bus);
    xmlSetProp(address, BAD_CAST "slot", BAD_CAST "0x00");
    xmlSetProp(address, BAD_CAST "function", BAD_CAST "0x0");
}

bool xml_place(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
               GError **error)
{
    bool can = has_root_ports(doc);

    if (!check_buses(doc, error)) {
        return false;
    }
    for (guint i = 0; i < metadata->members->len; i++) {
        XmlMember *member = metadata->members->pdata[i];
        int bus = bus_of(member->device);

        if (bus < 0 && can) {
            bus = unused_bus(doc);
            if (bus > MAX_BUS) {
                xml_error(error, member->device, "%s: no PCI bus is left for "
                          "its root port; give it an <address>",
                          member->alias);
                return false;
            }
            add_port(doc, bus, member->device);
            set_address(member->device, bus);
            member->port = bus;
            xml_changed(changes, "%s has no PCI address; a root port of its "
                        "own, bus %d, is for it", member->alias, bus);
        }
        if (member->port != bus) {
            member->port = -1;      /* The user has moved it. */
        }
    }
    return true;
}

/* --- Taking away --------------------------------------------------------- */

/* The root port @bus, unless something is on it; else NULL. */
static xmlNode *empty_port(XmlDoc *doc, int bus)
{
    xmlNode *port = NULL;

    for (xmlNode *n = xml_child(devices_of(doc), NULL, NULL); n;
         n = xml_next(n, NULL, NULL)) {
        if (bus_of(n) == bus) {
            return NULL;
        }
        if (is_pci_controller(n, "pcie-root-port") &&
            xml_attribute_number(n, "index") == bus) {
            port = n;
        }
    }
    return port;
}

static void unplace(XmlDoc *doc, const XmlRecord *record, bool leaves,
                    xmlNode *device, GPtrArray *changes)
{
    xmlNode *port;

    if (leaves && device && bus_of(device) == record->port) {
        xml_remove(xml_child(device, NULL, "address"));
        xml_changed(changes, "%s is not a member any more, and has the PCI "
                    "address of one", record->alias);
    }
    port = empty_port(doc, record->port);
    if (port) {
        xml_remove(port);
        xml_changed(changes, "the root port of %s, bus %d, has no use any "
                    "more", record->alias, record->port);
    }
}

void xml_unplace(XmlDoc *doc, XmlMetadata *metadata, bool all,
                 GPtrArray *changes)
{
    g_autoptr(GHashTable) twice = g_hash_table_new_full(g_str_hash,
                                                        g_str_equal, g_free,
                                                        NULL);
    g_autoptr(GHashTable) devices = list_aliases(doc, twice);

    for (guint i = 0; i < metadata->records->len; i++) {
        const XmlRecord *record = metadata->records->pdata[i];
        bool leaves = all || !xml_is_member(metadata, record->alias);

        if (record->port >= 0) {
            unplace(doc, record, leaves,
                    g_hash_table_lookup(devices, record->alias), changes);
        }
    }
}
