/*
 * Which memory the core has: its aligned blocks, which are chunks and
 * directories
 *
 * A program that is linked with count-blocks.c and --wrap options for
 * posix_memalign and free counts what its own objects and the core allocate;
 * shared libraries are not seen.  For one thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_COUNT_BLOCKS_H
#define TESTS_UNIT_COUNT_BLOCKS_H

#include <stddef.h>

/* Those that are not freed yet. */
size_t count_blocks(void);
size_t count_bytes(void);

#endif /* TESTS_UNIT_COUNT_BLOCKS_H */
