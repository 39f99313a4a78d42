/*
 * Many large transfers of a drive at a time, while something else happens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_LAB_TRAFFIC_H
#define P2P_TESTS_LAB_TRAFFIC_H

#include "lab-machine.h"

/* Commands, and bytes that each of them moves */
#define LAB_TRAFFIC_MAX   LAB_QUEUE_DEPTH
#define LAB_TRAFFIC_PIECE (64 * KiB)

typedef struct LabTraffic {
    LabMachine *machine;
    unsigned initiator;
    uint64_t bus;
    unsigned commands;
    unsigned under_way;
    int status;         /* of one that has failed, else success */
    uint64_t mark;      /* seed of a pattern */
} LabTraffic;

/*
 * lab_traffic_start: have a drive of a machine with root ports read and write
 * memory, in turns.  Of its disk it reads the first bytes, and writes what is
 * after 9 MiB.
 *
 * @bus: where it begins, as a bus address
 * @commands: how many, up to LAB_TRAFFIC_MAX
 */
LabTraffic lab_traffic_start(LabMachine *machine, unsigned initiator,
                             uint64_t bus, unsigned commands);

/* lab_traffic_poll: how many commands have not ended. */
unsigned lab_traffic_poll(LabTraffic *traffic);

/* lab_traffic_end: wait for them all; one that never ends, ends the test. */
void lab_traffic_end(LabTraffic *traffic);

/*
 * lab_traffic_arrived: whether all that was to be written to @bus is at the
 * guest physical address @gpa; a sample.
 */
bool lab_traffic_arrived(const LabTraffic *traffic, uint64_t gpa);

/*
 * lab_traffic_mark: write a pattern at @gpa over what the traffic writes last.
 * lab_traffic_marked: whether all of it is still there.
 */
void lab_traffic_mark(LabTraffic *traffic, uint64_t gpa);
bool lab_traffic_marked(const LabTraffic *traffic, uint64_t gpa);

#endif /* P2P_TESTS_LAB_TRAFFIC_H */
