/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/p2p-importer: a driver that uses windows, for tests
 *
 * An open file imports one dma-buf, or uses one window by its memory file, for
 * a PCI function of the test's choice, and counts how often it is told to let
 * go.  Root only; addresses are what tests look at.
 */
#ifndef P2P_IMPORTER_H
#define P2P_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define P2P_IMPORTER_DMA_BUF	0	/* fd is a dma-buf's */
#define P2P_IMPORTER_WINDOW	1	/* fd is a memory file's */

/* Does not unmap when it is told to: the host must not wait for ever. */
#define P2P_IMPORTER_STUBBORN	1

struct p2p_importer_attach {
	__u32 kind;
	__s32 fd;
	__u32 rid;		/* the initiator */
	__u32 flags;
};

#define P2P_IMPORTER_SEGMENTS	16

struct p2p_importer_map {
	__u32 direction;	/* 0 both, 1 it reads the window, 2 it writes it */
	__u32 segments;		/* out: how many there are */
	struct {
		__u64 address;	/* DMA address */
		__u64 length;	/* bytes */
	} segment[P2P_IMPORTER_SEGMENTS];	/* out */
};

struct p2p_importer_state {
	__u32 mapped;
	__u32 revocations;
};

#define P2P_IMPORTER_ATTACH	_IOW(0xb9, 0x40, struct p2p_importer_attach)
#define P2P_IMPORTER_MAP	_IOWR(0xb9, 0x41, struct p2p_importer_map)
#define P2P_IMPORTER_UNMAP	_IO(0xb9, 0x42)
#define P2P_IMPORTER_STATE	_IOR(0xb9, 0x43, struct p2p_importer_state)

#endif /* P2P_IMPORTER_H */
