/*
 * The random walk: chance, history, and what is shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "walk.h"

uint32_t pick(Walk *w, uint32_t n)
{
    return g_rand_int_range(w->random, 0, n);
}

bool chance(Walk *w, uint32_t one_in)
{
    return !pick(w, one_in);
}

void G_GNUC_PRINTF(2, 3) note(Walk *w, const char *format, ...)
{
    char **entry = &w->history[w->number % HISTORY];
    g_autofree char *before = *entry;
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    *entry = before ? g_strdup_printf("%s; %s", before, text)
                    : g_steal_pointer(&text);
}

void note_next(Walk *w)
{
    w->number++;
    g_clear_pointer(&w->history[w->number % HISTORY], g_free);
}

/* --- Windows ----------------------------------------------------------- */

void share_add(Device *dev, int bar, uint64_t offset, uint64_t size,
               bool readonly)
{
    Share share = { bar, offset, size, readonly };

    g_array_append_val(dev->shares, share);
}

/* A range without the page of registers, which device models do not share. */
void share_around_hole(Device *dev, int bar, uint64_t offset,
                       uint64_t size, bool readonly)
{
    uint64_t end = offset + size;

    if (bar != 2 || !dev->hole) {
        share_add(dev, bar, offset, size, readonly);
        return;
    }
    if (offset < PAGE) {
        share_add(dev, bar, offset, MIN(end, PAGE) - offset, readonly);
    }
    if (end > 2 * PAGE) {
        offset = MAX(offset, 2 * PAGE);
        share_add(dev, bar, offset, end - offset, readonly);
    }
}

void share_auto(Device *dev)
{
    for (int bar = 2; bar <= 4; bar += 2) {
        share_around_hole(dev, bar, 0, model_bar(&dev->model, bar)->size,
                          false);
    }
}

Device *walk_device(Walk *w, const char *id)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (g_str_equal(w->devices[i].id, id)) {
            return &w->devices[i];
        }
    }
    g_assert_not_reached();
}

Device *any_device(Walk *w)
{
    Device *dev;

    do {
        dev = &w->devices[pick(w, DEVICES)];
    } while (!dev->model.present);
    return dev;
}
