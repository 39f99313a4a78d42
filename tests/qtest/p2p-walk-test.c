/*
 * A random walk: whatever guest and user do, in whatever order, what the
 * groups grant, what query-p2p tells and what the IOMMU holds are the same
 *
 * Each event is a random one of all kinds, and all invariants are checked after
 * it: against the model of BARs (bar-model.h), against the table of the fake
 * IOMMU, and by DMA.  A failure prints the seed and the last events;
 *
 *   P2P_WALK_SEED=SEED P2P_WALK_EVENTS=EVENTS p2p-walk-test
 *
 * does the same again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "standard-headers/linux/pci_regs.h"
#include "walk.h"

/* As many as a slow processor does in some fifteen seconds. */
#define EVENTS 4000

/* --- History ----------------------------------------------------------- */

static uint32_t walk_seed;

/* Also when QEMU has crashed. */
static void print_history(void *opaque)
{
    Walk *w = opaque;

    for (unsigned i = w->number > HISTORY ? w->number - HISTORY + 1 : 0;
         i <= w->number; i++) {
        const char *text = w->history[i % HISTORY];

        fprintf(stderr, "event %u: %s\n", i, text ?: "");
    }
    fprintf(stderr, "do it again: P2P_WALK_SEED=%u P2P_WALK_EVENTS=%u\n",
            walk_seed, w->number + 1);
}

static bool on_event(QTestState *qts, const char *name, QDict *event,
                     void *opaque)
{
    return !g_str_equal(name, "RESET");
}

/* --- Faults ------------------------------------------------------------ */

static void event_fault(Walk *w)
{
    static const int errors[] = { ENOMEM, ENOSPC, EFAULT, EINVAL, EIO };
    const char *path = "/machine/peripheral/f";
    int error = errors[pick(w, ARRAY_SIZE(errors))];

    count_faults(w);
    w->fault_base = w->delivered;
    w->count = 1 + pick(w, 3);
    w->fail_at = 1 + pick(w, 8);
    note(w, "calls fail from the %" PRIu64 ". on, %" PRIu64 " of them: %s",
         w->fail_at, w->count, strerror(error));
    qom_set_uint(w->qts, path, "errno", error);
    qom_set_uint(w->qts, path, "count", w->count);
    w->fault_calls = qom_get_uint(w->qts, path, "calls");
    qom_set_uint(w->qts, path, "fail-at", w->fail_at);
}

/* With no fault to come, all is as if there never had been one. */
static void event_heal(Walk *w)
{
    note(w, "heal");
    count_faults(w);
    w->fail_at = 0;
    qom_set_uint(w->qts, "/machine/peripheral/f", "fail-at", 0);
    for (unsigned i = 0; i < DEVICES; i++) {
        Device *dev = &w->devices[i];

        if (dev->model.present) {
            uint16_t before = dev->model.command;

            model_write_command(&w->model, &dev->model, 0);
            model_write_command(&w->model, &dev->model, before);
        }
    }
    w->dirty = false;
    /* What failed before is no excuse: whatever is decoded has moved. */
    w->seen = w->delivered;
    remember_all(w);
}

/* --- The walk ---------------------------------------------------------- */

static const struct {
    void (*event)(Walk *w);
    unsigned weight;
} kinds[] = {
    { event_move, 20 },
    { event_half, 5 },
    { event_size, 5 },
    { event_set_up, 20 },
    { event_command, 12 },
    { event_power, 6 },
    { event_function_reset, 3 },
    { event_bus_reset, 2 },
    { event_bridge, 4 },
    { event_system_reset, 1 },
    { event_hotplug, 6 },
    { event_share, 8 },
    { event_unshare, 6 },
    { event_group, 2 },
    { event_dimm, 2 },
    { event_dma, 30 },
    { event_dma_elsewhere, 4 },
    { event_fault, 4 },
    { event_heal, 2 },
};

static void step(Walk *w)
{
    unsigned all = 0, n, i = 0;

    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        all += kinds[k].weight;
    }
    n = pick(w, all);
    while (n >= kinds[i].weight) {
        n -= kinds[i++].weight;
    }
    kinds[i].event(w);
    check(w);
}

/* Root bus: fixed; behind the bridges: some fixed, others come and go. */
static const struct {
    const char *id;
    int bridge;             /* -1: root bus; 0: br0; 1: rp0 */
    unsigned slot;
    bool pluggable;
    bool fake;
    bool hole;
    bool initiate;
    int group;
    const char *options;
} layout[DEVICES] = {
    { "p0", -1, 4, false, true, false, true, 0, "p2p-group=g0" },
    { "p1", -1, 5, false, true, true, true, 0,
      "p2p-group=g0,msix-hole=on" },
    { "p2", 0, 1, false, true, false, false, 0,
      "p2p-group=g0,p2p-initiate=off" },
    { "m0", -1, 6, false, false, false, true, 0, "p2p-group=g0" },
    { "q0", 0, 2, false, true, false, true, 1, "p2p-group=g1" },
    { "n0", -1, 7, false, false, true, true, 1,
      "p2p-group=g1,msix-hole=on" },
    { "x0", -1, 8, false, true, false, true, NO_GROUP, "size=1M" },
    { "h0", 0, 3, true },
    { "h1", 0, 4, true },
    { "h2", 1, 0, true },
};

static void layout_options(GString *args)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (!layout[i].pluggable) {
            g_string_append_printf(args, "-device %s,id=%s,bus=%s,addr=%u,%s ",
                layout[i].fake ? "p2p-fake-passthrough" : "p2p-testdev",
                layout[i].id, layout[i].bridge < 0 ? "pcie.0"
                              : layout[i].bridge ? "rp0" : "br0",
                layout[i].slot, layout[i].options);
        }
    }
}

static void walk_devices(Walk *w)
{
    static const uint8_t ports[PORTS] = { 2 << 3, 3 << 3 };

    for (unsigned i = 0; i < PORTS; i++) {
        w->bridges[i].pci = (GuestPci) { w->qts, 0, ports[i] };
        w->bridges[i].secondary = 1 + i;
        model_add_bridge(&w->model, &w->bridges[i], i ? "rp0" : "br0");
        open_bridge(w, &w->bridges[i]);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        Device *dev = &w->devices[i];

        pstrcpy(dev->id, sizeof(dev->id), layout[i].id);
        dev->model.pci = (GuestPci) { w->qts, 0, layout[i].slot << 3 };
        dev->model.bridge = layout[i].bridge < 0
                            ? NULL : &w->bridges[layout[i].bridge];
        dev->pluggable = layout[i].pluggable;
        dev->fake = layout[i].fake;
        dev->hole = layout[i].hole;
        dev->initiate = layout[i].initiate;
        dev->group = layout[i].group;
        dev->shares = g_array_new(false, false, sizeof(Share));
        w->model.devices[w->model.n_devices++] = &dev->model;
        if (!dev->pluggable) {
            model_plug(&w->model, &dev->model, 1 * MiB);
            if (dev->group != NO_GROUP) {
                share_auto(dev);
            }
        }
    }
}

static void walk_start(Walk *w)
{
    g_autoptr(GString) args = g_string_new(
        "-nodefaults -machine q35,hpet=off -m 128,slots=2,maxmem=1G "
        "-object p2p-group,id=g0 -object p2p-group,id=g1 "
        "-device pci-bridge,id=br0,bus=pcie.0,addr=2,chassis_nr=1,shpc=off,"
        "msi=off -device pcie-root-port,id=rp0,bus=pcie.0,addr=3,chassis=2 ");

    layout_options(args);
    w->monitor = state_monitor_new(args);
    w->qts = qtest_init(args->str);
    state_monitor_start(w->monitor);
    qtest_qmp_set_event_callback(w->qts, on_event, NULL);
    w->group_exists[0] = w->group_exists[1] = true;
    w->memory = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    w->model.fixed[DIMMS] = (GuestPciWindow) { { 0 }, RAM };
    w->model.fixed[DIMMS + 1] = (GuestPciWindow) { { 0xfec00000 }, 0x1000 };
    w->model.fixed[DIMMS + 2] = (GuestPciWindow) { { 0xfee00000 }, 1 * MiB };
    walk_devices(w);
    set_up_all(w);
    check(w);
}

static void walk_end(Walk *w)
{
    event_heal(w);
    check(w);
    for (unsigned i = 0; i < DEVICES; i++) {
        g_array_unref(w->devices[i].shares);
    }
    for (unsigned i = 0; i < HISTORY; i++) {
        g_free(w->history[i]);
    }
    g_hash_table_unref(w->memory);
    g_rand_free(w->random);
    qtest_quit(w->qts);
    state_monitor_free(w->monitor);
}

static unsigned environment(const char *name, unsigned value)
{
    const char *text = g_getenv(name);

    return text && *text ? g_ascii_strtoull(text, NULL, 0) : value;
}

static void test_walk(void)
{
    unsigned n = environment("P2P_WALK_EVENTS", EVENTS);
    gint64 start = g_get_monotonic_time();
    Walk walk = {}, *w = &walk;

    walk_seed = environment("P2P_WALK_SEED", (uint32_t)g_test_rand_int());
    g_test_message("P2P_WALK_SEED=%u P2P_WALK_EVENTS=%u", walk_seed, n);
    w->random = g_rand_new_with_seed(walk_seed);
    qtest_add_abrt_handler(print_history, w);
    walk_start(w);
    while (w->number < n) {
        note_next(w);
        step(w);
        if (!(w->number % 10000)) {
            g_test_message("%u events, %.0f s", w->number,
                           (g_get_monotonic_time() - start) / 1e6);
        }
    }
    walk_end(w);
    qtest_remove_abrt_handler(w);
    g_test_message("%u events in %.1f s: %" PRIu64 " windows looked at, %"
                   PRIu64 " grants installed, %" PRIu64 " transfers, %" PRIu64
                   " faults", n, (g_get_monotonic_time() - start) / 1e6,
                   w->windows, w->installed, w->transfers, w->delivered);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/walk", test_walk);
    return g_test_run();
}
