/*
 * What is in the machine; windows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge.h"

Machine machine;

uint32_t new_tag(void)
{
    static uint32_t tag = 0xa00000;

    return __atomic_fetch_add(&tag, 1, __ATOMIC_RELAXED);
}

/* --- Functions in sysfs -------------------------------------------------- */

static void find_function(const char *vendor, const char *device,
                          char name[P2P_BRIDGE_RID_CHARS])
{
    glob_t found = {};
    bool right = false;

    glob("/sys/bus/pci/devices/*", 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc && !right; i++) {
        char path[128];
        char id[16];

        snprintf(path, sizeof(path), "%s/vendor", found.gl_pathv[i]);
        right = read_line(path, id, sizeof(id)) && strcmp(id, vendor) == 0;
        snprintf(path, sizeof(path), "%s/device", found.gl_pathv[i]);
        right = right && read_line(path, id, sizeof(id)) &&
                strcmp(id, device) == 0;
        if (right) {
            snprintf(name, P2P_BRIDGE_RID_CHARS, "%s",
                     basename(found.gl_pathv[i]));
        }
    }
    globfree(&found);
    if (!right) {
        die("there is no function %s:%s", vendor, device);
    }
}

static uint32_t parse(const char *name)
{
    uint32_t rid;

    if (!p2p_bridge_rid_parse(name, &rid)) {
        die("'%s' is no address of a function", name);
    }
    return rid;
}

/* The target has no driver; firmware may not have let it decode. */
static void enable_target(void)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable",
             machine.target_name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1) {
        die("%s: %m", path);
    }
    close(fd);
}

static void mount_disk(void)
{
    char *block = wait_for_block(0);
    char path[128];
    char link[256];
    ssize_t n;

    if (!block) {
        die("the guest has no disk");
    }
    snprintf(path, sizeof(path), "/sys/block/%s/device/device", block);
    n = readlink(path, link, sizeof(link) - 1);
    if (n < 0) {
        die("%s: %m", path);
    }
    link[n] = '\0';
    snprintf(machine.disk_name, sizeof(machine.disk_name), "%.12s",
             basename(link));
    machine.disk = parse(machine.disk_name);
    snprintf(path, sizeof(path), "/dev/%s", block);
    mkdir(FOLDER, 0755);
    if (mount(path, FOLDER, "ext4", 0, NULL) < 0) {
        die("mount %s: %m", path);
    }
    free(block);
}

/* --- The bridge ---------------------------------------------------------- */

void load_driver(void)
{
    load_module("/p2p-bridge.ko");
}

void open_bridge(void)
{
    machine.bridge = p2p_bridge_open(NULL);
    if (!machine.bridge) {
        die("no p2p-bridge: %m");
    }
}

void close_bridge(void)
{
    p2p_bridge_close(machine.bridge);
    machine.bridge = NULL;
}

void set_up(void)
{
    catch_sigbus();
    load_driver();
    find_function("0x1b36", "0x0015", machine.self);
    find_function("0x1b36", "0x0005", machine.target_name);
    machine.target = parse(machine.target_name);
    mount_disk();
    enable_target();
    open_bridge();
}

/* --- Windows ------------------------------------------------------------- */

bool open_window(Window *window, uint32_t bar, uint64_t offset, size_t size,
                 uint32_t pages)
{
    *window = (Window) { .bar = bar, .size = size };
    if (p2p_bridge_share(machine.bridge, machine.target, bar, offset, size,
                         P2P_BRIDGE_ACCESS_RW, &window->number) < 0) {
        complain("share: %s", strerror(errno));
        return false;
    }
    if (p2p_bridge_attach(machine.bridge, window->number, NULL) < 0) {
        complain("attach: %s", strerror(errno));
        return false;
    }
    window->data = p2p_bridge_map(machine.bridge, window->number, pages,
                                  machine.disk, size, PROT_READ | PROT_WRITE);
    if (!window->data) {
        complain("map: %s", strerror(errno));
        return false;
    }
    return true;
}

static bool undone(int status, const char *what)
{
    if (status < 0) {
        complain("%s: %s", what, strerror(errno));
    }
    return status == 0;
}

bool close_window(Window *window)
{
    bool ok = !window->data ||
              undone(munmap(window->data, window->size), "munmap");

    return ok &
           undone(p2p_bridge_detach(machine.bridge, window->number),
                  "detach") &
           undone(p2p_bridge_unshare(machine.bridge, window->number),
                  "unshare");
}

int open_direct(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);

    if (fd < 0) {
        die("%s: %m", path);
    }
    return fd;
}
