// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: guest windows, their slots, and how they end
 *
 * A window's memory is usable from attach to detach, or until the host takes it
 * back.  What it was given out as (memory files, dma-bufs, mappings of drivers)
 * may live longer; it is cut off then, and keeps the slot from being used again
 * as long as somebody has a reference to a page.
 */
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "bridge.h"
#include "compat.h"
#include "p2p-bridge.h"

/* How long a program's detach waits for I/O that is on its way */
#define DETACH_WAIT_MS	1000
/* How often what waits for the last reference to a page looks at it */
#define FREE_RETRY_MS	50

static void revoke_work(struct work_struct *work);
static void free_work(struct work_struct *work);

/* --- References ---------------------------------------------------------- */

void p2p_window_get(struct p2p_window *w)
{
	kref_get(&w->ref);
}

static void window_release(struct kref *ref)
{
	struct p2p_window *w =
		container_of(ref, struct p2p_window, ref);

	queue_delayed_work(p2p_workqueue, &w->free_work, 0);
}

/* Any context that may not sleep, too. */
void p2p_window_put(struct p2p_window *w)
{
	kref_put(&w->ref, window_release);
}

/* Return: with a reference, a window that the device knows; or NULL. */
struct p2p_window *p2p_window_find(struct p2p_bridge *b, u32 number)
{
	struct p2p_window *w, *found = NULL;

	mutex_lock(&b->lock);
	list_for_each_entry(w, &b->windows, node) {
		if (w->number == number &&
		    READ_ONCE(w->state) != P2P_WINDOW_GONE &&
		    kref_get_unless_zero(&w->ref)) {
			found = w;
			break;
		}
	}
	mutex_unlock(&b->lock);
	return found;
}

/* Return: with a reference, the window behind @prev, whose reference goes. */
struct p2p_window *p2p_window_next(struct p2p_bridge *b,
				   struct p2p_window *prev)
{
	struct p2p_window *w, *found = NULL;

	mutex_lock(&b->lock);
	w = prev ?: list_entry(&b->windows, struct p2p_window, node);
	list_for_each_entry_continue(w, &b->windows, node) {
		if (kref_get_unless_zero(&w->ref)) {
			found = w;
			break;
		}
	}
	mutex_unlock(&b->lock);
	if (prev)
		p2p_window_put(prev);
	return found;
}

/* --- Slots --------------------------------------------------------------- */

/*
 * bridge->lock is held.  Slots with P2PDMA pages come last: no generic pages
 * can be made there.
 */
static int find_slots(struct p2p_bridge *b, u32 n, u32 *slot)
{
	unsigned long at, taken;

	for (at = 0;; at = taken + 1) {
		at = bitmap_find_next_zero_area(b->slots_used, b->slots, at, n,
						0);
		if (at >= b->slots)
			break;
		taken = find_next_bit(b->slots_p2pdma, at + n, at);
		if (taken >= at + n)
			goto found;
	}
	at = bitmap_find_next_zero_area(b->slots_used, b->slots, 0, n, 0);
	if (at >= b->slots)
		return -ENOSPC;
found:
	*slot = at;
	return 0;
}

/* window->lock is held. */
static int take_slots(struct p2p_window *w)
{
	struct p2p_bridge *b = w->bridge;
	u32 n, slot;
	int ret;

	if (w->length > (u64)b->slots << b->slot_shift)
		return -ENOSPC;
	n = DIV_ROUND_UP_ULL(w->length, 1ULL << b->slot_shift);
	mutex_lock(&b->lock);
	ret = find_slots(b, n, &slot);
	if (!ret) {
		bitmap_set(b->slots_used, slot, n);
		w->slot = slot;
		w->n_slots = n;
	}
	mutex_unlock(&b->lock);
	return ret;
}

/* Nobody has a reference to a page there.  window->lock is held. */
static void give_slots_back(struct p2p_window *w)
{
	p2p_memory_free_pages(w);
	if (!w->n_slots)
		return;
	mutex_lock(&w->bridge->lock);
	bitmap_clear(w->bridge->slots_used, w->slot, w->n_slots);
	mutex_unlock(&w->bridge->lock);
	w->n_slots = 0;
}

/* --- Commands ------------------------------------------------------------ */

static void window_command(struct p2p_command *cmd, u16 opcode, u32 number)
{
	p2p_command_init(cmd, opcode);
	p2p_command_u32(cmd, P2P_BRIDGE_ARG_WINDOW, number);
}

static int execute_for(struct p2p_window *w, u16 opcode)
{
	struct p2p_command cmd;

	window_command(&cmd, opcode, w->number);
	return p2p_execute_one(w->bridge, &cmd);
}

static struct p2p_window *window_alloc(struct p2p_bridge *b)
{
	struct p2p_window *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	kref_init(&w->ref);
	w->bridge = p2p_bridge_get(b);
	INIT_LIST_HEAD(&w->node);
	INIT_LIST_HEAD(&w->file_node);
	mutex_init(&w->lock);
	init_rwsem(&w->map_lock);
	init_waitqueue_head(&w->unmapped);
	mutex_init(&w->exports_lock);
	INIT_LIST_HEAD(&w->bufs);
	BLOCKING_INIT_NOTIFIER_HEAD(&w->notifiers);
	INIT_WORK(&w->revoke_work, revoke_work);
	INIT_DELAYED_WORK(&w->free_work, free_work);
	return w;
}

/**
 * p2p_window_share - make a guest window
 * @b: the bridge, whose gate the caller holds
 * @arg: what of; checked by the device
 *
 * Return: the window, with a reference, or an error pointer.
 */
struct p2p_window *p2p_window_share(struct p2p_bridge *b,
				    const struct p2p_bridge_share *arg)
{
	struct p2p_window *w;
	struct p2p_command cmd;
	int ret;

	/* Nothing to compute with, should a device not mind */
	if (!arg->length)
		return ERR_PTR(-EINVAL);
	w = window_alloc(b);
	if (!w)
		return ERR_PTR(-ENOMEM);
	p2p_command_init(&cmd, P2P_BRIDGE_OP_SHARE);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_RID, arg->rid);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_BAR, arg->bar);
	p2p_command_u64(&cmd, P2P_BRIDGE_ARG_OFFSET, arg->offset);
	p2p_command_u64(&cmd, P2P_BRIDGE_ARG_SIZE, arg->length);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_ACCESS, arg->access);

	/* An event about the window finds it in the list: see event work. */
	mutex_lock(&b->lock);
	ret = p2p_execute_one(b, &cmd);
	if (!ret) {
		w->number = cmd.value;
		w->rid = arg->rid;
		w->bar = arg->bar;
		w->access = arg->access;
		w->offset = arg->offset;
		w->length = arg->length;
		list_add_tail(&w->node, &b->windows);
	}
	mutex_unlock(&b->lock);
	if (ret) {
		WRITE_ONCE(w->state, P2P_WINDOW_GONE);
		p2p_window_put(w);
		return ERR_PTR(ret);
	}
	return w;
}

/**
 * p2p_window_unshare - end a window that is not attached, or was revoked
 * @w: the window; the caller holds the bridge's gate
 */
int p2p_window_unshare(struct p2p_window *w)
{
	int ret = 0;

	mutex_lock(&w->lock);
	if (w->state == P2P_WINDOW_ATTACHED && !READ_ONCE(w->revoked))
		ret = -EBUSY;
	else if (w->state != P2P_WINDOW_GONE)
		ret = execute_for(w, P2P_BRIDGE_OP_UNSHARE);
	if (!ret)
		WRITE_ONCE(w->state, P2P_WINDOW_GONE);
	mutex_unlock(&w->lock);
	return ret;
}

/**
 * p2p_window_attach - show a window in the aperture
 * @w: the window; the caller holds the bridge's gate
 * @slot: where, is written
 */
int p2p_window_attach(struct p2p_window *w, u32 *slot)
{
	struct p2p_command cmd;
	int ret;

	mutex_lock(&w->lock);
	ret = w->state == P2P_WINDOW_GONE || READ_ONCE(w->revoked) ? -ESTALE :
	      w->state == P2P_WINDOW_ATTACHED ? -EBUSY : 0;
	if (!ret)
		ret = take_slots(w);
	if (ret)
		goto unlock;

	window_command(&cmd, P2P_BRIDGE_OP_ATTACH, w->number);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_SLOT, w->slot);
	ret = p2p_execute_one(w->bridge, &cmd);
	if (ret) {
		give_slots_back(w);
		goto unlock;
	}
	*slot = w->slot;
	WRITE_ONCE(w->state, P2P_WINDOW_ATTACHED);
	down_write(&w->map_lock);
	w->usable = !READ_ONCE(w->revoked);
	up_write(&w->map_lock);
unlock:
	mutex_unlock(&w->lock);
	return ret;
}

/**
 * p2p_window_detach - take a window that nobody has out of the aperture
 * @w: the window; the caller holds the bridge's gate
 *
 * Return: 0; -EBUSY if it is exported, or I/O with its memory has not ended.
 */
int p2p_window_detach(struct p2p_window *w)
{
	int ret = 0;

	mutex_lock(&w->lock);
	if (w->state == P2P_WINDOW_GONE || READ_ONCE(w->revoked))
		ret = -ESTALE;
	else if (w->state != P2P_WINDOW_ATTACHED)
		ret = -ENOTCONN;
	else if (w->exports || !p2p_memory_wait_idle(w, DETACH_WAIT_MS))
		ret = -EBUSY;
	if (ret)
		goto unlock;

	/* Drivers map without window->lock: none may come in between. */
	down_write(&w->map_lock);
	if (atomic_read(&w->maps))
		ret = -EBUSY;
	else
		w->usable = false;
	up_write(&w->map_lock);
	if (ret)
		goto unlock;
	ret = execute_for(w, P2P_BRIDGE_OP_DETACH);
	if (ret)
		goto unlock;
	WRITE_ONCE(w->state, P2P_WINDOW_SHARED);
	give_slots_back(w);
unlock:
	mutex_unlock(&w->lock);
	return ret;
}

/* --- The end ------------------------------------------------------------- */

/**
 * p2p_window_cut_off - take a window from its users
 * @w: the window
 *
 * There are no new mappings from the beginning, and none of programs when it
 * returns; who maps it for a device was told to let go.  May be called any
 * number of times, by several at once.
 */
void p2p_window_cut_off(struct p2p_window *w)
{
	bool was_usable;

	WRITE_ONCE(w->revoked, true);
	down_write(&w->map_lock);
	was_usable = w->usable;
	w->usable = false;
	up_write(&w->map_lock);

	p2p_memory_zap(w);
	if (was_usable) {
		p2p_dmabuf_invalidate(w);
		blocking_notifier_call_chain(&w->notifiers,
					     P2P_BRIDGE_WINDOW_REVOKED, w);
	}
}

/**
 * p2p_window_wait_unused - wait until no device is at a window that was cut off
 * @w: the window
 * @end: in jiffies; when it has passed, some may be at it still
 */
void p2p_window_wait_unused(struct p2p_window *w, unsigned long end)
{
	p2p_dmabuf_wait(w, end);
	wait_event_timeout(w->unmapped, !atomic_read(&w->maps),
			   p2p_jiffies_until(end));
	mutex_lock(&w->lock);
	p2p_memory_wait_idle(w, jiffies_to_msecs(p2p_jiffies_until(end)));
	mutex_unlock(&w->lock);
}

static void revoke_work(struct work_struct *work)
{
	struct p2p_window *w =
		container_of(work, struct p2p_window, revoke_work);
	struct p2p_bridge *b = w->bridge;
	/* The answer shall be there in time: the host does not wait longer. */
	unsigned long end = jiffies + msecs_to_jiffies(b->revoke_ms * 3 / 4);

	p2p_window_cut_off(w);
	p2p_window_wait_unused(w, end);
	if (READ_ONCE(w->acknowledge) && !p2p_bridge_enter(b)) {
		/*
		 * Fails if the time has passed, which changes nothing.  After
		 * a reset its number may be another window's.
		 */
		if (w->state != P2P_WINDOW_GONE)
			execute_for(w, P2P_BRIDGE_OP_ACKNOWLEDGE);
		p2p_bridge_leave(b);
	}
	p2p_window_put(w);
}

/**
 * p2p_window_host_revokes - the host takes a window, or has taken it
 * @b: the bridge
 * @number: of the window; nothing happens if it is not known
 * @acknowledge: the host waits for an answer
 *
 * Does not wait: other windows' time runs, too.
 */
void p2p_window_host_revokes(struct p2p_bridge *b, u32 number, bool acknowledge)
{
	struct p2p_window *w = p2p_window_find(b, number);

	if (!w)
		return;
	/* No new users from now on, whenever the work gets to run. */
	WRITE_ONCE(w->revoked, true);
	if (acknowledge)
		WRITE_ONCE(w->acknowledge, true);
	if (!queue_work(p2p_workqueue, &w->revoke_work))
		p2p_window_put(w);
}

/**
 * p2p_windows_lost - the device has been reset, and knows no window
 * @b: the bridge; its gate is held to write
 */
void p2p_windows_lost(struct p2p_bridge *b)
{
	struct p2p_window *w;

	mutex_lock(&b->lock);
	list_for_each_entry(w, &b->windows, node) {
		struct p2p_bridge_event event = {
			.type = P2P_BRIDGE_EVENT_REVOKED,
			.reason = P2P_BRIDGE_REVOKE_NOT_DECODED,
			.window = w->number,
		};

		if (w->state == P2P_WINDOW_GONE)
			continue;
		if (w->state == P2P_WINDOW_ATTACHED)
			event.slot = w->slot;
		WRITE_ONCE(w->state, P2P_WINDOW_GONE);
		p2p_event_tell(b, &event);
	}
	mutex_unlock(&b->lock);
}

/* Tell the device, if it knows the window.  Both commands, one doorbell. */
static void say_goodbye(struct p2p_window *w)
{
	bool attached = w->state == P2P_WINDOW_ATTACHED;
	struct p2p_command cmds[2];

	if (w->state == P2P_WINDOW_GONE)
		return;
	window_command(&cmds[0], P2P_BRIDGE_OP_DETACH, w->number);
	window_command(&cmds[1], P2P_BRIDGE_OP_UNSHARE, w->number);
	/* Detaching what was revoked fails, and does no harm. */
	p2p_execute(w->bridge, attached ? cmds : cmds + 1, attached ? 2 : 1);
	WRITE_ONCE(w->state, P2P_WINDOW_GONE);
}

/* Return: whether the window has left the aperture. */
static bool let_go(struct p2p_window *w)
{
	/* Else the device has been reset, and say_goodbye() says nothing. */
	bool entered = !p2p_bridge_enter(w->bridge);
	bool idle;

	mutex_lock(&w->lock);
	idle = p2p_memory_wait_idle(w, 0);
	if (idle) {
		if (entered)
			say_goodbye(w);
		give_slots_back(w);
	}
	mutex_unlock(&w->lock);
	if (entered)
		p2p_bridge_leave(w->bridge);
	return idle;
}

/* Nobody has a reference; of its pages somebody may. */
static void free_work(struct work_struct *work)
{
	struct p2p_window *w = container_of(to_delayed_work(work),
						   struct p2p_window,
						   free_work);
	struct p2p_bridge *b = w->bridge;

	if (!let_go(w)) {
		queue_delayed_work(p2p_workqueue, &w->free_work,
				   msecs_to_jiffies(FREE_RETRY_MS));
		return;
	}
	mutex_lock(&b->lock);
	list_del(&w->node);
	mutex_unlock(&b->lock);
	kfree(w);
	p2p_bridge_put(b);
}

/* --- Exports ------------------------------------------------------------- */

/* Return: 0 with window->lock held, if the window can be given out. */
int p2p_window_export_begin(struct p2p_window *w)
{
	int ret = 0;

	mutex_lock(&w->lock);
	if (w->state == P2P_WINDOW_GONE || READ_ONCE(w->revoked))
		ret = -ESTALE;
	else if (w->state != P2P_WINDOW_ATTACHED)
		ret = -ENOTCONN;
	if (ret)
		mutex_unlock(&w->lock);
	return ret;
}

/* An export has a reference, until p2p_window_exported_put(). */
void p2p_window_export_end(struct p2p_window *w, bool exported)
{
	if (exported) {
		w->exports++;
		p2p_window_get(w);
	}
	mutex_unlock(&w->lock);
}

void p2p_window_exported_put(struct p2p_window *w)
{
	mutex_lock(&w->lock);
	w->exports--;
	mutex_unlock(&w->lock);
	p2p_window_put(w);
}

/* --- Mappings for devices ------------------------------------------------ */

/* Addresses only: there is no page behind an entry. */
static void fill_table(struct sg_table *sgt, dma_addr_t address, u64 length)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		u32 part = min_t(u64, length, SZ_1G);

		sg_set_page(sg, NULL, part, 0);
		sg_dma_address(sg) = address;
		sg_dma_len(sg) = part;
		address += part;
		length -= part;
	}
	/* As other exporters: who wants pages finds none. */
	sgt->orig_nents = 0;
}

static struct sg_table *map_for(struct p2p_window *w,
				struct device *dev, enum dma_data_direction dir)
{
	struct sg_table *sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	dma_addr_t address;
	int ret;

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, DIV_ROUND_UP_ULL(w->length, SZ_1G),
			     GFP_KERNEL);
	if (ret)
		goto free;
	address = dma_map_resource(dev, p2p_window_address(w), w->length, dir,
				   0);
	if (dma_mapping_error(dev, address)) {
		ret = -EIO;
		goto free_table;
	}
	fill_table(sgt, address, w->length);
	return sgt;

free_table:
	sg_free_table(sgt);
free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void unmapped(struct p2p_window *w)
{
	if (atomic_dec_and_test(&w->maps))
		wake_up_all(&w->unmapped);
}

struct sg_table *p2p_window_map(struct p2p_window *w, struct device *dev,
				enum dma_data_direction dir)
{
	struct sg_table *sgt;

	if (w->access == P2P_BRIDGE_ACCESS_RO && dir != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	down_read(&w->map_lock);
	if (!w->usable) {
		up_read(&w->map_lock);
		return ERR_PTR(-ESTALE);
	}
	atomic_inc(&w->maps);
	up_read(&w->map_lock);

	sgt = map_for(w, dev, dir);
	if (IS_ERR(sgt))
		unmapped(w);
	return sgt;
}

void p2p_window_unmap(struct p2p_window *w, struct device *dev,
		      struct sg_table *sgt, enum dma_data_direction dir)
{
	dma_unmap_resource(dev, sg_dma_address(sgt->sgl), w->length, dir, 0);
	sgt->orig_nents = sgt->nents;
	sg_free_table(sgt);
	kfree(sgt);
	unmapped(w);
}
