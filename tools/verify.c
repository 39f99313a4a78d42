/*
 * qemu-p2p verify: move data from one device to another, and look
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "verify.h"
#include "verify-check.h"
#include "verify-stop.h"
#include "verify-via.h"

typedef struct Options {
    gboolean both_ways, force, json;
    int bar;                /* -1: not given */
    char *size_text, *offset_text, *backend_text;
    uint64_t size, offset;  /* bytes */
    VerifyBackend backend;
    ToolVmAddress vm;       /* domain or socket: ask that, move nothing */
} Options;

static void options_clear(Options *options)
{
    g_free(options->size_text);
    g_free(options->offset_text);
    g_free(options->backend_text);
    tool_vm_address_clear(&options->vm);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

/* --- Options ------------------------------------------------------------- */

static bool parse_size(Options *options)
{
    uint64_t granule = verify_granule();

    options->size = 1 << 20;
    if (options->size_text &&
        (!tool_parse_size(options->size_text, "KMG", VERIFY_MAX_SIZE,
                          &options->size) || !options->size ||
         options->size % granule)) {
        g_autofree char *unit = tool_size_str(granule);
        g_autofree char *max = tool_size_str(VERIFY_MAX_SIZE);

        tool_error("--size %s: must be a multiple of %s, up to %s, such as "
                   "64K or 1M", options->size_text, unit, max);
        return false;
    }
    if (options->offset_text &&
        (!tool_parse_size(options->offset_text, "KMG", UINT64_MAX,
                          &options->offset) ||
         options->offset % granule)) {
        g_autofree char *unit = tool_size_str(granule);

        tool_error("--offset %s: must be a multiple of %s, such as 0x10000 or "
                   "64K", options->offset_text, unit);
        return false;
    }
    return true;
}

static bool check_options(Options *options)
{
    const char *backend = options->backend_text;

    if (!backend) {
        options->backend = VERIFY_BACKEND_AUTO;
    } else if (strcmp(backend, "type1") == 0) {
        options->backend = VERIFY_BACKEND_TYPE1;
    } else if (strcmp(backend, "iommufd") == 0) {
        options->backend = VERIFY_BACKEND_IOMMUFD;
    } else {
        tool_error("--backend %s: must be type1 or iommufd", backend);
        return false;
    }
    if (options->bar < -1 || options->bar >= P2P_BARS) {
        tool_error("--bar %d: BARs are numbered from 0 to %d", options->bar,
                   P2P_BARS - 1);
        return false;
    }
    if (options->both_ways && (options->bar >= 0 || options->offset_text)) {
        tool_error("--bar and --offset name a place of one target: leave "
                   "--both-ways out, and swap the devices for the other way");
        return false;
    }
    return parse_size(options);
}

/* --- Before anything is opened ------------------------------------------- */

static bool find_pair(P2PHost *host, char **names, VerifyReport *report)
{
    const P2PFunction *a = tool_device(host, names[0]);
    const P2PFunction *b = a ? tool_device(host, names[1]) : NULL;

    if (!b) {
        return false;
    }
    if (a == b) {
        tool_error("%s is both initiator and target: nothing would be "
                   "peer-to-peer; name two devices", a->bdf);
        return false;
    }
    report->direction[0].initiator = report->direction[1].target = a;
    report->direction[0].target = report->direction[1].initiator = b;
    return true;
}

static bool check_window(VerifyDirection *d, Options *options)
{
    int bar = verify_check_bar(d->target, options->bar, options->offset,
                               &options->size, !options->size_text,
                               options->force);

    d->bar = bar;
    d->result.offset = options->offset;
    return bar >= 0;
}

static bool check_directions(VerifyReport *report, Options *options)
{
    for (unsigned i = 0; i < report->n; i++) {
        if (!verify_check_initiator(report->direction[i].initiator)) {
            return false;
        }
    }
    for (unsigned i = 0; i < report->n; i++) {
        if (!check_window(&report->direction[i], options)) {
            return false;
        }
    }
    report->size = options->size;
    if (geteuid() != 0) {
        tool_error("verify drives devices, which only root may: try \"sudo "
                   "qemu-p2p verify ...\"");
        return false;
    }
    return true;
}

static void find_verdicts(P2PHost *host, VerifyReport *report)
{
    for (unsigned i = 0; i < report->n; i++) {
        VerifyDirection *d = &report->direction[i];

        d->verdict = p2p_topology_verdict(host, d->initiator, d->target);
        d->reason = p2p_topology_reason(host, d->initiator, d->target);
    }
}

/* --- Running ------------------------------------------------------------- */

static bool run_direction(VerifyDirection *d, VerifyDevice *initiator,
                          VerifyDevice *target, const Options *options)
{
    g_autoptr(GError) error = NULL;
    VerifyPlan plan = {
        .initiator = initiator,
        .target = target,
        .bar = d->bar,
        .offset_given = options->offset_text,
        .offset = options->offset,
        .size = options->size,
    };

    d->done = verify_run(&plan, &d->result, &error);
    if (!d->done) {
        d->error = g_strdup(error->message);
        tool_error("%s", d->error);
    }
    return d->done;
}

/* False: the devices could not be had, and an error was printed. */
static bool run_directions(VerifyReport *report, const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VerifySession) session = NULL;
    VerifyDevice *device[2] = { NULL };

    session = verify_session_new(options->backend, &error);
    for (unsigned i = 0; session && i < 2 && !error; i++) {
        device[i] = verify_device_open(
            session, i ? report->direction[0].target
                       : report->direction[0].initiator, &error);
    }
    if (error) {
        tool_error("%s", error->message);
        return false;
    }
    report->backend = verify_session_backend(session);
    for (unsigned i = 0; i < report->n; i++) {
        if (!run_direction(&report->direction[i], device[i], device[!i],
                           options)) {
            break;
        }
    }
    return true;
}

static ToolStatus verify_pair(P2PHost *host, VerifyReport *report,
                              const Options *options)
{
    find_verdicts(host, report);
    if (verify_report_status(report) != TOOL_NO) {
        if (!verify_check_bound(report->direction[0].initiator) ||
            !verify_check_bound(report->direction[0].target)) {
            return TOOL_CANNOT;
        }
        verify_stop_catch();
        if (!run_directions(report, options)) {
            return TOOL_CANNOT;
        }
    }
    if (options->json) {
        verify_print_json(report);
    } else {
        verify_print_text(report);
    }
    return verify_report_status(report);
}

static void report_clear(VerifyReport *report)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(report->direction); i++) {
        g_free(report->direction[i].reason);
        g_free(report->direction[i].error);
        verify_result_clear(&report->direction[i].result);
    }
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VerifyReport, report_clear)

/* The devices of a running VM are its guest's: only questions are safe. */
static ToolStatus ask_vm(const Options *options, char **names)
{
    if (options->bar >= 0 || options->size_text || options->offset_text ||
        options->backend_text || options->force) {
        tool_error("--via and --qmp ask about all windows of a running VM: "
                   "--bar, --size, --offset, --backend and --force are for "
                   "devices of the host");
        return TOOL_CANNOT;
    }
    return verify_via(&options->vm, names[0], names[1], options->both_ways,
                      options->json);
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    g_auto(Options) options = { .bar = -1 };
    const GOptionEntry entries[] = {
        { "both-ways", 0, 0, G_OPTION_ARG_NONE, &options.both_ways,
          "The other way round, too: both have to be NVMe drives", NULL },
        { "size", 0, 0, G_OPTION_ARG_STRING, &options.size_text,
          "Bytes of the window, such as 64K (default: 1M, or the BAR)", "N" },
        { "bar", 0, 0, G_OPTION_ARG_INT, &options.bar,
          "The target's BAR (default: the first that is prefetchable memory)",
          "N" },
        { "offset", 0, 0, G_OPTION_ARG_STRING, &options.offset_text,
          "Where in the BAR the window begins (default: where its memory "
          "does)", "N" },
        { "force", 'f', 0, G_OPTION_ARG_NONE, &options.force,
          "Try a pair that the root complex is not known to route, and a BAR "
          "that is not like memory", NULL },
        { "backend", 0, 0, G_OPTION_ARG_STRING, &options.backend_text,
          "How the IOMMU is driven: type1 or iommufd (default: what there is)",
          "NAME" },
        { "via", 0, 0, G_OPTION_ARG_STRING, &options.vm.domain,
          "Ask a running libvirt domain about two of its devices; moves no "
          "data", "DOMAIN" },
        TOOL_VM_OPTIONS(&options.vm),
        { "json", 'j', 0, G_OPTION_ARG_NONE, &options.json, "Print JSON",
          NULL },
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_auto(VerifyReport) report = { 0 };

    if (!tool_parse(command, entries, &argc, &argv) ||
        !check_options(&options)) {
        return TOOL_CANNOT;
    }
    if (argc != 3) {
        tool_error("two devices are needed: an initiator, which is an NVMe "
                   "drive, and a target");
        return TOOL_CANNOT;
    }
    if (options.vm.domain || options.vm.socket) {
        return ask_vm(&options, argv + 1);
    }
    host = tool_host();
    report.n = options.both_ways ? 2 : 1;
    report.forced = options.force;
    if (!find_pair(host, argv + 1, &report) ||
        !check_directions(&report, &options)) {
        return TOOL_CANNOT;
    }
    return verify_pair(host, &report, &options);
}

const ToolCommand tool_verify = {
    .name = "verify",
    .arguments = "INITIATOR TARGET",
    .summary = "move data from a device to another, and look whether it "
               "arrives",
    .examples =
        "  qemu-p2p verify 65:00.0 66:00.0\n"
        "  qemu-p2p verify --both-ways --size 64K 65:00.0 66:00.0\n"
        "  qemu-p2p verify --json --bar 2 --offset 0x100000 65:00.0 66:00.0\n"
        "  qemu-p2p verify --via vm1 nvme0 gpu0    of a running VM\n"
        "\n"
        "The initiator, an NVMe drive, reads blocks into a window of the "
        "target's BAR, and\ninto memory, which must be the same then.  As a "
        "control, it does so once more with\nthe window taken out of the "
        "IOMMU: nothing may arrive.  Nothing is written to any\ndrive, and "
        "the window gets back what it held.  Both devices have to be bound "
        "to\nvfio-pci, which resets them when they are opened and closed.\n"
        "\n"
        "A VM's requests pass the IOMMU, so the path is the one through the "
        "root complex,\neven where a switch routes a shorter one: what topo "
        "calls \"bus\" needs --force if\nthe root complex is not known to "
        "route it.\n"
        "\n"
        "An interrupt ends it in good order.  Stopping the drive is not cut "
        "short: it may\ntake as long as the drive asks for (CAP.TO), up to "
        "128 seconds.\n"
        "\n"
        "Exit status: 0 intact; 1 data is lost, the drive breaks down on the "
        "way, or the\nroot complex is not known to route it; 2 could not "
        "run, or proves nothing.\n",
    .run = run,
};
