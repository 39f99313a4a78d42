/*
 * What it takes to grant a window, and to take it back: real VFIO, in the lab
 *
 *   bench-grant revoke   wants two drives with a CMB of 64 MiB
 *   bench-grant map      wants four drives; maps a CMB as a whole
 *
 * The first looks at what QEMU tells by trace events: how long it took from the
 * request until no device could reach the windows any more, and how much of
 * that the kernel's unmap calls took.  The other one lets QEMU and stock QEMU,
 * with two drives each, switch on memory decode of one of them in turns, and
 * takes the time of the guest's write to the command register.
 *
 * Prints one line of JSON for each figure (see bench.h).
 * Environment: QTEST_QEMU_BINARY, P2P_STOCK_QEMU, P2P_LAB_DRIVES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "bench.h"
#include "../qtest/lab-machine.h"

#define ROUNDS BENCH_ROUNDS
#define MAP_ROUNDS  31

/* Of the target, which is the last one of a machine's two drives */
#define WINDOWS     4
#define WINDOW_SIZE (16 * MiB)

/* A multiple of any BAR's size up to 64 GiB, and less than 2^40 */
#define BAR (UINT64_C(128) << 30)

/* --- Machines ---------------------------------------------------------- */

typedef struct Machine {
    QTestState *qts;
    GuestPci target;
} Machine;

/*
 * @binary: the environment variable that names QEMU
 * @first: the drive that comes before the target
 * @initiator, @target: properties of both drives
 */
static Machine machine_new(const char *binary, const char *options,
                           unsigned first, const char *initiator,
                           const char *target)
{
    const char *properties[LAB_MAX_DRIVES] = {};
    g_autofree char *line = NULL;
    Machine m;

    g_assert_cmpuint(first + 1, <, LAB_MAX_DRIVES);
    properties[first] = initiator;
    properties[first + 1] = target;
    line = lab_command_line(options, properties, first + 2);
    m.qts = qtest_init_ext(binary, line, NULL, true);
    m.target = (GuestPci) {
        .qts = m.qts, .devfn = (LAB_FIRST_SLOT + first + 1) << 3,
    };
    guest_pci_bar_map(&m.target, LAB_CMB_BAR, (P2PGuestAddr) { BAR });
    return m;
}

/* Returns how many seconds the guest waited. */
static double decode(Machine *m, bool on)
{
    uint16_t command = guest_pci_readw(&m->target, PCI_COMMAND);
    double start;

    command = on ? command | PCI_COMMAND_MEMORY
                 : command & ~PCI_COMMAND_MEMORY;
    guest_pci_aim(&m->target, PCI_COMMAND);
    start = bench_now();
    guest_pci_shoot(&m->target, PCI_COMMAND, command);
    return bench_now() - start;
}

/* --- Revoke ------------------------------------------------------------ */

/* What QEMU has told of one revocation */
typedef struct Revocation {
    double ns;          /* until nothing could reach the windows */
    double ioctl_ns;    /* of that in the kernel's unmap calls */
} Revocation;

/* Not of each unmap call: that would be written while the time is taken. */
static const char trace_events[] =
    "-trace p2p_windows_remove -trace p2p_suspend";

/* @told: how much of the log has been read before; moved to its end */
static Revocation read_log(const char *path, gsize *told, const char *event)
{
    Revocation r = {};
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) error = NULL;
    gsize size;

    g_file_get_contents(path, &text, &size, &error);
    g_assert_no_error(error);
    lines = g_strsplit(text + *told, "\n", -1);
    *told = size;
    for (unsigned i = 0; lines[i] && !r.ns; i++) {
        const char *at = strstr(lines[i], event);
        unsigned windows;

        /* When the machine is reset, there are no windows yet. */
        if (at && sscanf(at + strlen(event), ", %u windows in %lf ns, "
                         "unmap calls %lf ns", &windows, &r.ns, &r.ioctl_ns)
                  == 3 && windows != WINDOWS) {
            r.ns = 0;
        }
    }
    g_assert_cmpfloat(r.ns, >, 0);
    return r;
}

static void take_back(Machine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare',"
                             " 'arguments': { 'device': 'drive1', 'bar': %d }"
                             " }", LAB_CMB_BAR);
}

static void share(Machine *m)
{
    for (unsigned i = 0; i < WINDOWS; i++) {
        qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share',"
                                 " 'arguments': { 'device': 'drive1',"
                                 " 'bar': %d, 'offset': %" PRIu64 ","
                                 " 'size': %" PRIu64 " } }", LAB_CMB_BAR,
                                 (uint64_t)i * WINDOW_SIZE,
                                 (uint64_t)WINDOW_SIZE);
    }
}

/* Medians */
typedef struct RevokeFigures {
    double ratio;
    double ms;
    double ioctl_ms;
    double least, most;     /* of the ratios */
} RevokeFigures;

static RevokeFigures figures_of(const Revocation *r)
{
    double ratio[ROUNDS], ms[ROUNDS], ioctl_ms[ROUNDS];
    RevokeFigures f;

    for (unsigned i = 0; i < ROUNDS; i++) {
        ratio[i] = r[i].ns / r[i].ioctl_ns;
        ms[i] = r[i].ns * 1e-6;
        ioctl_ms[i] = r[i].ioctl_ns * 1e-6;
    }
    f.ratio = bench_median(ratio, ROUNDS);
    f.least = ratio[0];
    f.most = ratio[ROUNDS - 1];
    f.ms = bench_median(ms, ROUNDS);
    f.ioctl_ms = bench_median(ioctl_ms, ROUNDS);
    return f;
}

/* Returns how long the monitor command took, in ms. */
static double revoke_with(const char *iommufd, RevokeFigures *unshared,
                          RevokeFigures *decode_off)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "p2p-trace",
                                             NULL);
    g_autofree char *options = g_strdup_printf(
        "-object p2p-group,id=g0 %s %s -D %s",
        *iommufd ? "-object iommufd,id=i0" : "", trace_events, path);
    g_autofree char *initiator = g_strdup_printf(
        "p2p-group=g0,p2p-share=none%s", iommufd);
    Revocation r[2][ROUNDS];
    double command[ROUNDS];
    gsize told = 0;
    Machine m = machine_new("QTEST_QEMU_BINARY", options, 0, initiator,
                            initiator);

    decode(&m, true);
    for (unsigned round = 0; round < ROUNDS; round++) {
        share(&m);
        decode(&m, false);
        r[1][round] = read_log(path, &told, "p2p_suspend device drive1 1");
        decode(&m, true);
        command[round] = -bench_now();
        take_back(&m);
        command[round] += bench_now();
        r[0][round] = read_log(path, &told, "p2p_windows_remove device drive1");
    }
    qtest_quit(m.qts);
    unlink(path);
    *unshared = figures_of(r[0]);
    *decode_off = figures_of(r[1]);
    return bench_median(command, ROUNDS) * 1e3;
}

static void bench_revoke(void)
{
    static const char *const names[] = { "type1", "iommufd" };
    static const char *const options[] = { "", ",iommufd=i0" };
    RevokeFigures unshared[2], off[2];
    g_autofree char *note = NULL;
    unsigned worse;

    for (unsigned i = 0; i < 2; i++) {
        double command = revoke_with(options[i], &unshared[i], &off[i]);

        bench_report(unshared[i].ms, "ms", NULL,
                     "four windows of 16 MiB, p2p-unshare; lab",
                     "grant/revoke/%s/ms", names[i]);
        bench_report(unshared[i].ioctl_ms, "ms", NULL,
                     "of it in the kernel's unmap calls",
                     "grant/revoke/%s/ioctl-ms", names[i]);
        bench_report(command, "ms", NULL,
                     "the same command as its client sees it: with QMP, "
                     "events, and what there is to tell",
                     "grant/revoke/%s/command-ms", names[i]);
        bench_report(off[i].ratio, "time ratio", "the kernel's unmap calls",
                     "the same windows, when memory decode goes off",
                     "grant/decode-off-over-ioctl/%s", names[i]);
    }
    worse = unshared[1].ratio > unshared[0].ratio;
    note = g_strdup_printf("%s; rounds %.3g to %.3g; %s: %.3g (%.3g to %.3g);"
                           " four windows of 16 MiB; lab",
                           names[worse], unshared[worse].least,
                           unshared[worse].most, names[!worse],
                           unshared[!worse].ratio, unshared[!worse].least,
                           unshared[!worse].most);
    bench_report(unshared[worse].ratio, "time ratio",
                 "the kernel's unmap calls", note, "grant/revoke-over-ioctl");
}

/* --- Map --------------------------------------------------------------- */

/* Not with bench_measure(): a round is long enough, and too long to try. */
static void measure_maps(BenchSide *sides, unsigned n, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < n; i++) {
            BenchSide *side = &sides[round % 2 ? n - 1 - i : i];

            side->ns[round] = decode(side->opaque, true) * 1e9;
            side->rounds = round + 1;
            decode(side->opaque, false);
        }
    }
}

static Machine map_machine(const char *options, const char *more)
{
    g_autofree char *all = g_strdup_printf("-object p2p-group,id=g0 %s",
                                           options);
    g_autofree char *initiator = g_strdup_printf(
        "p2p-group=g0,p2p-share=none%s", more);
    g_autofree char *target = g_strdup_printf(
        "p2p-group=g0,p2p-share=bar2%s", more);

    return machine_new("QTEST_QEMU_BINARY", all, 0, initiator, target);
}

/* The figure with a goal is that of a large BAR. */
static void bench_map(void)
{
    Machine ours = map_machine("", "");
    Machine stock = machine_new("P2P_STOCK_QEMU", "", 2, "", "");
    uint64_t size = guest_pci_bar_size(&ours.target, LAB_CMB_BAR);
    bool large = size >= GiB;
    const char *name = large ? "map-64GiB" : "map-small";
    g_autofree char *size_text = size_to_str(size);
    g_autofree char *text = NULL, *note = NULL;
    BenchSide sides[] = {
        { .name = "ours", .opaque = &ours },
        { .name = "stock", .opaque = &stock },
    };
    BenchSide iommufd = { .name = "iommufd", .opaque = &ours };

    measure_maps(sides, 2, MAP_ROUNDS);
    qtest_quit(stock.qts);
    qtest_quit(ours.qts);
    ours = map_machine("-object iommufd,id=i0", ",iommufd=i0");
    measure_maps(&iommufd, 1, sides[0].rounds);
    qtest_quit(ours.qts);

    text = g_strdup_printf("type1; a BAR of %s; lab; %u rounds in turns",
                           size_text, sides[0].rounds);
    note = bench_ratio_note(&sides[0], &sides[1], text);
    bench_report(bench_ns(&sides[0]) * 1e-6, "ms", NULL,
                 "type1; as compared below", "grant/%s/type1/ms", name);
    bench_report(bench_ns(&sides[1]) * 1e-6, "ms", "stock QEMU",
                 "type1; as compared below", "grant/%s/stock/ms", name);
    bench_report(bench_ns(&iommufd) * 1e-6, "ms", NULL,
                 "the same BAR; stock QEMU cannot map it",
                 "grant/%s/iommufd/ms", name);
    bench_report(bench_ratio(&sides[0], &sides[1]), "time ratio",
                 "stock QEMU", note, "grant/%s-over-stock", name);
}

int main(int argc, char **argv)
{
    if (argc == 2 && g_str_equal(argv[1], "revoke")) {
        bench_revoke();
    } else if (argc == 2 && g_str_equal(argv[1], "map")) {
        bench_map();
    } else {
        fprintf(stderr, "usage: bench-grant revoke|map\n");
        return 2;
    }
    return 0;
}
