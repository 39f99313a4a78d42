/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * p2p-bridge: guest windows for other drivers of the kernel
 *
 * A program shares and attaches a window, and gives its memory file, or its
 * number, to a driver.  All calls may sleep but p2p_bridge_window_put().
 */
#ifndef P2P_BRIDGE_H
#define P2P_BRIDGE_H

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct notifier_block;
struct p2p_window;
struct pci_dev;
struct sg_table;

/* Of a notifier: the window's users let go.  The data is the window. */
#define P2P_BRIDGE_WINDOW_REVOKED	1

struct p2p_window *p2p_bridge_window_get(struct pci_dev *bridge, u32 number);
struct p2p_window *p2p_bridge_window_get_fd(int fd);
void p2p_bridge_window_put(struct p2p_window *window);
u64 p2p_bridge_window_size(const struct p2p_window *window);
struct sg_table *p2p_bridge_window_map(struct p2p_window *window,
				       struct device *dev,
				       enum dma_data_direction dir);
void p2p_bridge_window_unmap(struct p2p_window *window,
			     struct device *dev, struct sg_table *sgt,
			     enum dma_data_direction dir);
int p2p_bridge_window_register_notifier(struct p2p_window *window,
					struct notifier_block *nb);
void p2p_bridge_window_unregister_notifier(struct p2p_window *window,
					   struct notifier_block *nb);

#endif /* P2P_BRIDGE_H */
