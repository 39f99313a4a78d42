/*
 * A test for each variant of the kernels
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_VARIANTS_H
#define TESTS_UNIT_VARIANTS_H

#include <glib.h>
#include "map-internal.h"

/* The variant under test, while a test runs that was added for it. */
extern const P2PKernels *variant;

/* Adds @path/NAME for all variants; the processor may lack some: skipped. */
void variants_add(const char *path, void (*test)(void));

#endif /* TESTS_UNIT_VARIANTS_H */
