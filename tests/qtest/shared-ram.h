/*
 * Guest RAM that the test sees as its own memory, too
 *
 * A driver reads and writes its queues there, which through the qtest
 * protocol would cost a round trip each time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_SHARED_RAM_H
#define P2P_TESTS_SHARED_RAM_H

#include <stdint.h>

typedef struct SharedRam {
    uint8_t *hva;     /* guest physical address 0 */
    uint64_t size;    /* bytes; less than what a machine has below 4 GiB */
    int fd;
} SharedRam;

void shared_ram_new(SharedRam *ram, uint64_t size);

/* shared_ram_free: when no QEMU uses it any more. */
void shared_ram_free(SharedRam *ram);

/*
 * shared_ram_options: of QEMU's command line; makes a memory back end "ram",
 * which the machine names (memory-backend=ram). The caller frees it.
 */
char *shared_ram_options(const SharedRam *ram);

#endif /* P2P_TESTS_SHARED_RAM_H */
