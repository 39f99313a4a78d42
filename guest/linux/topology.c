// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: members, host windows and pairs, as the device last told
 */
#include <linux/slab.h>

#include "bridge.h"
#include "compat.h"

void p2p_decode_member(struct p2p_bridge_member *to, const u8 *from)
{
	*to = (struct p2p_bridge_member) {
		.rid = get_unaligned_le32(from + P2P_BRIDGE_MEMBER_RID),
		.flags = get_unaligned_le32(from + P2P_BRIDGE_MEMBER_FLAGS),
		.windows = get_unaligned_le32(from +
					      P2P_BRIDGE_MEMBER_WINDOWS),
	};
}

void p2p_decode_host_window(struct p2p_bridge_host_window *to, const u8 *from)
{
	*to = (struct p2p_bridge_host_window) {
		.rid = get_unaligned_le32(from + P2P_BRIDGE_WINDOW_RID),
		.bar = from[P2P_BRIDGE_WINDOW_BAR],
		.access = from[P2P_BRIDGE_WINDOW_ACCESS],
		.flags = get_unaligned_le16(from + P2P_BRIDGE_WINDOW_FLAGS),
		.offset = get_unaligned_le64(from + P2P_BRIDGE_WINDOW_OFFSET),
		.length = get_unaligned_le64(from + P2P_BRIDGE_WINDOW_SIZE),
		.gpa = get_unaligned_le64(from + P2P_BRIDGE_WINDOW_GPA),
	};
}

void p2p_decode_pair(struct p2p_bridge_pair *to, const u8 *from)
{
	*to = (struct p2p_bridge_pair) {
		.initiator = get_unaligned_le32(from +
						P2P_BRIDGE_PAIR_INITIATOR),
		.target = get_unaligned_le32(from + P2P_BRIDGE_PAIR_TARGET),
		.path = from[P2P_BRIDGE_PAIR_PATH],
		.map_type = from[P2P_BRIDGE_PAIR_MAP_TYPE],
		.flags = get_unaligned_le16(from + P2P_BRIDGE_PAIR_FLAGS),
	};
}

static void free_lists(struct p2p_topology *t)
{
	kvfree(t->members);
	kvfree(t->windows);
	kvfree(t->pairs);
}

void p2p_topology_free(struct p2p_bridge *b)
{
	free_lists(&b->topology);
}

/* More than a host can have, so that a broken device costs little memory */
#define LIST_MAX	65536u

enum { MEMBERS, WINDOWS, PAIRS, LISTS };

static const struct {
	u16 opcode;
	u16 bytes;
	u16 count;		/* where identify says how many */
} lists[LISTS] = {
	[MEMBERS] = { P2P_BRIDGE_OP_MEMBERS, P2P_BRIDGE_MEMBER_BYTES,
		      P2P_BRIDGE_ID_MEMBERS },
	[WINDOWS] = { P2P_BRIDGE_OP_WINDOWS, P2P_BRIDGE_WINDOW_BYTES,
		      P2P_BRIDGE_ID_WINDOWS },
	[PAIRS] = { P2P_BRIDGE_OP_PAIRS, P2P_BRIDGE_PAIR_BYTES,
		    P2P_BRIDGE_ID_PAIRS },
};

static int decode(struct p2p_topology *t, const struct p2p_command *cmds)
{
	u32 i;

	t->n_members = cmds[MEMBERS].out_len / P2P_BRIDGE_MEMBER_BYTES;
	t->n_windows = cmds[WINDOWS].out_len / P2P_BRIDGE_WINDOW_BYTES;
	t->n_pairs = cmds[PAIRS].out_len / P2P_BRIDGE_PAIR_BYTES;
	t->members = kvcalloc(t->n_members, sizeof(*t->members), GFP_KERNEL);
	t->windows = kvcalloc(t->n_windows, sizeof(*t->windows), GFP_KERNEL);
	t->pairs = kvcalloc(t->n_pairs, sizeof(*t->pairs), GFP_KERNEL);
	if (!t->members || !t->windows || !t->pairs)
		return -ENOMEM;
	for (i = 0; i < t->n_members; i++)
		p2p_decode_member(&t->members[i],
				  p2p_command_out(&cmds[MEMBERS]) +
				  i * P2P_BRIDGE_MEMBER_BYTES);
	for (i = 0; i < t->n_windows; i++)
		p2p_decode_host_window(&t->windows[i],
				       p2p_command_out(&cmds[WINDOWS]) +
				       i * P2P_BRIDGE_WINDOW_BYTES);
	for (i = 0; i < t->n_pairs; i++)
		p2p_decode_pair(&t->pairs[i], p2p_command_out(&cmds[PAIRS]) +
				i * P2P_BRIDGE_PAIR_BYTES);
	return 0;
}

/* Return: 0; -EAGAIN if the parts do not fit together. */
static int read_lists(struct p2p_bridge *b, const u32 *counts,
		      struct p2p_topology *t)
{
	struct p2p_command cmds[LISTS];
	int i, ret = 0;

	for (i = 0; i < LISTS; i++)
		p2p_command_init(&cmds[i], lists[i].opcode);
	for (i = 0; i < LISTS && !ret; i++)
		/* Room for one more: the device refuses room for none. */
		ret = p2p_command_data(b, &cmds[i], 0,
				       (counts[i] + 1) * lists[i].bytes);
	if (!ret)
		ret = p2p_execute(b, cmds, LISTS);
	for (i = 0; i < LISTS && !ret; i++) {
		ret = p2p_command_errno(&cmds[i]);
		if (!ret && (cmds[i].generation != cmds[0].generation ||
			     cmds[i].index != counts[i] ||
			     cmds[i].out_len / lists[i].bytes != counts[i]))
			ret = -EAGAIN;
	}
	if (!ret) {
		t->generation = cmds[0].generation;
		ret = decode(t, cmds);
	}
	for (i = 0; i < LISTS; i++)
		p2p_command_free(b, &cmds[i]);
	return ret;
}

static int read_counts(struct p2p_bridge *b, u32 *counts)
{
	struct p2p_command cmd;
	int i, ret;

	p2p_command_init(&cmd, P2P_BRIDGE_OP_IDENTIFY);
	ret = p2p_command_data(b, &cmd, 0, P2P_BRIDGE_IDENTIFY_BYTES);
	if (ret)
		return ret;
	ret = p2p_execute_one(b, &cmd);
	for (i = 0; i < LISTS && !ret; i++) {
		counts[i] = get_unaligned_le32(p2p_command_out(&cmd) +
					       lists[i].count);
		if (counts[i] > LIST_MAX)
			ret = -EINVAL;
	}
	p2p_command_free(b, &cmd);
	return ret;
}

/**
 * p2p_topology_refresh - read members, host windows and pairs anew
 * @b: the bridge, whose gate the caller holds
 *
 * What was known stays if this fails.
 */
int p2p_topology_refresh(struct p2p_bridge *b)
{
	struct p2p_topology t;
	u32 counts[LISTS];
	int ret, tries;

	/* They may change while they are read, but not for ever. */
	for (tries = 0; tries < 8; tries++) {
		memset(&t, 0, sizeof(t));
		ret = read_counts(b, counts) ?: read_lists(b, counts, &t);
		if (!ret) {
			mutex_lock(&b->lock);
			swap(b->topology, t);
			mutex_unlock(&b->lock);
		}
		free_lists(&t);
		if (ret != -EAGAIN)
			break;
	}
	return ret;
}

static bool ram_like(struct p2p_bridge *b,
		     const struct p2p_window *window)
{
	const struct p2p_topology *t = &b->topology;
	bool result = false;
	u32 i;

	mutex_lock(&b->lock);
	for (i = 0; i < t->n_windows && !result; i++) {
		const struct p2p_bridge_host_window *w = &t->windows[i];

		result = w->flags & P2P_BRIDGE_WINDOW_RAM_LIKE &&
			 w->rid == window->rid && w->bar == window->bar &&
			 window->offset >= w->offset &&
			 window->offset - w->offset < w->length &&
			 window->length <=
			 w->length - (window->offset - w->offset);
	}
	mutex_unlock(&b->lock);
	return result;
}

/**
 * p2p_topology_ram_like - whether reads of a window have no side effects
 * @b: the bridge, whose gate the caller holds
 * @window: one of its guest windows
 */
bool p2p_topology_ram_like(struct p2p_bridge *b,
			   const struct p2p_window *window)
{
	/* The event that tells of a new host window may be on its way. */
	return ram_like(b, window) ||
	       (!p2p_topology_refresh(b) && ram_like(b, window));
}
