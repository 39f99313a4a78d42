// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: windows as dma-bufs
 *
 * For importers that can be told to let go (dynamic ones).  Addresses are those
 * of the window in the aperture, through the DMA API: they are right with and
 * without an IOMMU of the guest, and which way the transfer takes is the host's
 * affair.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>

#include "bridge.h"
#include "compat.h"
#include "p2p-bridge.h"

struct p2p_buf {
	struct p2p_window *window;	/* exported */
	struct list_head node;			/* window->bufs */
	struct dma_buf *dmabuf;
};

static int buf_attach(struct dma_buf *dmabuf,
		      struct dma_buf_attachment *attach)
{
	struct p2p_buf *buf = dmabuf->priv;

	/* There is no RAM that the window could move to. */
	if (!attach->peer2peer || !p2p_dma_buf_revocable(attach))
		return -EOPNOTSUPP;
	return READ_ONCE(buf->window->revoked) ? -ENODEV : 0;
}

/*
 * Nothing to do: a window does not move.  A pin does not keep it from being
 * revoked; but kernels before 6.19 pin for each mapping, and take a buffer that
 * cannot be pinned for static.
 */
static int buf_pin(struct dma_buf_attachment *attach)
{
	return 0;
}

static void buf_unpin(struct dma_buf_attachment *attach)
{
}

static struct sg_table *buf_map(struct dma_buf_attachment *attach,
				enum dma_data_direction dir)
{
	struct p2p_buf *buf = attach->dmabuf->priv;

	return p2p_window_map(buf->window, attach->dev, dir);
}

static void buf_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir)
{
	struct p2p_buf *buf = attach->dmabuf->priv;

	p2p_window_unmap(buf->window, attach->dev, sgt, dir);
}

static void buf_release(struct dma_buf *dmabuf)
{
	struct p2p_buf *buf = dmabuf->priv;

	mutex_lock(&buf->window->exports_lock);
	list_del(&buf->node);
	mutex_unlock(&buf->window->exports_lock);
	p2p_window_exported_put(buf->window);
	kfree(buf);
}

static const struct dma_buf_ops buf_ops = {
	.attach = buf_attach,
	.pin = buf_pin,
	.unpin = buf_unpin,
	.map_dma_buf = buf_map,
	.unmap_dma_buf = buf_unmap,
	.release = buf_release,
};

static struct dma_buf *export(struct p2p_window *w)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct p2p_buf *buf = kzalloc(sizeof(*buf), GFP_KERNEL);
	struct dma_buf *dmabuf;

	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->window = w;
	info.ops = &buf_ops;
	info.size = w->length;
	info.flags = w->access == P2P_BRIDGE_ACCESS_RO ? O_RDONLY : O_RDWR;
	info.priv = buf;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		kfree(buf);
		return dmabuf;
	}
	buf->dmabuf = dmabuf;
	mutex_lock(&w->exports_lock);
	list_add(&buf->node, &w->bufs);
	mutex_unlock(&w->exports_lock);
	return dmabuf;
}

/**
 * p2p_dmabuf_file - a dma-buf of a window
 * @w: the window; the caller holds the bridge's gate
 *
 * Return: its file.
 */
struct file *p2p_dmabuf_file(struct p2p_window *w)
{
	struct dma_buf *dmabuf;
	int ret;

	ret = p2p_window_export_begin(w);
	if (ret)
		return ERR_PTR(ret);
	dmabuf = export(w);
	p2p_window_export_end(w, !IS_ERR(dmabuf));
	return IS_ERR(dmabuf) ? ERR_CAST(dmabuf) : dmabuf->file;
}

/**
 * p2p_dmabuf_invalidate - tell all importers of a window to let go
 * @w: the window, which is not usable any more
 *
 * A buffer in the list cannot go: its release waits for our lock.
 */
void p2p_dmabuf_invalidate(struct p2p_window *w)
{
	struct p2p_buf *buf;

	mutex_lock(&w->exports_lock);
	list_for_each_entry(buf, &w->bufs, node) {
		dma_resv_lock(buf->dmabuf->resv, NULL);
		p2p_dma_buf_invalidate(buf->dmabuf);
		dma_resv_unlock(buf->dmabuf->resv);
	}
	mutex_unlock(&w->exports_lock);
}

/**
 * p2p_dmabuf_wait - wait for what importers of a window have running
 * @w: the window, whose importers were told to let go
 * @end: until when, in jiffies
 *
 * An importer may unmap at once, and leave a fence for a transfer that runs.
 */
void p2p_dmabuf_wait(struct p2p_window *w, unsigned long end)
{
	struct p2p_buf *buf;

	mutex_lock(&w->exports_lock);
	list_for_each_entry(buf, &w->bufs, node)
		dma_resv_wait_timeout(buf->dmabuf->resv,
				      DMA_RESV_USAGE_BOOKKEEP, false,
				      p2p_jiffies_until(end));
	mutex_unlock(&w->exports_lock);
}
