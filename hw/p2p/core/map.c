/*
 * Window map: the snapshot itself, how it is built and searched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "map-internal.h"

GQuark p2p_map_error_quark(void)
{
    return g_quark_from_static_string("p2p-map-error-quark");
}

/* Never past the end of the address space, where first + size is 0. */
static uint64_t last_gpa(const P2PWindow *w)
{
    return w->gpa.gpa + (w->size - 1);
}

static const char *window_flaw(const P2PWindow *w)
{
    if (w->size == 0) {
        return "is empty";
    }
    if (last_gpa(w) < w->gpa.gpa) {
        return "ends beyond the guest physical address space";
    }
    if (w->bus.bus + (w->size - 1) < w->bus.bus) {
        return "ends beyond the bus address space";
    }
    if (w->kind != P2P_WINDOW_RAM && w->kind != P2P_WINDOW_IO) {
        return "is neither RAM nor I/O";
    }
    if (w->owner != P2P_NO_OWNER && w->kind == P2P_WINDOW_RAM) {
        return "is RAM and yet has an owner";
    }
    if (w->owner != P2P_NO_OWNER && w->owner >= P2P_MAX_INITIATORS) {
        return "has an owner that is no initiator number";
    }
    return NULL;
}

static int compare_windows(const void *a, const void *b)
{
    const P2PWindow *wa = a;
    const P2PWindow *wb = b;

    return (wa->gpa.gpa > wb->gpa.gpa) - (wa->gpa.gpa < wb->gpa.gpa);
}

static bool check_windows(const P2PWindow *windows, size_t n, GError **error)
{
    size_t i;

    for (i = 0; i < n; i++) {
        const char *flaw = window_flaw(&windows[i]);

        if (flaw) {
            g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_INVALID,
                        "the window of 0x%" PRIx64 " bytes at guest physical "
                        "address 0x%" PRIx64 " %s",
                        windows[i].size, windows[i].gpa.gpa, flaw);
            return false;
        }
    }
    return true;
}

static bool check_overlap(const P2PMap *map, GError **error)
{
    size_t i;

    for (i = 1; i < map->n; i++) {
        const P2PWindow *a = &map->windows[i - 1];
        const P2PWindow *b = &map->windows[i];

        if (last_gpa(a) >= b->gpa.gpa) {
            g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_OVERLAP,
                        "the windows at guest physical addresses "
                        "0x%" PRIx64 "-0x%" PRIx64 " and "
                        "0x%" PRIx64 "-0x%" PRIx64 " overlap",
                        a->gpa.gpa, last_gpa(a), b->gpa.gpa, last_gpa(b));
            return false;
        }
    }
    return true;
}

P2PMap *p2p_map_new(const P2PWindow *windows, size_t n,
                    uint64_t cpu_initiators, GError **error)
{
    g_autoptr(P2PMap) map = NULL;

    if (!check_windows(windows, n, error)) {
        return NULL;
    }

    map = g_malloc(sizeof(*map) + n * sizeof(map->windows[0]));
    map->cpu_initiators = cpu_initiators;
    map->n = n;
    if (n > 0) {
        memcpy(map->windows, windows, n * sizeof(map->windows[0]));
        qsort(map->windows, n, sizeof(map->windows[0]), compare_windows);
    }

    if (!check_overlap(map, error)) {
        return NULL;
    }
    return g_steal_pointer(&map);
}

void p2p_map_free(P2PMap *map)
{
    g_free(map);
}

size_t p2p_map_size(const P2PMap *map)
{
    return map->n;
}

const P2PWindow *p2p_map_window(const P2PMap *map, size_t i)
{
    g_assert(i < map->n);
    return &map->windows[i];
}

const P2PWindow *p2p_map_find(const P2PMap *map, P2PGuestAddr addr)
{
    size_t lo = 0;
    size_t hi = map->n;

    /* Windows below lo start at or before addr, those from hi on after it. */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (map->windows[mid].gpa.gpa <= addr.gpa) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo > 0 && p2p_window_holds(&map->windows[lo - 1], addr)) {
        return &map->windows[lo - 1];
    }
    return NULL;
}
