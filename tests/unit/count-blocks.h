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

/* For the linker's --wrap only: what is called instead, and the original. */
int __wrap_posix_memalign(void **block, size_t alignment, size_t size);
int __real_posix_memalign(void **block, size_t alignment, size_t size);
void __wrap_free(void *block);
void __real_free(void *block);

#endif /* TESTS_UNIT_COUNT_BLOCKS_H */
