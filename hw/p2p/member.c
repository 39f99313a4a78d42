/*
 * Members: PCI functions that belong to a group
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/range.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-core.h"
#include "hw/virtio/virtio.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/* --- Properties -------------------------------------------------------- */

static void p2p_prop_group_get(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    P2PGroup **group = object_field_prop_ptr(obj, opaque);
    g_autofree char *path = NULL;

    path = *group ? object_get_canonical_path(OBJECT(*group)) : g_strdup("");
    visit_type_str(v, name, &path, errp);
}

static void p2p_prop_group_set(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    P2PGroup **group = object_field_prop_ptr(obj, opaque);
    g_autofree char *path = NULL;
    Object *new = NULL;

    if (!visit_type_str(v, name, &path, errp)) {
        return;
    }
    /* Not a way to say "none": who gives an empty name expects a group. */
    new = *path ? object_resolve_path_type(path, TYPE_P2P_GROUP, NULL) : NULL;
    if (!new) {
        error_setg(errp, "%s: p2p-group=%s: there is no p2p-group object of "
                   "that name; create it before the device: -object p2p-group,"
                   "id=NAME, or object-add in a machine that runs",
                   p2p_device_name(PCI_DEVICE(obj)), path);
        return;
    }
    object_ref(new);
    if (*group) {
        object_unref(OBJECT(*group));
    }
    *group = (P2PGroup *)new;
}

static void p2p_prop_group_release(Object *obj, const char *name,
                                   void *opaque)
{
    P2PGroup **group = object_field_prop_ptr(obj, opaque);

    if (*group) {
        object_unref(OBJECT(*group));
        *group = NULL;
    }
}

/*
 * A link, but for its messages: the stock one does not name the property of
 * an object that is not there.
 */
const PropertyInfo p2p_prop_group = {
    .type = "link<" TYPE_P2P_GROUP ">",
    .description = "group whose members may reach each other's shared BARs",
    .get = p2p_prop_group_get,
    .set = p2p_prop_group_set,
    .release = p2p_prop_group_release,
};

/* --- Devices ----------------------------------------------------------- */

const char *p2p_device_name(PCIDevice *dev)
{
    /* The path is not known before the device has a parent, and is kept. */
    if (!dev->qdev.id && !dev->qdev.canonical_path) {
        return dev->name[0] ? dev->name : object_get_typename(OBJECT(dev));
    }
    return dev->qdev.id ?: dev->qdev.canonical_path;
}

/* --- What must not be in a group --------------------------------------- */

bool p2p_device_check_viommu(PCIDevice *dev, Error **errp)
{
    PCIBus *bus = pci_get_bus(dev);

    if (pci_bus_bypass_iommu(bus)) {
        return true;
    }
    while (!bus->iommu_ops && bus->parent_dev) {
        bus = pci_get_bus(bus->parent_dev);
    }
    if (!bus->iommu_ops) {
        return true;
    }
    error_setg(errp, "%s: p2p-group: the guest's own IOMMU translates for bus "
               "%s, which does not go together with the views of a p2p-group"
               "%s; put the device below a host bridge with bypass_iommu=on "
               "(pxb-pcie), or leave the guest's IOMMU out",
               p2p_device_name(dev), BUS(pci_get_bus(dev))->name,
               dev->p2p.group ? "" : ", and in a machine that has one every "
                                     "passthrough device has a view");
    return false;
}

/*
 * vhost looks up RAM by itself, in tables that it makes of the machine's
 * memory: it would reach past the view.
 */
static bool p2p_device_check_vhost(PCIDevice *dev, Error **errp)
{
    Object *backend = object_resolve_path_component(OBJECT(dev),
                                                    "virtio-backend");
    VirtioDeviceClass *vdc;

    if (!backend || !object_dynamic_cast(backend, TYPE_VIRTIO_DEVICE)) {
        return true;
    }
    vdc = VIRTIO_DEVICE_GET_CLASS(backend);
    if (!vdc->get_vhost || !vdc->get_vhost(VIRTIO_DEVICE(backend))) {
        return true;
    }
    error_setg(errp, "%s: p2p-group: the device's data path is vhost, which a "
               "group has no hold on; use a back end in QEMU (vhost=off)",
               p2p_device_name(dev));
    return false;
}

static bool p2p_device_check_virtio(PCIDevice *dev, Error **errp)
{
    if (!object_dynamic_cast(OBJECT(dev), "virtio-pci") ||
        object_property_get_bool(OBJECT(dev), "iommu_platform", NULL)) {
        return true;
    }
    error_setg(errp, "%s: p2p-group: without iommu_platform=on a virtio "
               "device does not use the DMA address space of its PCI "
               "function, a group has no hold on it; add iommu_platform=on, "
               "and disable-legacy=on if it is on a conventional bus",
               p2p_device_name(dev));
    return false;
}

typedef struct P2PGroupSearch {
    PCIDevice *dev;
    AddressSpace *as;
    int iommu_group;
    PCIDevice *other;
} P2PGroupSearch;

static int p2p_find_other_view(Object *obj, void *opaque)
{
    P2PGroupSearch *search = opaque;
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);

    if (dev && dev != search->dev && dev->p2p.as &&
        dev->p2p.as != search->as && p2p_passthrough(dev) &&
        p2p_passthrough_iommu_group(dev) == search->iommu_group) {
        search->other = dev;
        return 1;
    }
    return 0;
}

static bool p2p_device_check_iommu_group(PCIDevice *dev, AddressSpace *as,
                                         Error **errp)
{
    P2PGroupSearch search = {
        .dev = dev, .as = as,
        .iommu_group = p2p_passthrough_iommu_group(dev),
    };

    if (search.iommu_group < 0) {
        return true;
    }
    object_child_foreach_recursive(object_get_root(), p2p_find_other_view,
                                   &search);
    if (!search.other) {
        return true;
    }
    error_setg(errp, "%s: p2p-group: host IOMMU group %d also holds %s, which "
               "would have another view; the host's IOMMU cannot tell the two "
               "apart: give both the same p2p-group and p2p-initiate, or "
               "neither", p2p_device_name(dev), search.iommu_group,
               p2p_device_name(search.other));
    return false;
}

static P2PBackEnd p2p_backend(PCIDevice *dev)
{
    return p2p_passthrough(dev)->backend(dev);
}

static int p2p_find_other_backend(Object *obj, void *opaque)
{
    P2PGroupSearch *search = opaque;
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);

    if (dev && dev != search->dev && dev->p2p.as == search->as &&
        p2p_passthrough(dev) && p2p_backend(dev) != p2p_backend(search->dev)) {
        search->other = dev;
        return 1;
    }
    return 0;
}

/* VFIO looks for a container among all of an address space, and aborts. */
static bool p2p_device_check_backend(PCIDevice *dev, AddressSpace *as,
                                     Error **errp)
{
    P2PGroupSearch search = { .dev = dev, .as = as };

    object_child_foreach_recursive(object_get_root(), p2p_find_other_backend,
                                   &search);
    if (!search.other) {
        return true;
    }
    error_setg(errp, "%s: p2p-group: the device uses %s, and %s, which would "
               "share its view, %s: VFIO cannot do that; give both the same "
               "iommufd=, or none", p2p_device_name(dev),
               P2PBackEnd_str(p2p_backend(dev)), p2p_device_name(search.other),
               P2PBackEnd_str(p2p_backend(search.other)));
    return false;
}

/* --- Join and leave ---------------------------------------------------- */

static P2PView *p2p_choose_view(PCIDevice *dev, P2PGroup *group)
{
    if (!group || !dev->p2p.initiate) {
        return p2p_view_confined();
    }
    if (!group->view) {
        group->view = p2p_view_new(group, NULL);
    }
    return group->view;
}

static bool p2p_member_new(PCIDevice *dev, P2PGroup *group, Error **errp)
{
    P2PMember *member;
    unsigned index = 0;

    while (index < P2P_MAX_INITIATORS && group->members[index]) {
        index++;
    }
    if (index == P2P_MAX_INITIATORS) {
        error_setg(errp, "%s: p2p-group '%s' has %d members already, more "
                   "are not supported", p2p_device_name(dev),
                   p2p_group_id(group), P2P_MAX_INITIATORS);
        return false;
    }

    member = g_new0(P2PMember, 1);
    member->dev = dev;
    member->group = group;
    member->index = index;
    member->passthrough = p2p_passthrough(dev);
    member->windows = g_ptr_array_new_with_free_func(
                          (GDestroyNotify)p2p_window_free);
    if (!member->passthrough) {
        member->view = p2p_view_new(group, member);
    }
    group->members[index] = member;
    dev->p2p.member = member;
    return true;
}

bool p2p_device_join(PCIDevice *dev, Error **errp)
{
    P2PGroup *group = dev->p2p.group;
    bool passthrough = p2p_passthrough(dev);
    AddressSpace *as = NULL;

    if (!group && (dev->p2p.share || !dev->p2p.initiate)) {
        error_setg(errp, "%s: %s%s has no effect without p2p-group",
                   p2p_device_name(dev),
                   dev->p2p.share ? "p2p-share=" : "p2p-initiate=off",
                   dev->p2p.share ?: "");
        return false;
    }
    if (!group &&
        (!passthrough || (QTAILQ_EMPTY(&p2p_groups) && !p2p_views_exist()))) {
        return true;
    }

    if (!p2p_device_check_viommu(dev, errp) ||
        (group && !p2p_device_check_virtio(dev, errp))) {
        return false;
    }
    if (passthrough) {
        as = p2p_view_address_space(p2p_choose_view(dev, group));
        if (!p2p_device_check_iommu_group(dev, as, errp) ||
            !p2p_device_check_backend(dev, as, errp)) {
            return false;
        }
    }
    if (group) {
        if (!p2p_member_new(dev, group, errp)) {
            return false;
        }
        if (dev->p2p.member->view) {
            as = p2p_view_address_space(dev->p2p.member->view);
        }
    }
    dev->p2p.as = as;
    p2p_changed();
    trace_p2p_join(p2p_device_name(dev), group ? p2p_group_id(group) : "",
                   as->name);
    p2p_update();
    return true;
}

void p2p_device_leave(PCIDevice *dev)
{
    P2PMember *member = dev->p2p.member;

    dev->p2p.as = NULL;
    dev->p2p.member = NULL;
    if (!member) {
        return;
    }
    trace_p2p_leave(p2p_device_name(dev));
    p2p_bridges_member_leaves(member);
    p2p_migration_leave(member);

    p2p_iommu_leave(member);
    for (guint i = 0; i < member->windows->len; i++) {
        p2p_iommu_revoke_window(g_ptr_array_index(member->windows, i));
    }
    member->group->members[member->index] = NULL;
    p2p_changed();
    p2p_update();
    if (member->view) {
        p2p_view_free(member->view);
    }
    p2p_grants_end(member);
    g_ptr_array_unref(member->windows);
    g_free(member->host_bdf);
    g_free(member);
}

/* --- The device stops decoding, and is back ---------------------------- */

static bool p2p_overlaps(uint32_t addr, int len, uint32_t reg, int size,
                         uint32_t value, uint16_t *result)
{
    if (!ranges_overlap(addr, len, reg, size)) {
        return false;
    }
    /* The part that is not written counts as it would if it were 0. */
    *result = addr <= reg ? value >> 8 * (reg - addr)
                          : value << 8 * (addr - reg);
    return true;
}

/* Whether the write makes the device stop decoding, be it for a moment. */
static bool p2p_write_ends_decode(PCIDevice *dev, uint32_t addr,
                                  uint32_t value, int len)
{
    uint8_t pm = pci_find_capability(dev, PCI_CAP_ID_PM);
    uint8_t exp = pci_find_capability(dev, PCI_CAP_ID_EXP);
    uint8_t af = pci_find_capability(dev, PCI_CAP_ID_AF);
    uint16_t new;

    if (range_covers_byte(addr, len, PCI_COMMAND)) {
        return !(value >> 8 * (PCI_COMMAND - addr) & PCI_COMMAND_MEMORY);
    }
    return (pm && range_covers_byte(addr, len, pm + PCI_PM_CTRL) &&
            value >> 8 * (pm + PCI_PM_CTRL - addr) & PCI_PM_CTRL_STATE_MASK) ||
           (exp && p2p_overlaps(addr, len, exp + PCI_EXP_DEVCTL, 2, value,
                                &new) && new & PCI_EXP_DEVCTL_BCR_FLR) ||
           (af && p2p_overlaps(addr, len, af + PCI_AF_CTRL, 1, value, &new) &&
            new & PCI_AF_CTRL_FLR);
}

static bool p2p_is_asleep(PCIDevice *dev)
{
    uint8_t pm = pci_find_capability(dev, PCI_CAP_ID_PM);

    return pm && dev->config_read(dev, pm + PCI_PM_CTRL, 2) &
                 PCI_PM_CTRL_STATE_MASK;
}

static void p2p_member_suspend(P2PMember *member, bool suspended)
{
    int64_t start = get_clock();
    int64_t unmap_ns = p2p_iommu_unmap_ns;
    int64_t end;

    if (suspended != member->suspended) {
        member->suspended = suspended;
        p2p_changed();
        end = p2p_update();
        trace_p2p_suspend(p2p_device_name(member->dev), suspended,
                          member->windows->len, end - start,
                          p2p_iommu_unmap_ns - unmap_ns);
    }
}

void p2p_before_config_write(PCIDevice *dev, uint32_t addr, uint32_t value,
                             int len)
{
    P2PMember *member = dev->p2p.member;

    if (member && pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MEMORY &&
        p2p_write_ends_decode(dev, addr, value, len)) {
        p2p_member_suspend(member, true);
    }
}

void p2p_after_config_write(PCIDevice *dev, uint32_t addr, int len)
{
    P2PMember *member = dev->p2p.member;

    if (member && member->suspended) {
        p2p_member_suspend(member, p2p_is_asleep(dev));
    }
    /*
     * When a state is loaded, VFIO places the BARs first, and switches on the
     * host's decode later.
     */
    if (member && range_covers_byte(addr, len, PCI_COMMAND) &&
        p2p_iommu_retry(member)) {
        p2p_changed();
        p2p_update();
    }
}

/* --- policy=require ---------------------------------------------------- */

/*
 * The window has no address before the guest's firmware has run: see whether
 * its first page can be mapped, with memory decode switched on for as long
 * as that takes. Not behind the back of a guest that runs.
 */
static char *p2p_grant_try(P2PMember *initiator, P2PBarWindow *window)
{
    P2PMember *owner = window->owner;
    bool fresh = !owner->dev->qdev.realized ||
                 !phase_check(PHASE_MACHINE_READY);
    bool decode = false;
    int ret;

    if (!fresh) {
        return NULL;
    }
    if (owner->passthrough) {
        decode = p2p_passthrough_set_decode(owner->dev, true);
    }
    ret = p2p_iommu_try(initiator, window);
    if (owner->passthrough) {
        p2p_passthrough_set_decode(owner->dev, decode);
    }
    if (!ret) {
        return NULL;
    }
    if (ret == -ENXIO) {
        return p2p_obstacle_reason(
            (P2PObstacle) { P2P_OBSTACLE_NO_CONTAINER }, initiator, window);
    }
    return p2p_grant_map_error(initiator, -ret);
}

/* Why the grant cannot be installed; NULL: it can, as far as can be told. */
static char *p2p_required_obstacle(P2PMember *initiator, P2PBarWindow *window)
{
    P2PGrant *grant = &window->grants[initiator->index];
    uint64_t size = window->owner->dev->io_regions[window->bar].size;
    hwaddr limit;

    if (!initiator->passthrough) {
        return window->state == P2P_WINDOW_STATE_MAPPED
               ? g_strdup(grant->reason) : NULL;
    }
    if (window->backing == P2P_BACKING_IO) {
        return p2p_obstacle_reason(
            (P2PObstacle) { P2P_OBSTACLE_NO_CPU_MAPPING }, initiator, window);
    }
    if (!p2p_iommu_has_room(initiator, size, &limit)) {
        return g_strdup_printf("it has 0x%" PRIx64 " bytes, and the host's "
                               "IOMMU translates addresses up to 0x%" PRIx64
                               " only", size, limit);
    }
    if (grant->has_path && !grant->path.verdict.routed_by_root_complex) {
        return g_strdup_printf("the host is not known to route it: %s",
                               grant->path.reason);
    }
    if (!grant->has_path && window->owner->passthrough &&
        initiator->passthrough->hardware &&
        window->owner->passthrough->hardware) {
        return g_strdup("the host is not known to route it: give both devices "
                        "by host= or sysfsdev=, so that their place is known");
    }
    if (window->state == P2P_WINDOW_STATE_MAPPED) {
        return g_strdup(grant->reason);
    }
    return p2p_grant_try(initiator, window);
}

static bool p2p_window_check_required(P2PMember *member, P2PMember *initiator,
                                      P2PBarWindow *window, Error **errp)
{
    g_autofree char *why = NULL;

    /* What a guest attaches is its own matter. */
    if (initiator == window->owner || window->source ||
        !initiator->dev->p2p.initiate) {
        return true;
    }
    why = p2p_required_obstacle(initiator, window);
    if (!why) {
        return true;
    }
    error_setg(errp, "%s: p2p-group '%s' has policy=require, and %s cannot "
               "reach BAR %d of %s: %s; with policy=auto the devices work "
               "without it", p2p_device_name(member->dev),
               p2p_group_id(member->group), p2p_device_name(initiator->dev),
               window->bar, p2p_device_name(window->owner->dev), why);
    return false;
}

bool p2p_windows_check_required(P2PMember *member, guint first, Error **errp)
{
    P2PMember *initiator;

    if (member->group->policy != P2P_POLICY_REQUIRE) {
        return true;
    }
    P2P_FOREACH_MEMBER(initiator, member->group) {
        for (guint i = first; i < member->windows->len; i++) {
            if (!p2p_window_check_required(member, initiator,
                                           member->windows->pdata[i], errp)) {
                return false;
            }
        }
    }
    return true;
}

bool p2p_member_check_required(P2PMember *member, Error **errp)
{
    P2PMember *owner;

    if (member->group->policy != P2P_POLICY_REQUIRE) {
        return true;
    }
    P2P_FOREACH_MEMBER(owner, member->group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            if (!p2p_window_check_required(member, member,
                                           owner->windows->pdata[i], errp)) {
                return false;
            }
        }
    }
    return p2p_windows_check_required(member, 0, errp);
}

void p2p_device_realized(PCIDevice *dev, Error **errp)
{
    P2PMember *member = dev->p2p.member;

    if (!member || *errp) {
        return;
    }
    if (member->passthrough && member->passthrough->host_bdf) {
        member->host_bdf = member->passthrough->host_bdf(dev);
    }
    member->by_request = p2p_counts_requests(dev);
    if (!p2p_device_check_vhost(dev, errp) ||
        !p2p_windows_create(member, dev->p2p.share, errp) ||
        !p2p_migration_join(member, errp)) {
        return;
    }
    member->realized = true;
    member->on_trial = member->group->policy == P2P_POLICY_REQUIRE;
    p2p_changed();
    p2p_update();
    member->on_trial = !p2p_member_check_required(member, errp);
}
