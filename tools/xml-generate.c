/*
 * Command line and properties of groups, as libvirt hands them to QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "json.h"
#include "tool.h"
#include "xml.h"

#define NS P2P_DOMAIN_NAMESPACE
#define QEMU XML_QEMU_NAMESPACE

/* Of what -object takes */
#define MAX_DEPTH 32

/* --- Group objects ------------------------------------------------------- */

/* -object and its value, two <qemu:arg> */
typedef struct ObjectArgs {
    xmlNode *option, *value;
    char *text;
} ObjectArgs;

static void object_args_free(void *opaque)
{
    ObjectArgs *args = opaque;

    g_free(args->text);
    g_free(args);
}

/* qom-type and id of "p2p-group,id=g0,policy=require"; both to be freed. */
static void read_keys(const char *text, char **type, char **id)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    const char *last_type = NULL;
    const char *last_id = NULL;

    for (unsigned i = 0; words[i]; i++) {
        const char *value = strchr(words[i], '=');

        if (!value && i == 0) {
            last_type = words[i];
        } else if (g_str_has_prefix(words[i], "qom-type=")) {
            last_type = value + 1;
        } else if (g_str_has_prefix(words[i], "id=")) {
            last_id = value + 1;
        }
    }
    *type = g_strdup(last_type);
    *id = g_strdup(last_id);
}

static char *dup_string(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && json_node_get_value_type(node) == G_TYPE_STRING
           ? json_node_dup_string(node) : NULL;
}

/*
 * The same of {"qom-type": "p2p-group", "id": "g0"}.  QEMU takes JSON that we
 * do not, with 'quotes': false, if that may be of a group.
 */
static bool read_json(const xmlNode *arg, const char *text, char **type,
                      char **id, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(JsonNode) node = tool_json_parse(text, strlen(text), MAX_DEPTH,
                                               &cause);

    if (node) {
        *type = dup_string(json_node_get_object(node), "qom-type");
        *id = dup_string(json_node_get_object(node), "id");
    } else if (strstr(text, "p2p-group")) {
        xml_error(error, arg, "-object %.80s: this is %s, so that its group "
                  "cannot be told; write it as p2p-group,id=NAME", text,
                  cause->message);
        return false;
    }
    return true;
}

static bool is_ours(const XmlMetadata *metadata, const char *id)
{
    for (guint i = 0; i < metadata->objects->len; i++) {
        if (strcmp(metadata->objects->pdata[i], id) == 0) {
            return true;
        }
    }
    for (guint i = 0; i < metadata->groups->len; i++) {
        const XmlGroup *group = metadata->groups->pdata[i];

        if (strcmp(group->name, id) == 0) {
            return true;
        }
    }
    return false;
}

static bool find_object(const XmlMetadata *metadata, xmlNode *option,
                        GPtrArray *found, GError **error)
{
    xmlNode *value = xml_next(option, QEMU, "arg");
    g_autofree char *text = xml_attribute(value, "value");
    g_autofree char *type = NULL;
    g_autofree char *id = NULL;
    ObjectArgs *args;

    if (!text || (!xml_attribute_is(option, "value", "-object") &&
                  !xml_attribute_is(option, "value", "--object"))) {
        return true;
    }
    if (text[0] != '{') {
        read_keys(text, &type, &id);
    } else if (!read_json(value, text, &type, &id, error)) {
        return false;
    }
    if (g_strcmp0(type, "p2p-group") == 0 && id && is_ours(metadata, id)) {
        args = g_new0(ObjectArgs, 1);
        *args = (ObjectArgs) { option, value, g_steal_pointer(&text) };
        g_ptr_array_add(found, args);
    }
    return true;
}

static GPtrArray *find_objects(XmlDoc *doc, const XmlMetadata *metadata,
                               GError **error)
{
    g_autoptr(GPtrArray) found =
        g_ptr_array_new_with_free_func(object_args_free);

    for (xmlNode *line = xml_child(xmlDocGetRootElement(doc), QEMU,
                                   "commandline");
         line; line = xml_next(line, QEMU, "commandline")) {
        for (xmlNode *n = xml_child(line, QEMU, "arg"); n;
             n = xml_next(n, QEMU, "arg")) {
            if (!find_object(metadata, n, found, error)) {
                return NULL;
            }
        }
    }
    return g_steal_pointer(&found);
}

static xmlNode *need_child(XmlDoc *doc, const char *name)
{
    xmlNode *root = xmlDocGetRootElement(doc);

    return xml_child(root, QEMU, name)
           ?: xml_append(root, xml_declare(doc, "qemu", QEMU), name);
}

/* At the place of the old ones (@before), else at the end. */
static void add_arg(XmlDoc *doc, xmlNode *before, const char *value)
{
    xmlNs *ns = xml_declare(doc, "qemu", QEMU);
    xmlNode *arg = before ? xml_insert_before(before, ns, "arg")
                          : xml_append(need_child(doc, "commandline"), ns,
                                       "arg");

    xmlSetProp(arg, BAD_CAST "value", BAD_CAST value);
}

/* Without a child left, a node of ours has no use. */
static void remove_if_empty(xmlNode *node)
{
    for (xmlNode *n = node->children; n; n = n->next) {
        if (n->type != XML_TEXT_NODE || !xmlIsBlankNode(n)) {
            return;
        }
    }
    xml_remove(node);
}

static void remove_objects(GPtrArray *found)
{
    for (guint i = 0; i < found->len; i++) {
        const ObjectArgs *args = found->pdata[i];
        xmlNode *line = args->option->parent;

        xml_remove(args->option);
        xml_remove(args->value);
        remove_if_empty(line);
    }
}

static char *object_text(const XmlGroup *group)
{
    GString *text = g_string_new("p2p-group,id=");

    g_string_append(text, group->name);
    if (group->policy) {
        g_string_append_printf(text, ",policy=%s", group->policy);
    }
    if (group->bus_address) {
        g_string_append_printf(text, ",bus-address=%s", group->bus_address);
    }
    return g_string_free(text, FALSE);
}

/* In the order of the groups: what is there, then, must be just that. */
static bool same_objects(const GPtrArray *found, char **wanted)
{
    guint n = g_strv_length(wanted);
    bool same = found->len == n;

    for (guint i = 0; same && i < n; i++) {
        const ObjectArgs *args = found->pdata[i];

        same = strcmp(args->text, wanted[i]) == 0;
    }
    return same;
}

static void tell_objects(const GPtrArray *found, char **wanted,
                         GPtrArray *changes)
{
    guint before = changes->len;

    for (guint i = 0; i < found->len; i++) {
        const ObjectArgs *args = found->pdata[i];

        if (!g_strv_contains((const char *const *)wanted, args->text)) {
            xml_changed(changes, "the command line has -object %s, which the "
                        "metadata do not ask for", args->text);
        }
    }
    for (guint i = 0; wanted[i]; i++) {
        guint n = 0;

        for (guint j = 0; j < found->len; j++) {
            const ObjectArgs *args = found->pdata[j];

            n += strcmp(args->text, wanted[i]) == 0;
        }
        if (n == 0) {
            xml_changed(changes, "the command line lacks -object %s",
                        wanted[i]);
        }
    }
    if (changes->len == before) {
        xml_changed(changes, "the command line has group objects twice, or in "
                    "another order");
    }
}

static bool generate_objects(XmlDoc *doc, const XmlMetadata *metadata,
                             GPtrArray *changes, GError **error)
{
    g_autoptr(GPtrArray) found = find_objects(doc, metadata, error);
    g_auto(GStrv) wanted = g_new0(char *, metadata->groups->len + 1);
    const ObjectArgs *first;

    if (!found) {
        return false;
    }
    for (guint i = 0; i < metadata->groups->len; i++) {
        wanted[i] = object_text(metadata->groups->pdata[i]);
    }
    if (same_objects(found, wanted)) {
        return true;
    }
    tell_objects(found, wanted, changes);
    first = found->len ? found->pdata[0] : NULL;
    for (guint i = 0; wanted[i]; i++) {
        add_arg(doc, first ? first->option : NULL, "-object");
        add_arg(doc, first ? first->option : NULL, wanted[i]);
    }
    remove_objects(found);
    return true;
}

/* --- Properties of members ----------------------------------------------- */

typedef struct Property {
    const char *name;
    const char *type;
    const char *value;      /* NULL: not wanted */
} Property;

#define PROPERTIES 3

static const char *const property_names[PROPERTIES] = {
    "p2p-group", "p2p-share", "p2p-initiate",
};

static void list_properties(const XmlMember *member, Property *properties)
{
    properties[0] = (Property) { property_names[0], "string", member->group };
    properties[1] = (Property) { property_names[1], "string", member->share };
    properties[2] = (Property) { property_names[2], "bool",
        member->initiate < 0 ? NULL : member->initiate ? "true" : "false" };
}

static xmlNode *find_override(XmlDoc *doc, const char *alias)
{
    for (xmlNode *override = xml_child(xmlDocGetRootElement(doc), QEMU,
                                       "override");
         override; override = xml_next(override, QEMU, "override")) {
        for (xmlNode *n = xml_child(override, QEMU, "device"); n;
             n = xml_next(n, QEMU, "device")) {
            if (xml_attribute_is(n, "alias", alias)) {
                return n;
            }
        }
    }
    return NULL;
}

static xmlNode *need_frontend(XmlDoc *doc, const char *alias)
{
    xmlNode *device = find_override(doc, alias);

    if (!device) {
        device = xml_append(need_child(doc, "override"),
                            xml_declare(doc, "qemu", QEMU), "device");
        xmlSetProp(device, BAD_CAST "alias", BAD_CAST alias);
    }
    return xml_child(device, QEMU, "frontend")
           ?: xml_append(device, xml_declare(doc, "qemu", QEMU), "frontend");
}

static xmlNode *next_property(xmlNode *node, const char *name)
{
    while (node && !xml_attribute_is(node, "name", name)) {
        node = xml_next(node, QEMU, "property");
    }
    return node;
}

static xmlNode *first_property(xmlNode *frontend, const char *name)
{
    return next_property(xml_child(frontend, QEMU, "property"), name);
}

static bool property_is(xmlNode *frontend, const Property *property)
{
    xmlNode *node = first_property(frontend, property->name);

    if (!node || !property->value) {
        return !node && !property->value;
    }
    return xml_attribute_is(node, "type", property->type) &&
           xml_attribute_is(node, "value", property->value) &&
           !next_property(xml_next(node, QEMU, "property"), property->name);
}

static bool remove_properties(xmlNode *frontend, const char *name)
{
    bool any = false;
    xmlNode *node;

    while ((node = first_property(frontend, name))) {
        xml_remove(node);
        any = true;
    }
    return any;
}

static void set_property(XmlDoc *doc, const XmlMember *member,
                         const Property *property)
{
    xmlNode *node = xml_append(need_frontend(doc, member->alias),
                               xml_declare(doc, "qemu", QEMU), "property");

    xmlSetProp(node, BAD_CAST "name", BAD_CAST property->name);
    xmlSetProp(node, BAD_CAST "type", BAD_CAST property->type);
    xmlSetProp(node, BAD_CAST "value", BAD_CAST property->value);
}

static void generate_properties(XmlDoc *doc, const XmlMember *member,
                                GPtrArray *changes)
{
    Property properties[PROPERTIES];

    list_properties(member, properties);
    for (unsigned i = 0; i < PROPERTIES; i++) {
        const Property *property = &properties[i];
        xmlNode *frontend = xml_child(find_override(doc, member->alias), QEMU,
                                      "frontend");

        if (property_is(frontend, property)) {
            continue;
        }
        remove_properties(frontend, property->name);
        if (property->value) {
            set_property(doc, member, property);
            xml_changed(changes, "%s lacks %s=%s", member->alias,
                        property->name, property->value);
        } else {
            xml_changed(changes, "%s has %s, which the metadata do not ask "
                        "for", member->alias, property->name);
        }
    }
}

static void drop_properties(XmlDoc *doc, const char *alias, GPtrArray *changes)
{
    xmlNode *device = find_override(doc, alias);
    xmlNode *frontend = xml_child(device, QEMU, "frontend");
    xmlNode *override;
    bool any = false;

    for (unsigned i = 0; i < PROPERTIES; i++) {
        any |= remove_properties(frontend, property_names[i]);
    }
    if (any) {
        xml_changed(changes, "%s is no member, by the metadata, and has "
                    "properties of one", alias);
        override = device->parent;
        remove_if_empty(frontend);
        remove_if_empty(device);
        remove_if_empty(override);
    }
}

static void drop_leavers(XmlDoc *doc, const XmlMetadata *metadata, bool all,
                         GPtrArray *changes)
{
    for (guint i = 0; i < metadata->records->len; i++) {
        const XmlRecord *record = metadata->records->pdata[i];

        if (all || !xml_is_member(metadata, record->alias)) {
            drop_properties(doc, record->alias, changes);
        }
    }
}

/* Whether @device is given to one of the metadata's groups. */
static bool joins_ours(const XmlMetadata *metadata, xmlNode *device)
{
    xmlNode *node = first_property(xml_child(device, QEMU, "frontend"),
                                   property_names[0]);
    xmlChar *group = node ? xmlGetNoNsProp(node, BAD_CAST "value") : NULL;
    bool joins = group && is_ours(metadata, (const char *)group);

    xmlFree(group);
    return joins;
}

/* Devices that join a group of the metadata, which do not name them. */
static void drop_strangers(XmlDoc *doc, const XmlMetadata *metadata,
                           GPtrArray *changes)
{
    g_autoptr(GPtrArray) aliases = g_ptr_array_new_with_free_func(g_free);

    for (xmlNode *override = xml_child(xmlDocGetRootElement(doc), QEMU,
                                       "override");
         override; override = xml_next(override, QEMU, "override")) {
        for (xmlNode *n = xml_child(override, QEMU, "device"); n;
             n = xml_next(n, QEMU, "device")) {
            xmlChar *alias = xmlGetNoNsProp(n, BAD_CAST "alias");

            if (alias && joins_ours(metadata, n) &&
                !xml_is_member(metadata, (const char *)alias)) {
                g_ptr_array_add(aliases, g_strdup((const char *)alias));
            }
            xmlFree(alias);
        }
    }
    for (guint i = 0; i < aliases->len; i++) {
        drop_properties(doc, aliases->pdata[i], changes);
    }
}

/* --- What was generated -------------------------------------------------- */

static bool same_record(const XmlMetadata *metadata)
{
    bool same = metadata->objects->len == metadata->groups->len &&
                metadata->records->len == metadata->members->len;

    for (guint i = 0; same && i < metadata->groups->len; i++) {
        const XmlGroup *group = metadata->groups->pdata[i];

        same = strcmp(group->name, metadata->objects->pdata[i]) == 0;
    }
    for (guint i = 0; same && i < metadata->members->len; i++) {
        const XmlMember *member = metadata->members->pdata[i];
        const XmlRecord *record = metadata->records->pdata[i];

        same = strcmp(member->alias, record->alias) == 0 &&
               member->port == record->port;
    }
    return same;
}

static void write_record(const XmlMetadata *metadata)
{
    xmlNode *generated;

    if (metadata->groups->len == 0) {
        return;
    }
    generated = xml_append(metadata->node, metadata->node->ns, "generated");
    for (guint i = 0; i < metadata->groups->len; i++) {
        const XmlGroup *group = metadata->groups->pdata[i];
        xmlNode *node = xml_append(generated, metadata->node->ns, "object");

        xmlSetProp(node, BAD_CAST "id", BAD_CAST group->name);
    }
    for (guint i = 0; i < metadata->members->len; i++) {
        const XmlMember *member = metadata->members->pdata[i];
        xmlNode *node = xml_append(generated, metadata->node->ns, "device");

        xmlSetProp(node, BAD_CAST "alias", BAD_CAST member->alias);
        if (member->port >= 0) {
            g_autofree char *port = g_strdup_printf("%d", member->port);

            xmlSetProp(node, BAD_CAST "port", BAD_CAST port);
        }
    }
}

static void generate_record(XmlMetadata *metadata, GPtrArray *changes)
{
    xmlNode *generated = xml_child(metadata->node, NS, "generated");

    if (same_record(metadata)) {
        return;
    }
    if (generated) {
        xml_remove(generated);
    }
    write_record(metadata);
    xml_changed(changes, "the metadata's list of what was generated is not up "
                "to date");
}

/* --- All of it ----------------------------------------------------------- */

bool xml_generate(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
                  GError **error)
{
    if (!xml_find_devices(doc, metadata, error)) {
        return false;
    }
    xml_unplace(doc, metadata, false, changes);
    if (!xml_place(doc, metadata, changes, error) ||
        !generate_objects(doc, metadata, changes, error)) {
        return false;
    }
    drop_leavers(doc, metadata, false, changes);
    drop_strangers(doc, metadata, changes);
    for (guint i = 0; i < metadata->members->len; i++) {
        generate_properties(doc, metadata->members->pdata[i], changes);
    }
    generate_record(metadata, changes);
    return true;
}

bool xml_ungenerate(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
                    GError **error)
{
    g_autoptr(GPtrArray) found = find_objects(doc, metadata, error);
    xmlNode *parent = metadata->node->parent;

    if (!found) {
        return false;
    }
    remove_objects(found);
    drop_leavers(doc, metadata, true, changes);
    xml_unplace(doc, metadata, true, changes);
    xml_remove(metadata->node);
    remove_if_empty(parent);
    return true;
}
