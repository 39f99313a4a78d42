// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: events of the device, what is done about them, and who reads them
 */
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "bridge.h"
#include "compat.h"

/* --- To open files ------------------------------------------------------- */

/* Any context that may not sleep, too. */
void p2p_event_tell(struct p2p_bridge *b, const struct p2p_bridge_event *event)
{
	struct p2p_file *f;

	spin_lock(&b->files_lock);
	list_for_each_entry(f, &b->files, node) {
		spin_lock(&f->events_lock);
		if (!kfifo_put(&f->events, *event))
			f->events_lost = true;
		spin_unlock(&f->events_lock);
	}
	spin_unlock(&b->files_lock);
	wake_up_all(&b->readers);
}

static bool readable(struct p2p_file *f)
{
	return !kfifo_is_empty(&f->events) || READ_ONCE(f->events_lost);
}

/* What was lost comes after what was not, for it is newer. */
static bool next_event(struct p2p_file *f, struct p2p_bridge_event *event)
{
	bool some;

	spin_lock(&f->events_lock);
	some = kfifo_get(&f->events, event);
	if (!some && f->events_lost) {
		memset(event, 0, sizeof(*event));
		f->events_lost = false;
		some = true;
	}
	spin_unlock(&f->events_lock);
	return some;
}

static bool dead(struct p2p_bridge *b)
{
	return READ_ONCE(b->state) == P2P_DEAD;
}

static ssize_t read_some(struct p2p_file *f, char __user *to, size_t count)
{
	struct p2p_bridge_event event;
	ssize_t done = 0;

	while (count - done >= sizeof(event) && next_event(f, &event)) {
		if (copy_to_user(to + done, &event, sizeof(event)))
			return done ?: -EFAULT;
		done += sizeof(event);
	}
	return done;
}

ssize_t p2p_event_read(struct file *file, char __user *to, size_t count,
		       loff_t *pos)
{
	struct p2p_file *f = file->private_data;
	struct p2p_bridge *b = f->bridge;
	ssize_t ret;

	if (count < sizeof(struct p2p_bridge_event))
		return -EINVAL;
	for (;;) {
		if (dead(b))
			return -ENODEV;
		ret = read_some(f, to, count);
		if (ret)
			return ret;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(b->readers,
					     readable(f) || dead(b)))
			return -ERESTARTSYS;
	}
}

__poll_t p2p_event_poll(struct file *file, struct poll_table_struct *table)
{
	struct p2p_file *f = file->private_data;

	poll_wait(file, &f->bridge->readers, table);
	if (dead(f->bridge))
		return EPOLLHUP | EPOLLERR;
	return readable(f) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* --- From the device ----------------------------------------------------- */

/* Return: whether @record was read as it was at one time. */
static bool read_record(struct p2p_bridge *b, unsigned int n,
			u8 record[P2P_BRIDGE_RECORD_BYTES])
{
	void __iomem *sequence = b->page + P2P_BRIDGE_PAGE_SEQUENCE;
	unsigned int tries;
	u32 before;

	/* Being written takes no time; a device that never ends is broken. */
	for (tries = 0; tries < 1000; tries++) {
		before = readl(sequence);
		if (before & 1) {
			cpu_relax();
			continue;
		}
		memcpy_fromio(record, b->page + P2P_BRIDGE_PAGE_FIRST +
			      n * P2P_BRIDGE_RECORD_BYTES,
			      P2P_BRIDGE_RECORD_BYTES);
		rmb();	/* the record before the sequence */
		if (readl(sequence) == before)
			return true;
	}
	return false;
}

/* Events were lost: what they would have told is in the status page. */
static void catch_up(struct p2p_bridge *b)
{
	struct p2p_bridge_event lost = { };
	u8 record[P2P_BRIDGE_RECORD_BYTES];
	unsigned int i, n;

	n = min_t(u32, readl(b->page + P2P_BRIDGE_PAGE_RECORDS),
		  P2P_BRIDGE_MAX_WINDOWS_VALUE);
	for (i = 0; i < n; i++) {
		u32 number, state;

		if (!read_record(b, i, record))
			continue;
		number = get_unaligned_le32(record + P2P_BRIDGE_RECORD_WINDOW);
		state = get_unaligned_le32(record + P2P_BRIDGE_RECORD_STATE);
		if (state == P2P_BRIDGE_STATE_REVOKING ||
		    state == P2P_BRIDGE_STATE_REVOKED)
			p2p_window_host_revokes(b, number, state ==
						P2P_BRIDGE_STATE_REVOKING);
	}
	p2p_topology_refresh(b);
	p2p_event_tell(b, &lost);
}

static void handle(struct p2p_bridge *b, const struct p2p_bridge_event *event)
{
	switch (event->type) {
	case P2P_BRIDGE_EVENT_REVOKE:
		p2p_window_host_revokes(b, event->window, true);
		break;
	case P2P_BRIDGE_EVENT_REVOKED:
		p2p_window_host_revokes(b, event->window, false);
		break;
	}
	p2p_event_tell(b, event);
}

void p2p_event_work(struct work_struct *work)
{
	struct p2p_bridge *b = container_of(work, struct p2p_bridge,
					    event_work);
	struct p2p_bridge_event event, changed = { };
	u32 lost;

	if (p2p_bridge_enter(b))
		return;
	while (p2p_ring_event(b, &event)) {
		if (event.type == P2P_BRIDGE_EVENT_CHANGED)
			changed = event;
		else
			handle(b, &event);
	}
	lost = readl(b->page + P2P_BRIDGE_PAGE_EVENTS_LOST);
	if (lost != b->events_lost) {
		b->events_lost = lost;
		catch_up(b);
	} else if (changed.type) {
		p2p_topology_refresh(b);
		/* Who is told, and looks at sysfs, sees what is new. */
		p2p_event_tell(b, &changed);
	}
	p2p_bridge_leave(b);
}
