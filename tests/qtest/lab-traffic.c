/*
 * Many large transfers of a drive at a time, while something else happens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "lab-probe.h"
#include "lab-traffic.h"

#define SCRATCH_LBA (9 * MiB / LAB_BLOCK)
#define PIECE_LBAS  (LAB_TRAFFIC_PIECE / LAB_BLOCK)
#define POLL_US     1000

/* Every other command writes to memory. */
static bool writes_memory(unsigned piece)
{
    return piece % 2 == 0;
}

/* The last page of a piece, in bytes from the first piece on */
static uint64_t last_page(unsigned piece)
{
    return (piece + 1) * LAB_TRAFFIC_PIECE - PROBE_SIZE;
}

LabTraffic lab_traffic_start(LabMachine *machine, unsigned initiator,
                             uint64_t bus, unsigned commands)
{
    QNvmeQueue *queue = machine->drive[initiator].queue;
    LabTraffic traffic = {
        .machine = machine, .initiator = initiator, .bus = bus,
        .commands = commands, .under_way = commands, .status = QNVME_SUCCESS,
    };

    for (unsigned i = 0; i < commands; i++) {
        P2PBusVec vec = {
            .addr = { bus + i * LAB_TRAFFIC_PIECE }, .len = LAB_TRAFFIC_PIECE,
        };
        QNvmeOp op = writes_memory(i) ? QNVME_READ : QNVME_WRITE;
        uint64_t lba = i * PIECE_LBAS + (writes_memory(i) ? 0 : SCRATCH_LBA);

        g_assert_cmpint(qnvme_queue_add(queue, op, lba, &vec, 1), ==, 0);
    }
    qnvme_queue_ring(queue);
    return traffic;
}

unsigned lab_traffic_poll(LabTraffic *traffic)
{
    QNvmeQueue *queue = traffic->machine->drive[traffic->initiator].queue;

    traffic->under_way -= qnvme_queue_reap(queue, &traffic->status);
    return traffic->under_way;
}

void lab_traffic_end(LabTraffic *traffic)
{
    gint64 end = g_get_monotonic_time() + QNVME_TIMEOUT_S * G_USEC_PER_SEC;

    while (lab_traffic_poll(traffic)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(POLL_US);
    }
}

bool lab_traffic_arrived(const LabTraffic *traffic, uint64_t gpa)
{
    uint8_t seen[PROBE_SIZE], disk[PROBE_SIZE];

    for (unsigned i = 0; i < traffic->commands; i++) {
        if (writes_memory(i)) {
            qtest_bufread(traffic->machine->qts, gpa + last_page(i), seen,
                          PROBE_SIZE);
            lab_disk_words(traffic->initiator, last_page(i), disk, PROBE_SIZE);
            if (memcmp(seen, disk, PROBE_SIZE)) {
                return false;
            }
        }
    }
    return true;
}

void lab_traffic_mark(LabTraffic *traffic, uint64_t gpa)
{
    uint8_t pattern[PROBE_SIZE];

    traffic->mark = probe_seed();
    lab_pattern(traffic->mark, pattern, PROBE_SIZE);
    for (unsigned i = 0; i < traffic->commands; i++) {
        if (writes_memory(i)) {
            qtest_bufwrite(traffic->machine->qts, gpa + last_page(i), pattern,
                           PROBE_SIZE);
        }
    }
}

bool lab_traffic_marked(const LabTraffic *traffic, uint64_t gpa)
{
    uint8_t seen[PROBE_SIZE], pattern[PROBE_SIZE];

    lab_pattern(traffic->mark, pattern, PROBE_SIZE);
    for (unsigned i = 0; i < traffic->commands; i++) {
        if (writes_memory(i)) {
            qtest_bufread(traffic->machine->qts, gpa + last_page(i), seen,
                          PROBE_SIZE);
            if (memcmp(seen, pattern, PROBE_SIZE)) {
                return false;
            }
        }
    }
    return true;
}
