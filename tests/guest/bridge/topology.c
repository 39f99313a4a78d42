/*
 * What the bridge tells; what it refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge.h"

static const struct p2p_bridge_member *
find_member(const struct p2p_bridge_member *members, size_t n, uint32_t rid)
{
    for (size_t i = 0; i < n; i++) {
        if (members[i].rid == rid) {
            return &members[i];
        }
    }
    complain("%08x is no member", rid);
    return NULL;
}

static bool check_members(void)
{
    struct p2p_bridge_member *members;
    const struct p2p_bridge_member *disk;
    const struct p2p_bridge_member *target;
    size_t n;
    bool ok;

    if (p2p_bridge_members(machine.bridge, &members, &n, NULL) < 0) {
        complain("members: %s", strerror(errno));
        return false;
    }
    disk = find_member(members, n, machine.disk);
    target = find_member(members, n, machine.target);
    ok = disk && disk->flags & P2P_BRIDGE_MEMBER_INITIATES &&
         !(disk->flags & P2P_BRIDGE_MEMBER_SELF) && target &&
         target->windows == 2;
    free(members);
    return ok;
}

static bool check_windows(void)
{
    struct p2p_bridge_host_window *windows;
    unsigned found = 0;
    size_t n;

    if (p2p_bridge_windows(machine.bridge, &windows, &n, NULL) < 0) {
        complain("windows: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const unsigned flags = P2P_BRIDGE_WINDOW_DECODED |
                               P2P_BRIDGE_WINDOW_MEMORY |
                               P2P_BRIDGE_WINDOW_RAM_LIKE;

        if (windows[i].rid == machine.target &&
            (windows[i].bar == 2 || windows[i].bar == 4) &&
            windows[i].offset == 0 && windows[i].length == 16 * MIB &&
            windows[i].access == P2P_BRIDGE_ACCESS_RW &&
            (windows[i].flags & flags) == flags && windows[i].gpa) {
            found++;
        }
    }
    free(windows);
    if (found != 2) {
        complain("%u of the target's 2 windows are as they shall be", found);
    }
    return found == 2;
}

static bool check_pairs(void)
{
    struct p2p_bridge_pair *pairs;
    bool found = false;
    size_t n;

    if (p2p_bridge_pairs(machine.bridge, &pairs, &n, NULL) < 0) {
        complain("pairs: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        found |= pairs[i].initiator == machine.disk &&
                 pairs[i].target == machine.target &&
                 pairs[i].map_type == P2P_BRIDGE_MAP_CPU &&
                 pairs[i].flags & P2P_BRIDGE_PAIR_INSTALLED;
    }
    free(pairs);
    return found;
}

/* The address in sysfs of the target's BAR */
static uint64_t bar_address(unsigned bar)
{
    char path[128];
    unsigned long long start = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
             machine.target_name);
    file = fopen(path, "r");
    for (unsigned i = 0; file && i <= bar; i++) {
        if (fscanf(file, "%llx %*x %*x", &start) != 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return start;
}

static bool check_translate(void)
{
    struct p2p_bridge_vec in[2] = {
        {
            .addr = MIB, .len = 2 * MIB, .rid = machine.target, .bar = 2,
            .flags = P2P_BRIDGE_VEC_READ | P2P_BRIDGE_VEC_WRITE |
                     P2P_BRIDGE_VEC_BY_BAR,
        },
        { .addr = MIB, .len = 4096, .flags = P2P_BRIDGE_VEC_READ },
    };
    struct p2p_bridge_vec out[4];
    struct p2p_bridge_fault fault;
    uint32_t n = 4;

    if (p2p_bridge_translate(machine.bridge, machine.disk, P2P_BRIDGE_KIND_GPA,
                             in, 2, out, &n, &fault) < 0) {
        complain("translate: %s: %s", strerror(errno),
                 p2p_bridge_fault_str(&fault));
        return false;
    }
    if (n != 2 || out[0].addr != bar_address(2) + MIB ||
        out[0].len != 2 * MIB || !(out[0].flags & P2P_BRIDGE_VEC_IO) ||
        out[1].addr != MIB || !(out[1].flags & P2P_BRIDGE_VEC_RAM)) {
        complain("translate: %u entries, 0x%llx, 0x%llx", n,
                 (unsigned long long)out[0].addr,
                 (unsigned long long)out[1].addr);
        return false;
    }
    in[1].addr = UINT64_C(1) << 50;
    n = 4;
    if (p2p_bridge_translate(machine.bridge, machine.disk, P2P_BRIDGE_KIND_GPA,
                             in, 2, out, &n, &fault) == 0 ||
        errno != EFAULT || fault.index != 1 ||
        fault.reason != P2P_BRIDGE_FAULT_UNMAPPED) {
        complain("translate of nothing: %s, entry %u, %s", strerror(errno),
                 fault.index, p2p_bridge_fault_str(&fault));
        return false;
    }
    return true;
}

void try_topology(void)
{
    report(check_members(), "topology/members");
    report(check_windows(), "topology/windows");
    report(check_pairs(), "topology/pairs");
    report(check_translate(), "topology/translate");
}

/* --- Refusals ------------------------------------------------------------ */

static bool refused(uint32_t bar, uint64_t offset, uint64_t length,
                    uint32_t rid, int error)
{
    uint32_t window;

    if (p2p_bridge_share(machine.bridge, rid, bar, offset, length,
                         P2P_BRIDGE_ACCESS_RW, &window) == 0) {
        complain("BAR %u, 0x%llx: was shared", bar,
                 (unsigned long long)offset);
        p2p_bridge_unshare(machine.bridge, window);
        return false;
    }
    if (errno != error) {
        complain("BAR %u, 0x%llx: %s, not %s", bar,
                 (unsigned long long)offset, strerror(errno),
                 strerror(error));
    }
    return errno == error;
}

void try_refusals(void)
{
    Window window;
    bool ok;

    report(refused(2, 16 * MIB, 4096, machine.target, EACCES),
           "refusals/outside");
    report(refused(2, 15 * MIB, 2 * MIB, machine.target, EACCES),
           "refusals/beyond");
    report(refused(0, 0, 4096, machine.target, EACCES), "refusals/bar");
    report(refused(2, 0, 0, machine.target, EINVAL), "refusals/empty");
    report(refused(2, 100, 4096, machine.target, EINVAL),
           "refusals/alignment");
    report(refused(2, 0, 4096, 0xff00, ENXIO), "refusals/no-member");
    ok = open_window(&window, 2, 0, MIB, P2P_BRIDGE_PAGES_AUTO);
    if (p2p_bridge_unshare(machine.bridge, window.number) == 0 ||
        errno != EBUSY) {
        complain("unshare of an attached window: %s", strerror(errno));
        ok = false;
    }
    report(ok && close_window(&window), "refusals/unshare-attached");
}
