/*
 * The random walk: what a user does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "p2p-testdev.h"
#include "walk.h"

/* NULL: it succeeded; else what it said, for g_free() */
static char *command(Walk *w, QDict *arguments, const char *name)
{
    g_autoptr(QDict) reply = qtest_qmp(w->qts, "{ 'execute': %s, "
                                       "'arguments': %p }", name, arguments);
    const QDict *error = qdict_get_qdict(reply, "error");

    note(w, "%s: %s", name, error ? qdict_get_str(error, "desc") : "ok");
    return error ? g_strdup(qdict_get_str(error, "desc")) : NULL;
}

static void must(Walk *w, QDict *arguments, const char *name)
{
    g_autofree char *why = command(w, arguments, name);

    g_assert_cmpstr(why, ==, NULL);
}

static QDict *dict(const char *key, const char *value)
{
    QDict *dict = qdict_new();

    qdict_put_str(dict, key, value);
    return dict;
}

static void unplug(Walk *w, Device *dev)
{
    note(w, "unplug %s", dev->id);
    model_unplug(&w->model, &dev->model, dev->id);
    g_array_set_size(dev->shares, 0);
}

static void plug(Walk *w, Device *dev)
{
    const char *bus = dev->model.bridge - w->bridges ? "rp0" : "br0";
    QDict *args = dict("id", dev->id);
    uint64_t size = 64 * KiB << 4 * pick(w, 3);
    unsigned share = pick(w, 4);
    g_autofree char *why = NULL;
    g_autofree char *slot = g_strdup_printf("%u", dev->model.pci.devfn >> 3);

    dev->fake = chance(w, 2);
    dev->hole = chance(w, 3);
    dev->group = pick(w, GROUPS + 1) - 1;
    if (dev->group != NO_GROUP && !w->group_exists[dev->group]) {
        dev->group = 0;
    }
    dev->initiate = dev->group == NO_GROUP || !chance(w, 4);

    qdict_put_str(args, "driver", dev->fake ? "p2p-fake-passthrough"
                                            : "p2p-testdev");
    qdict_put_str(args, "bus", bus);
    qdict_put_str(args, "addr", slot);
    qdict_put_int(args, "size", size);
    qdict_put_bool(args, "msix-hole", dev->hole);
    dev->model.bars[1].size = dev->model.bars[2].size = size;
    if (dev->group != NO_GROUP) {
        g_autofree char *group = g_strdup_printf("g%d", dev->group);

        qdict_put_str(args, "p2p-group", group);
        qdict_put_bool(args, "p2p-initiate", dev->initiate);
        switch (share) {
        case 0:
            qdict_put_str(args, "p2p-share", "none");
            break;
        case 1:
            qdict_put_str(args, "p2p-share", "bar2:ro+bar4@0x2000-0x5000+"
                                             "bar0");
            share_around_hole(dev, 2, 0, size, true);
            share_add(dev, 4, 0x2000, 0x3000, false);
            share_add(dev, 0, 0, TESTDEV_REGISTERS, false);
            break;
        default:
            share_auto(dev);
        }
    }
    note(w, "plug %s%s in group %d", dev->fake ? "fake " : "", dev->id,
         dev->group);
    why = command(w, args, "device_add");
    if (why) {
        g_assert_true(dev->group != NO_GROUP && w->required[dev->group]);
        g_assert_nonnull(strstr(why, "policy=require"));
        dev->model.present = false;
        g_array_set_size(dev->shares, 0);
        return;
    }
    model_plug(&w->model, &dev->model, size);
    if (!chance(w, 4)) {
        set_up(w, dev);
    }
}

void event_hotplug(Walk *w)
{
    Device *dev;

    do {
        dev = &w->devices[pick(w, DEVICES)];
    } while (!dev->pluggable);
    if (dev->model.present) {
        unplug(w, dev);
    } else {
        plug(w, dev);
    }
}

static bool share_overlaps(Device *dev, int bar, uint64_t offset,
                           uint64_t size)
{
    for (guint i = 0; i < dev->shares->len; i++) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            return true;
        }
    }
    return false;
}

static QDict *range_arguments(Device *dev, int bar, uint64_t offset,
                              uint64_t size)
{
    QDict *args = dict("device", dev->id);

    qdict_put_int(args, "bar", bar);
    qdict_put_int(args, "offset", offset);
    qdict_put_int(args, "size", size);
    return args;
}

static void any_range(Walk *w, Device *dev, int *bar, uint64_t *offset,
                      uint64_t *size)
{
    uint64_t all;

    *bar = chance(w, 6) ? 0 : 2 + 2 * pick(w, 2);
    all = model_bar(&dev->model, *bar)->size;
    *offset = chance(w, 3) ? 0 : pick(w, all / PAGE) * PAGE;
    *size = chance(w, 3) ? all - *offset
                         : (1 + pick(w, (all - *offset) / PAGE)) * PAGE;
    if (chance(w, 20)) {
        *offset += chance(w, 2) ? 100 : all;
    }
}

void event_share(Walk *w)
{
    Device *dev = any_device(w);
    bool readonly = chance(w, 3);
    g_autofree char *why = NULL;
    uint64_t offset, size, all;
    QDict *args;
    bool ok;
    int bar;

    any_range(w, dev, &bar, &offset, &size);
    all = model_bar(&dev->model, bar)->size;
    args = range_arguments(dev, bar, offset, size);
    if (readonly) {
        qdict_put_str(args, "access", "ro");
    }
    ok = dev->group != NO_GROUP && !(offset % PAGE) && offset + size <= all &&
         !share_overlaps(dev, bar, offset, size) &&
         !(bar == 2 && dev->hole && offset <= PAGE &&
           offset + size > PAGE) &&
         dev->shares->len < 8;
    if (dev->shares->len >= 8) {
        qobject_unref(args);
        return;
    }
    note(w, "share %s BAR %d 0x%" PRIx64 "+0x%" PRIx64, dev->id, bar, offset,
         size);
    why = command(w, args, "p2p-share");
    if (why && ok) {
        g_assert_true(w->required[dev->group]);
        g_assert_nonnull(strstr(why, "policy=require"));
    } else {
        g_assert_cmpint(!why, ==, ok);
    }
    if (!why) {
        share_add(dev, bar, offset, size, readonly);
    }
}

void event_unshare(Walk *w)
{
    Device *dev = any_device(w);
    g_autofree char *why = NULL;
    uint64_t offset, size;
    unsigned hit = 0;
    bool cut = false;
    int bar;

    if (dev->shares->len && !chance(w, 3)) {
        Share *s = &g_array_index(dev->shares, Share,
                                  pick(w, dev->shares->len));

        bar = s->bar;
        offset = s->offset;
        size = s->size;
    } else {
        any_range(w, dev, &bar, &offset, &size);
    }
    for (guint i = 0; i < dev->shares->len; i++) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            hit++;
            cut |= s->offset < offset || s->offset + s->size > offset + size;
        }
    }
    note(w, "unshare %s BAR %d 0x%" PRIx64 "+0x%" PRIx64, dev->id, bar,
         offset, size);
    why = command(w, range_arguments(dev, bar, offset, size), "p2p-unshare");
    if (!hit || cut) {
        g_assert_nonnull(why);
        return;
    }
    if (why) {
        g_assert_nonnull(strstr(why, "out of the IOMMU"));
        count_faults(w);
        g_assert_true(w->dirty || w->delivered != w->seen);
    }
    for (guint i = dev->shares->len; i-- > 0; ) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            g_array_remove_index(dev->shares, i);
        }
    }
}

static bool group_used(Walk *w, int group)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (w->devices[i].model.present && w->devices[i].group == group) {
            return true;
        }
    }
    return false;
}

void event_group(Walk *w)
{
    int group = chance(w, 3) ? pick(w, GROUPS) : 2;
    g_autofree char *name = g_strdup_printf("g%d", group);
    g_autofree char *why = NULL;

    if (w->group_exists[group]) {
        why = command(w, dict("id", name), "object-del");
        g_assert_cmpint(!why, ==, !group_used(w, group));
        w->group_exists[group] = why;
    } else {
        QDict *args = dict("id", name);

        w->required[group] = chance(w, 2);
        qdict_put_str(args, "qom-type", "p2p-group");
        qdict_put_str(args, "policy", w->required[group] ? "require"
                                                         : "auto");
        must(w, args, "object-add");
        w->group_exists[group] = true;
    }
}

static void dimm_unplug(Walk *w, unsigned n, const char *id, const char *mem)
{
    must(w, dict("id", id), "device_del");
    /* ACPI memory hot-plug: select a slot, eject what is in it */
    qtest_outl(w->qts, 0xa00, n);
    qtest_outb(w->qts, 0xa14, 1 << 3);
    must(w, dict("id", mem), "object-del");
    w->model.fixed[n].size = 0;
    w->dimm[n] = false;
}

void event_dimm(Walk *w)
{
    unsigned n = pick(w, DIMMS);
    g_autofree char *id = g_strdup_printf("dimm%u", n);
    g_autofree char *mem = g_strdup_printf("mem%u", n);
    QDict *args;

    if (w->dimm[n]) {
        dimm_unplug(w, n, id, mem);
        return;
    }
    args = dict("id", mem);
    qdict_put_str(args, "qom-type", "memory-backend-ram");
    qdict_put_int(args, "size", DIMM_SIZE);
    must(w, args, "object-add");
    args = dict("id", id);
    qdict_put_str(args, "driver", "pc-dimm");
    qdict_put_str(args, "memdev", mem);
    qdict_put_int(args, "addr", DIMM(n));
    qdict_put_int(args, "slot", n);
    must(w, args, "device_add");
    w->model.fixed[n] = (GuestPciWindow) { { DIMM(n) }, DIMM_SIZE };
    w->dimm[n] = true;
}
