// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: command, completion and event ring
 *
 * Any number of threads give commands; each waits for its own.  What a
 * command's data points to belongs to the device until the command is
 * completed, or the device has been reset.
 */
#include <linux/dma-mapping.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/moduleparam.h>

#include "bridge.h"
#include "compat.h"

static unsigned int command_timeout_ms = 10000;
module_param(command_timeout_ms, uint, 0644);
MODULE_PARM_DESC(command_timeout_ms,
		 "after which a device that does not answer is reset");

#define RING_COMMANDS		P2P_BRIDGE_INDEX_SIZE
#define RING_COMPLETIONS	\
	(RING_COMMANDS + P2P_COMMANDS * P2P_BRIDGE_COMMAND_BYTES)
#define RING_EVENTS		\
	(RING_COMPLETIONS + P2P_COMMANDS * P2P_BRIDGE_COMPLETION_BYTES)
#define RING_BYTES		\
	(RING_EVENTS + P2P_EVENTS * P2P_BRIDGE_EVENT_BYTES)

static u32 index_read(struct p2p_ring *ring, unsigned int offset)
{
	return le32_to_cpu(READ_ONCE(*(__le32 *)(ring->memory + offset)));
}

static void index_write(struct p2p_ring *ring, unsigned int offset, u32 value)
{
	WRITE_ONCE(*(__le32 *)(ring->memory + offset), cpu_to_le32(value));
}

int p2p_ring_alloc(struct p2p_bridge *b)
{
	struct p2p_ring *ring = &b->ring;

	spin_lock_init(&ring->lock);
	init_waitqueue_head(&ring->space);
	ring->memory = dma_alloc_coherent(&b->pdev->dev, RING_BYTES,
					  &ring->dma, GFP_KERNEL);
	if (!ring->memory)
		return -ENOMEM;
	ring->commands = ring->memory + RING_COMMANDS;
	ring->completions = ring->memory + RING_COMPLETIONS;
	ring->events = ring->memory + RING_EVENTS;
	return 0;
}

void p2p_ring_free(struct p2p_bridge *b)
{
	dma_free_coherent(&b->pdev->dev, RING_BYTES, b->ring.memory,
			  b->ring.dma);
	b->ring.memory = NULL;
}

/**
 * p2p_ring_start - give the rings to the device, which was reset before
 * @b: the bridge
 * @vectors: interrupt vectors that there are, 1 or 2
 *
 * The caller holds the gate for writing, or nobody knows the device yet.
 */
int p2p_ring_start(struct p2p_bridge *b, int vectors)
{
	struct p2p_ring *ring = &b->ring;
	void __iomem *regs = b->regs;
	u32 status;

	memset(ring->memory, 0, RING_BYTES);
	ring->event_head = 0;
	ring->command_tail = 0;
	ring->completion_head = 0;
	bitmap_zero(ring->taken, P2P_COMMANDS);
	ring->n_free = P2P_COMMANDS;

	lo_hi_writeq(b->features, regs + P2P_BRIDGE_DRIVER_FEATURES);
	lo_hi_writeq(ring->dma, regs + P2P_BRIDGE_INDEX_BASE);
	lo_hi_writeq(ring->dma + RING_COMMANDS,
		     regs + P2P_BRIDGE_COMMAND_BASE);
	lo_hi_writeq(ring->dma + RING_COMPLETIONS,
		     regs + P2P_BRIDGE_COMPLETION_BASE);
	lo_hi_writeq(ring->dma + RING_EVENTS, regs + P2P_BRIDGE_EVENT_BASE);
	writel(P2P_COMMANDS, regs + P2P_BRIDGE_COMMAND_SIZE);
	writel(P2P_COMMANDS, regs + P2P_BRIDGE_COMPLETION_SIZE);
	writel(P2P_EVENTS, regs + P2P_BRIDGE_EVENT_SIZE);
	writel(0, regs + P2P_BRIDGE_COMPLETION_VECTOR);
	writel(vectors - 1, regs + P2P_BRIDGE_EVENT_VECTOR);
	writel(P2P_BRIDGE_CONTROL_ENABLE, regs + P2P_BRIDGE_CONTROL);

	status = readl(regs + P2P_BRIDGE_STATUS);
	if (status != P2P_BRIDGE_STATUS_READY) {
		dev_err(&b->pdev->dev, "not ready: status %#x, error %u\n",
			status, readl(regs + P2P_BRIDGE_ERROR));
		return -EIO;
	}
	spin_lock_irq(&ring->lock);
	ring->running = true;
	spin_unlock_irq(&ring->lock);
	return 0;
}

/* The lock is held. */
static void finish(struct p2p_ring *ring, unsigned int id, int error)
{
	struct p2p_command *cmd = ring->pending[id];

	ring->pending[id] = NULL;
	__clear_bit(id, ring->taken);
	ring->n_free++;
	cmd->error = error;
	complete(&cmd->done);
}

/**
 * p2p_ring_stop - reset the device, and fail all commands that it has
 * @b: the bridge
 * @error: what they fail with
 *
 * The device does no DMA when this returns, and has no guest window.
 */
void p2p_ring_stop(struct p2p_bridge *b, int error)
{
	struct p2p_ring *ring = &b->ring;
	unsigned long flags;
	unsigned int id;

	spin_lock_irqsave(&ring->lock, flags);
	ring->running = false;
	writel(P2P_BRIDGE_CONTROL_RESET, b->regs + P2P_BRIDGE_CONTROL);
	/* The write has arrived when the read is answered. */
	readl(b->regs + P2P_BRIDGE_STATUS);
	for_each_set_bit(id, ring->taken, P2P_COMMANDS)
		finish(ring, id, error);
	spin_unlock_irqrestore(&ring->lock, flags);
	wake_up_all(&ring->space);
}

/* --- Commands ------------------------------------------------------------ */

void p2p_command_init(struct p2p_command *cmd, u16 opcode)
{
	memset(cmd, 0, sizeof(*cmd));
	put_unaligned_le16(opcode, cmd->raw + P2P_BRIDGE_CMD_OPCODE);
}

void p2p_command_u32(struct p2p_command *cmd, unsigned int offset, u32 value)
{
	put_unaligned_le32(value, cmd->raw + offset);
}

void p2p_command_u64(struct p2p_command *cmd, unsigned int offset, u64 value)
{
	put_unaligned_le64(value, cmd->raw + offset);
}

/**
 * p2p_command_data - memory for a command's input and output
 * @b: the bridge
 * @cmd: has none yet
 * @in_len: bytes of input, which the caller writes to @cmd->data
 * @out_room: bytes, read at p2p_command_out()
 *
 * p2p_command_free() frees it.
 */
int p2p_command_data(struct p2p_bridge *b, struct p2p_command *cmd,
		     size_t in_len, size_t out_room)
{
	cmd->data = dma_alloc_coherent(&b->pdev->dev, in_len + out_room,
				       &cmd->data_dma, GFP_KERNEL);
	if (!cmd->data)
		return -ENOMEM;
	cmd->in_len = in_len;
	cmd->out_room = out_room;
	if (in_len) {
		p2p_command_u64(cmd, P2P_BRIDGE_CMD_IN_ADDR, cmd->data_dma);
		p2p_command_u32(cmd, P2P_BRIDGE_CMD_IN_LEN, in_len);
	}
	if (out_room) {
		p2p_command_u64(cmd, P2P_BRIDGE_CMD_OUT_ADDR,
				cmd->data_dma + in_len);
		p2p_command_u32(cmd, P2P_BRIDGE_CMD_OUT_LEN, out_room);
	}
	return 0;
}

void p2p_command_free(struct p2p_bridge *b, struct p2p_command *cmd)
{
	if (cmd->data)
		dma_free_coherent(&b->pdev->dev, cmd->in_len + cmd->out_room,
				  cmd->data, cmd->data_dma);
	cmd->data = NULL;
}

int p2p_command_errno(const struct p2p_command *cmd)
{
	static const int errors[] = {
		[P2P_BRIDGE_OK] = 0,
		[P2P_BRIDGE_BAD_OPCODE] = EOPNOTSUPP,
		[P2P_BRIDGE_BAD_FIELD] = EINVAL,
		[P2P_BRIDGE_BAD_LENGTH] = EINVAL,
		[P2P_BRIDGE_DMA_ERROR] = EIO,
		[P2P_BRIDGE_NO_SPACE] = ENOSPC,
		[P2P_BRIDGE_NO_MEMBER] = ENXIO,
		[P2P_BRIDGE_NO_WINDOW] = ENOENT,
		[P2P_BRIDGE_NOT_SHARED] = EACCES,
		[P2P_BRIDGE_NO_ACCESS] = EROFS,
		[P2P_BRIDGE_NO_MEMORY] = EOPNOTSUPP,
		[P2P_BRIDGE_BAD_SLOT] = ENOSPC,
		[P2P_BRIDGE_SLOT_TAKEN] = EBUSY,
		[P2P_BRIDGE_ATTACHED] = EBUSY,
		[P2P_BRIDGE_NOT_ATTACHED] = ENOTCONN,
		[P2P_BRIDGE_REVOKED] = ESTALE,
		[P2P_BRIDGE_NOT_REVOKED] = EINVAL,
		[P2P_BRIDGE_LIMIT] = EMFILE,
		[P2P_BRIDGE_NOT_DECODED] = EHOSTDOWN,
		[P2P_BRIDGE_FAULT] = EFAULT,
		[P2P_BRIDGE_BUS_REFUSED] = EPERM,
	};

	if (cmd->error)
		return cmd->error;
	return cmd->status < ARRAY_SIZE(errors) ? -errors[cmd->status] : -EIO;
}

/*
 * Write @n commands to the ring, if there is room for all, or the ring has
 * stopped, which ends them at once.  All or none: two that each had half of
 * what they want would wait for each other.
 */
static bool give(struct p2p_bridge *b, struct p2p_command *cmds, unsigned int n)
{
	struct p2p_ring *ring = &b->ring;
	unsigned long flags;
	bool given = true;
	unsigned int i;

	spin_lock_irqsave(&ring->lock, flags);
	if (!ring->running) {
		for (i = 0; i < n; i++) {
			cmds[i].error = -EIO;
			complete(&cmds[i].done);
		}
	} else if (ring->n_free < n) {
		given = false;
	} else {
		for (i = 0; i < n; i++) {
			struct p2p_command *cmd = &cmds[i];
			u32 at = ring->command_tail++ % P2P_COMMANDS;

			cmd->id = find_first_zero_bit(ring->taken,
						      P2P_COMMANDS);
			__set_bit(cmd->id, ring->taken);
			ring->n_free--;
			ring->pending[cmd->id] = cmd;
			put_unaligned_le16(cmd->id,
					   cmd->raw + P2P_BRIDGE_CMD_ID);
			memcpy(ring->commands + at * sizeof(cmd->raw),
			       cmd->raw, sizeof(cmd->raw));
		}
		/* The device sees commands before the tail that covers them. */
		dma_wmb();
		index_write(ring, P2P_BRIDGE_COMMAND_TAIL, ring->command_tail);
		writel(1, b->regs + P2P_BRIDGE_DOORBELL);
	}
	spin_unlock_irqrestore(&ring->lock, flags);
	return given;
}

/* A device that does not answer is reset now, and started anew later. */
static void fail(struct p2p_bridge *b, const char *why)
{
	dev_err_ratelimited(&b->pdev->dev,
			    "%s (status %#x, error %u): it is reset\n", why,
			    readl(b->regs + P2P_BRIDGE_STATUS),
			    readl(b->regs + P2P_BRIDGE_ERROR));
	p2p_ring_stop(b, -EIO);
	queue_work(p2p_workqueue, &b->restart);
}

/* The interrupt may be what is missing; or the time: it was a pause of the VM. */
static void late(struct p2p_bridge *b, struct p2p_command *cmd)
{
	p2p_ring_completions(b);
	if (try_wait_for_completion(&cmd->done))
		return;
	fail(b, "no answer");
	wait_for_completion(&cmd->done);
}

/**
 * p2p_execute - have the device execute commands, in their order
 * @b: the bridge, whose gate the caller holds
 * @cmds: the commands
 * @n: how many, at most P2P_COMMANDS; they share a doorbell
 *
 * Return: 0 if the device has answered all, whatever it said; -EIO if it was
 * reset instead.
 */
int p2p_execute(struct p2p_bridge *b, struct p2p_command *cmds, unsigned int n)
{
	unsigned long timeout = msecs_to_jiffies(command_timeout_ms);
	unsigned int i;
	int ret = 0;

	for (i = 0; i < n; i++)
		init_completion(&cmds[i].done);
	wait_event(b->ring.space, give(b, cmds, n));
	for (i = 0; i < n; i++) {
		if (!wait_for_completion_timeout(&cmds[i].done, timeout))
			late(b, &cmds[i]);
		ret = ret ?: cmds[i].error;
	}
	return ret;
}

/* Return: 0, or why the device, or the driver, has not done it. */
int p2p_execute_one(struct p2p_bridge *b, struct p2p_command *cmd)
{
	return p2p_execute(b, cmd, 1) ?: p2p_command_errno(cmd);
}

static void take(struct p2p_bridge *b, const u8 *entry)
{
	struct p2p_ring *ring = &b->ring;
	u16 id = get_unaligned_le16(entry + P2P_BRIDGE_CPL_ID);
	struct p2p_command *cmd;

	cmd = id < P2P_COMMANDS ? ring->pending[id] : NULL;
	if (!cmd) {
		dev_err_ratelimited(&b->pdev->dev,
				    "completion of no command: %u\n", id);
		return;
	}
	cmd->status = get_unaligned_le16(entry + P2P_BRIDGE_CPL_STATUS);
	cmd->out_len = min(get_unaligned_le32(entry + P2P_BRIDGE_CPL_OUT_LEN),
			   cmd->out_room);
	cmd->index = get_unaligned_le32(entry + P2P_BRIDGE_CPL_INDEX);
	cmd->reason = get_unaligned_le32(entry + P2P_BRIDGE_CPL_REASON);
	cmd->value = get_unaligned_le64(entry + P2P_BRIDGE_CPL_VALUE);
	cmd->generation = get_unaligned_le32(entry +
					     P2P_BRIDGE_CPL_GENERATION);
	finish(ring, id, 0);
}

/**
 * p2p_ring_completions - take what the device has completed
 * @b: the bridge
 *
 * Any context.
 */
void p2p_ring_completions(struct p2p_bridge *b)
{
	struct p2p_ring *ring = &b->ring;
	unsigned long flags;
	bool some = false;
	u32 tail;

	spin_lock_irqsave(&ring->lock, flags);
	while (ring->running) {
		tail = index_read(ring, P2P_BRIDGE_COMPLETION_TAIL);
		/*
		 * Nothing, or nonsense: then the commands time out.  More than
		 * was given is nonsense, so that this comes to an end.
		 */
		if (tail == ring->completion_head ||
		    tail - ring->completion_head >
		    ring->command_tail - ring->completion_head)
			break;
		/* Entries are read after the tail that covers them. */
		dma_rmb();
		do {
			u32 at = ring->completion_head++ % P2P_COMMANDS;

			take(b, ring->completions +
			     at * P2P_BRIDGE_COMPLETION_BYTES);
		} while (ring->completion_head != tail);
		/* They are free when we have read them. */
		mb();
		index_write(ring, P2P_BRIDGE_COMPLETION_HEAD, tail);
		some = true;
	}
	spin_unlock_irqrestore(&ring->lock, flags);
	if (some)
		wake_up_all(&ring->space);
}

/* --- Events -------------------------------------------------------------- */

bool p2p_ring_has_event(struct p2p_bridge *b)
{
	return index_read(&b->ring, P2P_BRIDGE_EVENT_TAIL) !=
	       READ_ONCE(b->ring.event_head);
}

/**
 * p2p_ring_event - take one event
 * @b: the bridge, whose gate the caller holds; one caller at a time
 * @event: is written
 *
 * Return: whether there was one.
 */
bool p2p_ring_event(struct p2p_bridge *b, struct p2p_bridge_event *event)
{
	struct p2p_ring *ring = &b->ring;
	u32 tail = index_read(ring, P2P_BRIDGE_EVENT_TAIL);
	const u8 *entry;

	if (tail == ring->event_head || tail - ring->event_head > P2P_EVENTS)
		return false;
	dma_rmb();
	entry = ring->events +
		ring->event_head % P2P_EVENTS * P2P_BRIDGE_EVENT_BYTES;
	*event = (struct p2p_bridge_event) {
		.type = get_unaligned_le16(entry + P2P_BRIDGE_EVT_TYPE),
		.reason = get_unaligned_le16(entry + P2P_BRIDGE_EVT_REASON),
		.generation = get_unaligned_le32(entry +
						 P2P_BRIDGE_EVT_GENERATION),
		.window = get_unaligned_le32(entry + P2P_BRIDGE_EVT_WINDOW),
		.slot = get_unaligned_le32(entry + P2P_BRIDGE_EVT_SLOT),
		.initiator = get_unaligned_le32(entry + P2P_BRIDGE_EVT_RID),
		.target = get_unaligned_le32(entry + P2P_BRIDGE_EVT_TARGET),
	};
	mb();	/* as for completions */
	WRITE_ONCE(ring->event_head, ring->event_head + 1);
	index_write(ring, P2P_BRIDGE_EVENT_HEAD, ring->event_head);
	return true;
}
