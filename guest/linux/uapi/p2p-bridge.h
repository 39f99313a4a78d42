/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/p2p-bridgeN: peer-to-peer DMA between the functions of a virtual
 * machine's p2p-group
 *
 * Every structure begins with its size in bytes and with flags.  A driver that
 * knows a longer structure takes what is missing for 0; one that knows a
 * shorter structure refuses what it does not know unless it is 0 (E2BIG).
 * Unknown flags, and reserved fields that are not 0, are EINVAL.
 *
 * Guest windows belong to the open file that has shared them.  When it is
 * closed they go, as soon as no memory file and no dma-buf of them is left.
 *
 * read() gives whole struct p2p_bridge_event, as many as fit and as have come
 * since the file was opened; it waits for the first one, or fails with EAGAIN
 * if O_NONBLOCK is set. poll() says POLLIN if there is one, and POLLHUP if the
 * device has gone; everything fails with ENODEV then.
 */
#ifndef _UAPI_P2P_BRIDGE_H
#define _UAPI_P2P_BRIDGE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* domain << 16 | bus << 8 | device << 3 | function, as the guest has them */
#define P2P_BRIDGE_RID(domain, bus, device, function) \
	((__u32)(domain) << 16 | (bus) << 8 | (device) << 3 | (function))

/* What numbers mean (path classes, faults, ...) is in bridge-regs.h. */

struct p2p_bridge_identify {
	__u32 size;
	__u32 flags;		/* 0 */
	__u64 features;		/* out, as all that follow */
	__u32 generation;
	__u32 members;
	__u32 windows;
	__u32 pairs;
	__u32 max_windows;
	__u32 max_vector;
	__u32 slots;
	__u32 slot_shift;
	__u32 page_shift;
	__u32 revoke_ms;
};

struct p2p_bridge_member {
	__u32 rid;
	__u32 flags;		/* P2P_BRIDGE_MEMBER_* */
	__u32 windows;
	__u32 reserved;
};

struct p2p_bridge_host_window {
	__u32 rid;
	__u8 bar;
	__u8 access;		/* P2P_BRIDGE_ACCESS_* */
	__u16 flags;		/* P2P_BRIDGE_WINDOW_* */
	__u64 offset;		/* in the BAR, bytes */
	__u64 length;		/* bytes */
	__u64 gpa;		/* 0 without CAP_SYS_RAWIO */
};

struct p2p_bridge_pair {
	__u32 initiator;	/* RID */
	__u32 target;		/* RID */
	__u8 path;		/* P2P_BRIDGE_PATH_* */
	__u8 map_type;		/* P2P_BRIDGE_MAP_* */
	__u16 flags;		/* P2P_BRIDGE_PAIR_* */
	__u32 reserved;
};

/* Members, host windows, or pairs. */
struct p2p_bridge_list {
	__u32 size;
	__u32 flags;		/* 0 */
	__u64 entries;		/* pointer to an array of the above */
	__u32 first;		/* index of the first one wanted */
	__u32 count;		/* in: room; out: entries written */
	__u32 total;		/* out: how many there are in all */
	__u32 generation;	/* out */
};

/* Make a guest window of a range of a target's BAR. */
struct p2p_bridge_share {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 rid;
	__u32 bar;
	__u64 offset;		/* bytes, multiples of the page size */
	__u64 length;
	__u32 access;		/* P2P_BRIDGE_ACCESS_* */
	__u32 window;		/* out: its number */
};

/*
 * Unshare, detach.  EBUSY while a memory file or a dma-buf of the window is
 * left; one that was revoked (ESTALE) is unshared, not detached.
 */
struct p2p_bridge_window {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 window;
	__u32 reserved;
};

/* Show the window in the aperture; the driver chooses where. */
struct p2p_bridge_attach {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 window;
	__u32 slot;		/* out */
	__u64 offset;		/* out: in the aperture, bytes */
};

/*
 * A file descriptor (close-on-exec) of an attached window: a dma-buf, or a file
 * whose memory can be mapped (MAP_SHARED) and used for direct I/O.
 */
#define P2P_BRIDGE_PAGES_AUTO		0	/* what works with @client */
#define P2P_BRIDGE_PAGES_GENERIC	1	/* RAM-like windows only */
#define P2P_BRIDGE_PAGES_P2PDMA		2	/* if the kernel has them */

struct p2p_bridge_export {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 window;
	__u32 pages;		/* P2P_BRIDGE_PAGES_*; dma-buf: 0 */
	__u32 client;		/* RID of the initiator that it is for; 0: any */
	__s32 fd;		/* out */
};

struct p2p_bridge_vec {
	__u64 addr;		/* guest physical, or offset in a BAR */
	__u32 len;		/* bytes */
	__u32 flags;		/* P2P_BRIDGE_VEC_* */
	__u32 rid;		/* in, by BAR */
	__u32 bar;		/* in, by BAR */
	__u32 generation;	/* out */
	__u32 reserved;
};

/*
 * CAP_SYS_RAWIO: addresses tell of the guest's, or the host's, layout.  The call
 * succeeds if the device has answered; @status is what it said.
 */
struct p2p_bridge_translate {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 initiator;	/* RID */
	__u32 kind;		/* P2P_BRIDGE_KIND_* */
	__u64 in;		/* pointer to struct p2p_bridge_vec */
	__u64 out;
	__u32 n_in;
	__u32 n_out;		/* in: room; out: entries, or how many needed */
	__u32 generation;	/* out */
	__u32 status;		/* out: of the device, P2P_BRIDGE_OK etc. */
	__u32 index;		/* out: of the entry that is wrong */
	__u32 reason;		/* out: P2P_BRIDGE_FAULT_*, P2P_BRIDGE_BUS_* */
	__u64 fault_addr;	/* out */
};

/* CAP_SYS_RAWIO */
struct p2p_bridge_bus_release {
	__u32 size;
	__u32 flags;		/* 0 */
	__u32 initiator;	/* RID */
	__u32 target;		/* RID */
};

struct p2p_bridge_event {
	__u16 type;		/* P2P_BRIDGE_EVENT_*; 0: some were lost */
	__u16 reason;
	__u32 generation;
	__u32 window;
	__u32 slot;
	__u32 initiator;
	__u32 target;
	__u64 reserved;
};

#define P2P_BRIDGE_IOC_IDENTIFY	_IOWR(0xb9, 0, struct p2p_bridge_identify)
#define P2P_BRIDGE_IOC_MEMBERS	_IOWR(0xb9, 1, struct p2p_bridge_list)
#define P2P_BRIDGE_IOC_WINDOWS	_IOWR(0xb9, 2, struct p2p_bridge_list)
#define P2P_BRIDGE_IOC_PAIRS	_IOWR(0xb9, 3, struct p2p_bridge_list)
#define P2P_BRIDGE_IOC_SHARE	_IOWR(0xb9, 4, struct p2p_bridge_share)
#define P2P_BRIDGE_IOC_UNSHARE	_IOWR(0xb9, 5, struct p2p_bridge_window)
#define P2P_BRIDGE_IOC_ATTACH	_IOWR(0xb9, 6, struct p2p_bridge_attach)
#define P2P_BRIDGE_IOC_DETACH	_IOWR(0xb9, 7, struct p2p_bridge_window)
#define P2P_BRIDGE_IOC_DMA_BUF	_IOWR(0xb9, 8, struct p2p_bridge_export)
#define P2P_BRIDGE_IOC_MEMORY	_IOWR(0xb9, 9, struct p2p_bridge_export)
#define P2P_BRIDGE_IOC_TRANSLATE _IOWR(0xb9, 10, struct p2p_bridge_translate)
#define P2P_BRIDGE_IOC_BUS_RELEASE _IOWR(0xb9, 11, struct p2p_bridge_bus_release)

#endif /* _UAPI_P2P_BRIDGE_H */
