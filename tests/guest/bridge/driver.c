/*
 * The driver goes while windows are in use, and comes again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "load.h"

#define REMOVE_WAIT 20000       /* ms, if nothing else happens */

static bool write_name(const char *file)
{
    char path[128];
    int fd;
    bool ok;

    snprintf(path, sizeof(path), "/sys/bus/pci/drivers/p2p-bridge/%s", file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    ok = fd >= 0 && write(fd, machine.self, strlen(machine.self)) > 0;
    if (!ok) {
        complain("%s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Whatever is asked of the handle: the device has gone. */
static bool handle_is_dead(const Window *window)
{
    struct p2p_bridge_identify identify;
    struct p2p_bridge_event event;
    struct pollfd poll_fd = {
        .fd = p2p_bridge_fd(machine.bridge), .events = POLLIN,
    };
    bool ok = true;

    if (p2p_bridge_identify(machine.bridge, &identify) == 0 ||
        errno != ENODEV) {
        complain("identify: %s, not ENODEV", strerror(errno));
        ok = false;
    }
    if (p2p_bridge_detach(machine.bridge, window->number) == 0 ||
        errno != ENODEV) {
        complain("detach: %s, not ENODEV", strerror(errno));
        ok = false;
    }
    /* Events that came before can be read. */
    while (p2p_bridge_event(machine.bridge, &event, 0) == 1) {
        continue;
    }
    if (errno != ENODEV) {
        complain("event: %s, not ENODEV", strerror(errno));
        ok = false;
    }
    if (poll(&poll_fd, 1, 0) != 1 || !(poll_fd.revents & POLLHUP)) {
        complain("poll does not say POLLHUP");
        ok = false;
    }
    return ok;
}

/* A window can be had again. */
static bool works(void)
{
    Window window;

    return open_window(&window, 2, 0, 2 * MIB, P2P_BRIDGE_PAGES_AUTO) &&
           try_fill(window.data, window.size, new_tag(), 0) &&
           close_window(&window);
}

void try_unbind(void)
{
    Window window;
    Load *load;
    bool ok;

    if (!open_window(&window, 2, 0, LOAD_WINDOW, P2P_BRIDGE_PAGES_AUTO)) {
        report(false, "unbind/open");
        return;
    }
    load = load_begin(&window, false);
    ok = write_name("unbind");
    report(load_end(load) & ok, "unbind/load");
    report(handle_is_dead(&window), "unbind/handle");
    if (try_fill(window.data, 4096, 1, 0)) {
        complain("its memory can be written");
        ok = false;
    }
    munmap(window.data, window.size);
    close_bridge();
    ok &= write_name("bind");
    report(ok, "unbind/bind");
    open_bridge();
    report(works(), "unbind/works-again");
}

static long remove_module(void)
{
    return syscall(SYS_delete_module, "p2p_bridge", O_NONBLOCK);
}

/* Windows that nobody has any more go at leisure, and hold the module. */
static bool remove_at_last(void)
{
    char users[16] = "?";

    for (unsigned i = 0; i < REMOVE_WAIT; i++) {
        if (remove_module() == 0) {
            return true;
        }
        usleep(1000);
    }
    complain("rmmod: %s", strerror(errno));
    read_line("/sys/module/p2p_bridge/refcnt", users, sizeof(users));
    complain("it has %s users", users);
    return false;
}

/* An open file, or a mapping, holds the module. */
void try_reload(void)
{
    Window window;
    bool ok = open_window(&window, 2, 0, 2 * MIB, P2P_BRIDGE_PAGES_AUTO);

    if (ok && (remove_module() == 0 || errno != EWOULDBLOCK)) {
        complain("rmmod of a driver in use: %s", strerror(errno));
        ok = false;
    }
    close_bridge();
    if (ok && (remove_module() == 0 || errno != EWOULDBLOCK)) {
        complain("rmmod of a driver whose memory is mapped: %s",
                 strerror(errno));
        ok = false;
    }
    /* Its memory outlives the handle. */
    ok = ok && try_fill(window.data, window.size, new_tag(), 0);
    report(ok, "reload/held");
    munmap(window.data, window.size);
    ok = remove_at_last();
    report(ok, "reload/rmmod");
    if (ok) {
        load_driver();
    }
    open_bridge();
    report(works(), "reload/insmod");
}
