/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels from 6.1 on that this driver is built for
 */
#ifndef P2P_COMPAT_H
#define P2P_COMPAT_H

#include <linux/dma-buf.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void p2p_vm_flags_set(struct vm_area_struct *vma,
				    unsigned long flags)
{
	vma->vm_flags |= flags;
}
#else
#define p2p_vm_flags_set vm_flags_set
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
static inline struct dev_pagemap *p2p_page_pgmap(struct page *page)
{
	return page->pgmap;
}
#else
#define p2p_page_pgmap(page) page_pgmap(page)
#endif

/* Before 6.2 a P2PDMA page that is given back goes nowhere, with a warning. */
#define P2P_HAS_P2PDMA (IS_ENABLED(CONFIG_PCI_P2PDMA) && \
			LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0))

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define P2P_IMPORT_DMA_BUF MODULE_IMPORT_NS(DMA_BUF)
#else
#define P2P_IMPORT_DMA_BUF MODULE_IMPORT_NS("DMA_BUF")
#endif

/*
 * Until 6.19 an importer that allows peer-to-peer has to have a callback for
 * moved buffers; then it may pin them for good instead.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define p2p_dma_buf_invalidate dma_buf_move_notify
#define P2P_DMA_BUF_CALLBACK move_notify
static inline bool p2p_dma_buf_revocable(struct dma_buf_attachment *attach)
{
	return attach->importer_ops && attach->importer_ops->move_notify;
}
#else
#define p2p_dma_buf_invalidate dma_buf_invalidate_mappings
#define P2P_DMA_BUF_CALLBACK invalidate_mappings
#define p2p_dma_buf_revocable dma_buf_attach_revocable
#endif

#endif /* P2P_COMPAT_H */
