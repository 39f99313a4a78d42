// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: calls for other drivers, see p2p-bridge.h
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>

#include "bridge.h"
#include "p2p-bridge.h"

/**
 * p2p_bridge_window_get - find a guest window by its number
 * @bridge: PCI function of the p2p-bridge
 * @number: as P2P_BRIDGE_IOC_SHARE gave it
 *
 * Return: the window, for p2p_bridge_window_put(); -ENODEV if no driver has
 * @bridge, -ENOENT if it has no such window.
 */
struct p2p_window *p2p_bridge_window_get(struct pci_dev *bridge, u32 number)
{
	struct p2p_window *window = ERR_PTR(-ENODEV);

	device_lock(&bridge->dev);
	if (bridge->dev.driver == &p2p_pci_driver.driver)
		window = p2p_window_find(pci_get_drvdata(bridge), number) ?:
			 ERR_PTR(-ENOENT);
	device_unlock(&bridge->dev);
	return window;
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_get);

/**
 * p2p_bridge_window_get_fd - find a guest window by a memory file of it
 * @fd: a descriptor of the calling process, from P2P_BRIDGE_IOC_MEMORY
 *
 * Return: the window, for p2p_bridge_window_put(); -EBADF, or -EINVAL if it is
 * another file.
 */
struct p2p_window *p2p_bridge_window_get_fd(int fd)
{
	return p2p_memory_window(fd);
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_get_fd);

/**
 * p2p_bridge_window_put - give a reference back
 * @window: the window; no mapping and no notifier of the caller is left
 *
 * Any context.
 */
void p2p_bridge_window_put(struct p2p_window *window)
{
	p2p_window_put(window);
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_put);

/**
 * p2p_bridge_window_size - size of a window
 * @window: the window
 *
 * Return: bytes.
 */
u64 p2p_bridge_window_size(const struct p2p_window *window)
{
	return window->length;
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_size);

/**
 * p2p_bridge_window_map - let a device reach a window
 * @window: the window, attached
 * @dev: the initiator
 * @dir: DMA_TO_DEVICE if it reads the window, which is all that is possible
 *       with one that is read only
 *
 * The table has DMA addresses and lengths only, for_each_sgtable_dma_sg(); there
 * are no pages.  A mapping keeps no window from being revoked: register a
 * notifier before, and have it stop the transfers and unmap.
 *
 * Return: the table, for p2p_bridge_window_unmap(); -ESTALE if the window is not
 * attached or was revoked, -EACCES if it is read only, -EIO if the device cannot
 * reach it.
 */
struct sg_table *p2p_bridge_window_map(struct p2p_window *window,
				       struct device *dev,
				       enum dma_data_direction dir)
{
	return p2p_window_map(window, dev, dir);
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_map);

/**
 * p2p_bridge_window_unmap - end what p2p_bridge_window_map() began
 * @window: the window
 * @dev: as it was mapped for
 * @sgt: the table
 * @dir: as it was mapped for
 */
void p2p_bridge_window_unmap(struct p2p_window *window,
			     struct device *dev, struct sg_table *sgt,
			     enum dma_data_direction dir)
{
	p2p_window_unmap(window, dev, sgt, dir);
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_unmap);

/**
 * p2p_bridge_window_register_notifier - be told when a window is revoked
 * @window: the window
 * @nb: is called with P2P_BRIDGE_WINDOW_REVOKED and the window, once, and may
 *      sleep; the host waits for it, for a time that the host knows
 *
 * Also when the bridge is unbound, suspended, or reset; @nb must not look for
 * windows, then the bridge is locked.
 *
 * Return: 0; -ESTALE if it was revoked already, and @nb may have been called.
 */
int p2p_bridge_window_register_notifier(struct p2p_window *window,
					struct notifier_block *nb)
{
	int ret = blocking_notifier_chain_register(&window->notifiers, nb);

	/* It is set before the chain is called. */
	if (!ret && READ_ONCE(window->revoked)) {
		blocking_notifier_chain_unregister(&window->notifiers, nb);
		ret = -ESTALE;
	}
	return ret;
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_register_notifier);

/**
 * p2p_bridge_window_unregister_notifier - not be told any more
 * @window: the window
 * @nb: was registered; is not being called when this returns, and so must not
 *      be the caller
 */
void p2p_bridge_window_unregister_notifier(struct p2p_window *window,
					   struct notifier_block *nb)
{
	blocking_notifier_chain_unregister(&window->notifiers, nb);
}
EXPORT_SYMBOL_GPL(p2p_bridge_window_unregister_notifier);
