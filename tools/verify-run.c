/*
 * qemu-p2p verify: the experiment, one initiator and one window
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include "verify-run.h"
#include "verify-stop.h"

/* Between two looks whether the user wants an end, in bytes */
#define COPY_CHUNK (64u << 10)

/*
 * A completion in memory does not say that data on its way to a peer has
 * arrived: only writes to one place are ordered (PCIe 6.0, 2.4.1), and a switch
 * may hold those to the peer longer.  Nothing holds them as long as this.
 */
#define SETTLE_US (50 * 1000)

#define BANDWIDTH_TURNS 5
#define LATENCY_TURNS   33

typedef struct Run {
    const VerifyPlan *plan;
    VerifyResult *result;
    VerifyNvme *nvme;
    VerifyCmb cmb;          /* the target's */

    /* What the initiator reaches: its queues, @data; then the window */
    uint8_t *ram;
    size_t ram_size;        /* bytes */
    uint64_t ram_iova, data_iova, window_iova;
    VerifyMapping ram_mapping, window_mapping;

    /* plan->size bytes each */
    uint8_t *data;          /* in @ram: what was read into memory */
    uint8_t *fill, *got;
    uint8_t *saved;         /* what the window held; NULL: not read yet */
} Run;

uint64_t verify_granule(void)
{
    return MAX(VERIFY_NVME_PAGE, sysconf(_SC_PAGE_SIZE));
}

static bool fail(GError **error, VerifyError code, const char *what)
{
    g_set_error_literal(error, VERIFY_ERROR, code, what);
    return false;
}

/* --- The window ---------------------------------------------------------- */

static bool stopped(GError **error)
{
    return verify_stop_wanted() &&
           !fail(error, VERIFY_ERROR_STOPPED, "interrupted");
}

static bool window_read(Run *run, uint8_t *data, GError **error)
{
    const VerifyPlan *plan = run->plan;

    for (uint64_t at = 0; at < plan->size; at += COPY_CHUNK) {
        if (stopped(error) ||
            !verify_bar_read(plan->target, plan->bar,
                             run->result->offset + at, data + at,
                             MIN(plan->size - at, COPY_CHUNK), error)) {
            return false;
        }
    }
    return true;
}

/* Fill it, so that each byte differs from @data. */
static bool window_fill(Run *run, unsigned pattern, GError **error)
{
    const VerifyPlan *plan = run->plan;

    verify_fill(run->fill, run->data, plan->size, pattern);
    run->result->touched = true;
    for (uint64_t at = 0; at < plan->size; at += COPY_CHUNK) {
        if (stopped(error) ||
            !verify_bar_write(plan->target, plan->bar,
                              run->result->offset + at, run->fill + at,
                              MIN(plan->size - at, COPY_CHUNK), error)) {
            return false;
        }
    }
    if (!window_read(run, run->got, error)) {
        return false;
    }
    if (memcmp(run->got, run->fill, plan->size) != 0) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "BAR %u of %s does not hold what is written to it: this "
                    "part of it is no memory, choose another with --bar or "
                    "--offset", plan->bar,
                    verify_device_function(plan->target)->bdf);
        return false;
    }
    return true;
}

/* Why it cannot be restored, or NULL. Heeds no signal. */
static char *window_restore(Run *run)
{
    const VerifyPlan *plan = run->plan;
    g_autoptr(GError) error = NULL;

    if (!verify_bar_write(plan->target, plan->bar, run->result->offset,
                          run->saved, plan->size, &error) ||
        !verify_bar_read(plan->target, plan->bar, run->result->offset,
                         run->got, plan->size, &error)) {
        return g_strdup(error->message);
    }
    return memcmp(run->got, run->saved, plan->size) == 0
           ? NULL : g_strdup("it does not hold what is written to it");
}

/* --- Preparation --------------------------------------------------------- */

/* Where the memory is: a controller may have a buffer of its own. */
static bool place_window(Run *run, GError **error)
{
    const VerifyPlan *plan = run->plan;
    const P2PFunction *target = verify_device_function(plan->target);
    uint64_t begin = 0, end = target->bars[plan->bar].size, offset;

    if (!verify_command(plan->target, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER,
                        error) ||
        (target->class_code == VERIFY_CLASS_NVME &&
         !verify_cmb_enable(plan->target, plan->bar, &run->cmb, error))) {
        return false;
    }
    if (run->cmb.enabled) {
        begin = run->cmb.offset;
        end = MIN(end, begin + run->cmb.size);
    }
    offset = plan->offset_given ? plan->offset : begin;
    run->result->offset = offset;
    if (offset < begin || offset > end || plan->size > end - offset) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "BAR %u of %s has memory from 0x%" G_GINT64_MODIFIER
                    "x to 0x%" G_GINT64_MODIFIER "x only: choose --offset and "
                    "--size so that the window is in there", plan->bar,
                    target->bdf, begin, end - 1);
        return false;
    }
    return true;
}

static bool save_window(Run *run, GError **error)
{
    g_autofree uint8_t *saved = g_malloc(run->plan->size);

    if (!window_read(run, saved, error)) {
        return false;
    }
    run->saved = g_steal_pointer(&saved);
    return true;
}

static void take_bars(GArray *taken, const P2PFunction *function)
{
    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];
        VerifyRange range = { bar->start, bar->start + bar->size - 1 };

        if (bar->memory && bar->size && bar->start) {
            g_array_append_val(taken, range);
        }
    }
}

static bool take_window(GArray *taken, const char *line)
{
    guint64 first, last, flags;

    if (sscanf(line, "%" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x %"
               G_GINT64_MODIFIER "x", &first, &last, &flags) != 3) {
        return false;
    }
    if ((flags & 0x200) && last > first) {      /* IORESOURCE_MEM */
        VerifyRange range = { first, last };

        g_array_append_val(taken, range);
    }
    return true;
}

/* What a port passes down: its lines in "resource" that are memory. */
static bool take_windows(GArray *taken, const P2PFunction *port,
                         GError **error)
{
    g_autofree char *path = g_strdup_printf(
        "/sys/bus/pci/devices/%s/resource", port->bdf);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned i = 0;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        g_prefix_error(error, "%s: its windows are not known, so no address "
                       "is known to reach the IOMMU: ", port->bdf);
        return false;
    }
    lines = g_strsplit(g_strchomp(text), "\n", -1);
    while (lines[i] && take_window(taken, lines[i])) {
        i++;
    }
    if (!i || lines[i]) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: its windows are not known, so no address is known to "
                    "reach the IOMMU: %s holds something else", port->bdf,
                    path);
        return false;
    }
    return true;
}

/*
 * An address that a port above the initiator passes down would never get to
 * the IOMMU, whatever that has there.
 */
static bool choose_addresses(Run *run, GError **error)
{
    const VerifyPlan *plan = run->plan;
    const P2PFunction *initiator = verify_device_function(plan->initiator);
    g_autoptr(GArray) taken = g_array_new(false, false, sizeof(VerifyRange));
    g_autoptr(GArray) valid = verify_device_ranges(plan->initiator, error);

    if (!valid) {
        return false;
    }
    take_bars(taken, initiator);
    take_bars(taken, verify_device_function(plan->target));
    for (const P2PFunction *f = initiator->parent; f; f = f->parent) {
        if (!take_windows(taken, f, error)) {
            return false;
        }
    }
    if (!verify_find_room(valid, taken, run->ram_size + plan->size,
                          &run->ram_iova)) {
        return fail(error, VERIFY_ERROR_FAILED, "the IOMMU has no room");
    }
    run->data_iova = run->ram_iova + (run->data - run->ram);
    run->window_iova = run->ram_iova + run->ram_size;
    return true;
}

static bool make_memory(Run *run, GError **error)
{
    const VerifyPlan *plan = run->plan;
    uint64_t granule = verify_granule();
    size_t queues = (VERIFY_NVME_RAM + granule - 1) / granule * granule;
    void *ram;

    run->ram_size = queues + plan->size;
    ram = mmap(NULL, run->ram_size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED) {
        return fail(error, VERIFY_ERROR_FAILED, "there is not enough memory");
    }
    run->ram = ram;
    run->data = run->ram + queues;
    run->fill = g_malloc(plan->size);
    run->got = g_malloc(plan->size);
    return true;
}

static bool map_window(Run *run, GError **error)
{
    const VerifyPlan *plan = run->plan;

    return verify_map_bar(plan->initiator, run->window_iova, plan->target,
                          plan->bar, run->result->offset, plan->size,
                          &run->window_mapping, error);
}

static bool start_drive(Run *run, GError **error)
{
    const VerifyPlan *plan = run->plan;
    const VerifyNvmeInfo *info;

    run->nvme = verify_nvme_start(plan->initiator, run->ram, run->ram_iova,
                                  error);
    if (!run->nvme) {
        return false;
    }
    info = verify_nvme_info(run->nvme);
    run->result->drive = *info;
    if (plan->size % info->block_size) {
        return fail(error, VERIFY_ERROR_FAILED,
                    "--size must be a multiple of the drive's blocks");
    }
    if (info->blocks < plan->size / info->block_size) {
        return fail(error, VERIFY_ERROR_FAILED,
                    "the drive is smaller than --size");
    }
    return true;
}

static bool prepare(Run *run, GError **error)
{
    return place_window(run, error) &&
           make_memory(run, error) &&
           choose_addresses(run, error) &&
           save_window(run, error) &&
           verify_map_memory(run->plan->initiator, run->ram_iova, run->ram,
                             run->ram_size, &run->ram_mapping, error) &&
           map_window(run, error) &&
           start_drive(run, error);
}

/*
 * In this order: the initiator is still first, so that nothing is written
 * after the window has been restored, or to memory that is somebody else's.
 */
static bool finish(Run *run, GError **error)
{
    bool ok = verify_nvme_stop(run->nvme, error);

    if (run->result->touched) {
        run->result->not_restored = window_restore(run);
    }
    ok = verify_unmap(&run->window_mapping, ok ? error : NULL) && ok;
    ok = verify_unmap(&run->ram_mapping, ok ? error : NULL) && ok;
    verify_cmb_disable(run->plan->target, &run->cmb);
    if (run->ram) {
        munmap(run->ram, run->ram_size);
    }
    g_free(run->fill);
    g_free(run->got);
    g_free(run->saved);
    return ok;
}

/* --- The experiment ------------------------------------------------------ */

/* Where on the drive a round reads: evenly spread. */
static uint64_t round_lba(const Run *run, unsigned round)
{
    const VerifyNvmeInfo *info = verify_nvme_info(run->nvme);
    uint64_t each = run->plan->size / info->block_size;
    uint64_t places = info->blocks / each;

    return places / VERIFY_ROUNDS * round * each +
           places % VERIFY_ROUNDS * round / VERIFY_ROUNDS * each;
}

static bool read_to_memory(Run *run, uint64_t lba, int fill, GError **error)
{
    g_autofree char *text = NULL;
    unsigned status;

    memset(run->data, fill, run->plan->size);
    if (!verify_nvme_read(run->nvme, lba, run->data_iova, run->plan->size,
                          &status, error)) {
        return false;
    }
    if (!status) {
        return true;
    }
    text = verify_nvme_status_str(status);
    g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                "%s cannot read its own blocks into memory: %s",
                verify_device_function(run->plan->initiator)->bdf, text);
    return false;
}

/* What blocks hold, in run->data; read twice, over different memory. */
static bool read_reference(Run *run, uint64_t lba, GError **error)
{
    if (!read_to_memory(run, lba, 0xff, error)) {
        return false;
    }
    memcpy(run->got, run->data, run->plan->size);
    if (!read_to_memory(run, lba, 0x00, error)) {
        return false;
    }
    return memcmp(run->got, run->data, run->plan->size) == 0 ||
           fail(error, VERIFY_ERROR_FAILED, "the drive's blocks are not the "
                "same when they are read into memory twice: it does not even "
                "reach memory, or its contents change");
}

/* Waits for data that is on its way, not for data that will never come. */
static bool window_compare(Run *run, VerifyDiff *diff, GError **error)
{
    gint64 end = g_get_monotonic_time() + SETTLE_US;
    bool last;

    do {
        last = g_get_monotonic_time() > end;
        if (!window_read(run, run->got, error)) {
            return false;
        }
        *diff = verify_compare(run->got, run->data, run->fill,
                               run->plan->size);
    } while (diff->wrong && !last);
    return true;
}

/*
 * As verify_nvme_read().  A drive that has just read the same blocks into
 * memory, and gives no answer now, has been stopped by the way to the window.
 */
static bool read_to_window(Run *run, uint64_t lba, uint64_t size,
                           unsigned *status, GError **error)
{
    g_autoptr(GError) problem = NULL;

    if (verify_nvme_read(run->nvme, lba, run->window_iova, size, status,
                         &problem)) {
        return true;
    }
    run->result->no_answer = g_error_matches(problem, VERIFY_ERROR,
                                             VERIFY_ERROR_NO_ANSWER);
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

static bool run_round(Run *run, unsigned round, GError **error)
{
    VerifyResult *result = run->result;
    uint64_t lba = round_lba(run, round);
    unsigned status;

    if (!read_reference(run, lba, error) || !window_fill(run, round, error) ||
        !read_to_window(run, lba, run->plan->size, &status, error) ||
        !window_compare(run, &result->diff, error)) {
        return false;
    }
    result->repeats &= verify_repeats(run->data, run->plan->size,
                                      VERIFY_NVME_PAGE);
    result->status = status;
    result->lost = status || result->diff.wrong;
    result->intact += !result->lost;
    return true;
}

static bool run_rounds(Run *run, GError **error)
{
    run->result->repeats = run->plan->size > VERIFY_NVME_PAGE;
    for (unsigned i = 0; i < VERIFY_ROUNDS && !run->result->lost; i++) {
        if (!run_round(run, i, error)) {
            return false;
        }
    }
    return true;
}

/* --- The control arm ----------------------------------------------------- */

static bool run_control(Run *run, GError **error)
{
    VerifyResult *result = run->result;
    uint64_t lba = round_lba(run, 0);
    g_autoptr(GError) problem = NULL;
    VerifyDiff diff;

    if (!read_reference(run, lba, error) || !window_fill(run, 0, error) ||
        !verify_unmap(&run->window_mapping, error)) {
        return false;
    }
    result->control_answered =
        verify_nvme_read(run->nvme, lba, run->window_iova, run->plan->size,
                         &result->control_status, &problem);
    /* A controller may break down when its data does not go anywhere. */
    if (problem && !g_error_matches(problem, VERIFY_ERROR,
                                    VERIFY_ERROR_NO_ANSWER)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return false;
    }
    g_usleep(SETTLE_US);
    if (!window_read(run, run->got, error)) {
        return false;
    }
    diff = verify_compare(run->got, run->fill, run->fill, run->plan->size);
    result->control = diff.wrong ? VERIFY_CONTROL_LEAKED
                                 : VERIFY_CONTROL_HELD;
    return true;
}

/* --- Measurements -------------------------------------------------------- */

/* Seconds; negative with @error set. A failed command is an error here. */
static double time_read(Run *run, uint64_t iova, uint64_t size, GError **error)
{
    gint64 begin = g_get_monotonic_time();
    unsigned status;

    if (!verify_nvme_read(run->nvme, round_lba(run, 0), iova, size, &status,
                          error)) {
        return -1;
    }
    if (status) {
        fail(error, VERIFY_ERROR_FAILED, "a transfer failed that had worked "
             "before: the path is not reliable");
        return -1;
    }
    return MAX(g_get_monotonic_time() - begin, 1) / (double)G_USEC_PER_SEC;
}

/* Medians in seconds of @turns transfers to memory and to the window */
static bool time_both(Run *run, uint64_t size, unsigned turns, double *ram,
                      double *window, GError **error)
{
    double times[2][LATENCY_TURNS];

    G_STATIC_ASSERT(BANDWIDTH_TURNS <= LATENCY_TURNS);
    for (unsigned i = 0; i < turns; i++) {
        times[0][i] = time_read(run, run->data_iova, size, error);
        if (times[0][i] < 0) {
            return false;
        }
        times[1][i] = time_read(run, run->window_iova, size, error);
        if (times[1][i] < 0) {
            return false;
        }
    }
    *ram = verify_median(times[0], turns);
    *window = verify_median(times[1], turns);
    return true;
}

static bool measure(Run *run, GError **error)
{
    VerifyResult *result = run->result;
    uint64_t size = run->plan->size;
    double ram, window;

    result->latency_size = MAX(VERIFY_NVME_PAGE, result->drive.block_size);
    if (!time_both(run, result->latency_size, LATENCY_TURNS,
                   &result->ram.latency, &result->window.latency, error) ||
        !time_both(run, size, BANDWIDTH_TURNS, &ram, &window, error)) {
        return false;
    }
    result->ram.bandwidth = size / ram;
    result->window.bandwidth = size / window;
    return true;
}

/* --- All of it ----------------------------------------------------------- */

bool verify_run(const VerifyPlan *plan, VerifyResult *result, GError **error)
{
    Run run = { .plan = plan, .result = result };
    bool ok, finished;

    *result = (VerifyResult) { 0 };
    ok = prepare(&run, error) && run_rounds(&run, error);
    /* Nothing is to be proved or measured where nothing arrives. */
    if (ok && !result->lost) {
        ok = measure(&run, error) && run_control(&run, error);
    }
    finished = finish(&run, ok ? error : NULL);
    return ok && finished;
}

void verify_result_clear(VerifyResult *result)
{
    g_free(result->not_restored);
    *result = (VerifyResult) { 0 };
}
