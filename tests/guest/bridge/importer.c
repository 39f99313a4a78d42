/*
 * Drivers of the kernel that use a window: a module imports a dma-buf
 * dynamically, or takes the window by the driver's own calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "p2p-importer.h"
#include "bridge.h"

#define BAR 2
#define SIZE (3 * MIB)
#define EVENT_WAIT 20000        /* ms */

typedef struct Importer {
    int fd;
    uint32_t window;
    uint64_t offset;            /* in the aperture */
} Importer;

/* What the bridge's BAR 4 has for an address */
static uint64_t aperture_address(void)
{
    char path[128];
    unsigned long long start = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
             machine.self);
    file = fopen(path, "r");
    for (unsigned i = 0; file && i <= P2P_BRIDGE_BAR_APERTURE; i++) {
        if (fscanf(file, "%llx %*x %*x", &start) != 1) {
            die("%s: not readable", path);
        }
    }
    if (file) {
        fclose(file);
    }
    return start;
}

static bool import(Importer *importer, uint32_t kind, uint32_t flags)
{
    struct p2p_importer_attach attach = {
        .kind = kind, .rid = machine.disk, .flags = flags,
    };
    int status;

    importer->fd = open("/dev/p2p-importer", O_RDWR | O_CLOEXEC);
    if (importer->fd < 0 ||
        p2p_bridge_share(machine.bridge, machine.target, BAR, MIB, SIZE,
                         P2P_BRIDGE_ACCESS_RW, &importer->window) < 0 ||
        p2p_bridge_attach(machine.bridge, importer->window,
                          &importer->offset) < 0) {
        complain("importer, share or attach: %s", strerror(errno));
        return false;
    }
    attach.fd = kind == P2P_IMPORTER_DMA_BUF
                ? p2p_bridge_dma_buf(machine.bridge, importer->window,
                                     machine.disk)
                : p2p_bridge_memory(machine.bridge, importer->window,
                                    P2P_BRIDGE_PAGES_AUTO, machine.disk);
    status = attach.fd < 0 ? -1
             : ioctl(importer->fd, P2P_IMPORTER_ATTACH, &attach);
    if (status < 0) {
        complain("import: %s", strerror(errno));
    }
    /* The importer has its own reference. */
    close(attach.fd);
    return status == 0;
}

/* All of the window, and, where no IOMMU translates, at its own address */
static bool map(Importer *importer)
{
    struct p2p_importer_map map = { .direction = 0 };
    uint64_t next = aperture_address() + importer->offset;
    uint64_t total = 0;

    if (ioctl(importer->fd, P2P_IMPORTER_MAP, &map) < 0) {
        complain("map: %s", strerror(errno));
        return false;
    }
    for (unsigned i = 0; i < map.segments && i < P2P_IMPORTER_SEGMENTS; i++) {
        if (map.segment[i].address != next + total) {
            complain("segment %u is at 0x%llx, not 0x%llx", i,
                     (unsigned long long)map.segment[i].address,
                     (unsigned long long)(next + total));
            return false;
        }
        total += map.segment[i].length;
    }
    if (total != SIZE) {
        complain("%llu of %u bytes are mapped", (unsigned long long)total,
                 SIZE);
    }
    return total == SIZE;
}

static bool is_in_state(Importer *importer, bool mapped, unsigned revocations)
{
    struct p2p_importer_state state;

    if (ioctl(importer->fd, P2P_IMPORTER_STATE, &state) < 0 ||
        state.mapped != mapped || state.revocations != revocations) {
        complain("the importer is %smapped, and was told %u times",
                 state.mapped ? "" : "not ", state.revocations);
        return false;
    }
    return true;
}

/* The reason of the event that the window has gone; -1: there was none. */
static int revoked_because(const Importer *importer)
{
    struct p2p_bridge_event event;

    while (p2p_bridge_event(machine.bridge, &event, EVENT_WAIT) == 1) {
        if (event.type == P2P_BRIDGE_EVENT_REVOKED &&
            event.window == importer->window) {
            return event.reason;
        }
    }
    complain("no event has told of it");
    return -1;
}

static bool cannot_map(Importer *importer)
{
    struct p2p_importer_map map = { .direction = 0 };

    if (ioctl(importer->fd, P2P_IMPORTER_MAP, &map) == 0) {
        complain("a window that has gone was mapped");
        return false;
    }
    return true;
}

static bool forget(Importer *importer)
{
    close(importer->fd);
    if (p2p_bridge_unshare(machine.bridge, importer->window) < 0) {
        complain("unshare: %s", strerror(errno));
        return false;
    }
    return true;
}

static void try_kind(uint32_t kind, const char *name)
{
    Importer importer;
    bool ok = import(&importer, kind, 0);
    int reason;

    report(ok && map(&importer) && is_in_state(&importer, true, 0),
           "importer/%s/map", name);
    if (!ok) {
        return;
    }
    ok = host("unshare target %u", BAR);
    reason = revoked_because(&importer);
    report(ok && reason != P2P_BRIDGE_REVOKE_TIMEOUT &&
           is_in_state(&importer, false, 1) && cannot_map(&importer),
           "importer/%s/revoked", name);
    report(forget(&importer) & host("share target %u", BAR),
           "importer/%s/forget", name);
}

/*
 * One that does not let go: the host waits as long as it has said. Whether the
 * driver or the host gives up first is nobody's business.
 */
static void try_stubborn(void)
{
    Importer importer;

    report(import(&importer, P2P_IMPORTER_DMA_BUF, P2P_IMPORTER_STUBBORN) &&
           map(&importer) && host("unshare target %u", BAR) &&
           revoked_because(&importer) >= 0 &&
           is_in_state(&importer, true, 1), "importer/stubborn");
    report(forget(&importer) & host("share target %u", BAR),
           "importer/stubborn/forget");
}

void try_importer(void)
{
    load_module("/p2p-importer.ko");
    try_kind(P2P_IMPORTER_DMA_BUF, "dma-buf");
    try_kind(P2P_IMPORTER_WINDOW, "window");
    try_stubborn();
    syscall(SYS_delete_module, "p2p_importer", O_NONBLOCK);
}
