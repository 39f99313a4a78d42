// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: /dev/p2p-bridgeN, see uapi/p2p-bridge.h
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bridge.h"
#include "compat.h"

/* --- Windows of a file --------------------------------------------------- */

/* Return: with a reference, the file's window, or an error pointer. */
static struct p2p_window *find_window(struct p2p_file *f, u32 number)
{
	struct p2p_window *w;

	mutex_lock(&f->lock);
	list_for_each_entry(w, &f->windows, file_node) {
		if (w->number == number) {
			p2p_window_get(w);
			goto unlock;
		}
	}
	w = ERR_PTR(-ENOENT);
unlock:
	mutex_unlock(&f->lock);
	return w;
}

/* Return: whether the file had it; its reference goes. */
static bool forget_window(struct p2p_file *f, struct p2p_window *w)
{
	bool had;

	mutex_lock(&f->lock);
	had = !list_empty(&w->file_node);
	if (had)
		list_del_init(&w->file_node);
	mutex_unlock(&f->lock);
	if (had)
		p2p_window_put(w);
	return had;
}

/* --- Calls --------------------------------------------------------------- */

/* The first fields of all structures */
struct head {
	u32 size;
	u32 flags;
};

static int do_identify(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_identify *to = arg;
	struct p2p_bridge *b = f->bridge;
	struct p2p_command cmd;
	const u8 *out;
	int ret;

	p2p_command_init(&cmd, P2P_BRIDGE_OP_IDENTIFY);
	ret = p2p_command_data(b, &cmd, 0, P2P_BRIDGE_IDENTIFY_BYTES);
	if (ret)
		return ret;
	ret = p2p_execute_one(b, &cmd);
	if (!ret) {
		out = p2p_command_out(&cmd);
		to->features = b->features;
		to->generation = get_unaligned_le32(out +
						    P2P_BRIDGE_ID_GENERATION);
		to->members = get_unaligned_le32(out + P2P_BRIDGE_ID_MEMBERS);
		to->windows = get_unaligned_le32(out + P2P_BRIDGE_ID_WINDOWS);
		to->pairs = get_unaligned_le32(out + P2P_BRIDGE_ID_PAIRS);
		to->max_windows = b->max_windows;
		to->max_vector = b->max_vector;
		to->slots = b->slots;
		to->slot_shift = b->slot_shift;
		to->page_shift = b->page_shift;
		to->revoke_ms = b->revoke_ms;
	}
	p2p_command_free(b, &cmd);
	return ret;
}

/* More at once than any host has; a program can ask again. */
#define LIST_ROOM	4096u

union entry {
	struct p2p_bridge_member member;
	struct p2p_bridge_host_window window;
	struct p2p_bridge_pair pair;
};

static void decode_member(union entry *to, const u8 *from)
{
	p2p_decode_member(&to->member, from);
}

static void decode_window(union entry *to, const u8 *from)
{
	p2p_decode_host_window(&to->window, from);
	if (!capable(CAP_SYS_RAWIO))
		to->window.gpa = 0;
}

static void decode_pair(union entry *to, const u8 *from)
{
	p2p_decode_pair(&to->pair, from);
}

struct kind_of_list {
	u16 opcode;
	u16 bytes;
	void (*decode)(union entry *to, const u8 *from);
};

/* @to has room for list->count entries.  The gate is held. */
static int read_list(struct p2p_bridge *b, struct p2p_bridge_list *list,
		     const struct kind_of_list *kind, void *to)
{
	struct p2p_command cmd;
	u32 i;
	int ret;

	p2p_command_init(&cmd, kind->opcode);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_FIRST, list->first);
	/* Who asks how many there are has no room at all. */
	ret = p2p_command_data(b, &cmd, 0, max(list->count, 1u) * kind->bytes);
	if (ret)
		return ret;
	ret = p2p_execute_one(b, &cmd);
	if (!ret) {
		list->count = min_t(u32, cmd.out_len / kind->bytes,
				    list->count);
		list->total = cmd.index;
		list->generation = cmd.generation;
		for (i = 0; i < list->count; i++)
			kind->decode(to + i * kind->bytes,
				     p2p_command_out(&cmd) + i * kind->bytes);
	}
	p2p_command_free(b, &cmd);
	return ret;
}

static int do_list(struct p2p_file *f, struct p2p_bridge_list *list,
		   const struct kind_of_list *kind)
{
	void *entries;
	int ret;

	list->count = min(list->count, LIST_ROOM);
	entries = kvcalloc(max(list->count, 1u), kind->bytes, GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	ret = p2p_bridge_enter(f->bridge);
	if (!ret) {
		ret = read_list(f->bridge, list, kind, entries);
		p2p_bridge_leave(f->bridge);
	}
	if (!ret && copy_to_user(u64_to_user_ptr(list->entries), entries,
				 list->count * kind->bytes))
		ret = -EFAULT;
	kvfree(entries);
	return ret;
}

/* The device's entries are as long as ours. */
static_assert(sizeof(struct p2p_bridge_member) == P2P_BRIDGE_MEMBER_BYTES);
static_assert(sizeof(struct p2p_bridge_host_window) == P2P_BRIDGE_WINDOW_BYTES);
static_assert(sizeof(struct p2p_bridge_pair) == P2P_BRIDGE_PAIR_BYTES);
static_assert(sizeof(struct p2p_bridge_vec) == P2P_BRIDGE_VEC_BYTES);

static int do_members(struct p2p_file *f, void *arg)
{
	static const struct kind_of_list kind = {
		P2P_BRIDGE_OP_MEMBERS, P2P_BRIDGE_MEMBER_BYTES, decode_member
	};

	return do_list(f, arg, &kind);
}

static int do_windows(struct p2p_file *f, void *arg)
{
	static const struct kind_of_list kind = {
		P2P_BRIDGE_OP_WINDOWS, P2P_BRIDGE_WINDOW_BYTES, decode_window
	};

	return do_list(f, arg, &kind);
}

static int do_pairs(struct p2p_file *f, void *arg)
{
	static const struct kind_of_list kind = {
		P2P_BRIDGE_OP_PAIRS, P2P_BRIDGE_PAIR_BYTES, decode_pair
	};

	return do_list(f, arg, &kind);
}

static int do_share(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_share *share = arg;
	struct p2p_window *w;

	if (share->window)
		return -EINVAL;
	w = p2p_window_share(f->bridge, share);
	if (IS_ERR(w))
		return PTR_ERR(w);
	share->window = w->number;
	mutex_lock(&f->lock);
	list_add(&w->file_node, &f->windows);
	mutex_unlock(&f->lock);
	return 0;
}

/* What it waits for enters the gate, too. */
static int do_unshare(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_window *unshare = arg;
	struct p2p_window *w;
	int ret;

	if (unshare->reserved)
		return -EINVAL;
	w = find_window(f, unshare->window);
	if (IS_ERR(w))
		return PTR_ERR(w);
	/* A window that is being revoked cannot be unshared before it is. */
	flush_work(&w->revoke_work);
	ret = p2p_bridge_enter(f->bridge);
	if (!ret) {
		ret = p2p_window_unshare(w);
		p2p_bridge_leave(f->bridge);
	}
	if (!ret && !forget_window(f, w))
		ret = -ENOENT;
	p2p_window_put(w);
	return ret;
}

static int do_attach(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_attach *attach = arg;
	struct p2p_window *w = find_window(f, attach->window);
	int ret;

	if (IS_ERR(w))
		return PTR_ERR(w);
	ret = p2p_window_attach(w, &attach->slot);
	if (!ret)
		attach->offset = (u64)attach->slot << f->bridge->slot_shift;
	p2p_window_put(w);
	return ret;
}

static int do_detach(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_window *detach = arg;
	struct p2p_window *w;
	int ret;

	if (detach->reserved)
		return -EINVAL;
	w = find_window(f, detach->window);
	if (IS_ERR(w))
		return PTR_ERR(w);
	ret = p2p_window_detach(w);
	p2p_window_put(w);
	return ret;
}

static int do_dma_buf(struct p2p_file *f, void *arg, struct file **made)
{
	struct p2p_bridge_export *export = arg;
	struct p2p_window *w;

	if (export->pages)
		return -EINVAL;
	w = find_window(f, export->window);
	if (IS_ERR(w))
		return PTR_ERR(w);
	*made = p2p_dmabuf_file(w);
	p2p_window_put(w);
	return PTR_ERR_OR_ZERO(*made);
}

static int do_memory(struct p2p_file *f, void *arg, struct file **made)
{
	struct p2p_bridge_export *export = arg;
	struct p2p_window *w = find_window(f, export->window);

	if (IS_ERR(w))
		return PTR_ERR(w);
	*made = p2p_memory_file(w, export->pages, export->client);
	p2p_window_put(w);
	return PTR_ERR_OR_ZERO(*made);
}

/* --- Translate ----------------------------------------------------------- */

/* An entry that crosses windows becomes several. */
#define OUT_PER_IN	2

static int vector_in(const struct p2p_bridge_translate *t, u8 *to)
{
	const struct p2p_bridge_vec __user *from = u64_to_user_ptr(t->in);
	struct p2p_bridge_vec vec;
	u32 i;

	for (i = 0; i < t->n_in; i++, to += P2P_BRIDGE_VEC_BYTES) {
		if (copy_from_user(&vec, &from[i], sizeof(vec)))
			return -EFAULT;
		if (vec.generation || vec.reserved)
			return -EINVAL;
		put_unaligned_le64(vec.addr, to + P2P_BRIDGE_VEC_ADDR);
		put_unaligned_le32(vec.len, to + P2P_BRIDGE_VEC_LEN);
		put_unaligned_le32(vec.flags, to + P2P_BRIDGE_VEC_FLAGS);
		put_unaligned_le32(vec.rid, to + P2P_BRIDGE_VEC_RID);
		put_unaligned_le32(vec.bar, to + P2P_BRIDGE_VEC_BAR);
	}
	return 0;
}

static int vector_out(const struct p2p_bridge_translate *t, const u8 *from)
{
	struct p2p_bridge_vec __user *to = u64_to_user_ptr(t->out);
	u32 i;

	for (i = 0; i < t->n_out; i++, from += P2P_BRIDGE_VEC_BYTES) {
		struct p2p_bridge_vec vec = {
			.addr = get_unaligned_le64(from + P2P_BRIDGE_VEC_ADDR),
			.len = get_unaligned_le32(from + P2P_BRIDGE_VEC_LEN),
			.flags = get_unaligned_le32(from +
						    P2P_BRIDGE_VEC_FLAGS),
			.generation = get_unaligned_le32(from +
						P2P_BRIDGE_VEC_GENERATION),
		};

		if (copy_to_user(&to[i], &vec, sizeof(vec)))
			return -EFAULT;
	}
	return 0;
}

/* The device's answer, of whatever kind: the call has succeeded then. */
static void answer(struct p2p_bridge_translate *t,
		   const struct p2p_command *cmd)
{
	t->status = cmd->status;
	t->index = cmd->index;
	t->reason = cmd->reason;
	t->generation = cmd->generation;
	t->fault_addr = cmd->value;
	t->n_out = 0;
	if (cmd->status == P2P_BRIDGE_NO_SPACE) {
		t->n_out = min_t(u64, cmd->value / P2P_BRIDGE_VEC_BYTES,
				 U32_MAX);
		t->fault_addr = 0;
	} else if (cmd->status == P2P_BRIDGE_OK) {
		t->n_out = cmd->out_len / P2P_BRIDGE_VEC_BYTES;
	}
}

/* @vector: what goes in, and what has come out.  The gate is held. */
static int translate(struct p2p_bridge *b, struct p2p_bridge_translate *t,
		     void *vector, u32 room)
{
	struct p2p_command cmd;
	int ret;

	p2p_command_init(&cmd, P2P_BRIDGE_OP_TRANSLATE);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_INITIATOR, t->initiator);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_KIND, t->kind);
	ret = p2p_command_data(b, &cmd, t->n_in * P2P_BRIDGE_VEC_BYTES,
			       room * P2P_BRIDGE_VEC_BYTES);
	if (ret)
		return ret;
	memcpy(cmd.data, vector, cmd.in_len);
	ret = p2p_execute(b, &cmd, 1);
	if (!ret) {
		answer(t, &cmd);
		if (t->status == P2P_BRIDGE_OK)
			memcpy(vector, p2p_command_out(&cmd), cmd.out_len);
	}
	p2p_command_free(b, &cmd);
	return ret;
}

static int do_translate(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_translate *t = arg;
	struct p2p_bridge *b = f->bridge;
	void *vector;
	u32 room;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (!t->n_in || t->n_in > b->max_vector || !t->n_out)
		return -EINVAL;
	room = min(t->n_out, b->max_vector * OUT_PER_IN);
	vector = kvcalloc(max(t->n_in, room), P2P_BRIDGE_VEC_BYTES, GFP_KERNEL);
	if (!vector)
		return -ENOMEM;
	ret = vector_in(t, vector) ?: p2p_bridge_enter(b);
	if (!ret) {
		ret = translate(b, t, vector, room);
		p2p_bridge_leave(b);
	}
	if (!ret && t->status == P2P_BRIDGE_OK)
		ret = vector_out(t, vector);
	kvfree(vector);
	return ret;
}

static int do_bus_release(struct p2p_file *f, void *arg)
{
	struct p2p_bridge_bus_release *release = arg;
	struct p2p_command cmd;

	/* It lets the host go on: not for who could not ask for one. */
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	p2p_command_init(&cmd, P2P_BRIDGE_OP_BUS_RELEASE);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_INITIATOR, release->initiator);
	p2p_command_u32(&cmd, P2P_BRIDGE_ARG_TARGET, release->target);
	return p2p_execute_one(f->bridge, &cmd);
}

/* --- The device file ----------------------------------------------------- */

static const struct {
	int (*call)(struct p2p_file *f, void *arg);
	/* Or: arg is a struct p2p_bridge_export, for the file that is made */
	int (*export)(struct p2p_file *f, void *arg, struct file **made);
	u8 size;
	/* The gate, by itself: calls that touch a program's memory, or wait */
	bool enters;
} calls[] = {
#define CALL(name, function, type, ...)		\
	[_IOC_NR(P2P_BRIDGE_IOC_ ## name)] =	\
		{ .function, .size = sizeof(type), __VA_ARGS__ }
	CALL(IDENTIFY, call = do_identify, struct p2p_bridge_identify),
	CALL(MEMBERS, call = do_members, struct p2p_bridge_list, .enters = true),
	CALL(WINDOWS, call = do_windows, struct p2p_bridge_list, .enters = true),
	CALL(PAIRS, call = do_pairs, struct p2p_bridge_list, .enters = true),
	CALL(SHARE, call = do_share, struct p2p_bridge_share),
	CALL(UNSHARE, call = do_unshare, struct p2p_bridge_window, .enters = true),
	CALL(ATTACH, call = do_attach, struct p2p_bridge_attach),
	CALL(DETACH, call = do_detach, struct p2p_bridge_window),
	CALL(DMA_BUF, export = do_dma_buf, struct p2p_bridge_export),
	CALL(MEMORY, export = do_memory, struct p2p_bridge_export),
	CALL(TRANSLATE, call = do_translate, struct p2p_bridge_translate,
	     .enters = true),
	CALL(BUS_RELEASE, call = do_bus_release, struct p2p_bridge_bus_release),
#undef CALL
};

/* Room for the largest structure */
#define ARG_BYTES	96
static_assert(sizeof(struct p2p_bridge_translate) <= ARG_BYTES);

static int call(struct p2p_file *f, unsigned int nr, void *arg,
		struct file **made)
{
	int ret;

	if (calls[nr].enters)
		return calls[nr].call(f, arg);
	ret = p2p_bridge_enter(f->bridge);
	if (ret)
		return ret;
	ret = calls[nr].export ? calls[nr].export(f, arg, made) :
	      calls[nr].call(f, arg);
	p2p_bridge_leave(f->bridge);
	return ret;
}

/* A file that the program is not told of must not stay open in it. */
static int call_and_answer(struct p2p_file *f, unsigned int nr, void *arg,
			   void __user *user)
{
	struct p2p_bridge_export *export = arg;
	struct file *made = NULL;
	int ret, fd = -1;

	if (calls[nr].export) {
		fd = get_unused_fd_flags(O_CLOEXEC);
		if (fd < 0)
			return fd;
	}
	ret = call(f, nr, arg, &made);
	if (ret)
		goto put_fd;
	if (made)
		export->fd = fd;
	if (copy_to_user(user, arg, calls[nr].size)) {
		ret = -EFAULT;
		goto put_file;
	}
	if (made)
		fd_install(fd, made);
	return 0;

put_file:
	if (made)
		fput(made);
put_fd:
	if (fd >= 0)
		put_unused_fd(fd);
	return ret;
}

static long chardev_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct p2p_file *f = file->private_data;
	unsigned int nr = _IOC_NR(cmd);
	u64 raw[ARG_BYTES / 8] = { };
	struct head *head = (struct head *)raw;
	u32 size;
	int ret;

	if (READ_ONCE(f->bridge->state) == P2P_DEAD)
		return -ENODEV;
	if (_IOC_TYPE(cmd) != _IOC_TYPE(P2P_BRIDGE_IOC_IDENTIFY) ||
	    nr >= ARRAY_SIZE(calls) ||
	    _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE))
		return -ENOTTY;
	nr = array_index_nospec(nr, ARRAY_SIZE(calls));
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < calls[nr].size || size > PAGE_SIZE)
		return -EINVAL;
	ret = copy_struct_from_user(raw, calls[nr].size, user, size);
	if (ret)
		return ret;
	head->size = size;
	if (head->flags)
		return -EINVAL;
	return call_and_answer(f, nr, raw, user);
}

static int chardev_open(struct inode *inode, struct file *file)
{
	struct p2p_bridge *b = container_of(file->private_data,
					    struct p2p_bridge, misc);
	struct p2p_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	f->bridge = p2p_bridge_get(b);
	mutex_init(&f->lock);
	INIT_LIST_HEAD(&f->windows);
	spin_lock_init(&f->events_lock);
	INIT_KFIFO(f->events);
	spin_lock(&b->files_lock);
	list_add(&f->node, &b->files);
	spin_unlock(&b->files_lock);
	file->private_data = f;
	return stream_open(inode, file);
}

static int chardev_release(struct inode *inode, struct file *file)
{
	struct p2p_file *f = file->private_data;
	struct p2p_bridge *b = f->bridge;
	struct p2p_window *w, *next;

	spin_lock(&b->files_lock);
	list_del(&f->node);
	spin_unlock(&b->files_lock);
	list_for_each_entry_safe(w, next, &f->windows, file_node) {
		list_del_init(&w->file_node);
		p2p_window_put(w);
	}
	kfree(f);
	p2p_bridge_put(b);
	return 0;
}

static const struct file_operations chardev_fops = {
	.owner = THIS_MODULE,
	.open = chardev_open,
	.release = chardev_release,
	.read = p2p_event_read,
	.poll = p2p_event_poll,
	.unlocked_ioctl = chardev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

int p2p_chardev_register(struct p2p_bridge *b)
{
	b->misc.minor = MISC_DYNAMIC_MINOR;
	b->misc.name = b->name;
	b->misc.fops = &chardev_fops;
	b->misc.parent = &b->pdev->dev;
	b->misc.mode = 0660;
	return misc_register(&b->misc);
}

void p2p_chardev_unregister(struct p2p_bridge *b)
{
	misc_deregister(&b->misc);
}
