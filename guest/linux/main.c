// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: the PCI device's driver; start and end of a device
 *
 * docs/specs/p2p-bridge.rst of qemu-p2p describes the device.
 */
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/pm.h>
#include <linux/slab.h>

#include "bridge.h"
#include "compat.h"

/* Not ordered: a revocation that waits must not hold up the others. */
struct workqueue_struct *p2p_workqueue;
static DEFINE_IDA(p2p_ids);

/* --- Life ---------------------------------------------------------------- */

static void bridge_free(struct kref *ref)
{
	struct p2p_bridge *b = container_of(ref, struct p2p_bridge, ref);

	kvfree(b->slots_used);
	kvfree(b->slots_p2pdma);
	kvfree(b->slots_held);
	p2p_topology_free(b);
	pci_dev_put(b->pdev);
	kfree(b);
}

struct p2p_bridge *p2p_bridge_get(struct p2p_bridge *b)
{
	kref_get(&b->ref);
	return b;
}

void p2p_bridge_put(struct p2p_bridge *b)
{
	kref_put(&b->ref, bridge_free);
}

/**
 * p2p_bridge_enter - keep the device as it is
 * @b: the bridge
 *
 * Waits while it is suspended, or in a reset.
 *
 * Return: 0, until p2p_bridge_leave(); -ENODEV if it has gone, -EIO if it has
 * failed, -EINTR if the caller is killed.
 */
int p2p_bridge_enter(struct p2p_bridge *b)
{
	enum p2p_state state;

	for (;;) {
		if (down_read_killable(&b->gate))
			return -EINTR;
		state = b->state;
		if (state == P2P_RUNNING)
			return 0;
		up_read(&b->gate);
		if (state != P2P_STOPPED)
			return state == P2P_DEAD ? -ENODEV : -EIO;
		if (wait_event_killable(b->started, READ_ONCE(b->state) !=
					P2P_STOPPED))
			return -EINTR;
	}
}

void p2p_bridge_leave(struct p2p_bridge *b)
{
	up_read(&b->gate);
}

/* --- Interrupts ---------------------------------------------------------- */

/* Either vector: with one for both we cannot tell what it is about. */
static irqreturn_t bridge_interrupt(int irq, void *data)
{
	struct p2p_bridge *b = data;

	p2p_ring_completions(b);
	if (p2p_ring_has_event(b))
		queue_work(p2p_workqueue, &b->event_work);
	return IRQ_HANDLED;
}

static void bridge_free_irqs(struct p2p_bridge *b)
{
	int vectors = b->vectors;

	while (vectors--)
		free_irq(pci_irq_vector(b->pdev, vectors), b);
	pci_free_irq_vectors(b->pdev);
}

static int bridge_request_irqs(struct p2p_bridge *b)
{
	int vectors = pci_alloc_irq_vectors(b->pdev, 1, P2P_BRIDGE_VECTORS,
					    PCI_IRQ_MSIX);
	int i, ret;

	if (vectors < 0)
		return dev_err_probe(&b->pdev->dev, vectors, "no MSI-X\n");
	for (i = 0; i < vectors; i++) {
		ret = request_irq(pci_irq_vector(b->pdev, i), bridge_interrupt,
				  0, b->name, b);
		if (ret) {
			while (i--)
				free_irq(pci_irq_vector(b->pdev, i), b);
			pci_free_irq_vectors(b->pdev);
			return ret;
		}
	}
	return vectors;
}

/* --- Start and stop ------------------------------------------------------ */

/* Ask for what does not change.  The gate is held. */
static int bridge_query(struct p2p_bridge *b)
{
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
		b->max_windows = get_unaligned_le32(out +
						    P2P_BRIDGE_ID_MAX_WINDOWS);
		b->max_vector = get_unaligned_le32(out +
						   P2P_BRIDGE_ID_MAX_VECTOR);
		b->slots = get_unaligned_le32(out + P2P_BRIDGE_ID_SLOTS);
		b->slot_shift = get_unaligned_le32(out +
						   P2P_BRIDGE_ID_SLOT_SHIFT);
		b->page_shift = get_unaligned_le32(out +
						   P2P_BRIDGE_ID_PAGE_SHIFT);
		b->revoke_ms = get_unaligned_le32(out +
						  P2P_BRIDGE_ID_REVOKE_MS);
	}
	p2p_command_free(b, &cmd);
	return ret;
}

/* As specified; a device that asks for more does not get it. */
#define REVOKE_MS_MAX	10000u

/* What we compute with must fit the aperture. */
static int bridge_check_limits(struct p2p_bridge *b)
{
	u64 aperture = pci_resource_len(b->pdev, P2P_BRIDGE_BAR_APERTURE);

	b->revoke_ms = min(b->revoke_ms, REVOKE_MS_MAX);
	if (b->slot_shift < PAGE_SHIFT || b->slot_shift > 30 || !b->slots ||
	    (u64)b->slots << b->slot_shift > aperture ||
	    b->page_shift > b->slot_shift || !b->max_vector ||
	    b->max_vector > P2P_BRIDGE_MAX_VECTOR_VALUE)
		return dev_err_probe(&b->pdev->dev, -EINVAL,
				     "%u slots of 2^%u bytes, vectors of %u?\n",
				     b->slots, b->slot_shift, b->max_vector);
	return 0;
}

static void set_state(struct p2p_bridge *b, enum p2p_state state)
{
	WRITE_ONCE(b->state, state);
	wake_up_all(&b->started);
	/* Who reads events is told of the end. */
	wake_up_all(&b->readers);
}

/* Take all windows from their users, and reset.  The gate is held to write. */
static void bridge_stop(struct p2p_bridge *b, enum p2p_state state)
{
	bool asked = b->state == P2P_RUNNING && b->ring.running;
	struct p2p_window *w = NULL;
	unsigned long end;

	set_state(b, state);
	while ((w = p2p_window_next(b, w)))
		p2p_window_cut_off(w);
	/* Who uses a window shall see memory until it is done. */
	end = jiffies + msecs_to_jiffies(asked ? b->revoke_ms : 0);
	while ((w = p2p_window_next(b, w)))
		p2p_window_wait_unused(w, end);
	p2p_ring_stop(b, state == P2P_DEAD ? -ENODEV : -EIO);
	p2p_windows_lost(b);
}

/* From a device that may have lost all.  The gate is held to write. */
static void bridge_start(struct p2p_bridge *b)
{
	static const struct p2p_bridge_event lost = { };
	int ret;

	pci_set_master(b->pdev);
	p2p_ring_stop(b, -EIO);
	ret = p2p_ring_start(b, b->vectors);
	if (!ret)
		ret = p2p_topology_refresh(b);
	set_state(b, ret ? P2P_BROKEN : P2P_RUNNING);
	/* Nobody told of what has changed meanwhile. */
	p2p_event_tell(b, &lost);
}

/* A command was not answered. */
static void bridge_restart(struct work_struct *work)
{
	struct p2p_bridge *b = container_of(work, struct p2p_bridge, restart);

	down_write(&b->gate);
	if (b->state == P2P_RUNNING && !b->ring.running) {
		bridge_stop(b, P2P_STOPPED);
		bridge_start(b);
	}
	up_write(&b->gate);
}

static int bridge_suspend(struct device *dev)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);

	down_write(&b->gate);
	bridge_stop(b, P2P_STOPPED);
	up_write(&b->gate);
	return 0;
}

static int bridge_resume(struct device *dev)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);

	down_write(&b->gate);
	bridge_start(b);
	up_write(&b->gate);
	/* A device that does not work is no reason for the resume to fail. */
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(bridge_pm_ops, bridge_suspend, bridge_resume);

static void bridge_reset_prepare(struct pci_dev *pdev)
{
	bridge_suspend(&pdev->dev);
}

static void bridge_reset_done(struct pci_dev *pdev)
{
	bridge_resume(&pdev->dev);
}

static const struct pci_error_handlers bridge_error_handlers = {
	.reset_prepare = bridge_reset_prepare,
	.reset_done = bridge_reset_done,
};

/* --- Probe and remove ---------------------------------------------------- */

static struct p2p_bridge *bridge_alloc(struct pci_dev *pdev)
{
	struct p2p_bridge *b = kzalloc(sizeof(*b), GFP_KERNEL);

	if (!b)
		return NULL;
	b->id = ida_alloc(&p2p_ids, GFP_KERNEL);
	if (b->id < 0) {
		kfree(b);
		return NULL;
	}
	snprintf(b->name, sizeof(b->name), "p2p-bridge%d", b->id);
	kref_init(&b->ref);
	b->pdev = pci_dev_get(pdev);
	b->aperture = pci_resource_start(pdev, P2P_BRIDGE_BAR_APERTURE);
	init_rwsem(&b->gate);
	init_waitqueue_head(&b->started);
	mutex_init(&b->lock);
	INIT_LIST_HEAD(&b->windows);
	INIT_WORK(&b->restart, bridge_restart);
	INIT_WORK(&b->event_work, p2p_event_work);
	init_waitqueue_head(&b->quiet);
	spin_lock_init(&b->files_lock);
	INIT_LIST_HEAD(&b->files);
	init_waitqueue_head(&b->readers);
	return b;
}

static int bridge_map(struct p2p_bridge *b)
{
	struct pci_dev *pdev = b->pdev;
	u32 magic, version;

	if (pci_resource_len(pdev, P2P_BRIDGE_BAR_REGS) <
	    P2P_BRIDGE_REGS_SIZE ||
	    pci_resource_len(pdev, P2P_BRIDGE_BAR_STATUS) <
	    P2P_BRIDGE_PAGE_BYTES)
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR too small\n");
	b->regs = pci_iomap(pdev, P2P_BRIDGE_BAR_REGS, P2P_BRIDGE_REGS_SIZE);
	b->page = pci_iomap(pdev, P2P_BRIDGE_BAR_STATUS,
			    P2P_BRIDGE_PAGE_BYTES);
	if (!b->regs || !b->page)
		return -ENOMEM;

	magic = readl(b->regs + P2P_BRIDGE_MAGIC);
	version = readl(b->regs + P2P_BRIDGE_VERSION);
	if (magic != P2P_BRIDGE_MAGIC_VALUE ||
	    version != P2P_BRIDGE_VERSION_VALUE)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "magic %#x, version %u: not known\n",
				     magic, version);
	b->features = lo_hi_readq(b->regs + P2P_BRIDGE_FEATURES) &
		      P2P_BRIDGE_FEATURE_BUS_ADDRESS;
	return 0;
}

static void bridge_unmap(struct p2p_bridge *b)
{
	if (b->regs)
		pci_iounmap(b->pdev, b->regs);
	if (b->page)
		pci_iounmap(b->pdev, b->page);
	b->regs = NULL;
	b->page = NULL;
}

static int bridge_alloc_slots(struct p2p_bridge *b)
{
	size_t n = BITS_TO_LONGS(b->slots);

	b->slots_used = kvcalloc(n, sizeof(long), GFP_KERNEL);
	b->slots_p2pdma = kvcalloc(n, sizeof(long), GFP_KERNEL);
	b->slots_held = kvcalloc(n, sizeof(long), GFP_KERNEL);
	return b->slots_used && b->slots_p2pdma && b->slots_held ? 0 : -ENOMEM;
}

/* The device answers, until bridge_power_off(). */
static int bridge_power_on(struct p2p_bridge *b)
{
	struct pci_dev *pdev = b->pdev;
	int ret;

	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;
	ret = pci_request_mem_regions(pdev, "p2p-bridge");
	if (ret)
		goto disable;
	ret = bridge_map(b);
	if (ret)
		goto unmap;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		goto unmap;
	ret = p2p_ring_alloc(b);
	if (ret)
		goto unmap;
	b->vectors = bridge_request_irqs(b);
	if (b->vectors < 0) {
		ret = b->vectors;
		goto free_ring;
	}
	pci_set_master(pdev);
	return 0;

free_ring:
	p2p_ring_free(b);
unmap:
	bridge_unmap(b);
	pci_release_mem_regions(pdev);
disable:
	pci_disable_device(pdev);
	return ret;
}

/* The device has been reset. */
static void bridge_power_off(struct p2p_bridge *b)
{
	bridge_free_irqs(b);
	cancel_work_sync(&b->event_work);
	cancel_work_sync(&b->restart);
	pci_clear_master(b->pdev);
	p2p_ring_free(b);
	bridge_unmap(b);
	pci_release_mem_regions(b->pdev);
	pci_disable_device(b->pdev);
}

static int bridge_bring_up(struct p2p_bridge *b)
{
	int ret;

	down_write(&b->gate);
	p2p_ring_stop(b, -EIO);
	ret = p2p_ring_start(b, b->vectors);
	if (!ret)
		ret = bridge_query(b);
	if (!ret)
		ret = bridge_check_limits(b);
	if (!ret)
		ret = bridge_alloc_slots(b);
	if (!ret)
		ret = p2p_topology_refresh(b);
	if (!ret)
		set_state(b, P2P_RUNNING);
	up_write(&b->gate);
	return ret;
}

static void bridge_shut_down(struct p2p_bridge *b)
{
	down_write(&b->gate);
	bridge_stop(b, P2P_DEAD);
	up_write(&b->gate);
}

static int bridge_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct p2p_bridge *b = bridge_alloc(pdev);
	int ret;

	if (!b)
		return -ENOMEM;
	ret = bridge_power_on(b);
	if (ret)
		goto put;
	ret = bridge_bring_up(b);
	if (ret)
		goto power_off;
	pci_set_drvdata(pdev, b);
	ret = p2p_chardev_register(b);
	if (ret)
		goto power_off;
	dev_info(&pdev->dev, "%s: %u slots of %u KiB, %u members\n", b->name,
		 b->slots, 1 << (b->slot_shift - 10), b->topology.n_members);
	return 0;

power_off:
	bridge_shut_down(b);
	bridge_power_off(b);
put:
	ida_free(&p2p_ids, b->id);
	p2p_bridge_put(b);
	return ret;
}

/*
 * Files, dma-bufs and windows may outlive this; they find the state DEAD.  Only
 * pages cannot: their addresses are the device's.
 */
static void bridge_remove(struct pci_dev *pdev)
{
	struct p2p_bridge *b = pci_get_drvdata(pdev);

	p2p_chardev_unregister(b);
	bridge_shut_down(b);
	p2p_memory_drain(b);
	bridge_power_off(b);
	/* Whoever comes next may have the name, whatever is still open. */
	ida_free(&p2p_ids, b->id);
	p2p_bridge_put(b);
}

static const struct pci_device_id bridge_ids[] = {
	{ PCI_DEVICE(P2P_BRIDGE_VENDOR_ID, P2P_BRIDGE_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, bridge_ids);

struct pci_driver p2p_pci_driver = {
	.name = "p2p-bridge",
	.id_table = bridge_ids,
	.probe = bridge_probe,
	.remove = bridge_remove,
	.err_handler = &bridge_error_handlers,
	.dev_groups = p2p_sysfs_groups,
	.driver.pm = pm_sleep_ptr(&bridge_pm_ops),
};

static int __init bridge_init(void)
{
	int ret;

	p2p_workqueue = alloc_workqueue("p2p-bridge", WQ_UNBOUND, 0);
	if (!p2p_workqueue)
		return -ENOMEM;
	ret = pci_register_driver(&p2p_pci_driver);
	if (ret)
		destroy_workqueue(p2p_workqueue);
	return ret;
}
module_init(bridge_init);

/* No file and no dma-buf is left; of windows the last works may be. */
static void __exit bridge_exit(void)
{
	pci_unregister_driver(&p2p_pci_driver);
	destroy_workqueue(p2p_workqueue);
}
module_exit(bridge_exit);

P2P_IMPORT_DMA_BUF;
MODULE_DESCRIPTION("Peer-to-peer DMA between devices of a virtual machine");
MODULE_LICENSE("GPL");
