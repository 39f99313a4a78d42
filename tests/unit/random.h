/*
 * Random numbers and random windows for tests
 *
 * They come from GLib's test seed: what fails is seen again with the --seed
 * that the test has printed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include <glib.h>
#include "hw/p2p/map.h"

uint64_t random_u64(void);
uint64_t random_below(uint64_t n);
bool one_in(unsigned n);

/*
 * How many entries a random test is to translate: @usual, or what the
 * environment says (P2P_TEST_ENTRIES), which is how sanitizers ask for less.
 */
size_t random_entries_wanted(size_t usual);

/* Bytes of a window, from one to more than an entry can name. */
uint64_t random_size(void);

/* All but address and size, which are set; @before: its neighbour, or NULL. */
void random_window(P2PWindow *w, const P2PWindow *before);

/*
 * @n windows in ascending order that do not overlap, at the bottom of the
 * address space, at its top, or in between; some regular, others not.
 */
void random_windows(P2PWindow *ws, size_t n);

void random_shuffle(P2PWindow *ws, size_t n);

#endif /* TESTS_UNIT_RANDOM_H */
