/*
 * A window for the time of a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "command.h"

/* --- Which host window --------------------------------------------------- */

static bool holds(const struct p2p_bridge_host_window *window,
                  const struct place *place)
{
    return window->rid == place->rid && window->bar == place->bar &&
           place->offset >= window->offset &&
           place->offset - window->offset < window->length;
}

/* Why there is none that holds @place */
static void explain_none(const char *name, const struct place *place,
                         const struct p2p_bridge_host_window *windows,
                         size_t n)
{
    char bdf[P2P_BRIDGE_RID_CHARS];

    p2p_bridge_rid_str(place->rid, bdf);
    for (size_t i = 0; i < n; i++) {
        if (windows[i].rid == place->rid && windows[i].bar == place->bar) {
            message("%s: the host shares of BAR %u other ranges only, such "
                    "as @0x%" PRIx64 "-0x%" PRIx64 " (p2p-bridge list)", name,
                    place->bar, (uint64_t)windows[i].offset,
                    (uint64_t)(windows[i].offset + windows[i].length));
            return;
        }
    }
    message("%s: the host shares nothing of BAR %u of %s; on the host, "
            "p2p-share=bar%u of that device does", name, place->bar, bdf,
            place->bar);
}

static bool find_host_window(struct p2p_bridge *bridge, const char *name,
                             const struct place *place,
                             struct p2p_bridge_host_window *found)
{
    struct p2p_bridge_host_window *windows;
    size_t n;

    if (p2p_bridge_windows(bridge, &windows, &n, NULL) < 0) {
        message("the host's windows cannot be listed: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (holds(&windows[i], place)) {
            *found = windows[i];
            free(windows);
            return true;
        }
    }
    explain_none(name, place, windows, n);
    free(windows);
    return false;
}

/* --- Sharing ------------------------------------------------------------- */

static const char *way_out(int error)
{
    switch (error) {
    case ENOSPC:
        return "; the aperture has no such room: detach other windows, or "
               "give the p2p-bridge a larger aperture= on the host";
    case EMFILE:
        return "; there are as many guest windows as there may be: end who "
               "has others";
    case EACCES:
        return "; the host does not share it (any more)";
    case EROFS:
        return "; the host shares it for reading only (p2p-share=barN:rw "
               "there)";
    case EHOSTDOWN:
        return "; its function sleeps, or does not decode memory: see "
               "whether a driver is bound to it";
    case EOPNOTSUPP:
        return "; this kernel, or this window, has no such pages: "
               "--pages=auto takes what there is";
    case EBUSY:
        return "; its place in the aperture has pages of another kind: "
               "--pages=auto, or --client, may choose those";
    case ESTALE:
        return "; the host has taken it back meanwhile";
    case ENODEV:
        return "; the p2p-bridge has gone";
    default:
        return "";
    }
}

static enum status refused(const struct guest_window *window, const char *what)
{
    int why = errno;

    message("%s: it cannot be %s: %s%s", window->name, what, strerror(why),
            way_out(why));
    return why == EINTR ? STATUS_CANNOT : STATUS_NO;
}

static enum status check_place(const char *name, const struct place *place,
                               const struct p2p_bridge_host_window *host,
                               uint32_t access)
{
    uint64_t end = host->offset + host->length;

    if (place->end > end) {
        message("%s: it ends behind 0x%" PRIx64 ", where the host's window "
                "ends", name, end);
        return STATUS_NO;
    }
    if (access == P2P_BRIDGE_ACCESS_RW &&
        host->access != P2P_BRIDGE_ACCESS_RW) {
        message("%s: the host shares it for reading only (p2p-share=bar%u:rw "
                "there)", name, place->bar);
        return STATUS_NO;
    }
    return STATUS_OK;
}

enum status window_share(struct guest_window *window,
                         struct p2p_bridge *bridge, const char *name,
                         const struct place *place, uint32_t access)
{
    struct p2p_bridge_host_window host;
    struct p2p_bridge_identify identify;
    enum status status;
    uint64_t page;
    uint64_t end;

    *window = (struct guest_window) { .bridge = bridge, .name = name };
    if (p2p_bridge_identify(bridge, &identify) < 0) {
        message("the p2p-bridge does not answer: %s", strerror(errno));
        return STATUS_CANNOT;
    }
    if (!find_host_window(bridge, name, place, &host)) {
        return STATUS_NO;
    }
    status = check_place(name, place, &host, access);
    if (status != STATUS_OK) {
        return status;
    }
    page = UINT64_C(1) << (identify.page_shift & 63);
    end = place->end ? place->end : host.offset + host.length;
    window->start = place->offset & -page;
    window->length = ((end + page - 1) & -page) - window->start;
    window->skip = place->offset - window->start;
    window->size = end - place->offset;
    if (p2p_bridge_share(bridge, place->rid, place->bar, window->start,
                         window->length, access, &window->number) < 0) {
        window->number = 0;
        return refused(window, "shared");
    }
    return STATUS_OK;
}

enum status window_attach(struct guest_window *window)
{
    if (p2p_bridge_attach(window->bridge, window->number,
                          &window->aperture) < 0) {
        return refused(window, "attached");
    }
    return STATUS_OK;
}

enum status window_map(struct guest_window *window, uint32_t pages,
                       uint32_t client, bool write)
{
    window->memory = p2p_bridge_map(window->bridge, window->number, pages,
                                    client, window->length,
                                    PROT_READ | (write ? PROT_WRITE : 0));
    return window->memory ? STATUS_OK : refused(window, "mapped");
}

/* --- Its end ------------------------------------------------------------- */

bool window_revoked(struct guest_window *window)
{
    struct p2p_bridge_event event;

    while (p2p_bridge_event(window->bridge, &event, 0) == 1) {
        if ((event.type == P2P_BRIDGE_EVENT_REVOKE ||
             event.type == P2P_BRIDGE_EVENT_REVOKED) &&
            event.window == window->number && !window->revoke_reason) {
            window->revoke_reason = event.reason;
        }
    }
    return window->revoke_reason;
}

void window_end(struct guest_window *window)
{
    if (window->memory) {
        munmap(window->memory, window->length);
        window->memory = NULL;
    }
    if (window->number) {
        /* Not attached, or gone: nothing more to undo. */
        p2p_bridge_detach(window->bridge, window->number);
        p2p_bridge_unshare(window->bridge, window->number);
        window->number = 0;
    }
}
