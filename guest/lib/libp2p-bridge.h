/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * libp2p-bridge: peer-to-peer DMA in a guest, over /dev/p2p-bridgeN
 *
 * Concepts.  The host lets the functions of a p2p-group reach ranges of each
 * other's BARs: host windows.  A program shares a part of a host window, which
 * makes a guest window with a number, and attaches it: from then on its memory
 * is there, as a file that can be mapped and used for direct I/O, or as a
 * dma-buf.  The host can take it back at any time: mapped memory then raises
 * SIGBUS, transfers fail, and an event tells.  A guest window belongs to the
 * handle that has shared it, and goes with it.
 *
 * Functions that return int return 0, or a descriptor, or -1 with errno set.
 * ENODEV says that the device has gone, from any of them.  EINTR: a signal came
 * first; the call has done nothing and can be made again.
 *
 * A handle may be used by several threads at once, but not while it is closed.
 *
 * A RID is a function's address in the guest: domain << 16 | bus << 8 |
 * device << 3 | function.  Constants (P2P_BRIDGE_MEMBER_*, ...) are in
 * bridge-regs.h, structures in p2p-bridge.h, the kernel's own header.
 */
#ifndef LIBP2P_BRIDGE_H
#define LIBP2P_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bridge-regs.h"
#include "p2p-bridge.h"

#ifdef __cplusplus
extern "C" {
#endif

struct p2p_bridge;

/* --- Device -------------------------------------------------------------- */

/*
 * p2p_bridge_open: begin to use a device.
 *
 * @path: of its node; NULL: the first /dev/p2p-bridgeN that there is
 *
 * Returns a handle for p2p_bridge_close(), or NULL with errno as of open(2);
 * ENOENT: there is no such device, or its driver is not loaded.  ENOTTY: what
 * is there is no p2p-bridge.
 */
struct p2p_bridge *p2p_bridge_open(const char *path);

/*
 * Ends all that was begun with @bridge, NULL included.  Guest windows go as
 * soon as nobody has their memory or a dma-buf of them any more.  errno stays.
 */
void p2p_bridge_close(struct p2p_bridge *bridge);

/* For poll(2): POLLIN if there is an event, POLLHUP if the device has gone. */
int p2p_bridge_fd(const struct p2p_bridge *bridge);

/* Limits and numbers of things, as they are now; @identify is all output. */
int p2p_bridge_identify(struct p2p_bridge *bridge,
                        struct p2p_bridge_identify *identify);

/* --- Who is there -------------------------------------------------------- */

/*
 * p2p_bridge_members, _windows, _pairs: all members, host windows, or pairs of
 * an initiator and a target, in an array.
 *
 * @list: to be freed with free(3); NULL if @count is 0
 * @generation: if not NULL: another one whenever something changes.  Lists with
 *     the same one fit together.
 *
 * ENOMEM; EAGAIN: they change all the time.  Nothing is written on failure.
 */
int p2p_bridge_members(struct p2p_bridge *bridge,
                       struct p2p_bridge_member **list, size_t *count,
                       uint32_t *generation);
int p2p_bridge_windows(struct p2p_bridge *bridge,
                       struct p2p_bridge_host_window **list, size_t *count,
                       uint32_t *generation);
int p2p_bridge_pairs(struct p2p_bridge *bridge, struct p2p_bridge_pair **list,
                     size_t *count, uint32_t *generation);

/* --- Guest windows ------------------------------------------------------- */

/*
 * What the device refuses is told by errno:
 * EACCES: the host does not share this range.  EROFS: it does for reading only.
 * EHOSTDOWN: the target's BAR has no address, or it sleeps.  EMFILE: there are
 * as many guest windows as there may be.  ENOSPC: there is no such room in the
 * aperture.  ENOENT: @bridge has no such window.  ENXIO: no member has this
 * RID.  EBUSY, ENOTCONN: the window is attached, or is not.  ESTALE: it was
 * revoked.
 * EOPNOTSUPP: it has no memory that can be shown, or no such pages.
 */

/*
 * p2p_bridge_share: make a guest window of a range of a BAR.
 *
 * @rid, @bar: of the target
 * @offset, @length: bytes, multiples of the device's page size
 * @access: P2P_BRIDGE_ACCESS_RO or _RW, no more than the host gives
 * @window: out: its number, never 0
 */
int p2p_bridge_share(struct p2p_bridge *bridge, uint32_t rid, uint32_t bar,
                     uint64_t offset, uint64_t length, uint32_t access,
                     uint32_t *window);

/* Undo p2p_bridge_share() of a window that is not attached. */
int p2p_bridge_unshare(struct p2p_bridge *bridge, uint32_t window);

/*
 * p2p_bridge_attach: show the window in the aperture.
 *
 * @offset: out, if not NULL: where in the aperture, bytes
 */
int p2p_bridge_attach(struct p2p_bridge *bridge, uint32_t window,
                      uint64_t *offset);

/*
 * p2p_bridge_detach: undo p2p_bridge_attach().  No device can reach the window
 * any more when it returns; mappings of its memory raise SIGBUS.
 */
int p2p_bridge_detach(struct p2p_bridge *bridge, uint32_t window);

/* --- Memory of an attached window ---------------------------------------- */

/*
 * p2p_bridge_memory: a file whose memory is the window's, for mmap(2) with
 * MAP_SHARED and for direct I/O.
 *
 * @pages: P2P_BRIDGE_PAGES_AUTO, or the kind of pages that it must have
 * @client: RID of the initiator that it is for, which AUTO looks at; 0: any
 *
 * Returns a descriptor (close-on-exec) for close(2).
 */
int p2p_bridge_memory(struct p2p_bridge *bridge, uint32_t window,
                      uint32_t pages, uint32_t client);

/*
 * p2p_bridge_map: p2p_bridge_memory(), mapped.
 *
 * @length: bytes from the window's beginning
 * @prot: as of mmap(2)
 *
 * Returns an address for munmap(2), or NULL with errno.  Reading or writing it
 * raises SIGBUS once the window has gone.
 */
void *p2p_bridge_map(struct p2p_bridge *bridge, uint32_t window,
                     uint32_t pages, uint32_t client, size_t length, int prot);

/* p2p_bridge_dma_buf: a dma-buf of the window; a descriptor for close(2). */
int p2p_bridge_dma_buf(struct p2p_bridge *bridge, uint32_t window,
                       uint32_t client);

/* --- Addresses ----------------------------------------------------------- */

struct p2p_bridge_fault {
    uint32_t status;    /* of the device: P2P_BRIDGE_FAULT etc.; 0: none */
    uint32_t index;     /* of the entry that is wrong */
    uint32_t reason;    /* P2P_BRIDGE_FAULT_*, or P2P_BRIDGE_BUS_* */
    uint64_t address;   /* the first that cannot be used */
};

/*
 * p2p_bridge_translate: from addresses, or places in BARs, to addresses that
 * an initiator can use.  Needs CAP_SYS_RAWIO (EPERM).
 *
 * @initiator: RID
 * @kind: P2P_BRIDGE_KIND_GPA or _BUS
 * @in, @n_in: entries
 * @out, @n_out: room for entries; then how many came out.  ENOSPC: how many
 *     are needed
 * @fault: if not NULL: what is wrong, if the device has refused
 *
 * EFAULT, ENXIO: an entry, or the initiator, is wrong.  EACCES: a bus address
 * is refused.
 *
 * All or nothing: on failure nothing in @out is of use.  Results with a
 * generation that is not the device's present one may be out of date.
 */
int p2p_bridge_translate(struct p2p_bridge *bridge, uint32_t initiator,
                         uint32_t kind, const struct p2p_bridge_vec *in,
                         uint32_t n_in, struct p2p_bridge_vec *out,
                         uint32_t *n_out, struct p2p_bridge_fault *fault);

/*
 * p2p_bridge_bus_release: say that no bus address of @target is in use by
 * @initiator any more; the answer to P2P_BRIDGE_EVENT_BUS_REVOKED.
 */
int p2p_bridge_bus_release(struct p2p_bridge *bridge, uint32_t initiator,
                           uint32_t target);

/* --- Events -------------------------------------------------------------- */

/*
 * p2p_bridge_event: wait for the next event, and take it.
 *
 * @timeout: ms; -1: as long as it takes
 *
 * Returns 1, or 0 if there was none in that time, or -1.  Type 0 says that
 * events before it were lost.
 */
int p2p_bridge_event(struct p2p_bridge *bridge, struct p2p_bridge_event *event,
                     int timeout);

/* --- Text ---------------------------------------------------------------- */

#define P2P_BRIDGE_RID_CHARS 13     /* "dddd:bb:dd.f" */

/* "0000:65:00.0"; returns @text. */
char *p2p_bridge_rid_str(uint32_t rid, char text[P2P_BRIDGE_RID_CHARS]);

/* False: not of the form dddd:bb:dd.f or bb:dd.f; @rid is then untouched. */
bool p2p_bridge_rid_parse(const char *text, uint32_t *rid);

/*
 * Words of the interface, lower case; never NULL ("unknown"), not to be freed.
 * The reasons are sentences without their end.
 */
const char *p2p_bridge_path_str(uint32_t path);
const char *p2p_bridge_map_type_str(uint32_t map_type);
const char *p2p_bridge_event_str(uint32_t type);
const char *p2p_bridge_revoke_str(uint32_t reason);
const char *p2p_bridge_fault_str(const struct p2p_bridge_fault *fault);
const char *p2p_bridge_bus_str(uint32_t reason);

#ifdef __cplusplus
}
#endif

#endif /* LIBP2P_BRIDGE_H */
