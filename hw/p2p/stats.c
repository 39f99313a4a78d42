/*
 * What is counted, by grant and by member: for query-p2p and query-stats
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/qapi-types-stats.h"
#include "standard-headers/linux/pci_regs.h"
#include "hw/pci/pci_ids.h"
#include "hw/p2p/internal.h"
#include "system/stats.h"

/* --- Counting ---------------------------------------------------------- */

void p2p_traffic_add(P2PTraffic *traffic, P2PDataPath path, uint64_t bytes,
                     int ret)
{
    if (!traffic) {
        return;
    }
    if (ret < 0) {
        stat64_add(&traffic->failed, 1);
    } else {
        stat64_add(&traffic->requests[path], 1);
        stat64_add(&traffic->bytes[path], bytes);
    }
}

void p2p_traffic_add_of(P2PTraffic *traffic, unsigned initiator,
                        uint64_t requests, uint64_t bytes)
{
    if (traffic) {
        stat64_add(&traffic->by[initiator].requests, requests);
        stat64_add(&traffic->by[initiator].bytes, bytes);
    }
}

/*
 * A device that has drives may map the buffers of a request in pieces, or twice
 * (virtio-scsi).  But the namespaces of an NVMe subsystem may be anybody's.
 */
bool p2p_counts_requests(PCIDevice *dev)
{
    Object *obj = OBJECT(dev);
    g_autofree char *drive = NULL;

    if (pci_get_byte(dev->config + PCI_CLASS_DEVICE + 1) !=
        PCI_BASE_CLASS_STORAGE) {
        return false;
    }
    if (!object_property_find(obj, "subsys")) {
        return true;
    }
    drive = object_property_get_str(obj, "drive", NULL);
    return drive && *drive;
}

/* --- By grant ---------------------------------------------------------- */

bool p2p_counts_traffic(P2PMember *initiator, P2PBarWindow *window)
{
    return !initiator->passthrough && p2p_window_needs_mapping(window);
}

P2PCounts p2p_counts(P2PMember *initiator, P2PBarWindow *window)
{
    P2PInstall *install = p2p_member_install(initiator, window);
    unsigned index = initiator->index;
    P2PCounts counts = {
        .requests = stat64_get(&window->traffic->by[index].requests),
        .bytes = stat64_get(&window->traffic->by[index].bytes),
    };

    if (install) {
        counts.maps = install->maps;
        counts.unmaps = install->unmaps;
        counts.failures = install->failures;
    }
    return counts;
}

static void p2p_counts_add(P2PCounts *sum, P2PCounts counts)
{
    sum->maps += counts.maps;
    sum->unmaps += counts.unmaps;
    sum->failures += counts.failures;
    sum->requests += counts.requests;
    sum->bytes += counts.bytes;
}

void p2p_counts_keep(P2PMember *initiator, P2PBarWindow *window)
{
    unsigned index = initiator->index;

    if (initiator != window->owner && initiator->dev->p2p.initiate) {
        p2p_counts_add(&initiator->ended, p2p_counts(initiator, window));
    }
    /* Its number may become another's. */
    stat64_init(&window->traffic->by[index].requests, 0);
    stat64_init(&window->traffic->by[index].bytes, 0);
}

/* --- query-stats ------------------------------------------------------- */

typedef struct P2PMemberStats {
    uint64_t installed;
    P2PCounts counts;
    uint64_t faults;
} P2PMemberStats;

/* In the order of the schema. */
static const struct {
    const char *name;
    size_t offset;          /* of a uint64_t in P2PMemberStats */
    StatsType type;
    bool in_bytes;
    bool of_models;         /* the hardware does not tell */
} p2p_stats[] = {
    { "windows-installed", offsetof(P2PMemberStats, installed),
      STATS_TYPE_INSTANT },
    { "maps", offsetof(P2PMemberStats, counts.maps) },
    { "unmaps", offsetof(P2PMemberStats, counts.unmaps) },
    { "failures", offsetof(P2PMemberStats, counts.failures) },
    { "faults", offsetof(P2PMemberStats, faults), .of_models = true },
    { "requests", offsetof(P2PMemberStats, counts.requests),
      .of_models = true },
    { "bytes", offsetof(P2PMemberStats, counts.bytes),
      .in_bytes = true, .of_models = true },
};

static P2PMemberStats p2p_member_stats(P2PMember *member)
{
    P2PMemberStats stats = {
        .counts = member->ended,
        .faults = member->view ? p2p_view_faults(member->view) : 0,
    };
    P2PMember *owner;

    P2P_FOREACH_MEMBER(owner, member->group) {
        if (owner == member || !member->dev->p2p.initiate) {
            continue;
        }
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);

            stats.installed += window->grants[member->index].installed;
            p2p_counts_add(&stats.counts, p2p_counts(member, window));
        }
    }
    return stats;
}

static void p2p_stats_add_member(StatsResultList **results,
                                 P2PMember *member, strList *names)
{
    P2PMemberStats values = p2p_member_stats(member);
    StatsList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(p2p_stats); i++) {
        Stats *stats;

        if (!apply_str_list_filter(p2p_stats[i].name, names) ||
            (p2p_stats[i].of_models && member->passthrough)) {
            continue;
        }
        stats = g_new0(Stats, 1);
        stats->name = g_strdup(p2p_stats[i].name);
        stats->value = g_new0(StatsValue, 1);
        stats->value->type = QTYPE_QNUM;
        stats->value->u.scalar = *(uint64_t *)((char *)&values +
                                               p2p_stats[i].offset);
        QAPI_LIST_APPEND(tail, stats);
    }
    if (list) {
        g_autofree char *path =
            object_get_canonical_path(OBJECT(member->dev));

        add_stats_entry(results, STATS_PROVIDER_P2P, path, list);
    }
}

static void p2p_stats_cb(StatsResultList **results, StatsTarget target,
                         strList *names, strList *targets, Error **errp)
{
    P2PGroup *group;
    P2PMember *member;

    if (target != STATS_TARGET_VM) {
        return;
    }
    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2P_FOREACH_MEMBER(member, group) {
            p2p_stats_add_member(results, member, names);
        }
    }
}

static void p2p_schemas_cb(StatsSchemaList **results, Error **errp)
{
    StatsSchemaValueList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(p2p_stats); i++) {
        StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

        value->name = g_strdup(p2p_stats[i].name);
        value->type = p2p_stats[i].type;
        value->has_unit = p2p_stats[i].in_bytes;
        value->unit = STATS_UNIT_BYTES;
        QAPI_LIST_APPEND(tail, value);
    }
    add_stats_schema(results, STATS_PROVIDER_P2P, STATS_TARGET_VM, list);
}

/* Not before there is a group: a machine without one is as in stock QEMU. */
void p2p_stats_init(void)
{
    static bool done;

    if (!done) {
        add_stats_callbacks(STATS_PROVIDER_P2P, p2p_stats_cb, p2p_schemas_cb);
        done = true;
    }
}
