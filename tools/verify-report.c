/*
 * qemu-p2p verify: how the outcome is shown
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "verify.h"

typedef struct Outcome {
    ToolStatus status;
    const char *word, *meaning;
} Outcome;

/* In the order of what is told when directions differ: the first that is so */
enum {
    REFUSED, LOST, NO_ANSWER, NOT_RUN, LEAKED, NOT_RESTORED, INTACT,
};

static const Outcome outcomes[] = {
    [REFUSED] = { TOOL_NO, "refused",
                  "the root complex is not known to route it; --force "
                  "tries" },
    [LOST] = { TOOL_NO, "lost",
               "on the path of a VM's requests, through the IOMMU and the "
               "root complex;\n           do not use this pair in a VM" },
    [NO_ANSWER] = { TOOL_NO, "no-answer",
                    "the drive breaks down on the path of a VM's requests, "
                    "through the IOMMU\n           and the root complex; do "
                    "not use this pair in a VM" },
    [NOT_RUN] = { TOOL_CANNOT, "not-run", "nothing is known" },
    [LEAKED] = { TOOL_CANNOT, "inconclusive",
                 "data arrives that the IOMMU should have held back" },
    [NOT_RESTORED] = { TOOL_CANNOT, "not-restored",
                       "data arrives, but the window is not as it was" },
    [INTACT] = { TOOL_OK, "intact", "data arrives, byte by byte" },
};

/*
 * What is tried, and what a VM needs, is the path through the IOMMU.  That a
 * switch routes a shorter one says nothing about it.
 */
static bool refused(const VerifyReport *report, const VerifyDirection *d)
{
    return !report->forced && !d->verdict.routed_by_root_complex;
}

static unsigned direction_outcome(const VerifyReport *report,
                                  const VerifyDirection *d)
{
    if (refused(report, d)) {
        return REFUSED;
    }
    if (d->result.lost) {
        return LOST;
    }
    if (d->result.no_answer) {
        return NO_ANSWER;
    }
    if (!d->done) {
        return NOT_RUN;
    }
    if (d->result.control != VERIFY_CONTROL_HELD) {
        return LEAKED;
    }
    return d->result.not_restored ? NOT_RESTORED : INTACT;
}

static const Outcome *report_outcome(const VerifyReport *report)
{
    unsigned worst = INTACT;

    for (unsigned i = 0; i < report->n; i++) {
        worst = MIN(worst, direction_outcome(report, &report->direction[i]));
    }
    return &outcomes[worst];
}

ToolStatus verify_report_status(const VerifyReport *report)
{
    return report_outcome(report)->status;
}

const char *verify_report_word(const VerifyReport *report)
{
    return report_outcome(report)->word;
}

/* --- Text ---------------------------------------------------------------- */

static char *window_str(const VerifyReport *report, const VerifyDirection *d)
{
    g_autofree char *size = tool_size_str(report->size);

    return g_strdup_printf("BAR %u, %s at 0x%" G_GINT64_MODIFIER "x", d->bar,
                           size, d->result.offset);
}

static void print_lost(const VerifyReport *report, const VerifyDirection *d)
{
    const VerifyDiff *diff = &d->result.diff;
    g_autofree char *status = verify_nvme_status_str(d->result.status);

    printf("Data       LOST in transfer %u of %u, of which the drive said: "
           "%s\n", d->result.intact + 1, VERIFY_ROUNDS, status);
    if (!diff->wrong) {
        puts("           every byte is right nevertheless");
    } else if (diff->untouched == report->size) {
        puts("           nothing arrived: the window holds what it held "
             "before");
    } else {
        printf("           %zu of %" G_GUINT64_FORMAT " bytes are wrong (%zu "
               "of them as before), from 0x%zx to 0x%zx\n", diff->wrong,
               report->size, diff->untouched, diff->first, diff->last);
    }
    puts("           the kernel's log may name an IOMMU fault: dmesg | grep "
         "-iE 'dmar|amd-vi|iommu'");
}

static void print_no_answer(const VerifyResult *r)
{
    printf("Data       NO ANSWER from the drive in transfer %u of %u, though "
           "it had just read the\n           same blocks into memory\n",
           r->intact + 1, VERIFY_ROUNDS);
}

static void print_data(const VerifyReport *report, const VerifyDirection *d)
{
    g_autofree char *size = tool_size_str(report->size);

    if (d->result.lost) {
        print_lost(report, d);
        return;
    }
    printf("Data       intact: %u transfers of %s from as many places of the "
           "drive,\n           each over another pattern\n",
           d->result.intact, size);
    if (d->result.repeats) {
        puts("           all pages that were read are alike (an empty drive?):"
             " one that arrived\n           in place of another would not "
             "have been noticed");
    }
}

/* What the drive made of the control arm: a word for it */
static const char *control_report(const VerifyResult *r)
{
    if (!r->control_answered) {
        return "nothing";
    }
    return r->control_status ? "error" : "success";
}

static void print_control(const VerifyResult *r)
{
    g_autofree char *status = verify_nvme_status_str(r->control_status);
    bool failed = r->control_answered && r->control_status;

    if (r->control == VERIFY_CONTROL_HELD) {
        printf("Control    without the window in the IOMMU nothing arrived; "
               "the drive reported %s%s%s\n", control_report(r),
               failed ? ": " : "", failed ? status : "");
    } else {
        puts("Control    FAILED: without the window in the IOMMU data arrived "
             "all the same, so\n           that something else routes it; "
             "nothing is proved");
    }
}

static void print_times(const VerifyResult *r)
{
    printf("Bandwidth  %.1f MB/s, to memory %.1f MB/s\n",
           r->window.bandwidth / 1e6, r->ram.bandwidth / 1e6);
    printf("Latency    %.1f us, to memory %.1f us (one read of %"
           G_GUINT64_FORMAT " bytes)\n", r->window.latency * 1e6,
           r->ram.latency * 1e6, r->latency_size);
}

static void print_direction(const VerifyReport *report,
                            const VerifyDirection *d)
{
    g_autofree char *initiator = tool_device_name(d->initiator);
    g_autofree char *target = tool_device_name(d->target);
    g_autofree char *window = window_str(report, d);

    printf("Initiator  %s  %s\n", d->initiator->bdf, initiator);
    printf("Target     %s  %s\n           %s\n", d->target->bdf, target,
           window);
    printf("Verdict    %s (%s): %s\n", p2p_verdict_str(&d->verdict),
           p2p_path_class_str(d->verdict.path_class), d->reason);
    if (!d->verdict.routed_by_root_complex) {
        puts("           what verify tries, as a VM's requests, goes through "
             "the IOMMU, and so through\n           the root complex, which "
             "is not known to route it");
    }
    if (refused(report, d)) {
        return;
    }
    if (d->result.lost || d->done) {
        print_data(report, d);
    } else if (d->result.no_answer) {
        print_no_answer(&d->result);
    }
    if (d->done && !d->result.lost) {
        print_control(&d->result);
        print_times(&d->result);
    }
    if (d->result.touched) {
        printf("Restored   %s%s\n", d->result.not_restored ? "NO: " : "yes",
               d->result.not_restored ?: "");
    }
    if (!d->done) {
        printf("Ended      %s\n", d->error ?: "not tried");
    }
}

void verify_print_text(const VerifyReport *report)
{
    const Outcome *outcome = report_outcome(report);

    for (unsigned i = 0; i < report->n; i++) {
        print_direction(report, &report->direction[i]);
        putchar('\n');
    }
    if (report->backend) {
        printf("IOMMU      %s; the path is the one that a VM's requests "
               "take\n", report->backend);
    }
    printf("Result     %s: %s\n", outcome->word, outcome->meaning);
}

/* --- JSON ---------------------------------------------------------------- */

static void json_double(JsonBuilder *builder, const char *name, double value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_double_value(builder, value);
}

static void json_times(JsonBuilder *builder, const char *name,
                       const VerifyTimes *times)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_object(builder);
    json_double(builder, "bytes-per-second", times->bandwidth);
    json_double(builder, "latency-seconds", times->latency);
    json_builder_end_object(builder);
}

static void json_data(JsonBuilder *builder, const VerifyResult *r)
{
    tool_json_int(builder, "transfers-intact", r->intact);
    tool_json_bool(builder, "data-lost", r->lost);
    tool_json_bool(builder, "pages-alike", r->repeats);
    if (r->lost) {
        tool_json_int(builder, "bytes-wrong", r->diff.wrong);
        tool_json_int(builder, "bytes-untouched", r->diff.untouched);
        tool_json_int(builder, "nvme-status", r->status);
    }
}

static void json_control(JsonBuilder *builder, const VerifyResult *r)
{
    static const char *const words[] = { "not-run", "held", "leaked" };

    json_builder_set_member_name(builder, "control");
    json_builder_begin_object(builder);
    tool_json_string(builder, "result", words[r->control]);
    if (r->control != VERIFY_CONTROL_NOT_RUN) {
        tool_json_string(builder, "drive-reported", control_report(r));
        if (r->control_answered) {
            tool_json_int(builder, "nvme-status", r->control_status);
        }
    }
    json_builder_end_object(builder);
}

static void json_direction(JsonBuilder *builder, const VerifyReport *report,
                           const VerifyDirection *d)
{
    const VerifyResult *r = &d->result;

    json_builder_begin_object(builder);
    tool_json_string(builder, "initiator", d->initiator->bdf);
    tool_json_string(builder, "target", d->target->bdf);
    tool_json_verdict(builder, &d->verdict);
    tool_json_string(builder, "reason", d->reason);
    tool_json_string(builder, "result",
                     outcomes[direction_outcome(report, d)].word);
    tool_json_int(builder, "bar", d->bar);
    tool_json_int(builder, "offset", r->offset);
    tool_json_int(builder, "size", report->size);
    tool_json_string(builder, "error", d->error);
    json_data(builder, r);
    json_control(builder, r);
    json_times(builder, "window", &r->window);
    json_times(builder, "memory", &r->ram);
    tool_json_int(builder, "latency-bytes", r->latency_size);
    tool_json_bool(builder, "restored", r->touched && !r->not_restored);
    json_builder_end_object(builder);
}

void verify_print_json(const VerifyReport *report)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    tool_json_string(builder, "result", verify_report_word(report));
    tool_json_string(builder, "backend", report->backend);
    json_builder_set_member_name(builder, "directions");
    json_builder_begin_array(builder);
    for (unsigned i = 0; i < report->n; i++) {
        json_direction(builder, report, &report->direction[i]);
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    tool_print_json(json_builder_get_root(builder));
}
