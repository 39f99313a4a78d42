/*
 * The host takes a window back while it is in use, or the target stops decoding
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "load.h"

#define BAR 2
#define EVENT_WAIT 20000        /* ms */

/* What comes until the window is said to have gone; @reason: if not 0, why */
static bool told_because(const Window *window, unsigned reason)
{
    struct p2p_bridge_event event;

    while (p2p_bridge_event(machine.bridge, &event, EVENT_WAIT) == 1) {
        if (event.type != P2P_BRIDGE_EVENT_REVOKED ||
            event.window != window->number) {
            continue;
        }
        if (event.reason == P2P_BRIDGE_REVOKE_TIMEOUT) {
            complain("the driver did not acknowledge in time");
            return false;
        }
        if (reason && event.reason != reason) {
            complain("it has gone since %s",
                     p2p_bridge_revoke_str(event.reason));
            return false;
        }
        return true;
    }
    complain("no event has told of it");
    return false;
}

static bool told(const Window *window)
{
    return told_because(window, 0);
}

static bool fails(int status, int error, const char *what)
{
    if (status >= 0 || errno != error) {
        complain("%s: %s, not %s", what,
                 status >= 0 ? "done" : strerror(errno), strerror(error));
        return false;
    }
    return true;
}

/* A window that has gone is of no use but to be unshared. */
static bool is_gone(Window *window)
{
    bool ok = fails(p2p_bridge_attach(machine.bridge, window->number, NULL),
                    ESTALE, "attach") &
              fails(p2p_bridge_memory(machine.bridge, window->number,
                                      P2P_BRIDGE_PAGES_AUTO, 0),
                    ESTALE, "memory") &
              fails(p2p_bridge_dma_buf(machine.bridge, window->number, 0),
                    ESTALE, "dma-buf");

    if (try_fill(window->data, 4096, 1, 0)) {
        complain("its memory can be written");
        ok = false;
    }
    munmap(window->data, window->size);
    window->data = NULL;
    if (p2p_bridge_unshare(machine.bridge, window->number) < 0) {
        complain("unshare: %s", strerror(errno));
        ok = false;
    }
    return ok;
}

static bool not_shared(void)
{
    uint32_t window;

    return fails(p2p_bridge_share(machine.bridge, machine.target, BAR, 0,
                                  LOAD_WINDOW, P2P_BRIDGE_ACCESS_RW, &window),
                 EACCES, "share");
}

static void revoke_once(unsigned round)
{
    Window window;
    Load *load;
    bool ok;

    if (!open_window(&window, BAR, 0, LOAD_WINDOW, P2P_BRIDGE_PAGES_AUTO)) {
        report(false, "revoke/%u/open", round);
        return;
    }
    load = load_begin(&window, false);
    ok = host("unshare target %u", BAR);
    report(load_end(load) & ok, "revoke/%u/load", round);
    report(told(&window), "revoke/%u/event", round);
    report(is_gone(&window), "revoke/%u/gone", round);
    report(not_shared(), "revoke/%u/not-shared", round);
    report(host("share target %u", BAR), "revoke/%u/share", round);
}

/* Nobody uses it, a program has it only. */
static void revoke_idle(void)
{
    Window window;
    bool ok = open_window(&window, BAR, 0, LOAD_WINDOW,
                          P2P_BRIDGE_PAGES_AUTO);

    fill(window.data, 4096, 1, 0);
    ok = ok && host("unshare target %u", BAR) && told(&window) &&
         is_gone(&window) && host("share target %u", BAR);
    report(ok, "revoke/idle");
}

/* One that shares no memory with it stays. */
static void revoke_other(void)
{
    Window other;
    Window window;
    uint32_t tag = new_tag();
    bool ok = open_window(&other, 4, 0, MIB, P2P_BRIDGE_PAGES_AUTO) &&
              open_window(&window, BAR, 0, MIB, P2P_BRIDGE_PAGES_AUTO);

    fill(other.data, other.size, tag, 0);
    ok = ok && host("unshare target %u", BAR) && told(&window) &&
         is_gone(&window) &&
         try_compare(other.data, other.size, tag, 0) == 1 &&
         close_window(&other) && host("share target %u", BAR);
    report(ok, "revoke/other-stays");
}

void try_revoke(unsigned rounds)
{
    for (unsigned i = 1; i <= rounds; i++) {
        revoke_once(i);
    }
    revoke_idle();
    revoke_other();
}

/* --- By the guest itself ----------------------------------------------------- */

#define COMMAND 4               /* in configuration space, 16 bits */
#define COMMAND_MEMORY 2

/* Let the target decode, or not. */
static void set_decode(bool on)
{
    char path[128];
    uint16_t command = 0;
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
             machine.target_name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread(fd, &command, 2, COMMAND) != 2) {
        die("%s: %m", path);
    }
    command = on ? command | COMMAND_MEMORY : command & ~COMMAND_MEMORY;
    if (pwrite(fd, &command, 2, COMMAND) != 2) {
        die("%s: %m", path);
    }
    close(fd);
}

/* There is no time to tell the driver before. */
static void stop_decoding(unsigned round)
{
    Window window;
    Load *load;

    if (!open_window(&window, BAR, 0, LOAD_WINDOW, P2P_BRIDGE_PAGES_AUTO)) {
        report(false, "decode/%u/open", round);
        return;
    }
    load = load_begin(&window, true);
    set_decode(false);
    report(load_end(load), "decode/%u/load", round);
    report(told_because(&window, P2P_BRIDGE_REVOKE_NOT_DECODED) &&
           is_gone(&window), "decode/%u/gone", round);
    report(p2p_bridge_share(machine.bridge, machine.target, BAR, 0,
                            LOAD_WINDOW, P2P_BRIDGE_ACCESS_RW,
                            &window.number) == 0 &&
           fails(p2p_bridge_attach(machine.bridge, window.number, NULL),
                 EHOSTDOWN, "attach") &&
           p2p_bridge_unshare(machine.bridge, window.number) == 0,
           "decode/%u/not-decoded", round);
    set_decode(true);
}

void try_decode(unsigned rounds)
{
    for (unsigned i = 1; i <= rounds; i++) {
        stop_decoding(i);
    }
    revoke_idle();
}
