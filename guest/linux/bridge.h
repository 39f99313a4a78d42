/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * p2p-bridge: what the parts of the driver know of each other
 *
 * Locks, outer ones first:
 *
 *   bridge->gate      read: the device may be used; write: its state changes
 *   file->lock        windows of an open file
 *   window->lock      attach, detach, pages and exports of a window
 *   bridge->lock      list of windows, slots, topology
 *   window->exports_lock  dma-bufs of a window, and its inode
 *   dma_resv_lock()   of one of them
 *   window->map_lock  read: a mapping is made; write: there will be none
 *
 * A page fault takes map_lock alone.  Memory of programs is touched without any
 * of these locks: a page of it may be a file system's that does not answer, and
 * who waits for the gate to write stops everybody else.
 */
#ifndef P2P_BRIDGE_INTERNAL_H
#define P2P_BRIDGE_INTERNAL_H

#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/jiffies.h>
#include <linux/kfifo.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "hw/p2p/bridge-regs.h"
#include "uapi/p2p-bridge.h"

#define P2P_COMMANDS		64	/* entries of command and completion ring */
#define P2P_EVENTS		256

/* ---- Rings (ring.c) ---- */

/* A command, and what has become of it. */
struct p2p_command {
	u8 raw[P2P_BRIDGE_COMMAND_BYTES];
	/* In and output, in this order, if there are any */
	void *data;
	dma_addr_t data_dma;
	u32 in_len;
	u32 out_room;

	int error;		/* not 0: it was not completed */
	u16 id;
	u16 status;
	u32 out_len;
	u32 index;
	u32 reason;
	u64 value;
	u32 generation;
	struct completion done;
};

struct p2p_ring {
	/* Of all below, but events, which their work alone looks at */
	spinlock_t lock;
	bool running;
	u32 command_tail;
	u32 completion_head;
	unsigned int n_free;
	DECLARE_BITMAP(taken, P2P_COMMANDS);
	struct p2p_command *pending[P2P_COMMANDS];
	wait_queue_head_t space;

	void *memory;
	dma_addr_t dma;
	void *commands;
	void *completions;
	void *events;
	u32 event_head;
};

/* ---- Device (main.c) ---- */

struct p2p_window;

enum p2p_state {
	P2P_STOPPED,		/* suspended, or in a reset */
	P2P_RUNNING,
	P2P_BROKEN,		/* it could not be started anew */
	P2P_DEAD,		/* unbound: will not come back */
};

struct p2p_topology {
	u32 generation;
	u32 n_members, n_windows, n_pairs;
	struct p2p_bridge_member *members;
	struct p2p_bridge_host_window *windows;
	struct p2p_bridge_pair *pairs;
};

struct p2p_bridge {
	struct kref ref;	/* open files, windows, the driver */
	struct pci_dev *pdev;	/* with a reference */
	int id;
	char name[24];
	struct miscdevice misc;

	void __iomem *regs;
	void __iomem *page;
	phys_addr_t aperture;
	int vectors;		/* of interrupts */

	struct rw_semaphore gate;
	wait_queue_head_t started;	/* or broken, or dead */
	enum p2p_state state;	/* by gate; read without it to give up early */
	struct p2p_ring ring;
	struct work_struct restart;
	struct work_struct event_work;
	u32 events_lost;	/* of event_work */

	/* Fixed when it was probed */
	u64 features;
	u32 max_windows;
	u32 max_vector;
	u32 slots;
	u32 slot_shift;
	u32 page_shift;
	u32 revoke_ms;

	struct mutex lock;	/* of all up to the topology */
	struct list_head windows;
	unsigned long *slots_used;
	/* Slots with P2PDMA pages, which stay; and which of these we hold */
	unsigned long *slots_p2pdma;
	unsigned long *slots_held;
	struct p2p_topology topology;

	/* Windows that have pages, and who waits until there is none */
	atomic_t paged;
	wait_queue_head_t quiet;

	spinlock_t files_lock;	/* of the list */
	struct list_head files;
	wait_queue_head_t readers;
};

extern struct workqueue_struct *p2p_workqueue;
extern struct pci_driver p2p_pci_driver;

struct p2p_bridge *p2p_bridge_get(struct p2p_bridge *b);
void p2p_bridge_put(struct p2p_bridge *b);
int p2p_bridge_enter(struct p2p_bridge *b);
void p2p_bridge_leave(struct p2p_bridge *b);

int p2p_ring_alloc(struct p2p_bridge *b);
void p2p_ring_free(struct p2p_bridge *b);
int p2p_ring_start(struct p2p_bridge *b, int vectors);
void p2p_ring_stop(struct p2p_bridge *b, int error);
void p2p_ring_completions(struct p2p_bridge *b);
bool p2p_ring_has_event(struct p2p_bridge *b);
bool p2p_ring_event(struct p2p_bridge *b, struct p2p_bridge_event *event);

void p2p_command_init(struct p2p_command *cmd, u16 opcode);
void p2p_command_u32(struct p2p_command *cmd, unsigned int offset, u32 value);
void p2p_command_u64(struct p2p_command *cmd, unsigned int offset, u64 value);
int p2p_command_data(struct p2p_bridge *b, struct p2p_command *cmd,
		     size_t in_len, size_t out_room);
void p2p_command_free(struct p2p_bridge *b, struct p2p_command *cmd);
int p2p_command_errno(const struct p2p_command *cmd);
int p2p_execute(struct p2p_bridge *b, struct p2p_command *cmds, unsigned int n);
int p2p_execute_one(struct p2p_bridge *b, struct p2p_command *cmd);

static inline void *p2p_command_out(const struct p2p_command *cmd)
{
	return cmd->data + cmd->in_len;
}

/* ---- Topology (topology.c, sysfs.c) ---- */

void p2p_decode_member(struct p2p_bridge_member *to, const u8 *from);
void p2p_decode_host_window(struct p2p_bridge_host_window *to, const u8 *from);
void p2p_decode_pair(struct p2p_bridge_pair *to, const u8 *from);
int p2p_topology_refresh(struct p2p_bridge *b);
void p2p_topology_free(struct p2p_bridge *b);
bool p2p_topology_ram_like(struct p2p_bridge *b,
			   const struct p2p_window *window);

extern const struct attribute_group *p2p_sysfs_groups[];

/* ---- Windows (window.c) ---- */

enum p2p_window_state {
	P2P_WINDOW_SHARED,
	P2P_WINDOW_ATTACHED,
	P2P_WINDOW_GONE,	/* the device does not know it any more */
};

enum p2p_page_kind {
	P2P_PAGES_NONE,
	P2P_PAGES_GENERIC,
	P2P_PAGES_P2PDMA,
};

struct p2p_window {
	struct kref ref;
	struct p2p_bridge *bridge;	/* with a reference */
	struct list_head node;		/* bridge->windows */
	struct list_head file_node;	/* p2p_file.windows */

	u32 number;
	u32 rid;
	u32 bar;
	u32 access;
	u64 offset;
	u64 length;

	struct mutex lock;		/* of all up to the page map */
	enum p2p_window_state state;	/* by gate, too */
	u32 slot;			/* from attach on until pages are gone */
	u32 n_slots;			/* 0: none */
	unsigned int exports;		/* memory files and dma-bufs */
	unsigned int files;		/* the former */
	enum p2p_page_kind pages;
	struct page *first_page;
	struct dev_pagemap *pagemap;	/* of generic pages */

	struct rw_semaphore map_lock;
	bool usable;			/* attached, and not being revoked */

	atomic_t maps;			/* for devices */
	wait_queue_head_t unmapped;
	struct mutex exports_lock;	/* of both below */
	struct list_head bufs;
	struct inode *inode;		/* of memory files, if there are any */
	struct blocking_notifier_head notifiers;

	struct work_struct revoke_work;
	bool acknowledge;		/* revoke_work: the host waits */
	bool revoked;			/* by the host, or with the device */
	struct delayed_work free_work;
};

struct p2p_window *p2p_window_share(struct p2p_bridge *b,
				    const struct p2p_bridge_share *arg);
int p2p_window_unshare(struct p2p_window *w);
int p2p_window_attach(struct p2p_window *w, u32 *slot);
int p2p_window_detach(struct p2p_window *w);
void p2p_window_get(struct p2p_window *w);
void p2p_window_put(struct p2p_window *w);
struct p2p_window *p2p_window_find(struct p2p_bridge *b, u32 number);
struct p2p_window *p2p_window_next(struct p2p_bridge *b,
				   struct p2p_window *prev);
void p2p_window_host_revokes(struct p2p_bridge *b, u32 number, bool acknowledge);
void p2p_window_cut_off(struct p2p_window *w);
void p2p_window_wait_unused(struct p2p_window *w, unsigned long end);
void p2p_windows_lost(struct p2p_bridge *b);
int p2p_window_export_begin(struct p2p_window *w);
void p2p_window_export_end(struct p2p_window *w, bool exported);
void p2p_window_exported_put(struct p2p_window *w);

struct sg_table *p2p_window_map(struct p2p_window *w, struct device *dev,
				enum dma_data_direction dir);
void p2p_window_unmap(struct p2p_window *w, struct device *dev,
		      struct sg_table *sgt, enum dma_data_direction dir);

static inline phys_addr_t p2p_window_address(const struct p2p_window *w)
{
	return w->bridge->aperture +
	       ((phys_addr_t)w->slot << w->bridge->slot_shift);
}

/* ---- Memory of windows (memory.c), dma-bufs (dmabuf.c) ---- */

static inline unsigned long p2p_jiffies_until(unsigned long end)
{
	unsigned long now = jiffies;

	return time_before(now, end) ? end - now : 0;
}

struct file *p2p_memory_file(struct p2p_window *w, u32 pages, u32 client);
struct p2p_window *p2p_memory_window(int fd);
bool p2p_memory_wait_idle(struct p2p_window *w, unsigned int timeout_ms);
void p2p_memory_zap(struct p2p_window *w);
void p2p_memory_free_pages(struct p2p_window *w);
void p2p_memory_drain(struct p2p_bridge *b);

struct file *p2p_dmabuf_file(struct p2p_window *w);
void p2p_dmabuf_invalidate(struct p2p_window *w);
void p2p_dmabuf_wait(struct p2p_window *w, unsigned long end);

/* ---- Events (events.c), character device (chardev.c) ---- */

#define P2P_FILE_EVENTS		64

struct p2p_file {
	struct p2p_bridge *bridge;
	struct mutex lock;		/* of the list */
	struct list_head windows;

	struct list_head node;		/* bridge->files */
	spinlock_t events_lock;		/* of both below */
	DECLARE_KFIFO(events, struct p2p_bridge_event, P2P_FILE_EVENTS);
	bool events_lost;
};

void p2p_event_work(struct work_struct *work);
void p2p_event_tell(struct p2p_bridge *b, const struct p2p_bridge_event *event);
ssize_t p2p_event_read(struct file *file, char __user *to, size_t count,
		       loff_t *pos);
__poll_t p2p_event_poll(struct file *file, struct poll_table_struct *table);

int p2p_chardev_register(struct p2p_bridge *b);
void p2p_chardev_unregister(struct p2p_bridge *b);

#endif /* P2P_BRIDGE_INTERNAL_H */
