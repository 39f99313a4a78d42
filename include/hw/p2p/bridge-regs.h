/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * p2p-bridge: numbers of its interface, for the device and for drivers
 *
 * docs/specs/p2p-bridge.rst says what they mean.  Constants only, so that any
 * system's driver can include this file as it is; all fields are little-endian.
 */
#ifndef P2P_BRIDGE_REGS_H
#define P2P_BRIDGE_REGS_H

#define P2P_BRIDGE_VENDOR_ID	0x1b36
#define P2P_BRIDGE_DEVICE_ID	0x0015

/* Base address registers */
#define P2P_BRIDGE_BAR_REGS	0	/* registers and doorbell */
#define P2P_BRIDGE_BAR_MSIX	1
#define P2P_BRIDGE_BAR_STATUS	2	/* status page, read only */
#define P2P_BRIDGE_BAR_APERTURE	4	/* 64 bit, prefetchable */

/* --- Registers: offset in BAR 0; 4 bytes, or 8 where it says so */
#define P2P_BRIDGE_MAGIC		0x00
#define P2P_BRIDGE_VERSION		0x04
#define P2P_BRIDGE_FEATURES		0x08	/* 8: that the device has */
#define P2P_BRIDGE_DRIVER_FEATURES	0x10	/* 8: that the driver wants */
#define P2P_BRIDGE_CONTROL		0x18
#define P2P_BRIDGE_STATUS		0x1c
#define P2P_BRIDGE_ERROR		0x20
#define P2P_BRIDGE_RING_MAX		0x24
#define P2P_BRIDGE_INDEX_BASE		0x28	/* 8 */
#define P2P_BRIDGE_COMMAND_BASE		0x30	/* 8 */
#define P2P_BRIDGE_COMPLETION_BASE	0x38	/* 8 */
#define P2P_BRIDGE_EVENT_BASE		0x40	/* 8 */
#define P2P_BRIDGE_COMMAND_SIZE		0x48
#define P2P_BRIDGE_COMPLETION_SIZE	0x4c
#define P2P_BRIDGE_EVENT_SIZE		0x50
#define P2P_BRIDGE_COMPLETION_VECTOR	0x54
#define P2P_BRIDGE_EVENT_VECTOR		0x58
#define P2P_BRIDGE_DOORBELL		0x1000
#define P2P_BRIDGE_REGS_SIZE		0x2000

#define P2P_BRIDGE_MAGIC_VALUE		0x42503250	/* "P2PB" */
#define P2P_BRIDGE_VERSION_VALUE	1
#define P2P_BRIDGE_NO_VECTOR		0xffffffff
#define P2P_BRIDGE_VECTORS		2
#define P2P_BRIDGE_RING_MAX_VALUE	1024		/* entries */

/* P2P_BRIDGE_FEATURES */
#define P2P_BRIDGE_FEATURE_BUS_ADDRESS	(1u << 0)	/* kind BUS exists */

/* P2P_BRIDGE_CONTROL */
#define P2P_BRIDGE_CONTROL_ENABLE	(1u << 0)
#define P2P_BRIDGE_CONTROL_RESET	(1u << 1)	/* reads as 0 */

/* P2P_BRIDGE_STATUS */
#define P2P_BRIDGE_STATUS_READY		(1u << 0)
#define P2P_BRIDGE_STATUS_FAILED	(1u << 1)

/* P2P_BRIDGE_ERROR */
#define P2P_BRIDGE_ERROR_NONE		0
#define P2P_BRIDGE_ERROR_FEATURES	1	/* one that the device lacks */
#define P2P_BRIDGE_ERROR_ALIGNMENT	2	/* of a base address */
#define P2P_BRIDGE_ERROR_SIZE		3	/* of a ring */
#define P2P_BRIDGE_ERROR_VECTOR		4	/* no such MSI-X vector */
#define P2P_BRIDGE_ERROR_DMA		5	/* a ring cannot be accessed */
#define P2P_BRIDGE_ERROR_INDEX		6	/* an index is out of its range */

/* --- Index block: offset, 4 bytes each.  Counts, modulo 2^32 */
#define P2P_BRIDGE_INDEX_ALIGN		64
#define P2P_BRIDGE_INDEX_SIZE		64
#define P2P_BRIDGE_COMMAND_TAIL		0x00	/* driver: commands given */
#define P2P_BRIDGE_COMPLETION_HEAD	0x04	/* driver: completions taken */
#define P2P_BRIDGE_EVENT_HEAD		0x08	/* driver: events taken */
#define P2P_BRIDGE_COMMAND_HEAD		0x20	/* device: commands taken */
#define P2P_BRIDGE_COMPLETION_TAIL	0x24	/* device: completions given */
#define P2P_BRIDGE_EVENT_TAIL		0x28	/* device: events given */

/* --- Command: 64 bytes; offset of each field */
#define P2P_BRIDGE_COMMAND_BYTES	64
#define P2P_BRIDGE_CMD_OPCODE		0x00	/* 2 */
#define P2P_BRIDGE_CMD_ID		0x02	/* 2 */
#define P2P_BRIDGE_CMD_FLAGS		0x04	/* 4: 0 */
#define P2P_BRIDGE_CMD_IN_ADDR		0x08	/* 8 */
#define P2P_BRIDGE_CMD_OUT_ADDR		0x10	/* 8 */
#define P2P_BRIDGE_CMD_IN_LEN		0x18	/* 4 */
#define P2P_BRIDGE_CMD_OUT_LEN		0x1c	/* 4 */
#define P2P_BRIDGE_CMD_ARGS		0x20	/* 32, by opcode */

/* --- Completion: 32 bytes */
#define P2P_BRIDGE_COMPLETION_BYTES	32
#define P2P_BRIDGE_CPL_ID		0x00	/* 2 */
#define P2P_BRIDGE_CPL_STATUS		0x02	/* 2 */
#define P2P_BRIDGE_CPL_OUT_LEN		0x04	/* 4: bytes written */
#define P2P_BRIDGE_CPL_INDEX		0x08	/* 4: entry, or by opcode */
#define P2P_BRIDGE_CPL_REASON		0x0c	/* 4: by status */
#define P2P_BRIDGE_CPL_VALUE		0x10	/* 8: by opcode, or address */
#define P2P_BRIDGE_CPL_GENERATION	0x18	/* 4 */

/* --- Opcodes, and their arguments: offset in the command */
#define P2P_BRIDGE_OP_IDENTIFY		0x01
#define P2P_BRIDGE_OP_MEMBERS		0x02
#define P2P_BRIDGE_OP_WINDOWS		0x03
#define P2P_BRIDGE_OP_PAIRS		0x04
#define P2P_BRIDGE_ARG_FIRST		0x20	/* 4: of what is listed */

#define P2P_BRIDGE_OP_SHARE		0x10
#define P2P_BRIDGE_ARG_RID		0x20	/* 4 */
#define P2P_BRIDGE_ARG_BAR		0x24	/* 4 */
#define P2P_BRIDGE_ARG_OFFSET		0x28	/* 8 */
#define P2P_BRIDGE_ARG_SIZE		0x30	/* 8 */
#define P2P_BRIDGE_ARG_ACCESS		0x38	/* 4 */

#define P2P_BRIDGE_OP_UNSHARE		0x11
#define P2P_BRIDGE_OP_ATTACH		0x12
#define P2P_BRIDGE_OP_DETACH		0x13
#define P2P_BRIDGE_OP_ACKNOWLEDGE	0x14
#define P2P_BRIDGE_ARG_WINDOW		0x20	/* 4 */
#define P2P_BRIDGE_ARG_SLOT		0x24	/* 4: attach */

#define P2P_BRIDGE_OP_TRANSLATE		0x20
#define P2P_BRIDGE_ARG_INITIATOR	0x20	/* 4 */
#define P2P_BRIDGE_ARG_KIND		0x24	/* 4 */

#define P2P_BRIDGE_OP_BUS_RELEASE	0x21
#define P2P_BRIDGE_ARG_TARGET		0x24	/* 4 */

/* --- Status of a completion */
#define P2P_BRIDGE_OK			0x00
#define P2P_BRIDGE_BAD_OPCODE		0x01
#define P2P_BRIDGE_BAD_FIELD		0x02	/* reason: its offset */
#define P2P_BRIDGE_BAD_LENGTH		0x03	/* value: what it may be */
#define P2P_BRIDGE_DMA_ERROR		0x04	/* value: address */
#define P2P_BRIDGE_NO_SPACE		0x05	/* value: bytes that are needed */
#define P2P_BRIDGE_NO_MEMBER		0x06
#define P2P_BRIDGE_NO_WINDOW		0x07
#define P2P_BRIDGE_NOT_SHARED		0x08	/* by the host */
#define P2P_BRIDGE_NO_ACCESS		0x09	/* host gives read only */
#define P2P_BRIDGE_NO_MEMORY		0x0a	/* no memory that can be shown */
#define P2P_BRIDGE_BAD_SLOT		0x0b
#define P2P_BRIDGE_SLOT_TAKEN		0x0c
#define P2P_BRIDGE_ATTACHED		0x0d
#define P2P_BRIDGE_NOT_ATTACHED		0x0e
#define P2P_BRIDGE_REVOKED		0x0f
#define P2P_BRIDGE_NOT_REVOKED		0x10	/* nothing to acknowledge */
#define P2P_BRIDGE_LIMIT		0x11	/* too many windows */
#define P2P_BRIDGE_NOT_DECODED		0x12	/* the BAR has no address */
#define P2P_BRIDGE_FAULT		0x13	/* index, reason, value */
#define P2P_BRIDGE_BUS_REFUSED		0x14	/* index, reason */
#define P2P_BRIDGE_NO_ROOM		0x15	/* in the host: attach */

/* Reason of P2P_BRIDGE_FAULT */
#define P2P_BRIDGE_FAULT_UNMAPPED	1
#define P2P_BRIDGE_FAULT_NOT_GRANTED	2
#define P2P_BRIDGE_FAULT_READ_DENIED	3
#define P2P_BRIDGE_FAULT_WRITE_DENIED	4
#define P2P_BRIDGE_FAULT_REVOKED	5
#define P2P_BRIDGE_FAULT_ZERO_LENGTH	6
#define P2P_BRIDGE_FAULT_WRAPS		7
#define P2P_BRIDGE_FAULT_BAD_FLAGS	8
#define P2P_BRIDGE_FAULT_WRONG_KIND	9
#define P2P_BRIDGE_FAULT_NO_MEMBER	10	/* of an entry by BAR */
#define P2P_BRIDGE_FAULT_OUTSIDE	11	/* of the BAR */

/* Reason of P2P_BRIDGE_BUS_REFUSED: the condition that does not hold */
#define P2P_BRIDGE_BUS_DISABLED		1	/* bus-address=off */
#define P2P_BRIDGE_BUS_GUEST_IOMMU	2	/* translates for it */
#define P2P_BRIDGE_BUS_NOT_PASSTHROUGH	3	/* one of the two */
#define P2P_BRIDGE_BUS_UNKNOWN		4	/* could not be found out */
#define P2P_BRIDGE_BUS_NO_SWITCH	5	/* none above both */
#define P2P_BRIDGE_BUS_CONVENTIONAL	6	/* a PCI bridge on the way */
#define P2P_BRIDGE_BUS_REDIRECTED	7	/* by a port's ACS */
#define P2P_BRIDGE_BUS_OUTSIDE_PORT	8	/* of the port's window */
#define P2P_BRIDGE_BUS_NO_DECODE	9	/* target or a port */
#define P2P_BRIDGE_BUS_ASLEEP		10	/* not in D0 */
#define P2P_BRIDGE_BUS_OVERLAP		11	/* with what it reaches else */
#define P2P_BRIDGE_BUS_STRANGER		12	/* a function of others below */
#define P2P_BRIDGE_BUS_RAM		13	/* the entry is guest RAM */
#define P2P_BRIDGE_BUS_UNSHARED		14	/* the host takes it back */
#define P2P_BRIDGE_BUS_NOT_NOW		15	/* release, or try later */

/* --- P2P_BRIDGE_OP_IDENTIFY: 64 bytes */
#define P2P_BRIDGE_IDENTIFY_BYTES	64
#define P2P_BRIDGE_ID_GENERATION	0x00	/* 4 */
#define P2P_BRIDGE_ID_MEMBERS		0x04	/* 4: how many */
#define P2P_BRIDGE_ID_WINDOWS		0x08	/* 4 */
#define P2P_BRIDGE_ID_PAIRS		0x0c	/* 4 */
#define P2P_BRIDGE_ID_MAX_WINDOWS	0x10	/* 4: of the guest */
#define P2P_BRIDGE_ID_MAX_VECTOR	0x14	/* 4: entries */
#define P2P_BRIDGE_ID_SLOTS		0x18	/* 4 */
#define P2P_BRIDGE_ID_SLOT_SHIFT	0x1c	/* 4 */
#define P2P_BRIDGE_ID_PAGE_SHIFT	0x20	/* 4: of offsets and sizes */
#define P2P_BRIDGE_ID_REVOKE_MS		0x24	/* 4: until it is forced */

#define P2P_BRIDGE_SLOT_SHIFT_VALUE	21		/* 2 MiB */
#define P2P_BRIDGE_MAX_WINDOWS_VALUE	64
#define P2P_BRIDGE_MAX_VECTOR_VALUE	4096

/* --- P2P_BRIDGE_OP_MEMBERS: 16 bytes each */
#define P2P_BRIDGE_MEMBER_BYTES		16
#define P2P_BRIDGE_MEMBER_RID		0x00	/* 4 */
#define P2P_BRIDGE_MEMBER_FLAGS		0x04	/* 4 */
#define P2P_BRIDGE_MEMBER_WINDOWS	0x08	/* 4: how many it shares */

#define P2P_BRIDGE_MEMBER_INITIATES	(1u << 0)
#define P2P_BRIDGE_MEMBER_PASSTHROUGH	(1u << 1)
#define P2P_BRIDGE_MEMBER_SELF		(1u << 2)	/* this device */

/* --- P2P_BRIDGE_OP_WINDOWS: 32 bytes each */
#define P2P_BRIDGE_WINDOW_BYTES		32
#define P2P_BRIDGE_WINDOW_RID		0x00	/* 4 */
#define P2P_BRIDGE_WINDOW_BAR		0x04	/* 1 */
#define P2P_BRIDGE_WINDOW_ACCESS	0x05	/* 1 */
#define P2P_BRIDGE_WINDOW_FLAGS		0x06	/* 2 */
#define P2P_BRIDGE_WINDOW_OFFSET	0x08	/* 8 */
#define P2P_BRIDGE_WINDOW_SIZE		0x10	/* 8 */
#define P2P_BRIDGE_WINDOW_GPA		0x18	/* 8: if decoded */

#define P2P_BRIDGE_ACCESS_RO		0
#define P2P_BRIDGE_ACCESS_RW		1

#define P2P_BRIDGE_WINDOW_DECODED	(1u << 0)
#define P2P_BRIDGE_WINDOW_MEMORY	(1u << 1)	/* can be attached */
#define P2P_BRIDGE_WINDOW_RAM_LIKE	(1u << 2)	/* no side effects */

/* --- P2P_BRIDGE_OP_PAIRS: 16 bytes each */
#define P2P_BRIDGE_PAIR_BYTES		16
#define P2P_BRIDGE_PAIR_INITIATOR	0x00	/* 4: RID */
#define P2P_BRIDGE_PAIR_TARGET		0x04	/* 4: RID */
#define P2P_BRIDGE_PAIR_PATH		0x08	/* 1 */
#define P2P_BRIDGE_PAIR_MAP_TYPE	0x09	/* 1 */
#define P2P_BRIDGE_PAIR_FLAGS		0x0a	/* 2 */

#define P2P_BRIDGE_PATH_SELF		0	/* X */
#define P2P_BRIDGE_PATH_PIX		1
#define P2P_BRIDGE_PATH_PXB		2
#define P2P_BRIDGE_PATH_PHB		3
#define P2P_BRIDGE_PATH_NODE		4
#define P2P_BRIDGE_PATH_SYS		5
#define P2P_BRIDGE_PATH_UNKNOWN		6

#define P2P_BRIDGE_MAP_NONE			0
#define P2P_BRIDGE_MAP_NOT_SUPPORTED		1
#define P2P_BRIDGE_MAP_BUS_ADDR			2
#define P2P_BRIDGE_MAP_THRU_HOST_BRIDGE		3
#define P2P_BRIDGE_MAP_CPU			4

#define P2P_BRIDGE_PAIR_INSTALLED	(1u << 0)	/* all grants */
#define P2P_BRIDGE_PAIR_ROUTED		(1u << 1)	/* as far as known */

/* --- Vector of P2P_BRIDGE_OP_TRANSLATE: 32 bytes each, in and out */
#define P2P_BRIDGE_VEC_BYTES		32
#define P2P_BRIDGE_VEC_ADDR		0x00	/* 8: or offset in the BAR */
#define P2P_BRIDGE_VEC_LEN		0x08	/* 4 */
#define P2P_BRIDGE_VEC_FLAGS		0x0c	/* 4 */
#define P2P_BRIDGE_VEC_RID		0x10	/* 4: in, by BAR */
#define P2P_BRIDGE_VEC_BAR		0x14	/* 4: in, by BAR */
#define P2P_BRIDGE_VEC_GENERATION	0x18	/* 4: out */

#define P2P_BRIDGE_KIND_GPA		0
#define P2P_BRIDGE_KIND_BUS		1

/* In */
#define P2P_BRIDGE_VEC_READ		(1u << 0)
#define P2P_BRIDGE_VEC_WRITE		(1u << 1)
#define P2P_BRIDGE_VEC_NO_MERGE		(1u << 2)
#define P2P_BRIDGE_VEC_MUST_BE_IO	(1u << 3)
#define P2P_BRIDGE_VEC_MUST_BE_RAM	(1u << 4)
#define P2P_BRIDGE_VEC_BY_BAR		(1u << 5)	/* RID and BAR count */
/* Out; READ and WRITE are as they came in */
#define P2P_BRIDGE_VEC_RAM		(1u << 8)
#define P2P_BRIDGE_VEC_IO		(1u << 9)
#define P2P_BRIDGE_VEC_SELF		(1u << 10)
#define P2P_BRIDGE_VEC_BUS		(1u << 11)	/* untranslated address */
#define P2P_BRIDGE_VEC_REVOCABLE	(1u << 12)
#define P2P_BRIDGE_VEC_MAP_SHIFT	16		/* P2P_BRIDGE_MAP_* */
#define P2P_BRIDGE_VEC_MAP_MASK		(7u << 16)

/* --- Event: 32 bytes */
#define P2P_BRIDGE_EVENT_BYTES		32
#define P2P_BRIDGE_EVT_TYPE		0x00	/* 2 */
#define P2P_BRIDGE_EVT_REASON		0x02	/* 2 */
#define P2P_BRIDGE_EVT_GENERATION	0x04	/* 4 */
#define P2P_BRIDGE_EVT_WINDOW		0x08	/* 4 */
#define P2P_BRIDGE_EVT_SLOT		0x0c	/* 4 */
#define P2P_BRIDGE_EVT_RID		0x10	/* 4: initiator */
#define P2P_BRIDGE_EVT_TARGET		0x14	/* 4: RID */

#define P2P_BRIDGE_EVENT_CHANGED	1	/* identify anew */
#define P2P_BRIDGE_EVENT_REVOKE		2	/* acknowledge, in time */
#define P2P_BRIDGE_EVENT_REVOKED	3	/* the window has gone */
#define P2P_BRIDGE_EVENT_BUS_REVOKED	4	/* forget bus addresses */

/* Reason of P2P_BRIDGE_EVENT_REVOKE and _REVOKED */
#define P2P_BRIDGE_REVOKE_UNSHARED	1	/* by the host */
#define P2P_BRIDGE_REVOKE_GONE		2	/* target was unplugged */
#define P2P_BRIDGE_REVOKE_NOT_DECODED	3	/* target: decode, power, reset */
#define P2P_BRIDGE_REVOKE_MOVED		4	/* target's BAR */
#define P2P_BRIDGE_REVOKE_MIGRATED	5	/* target has no such window here */
#define P2P_BRIDGE_REVOKE_TIMEOUT	6	/* not acknowledged in time */
#define P2P_BRIDGE_REVOKE_ACKNOWLEDGED	7

/* --- Status page: offset, 4 bytes where nothing else is said */
#define P2P_BRIDGE_PAGE_BYTES		4096
#define P2P_BRIDGE_PAGE_MAGIC		0x00
#define P2P_BRIDGE_PAGE_SEQUENCE	0x04	/* odd: being written */
#define P2P_BRIDGE_PAGE_GENERATION	0x08
#define P2P_BRIDGE_PAGE_EVENTS_LOST	0x0c
#define P2P_BRIDGE_PAGE_PENDING		0x10	/* 8: bit n is record n */
#define P2P_BRIDGE_PAGE_RECORDS		0x18
#define P2P_BRIDGE_PAGE_FIRST		0x100	/* record 0 */

#define P2P_BRIDGE_RECORD_BYTES		32
#define P2P_BRIDGE_RECORD_WINDOW	0x00	/* 4: its number; 0: none */
#define P2P_BRIDGE_RECORD_STATE		0x04	/* 4 */
#define P2P_BRIDGE_RECORD_SLOT		0x08	/* 4 */
#define P2P_BRIDGE_RECORD_REASON	0x0c	/* 4: P2P_BRIDGE_REVOKE_* */
#define P2P_BRIDGE_RECORD_SIZE		0x10	/* 8 */
#define P2P_BRIDGE_RECORD_RID		0x18	/* 4 */
#define P2P_BRIDGE_RECORD_GENERATION	0x1c	/* 4: of its last change */

#define P2P_BRIDGE_STATE_FREE		0
#define P2P_BRIDGE_STATE_SHARED		1
#define P2P_BRIDGE_STATE_ATTACHED	2
#define P2P_BRIDGE_STATE_REVOKING	3
#define P2P_BRIDGE_STATE_REVOKED	4

/* Window numbers hold the record's number in their lowest bits. */
#define P2P_BRIDGE_WINDOW_RECORD_MASK	63

#endif /* P2P_BRIDGE_REGS_H */
