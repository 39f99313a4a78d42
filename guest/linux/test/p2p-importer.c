// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test module: a driver that uses windows, see p2p-importer.h
 *
 * It plays both parts that there are: dynamic importer of a dma-buf, and user
 * of p2p-bridge's calls.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "../p2p-bridge.h"
#include "p2p-importer.h"

struct importer {
	struct mutex lock;		/* of all; mapping: see map_lock() */
	struct mutex window_lock;	/* of the mapping of a window */
	struct pci_dev *pdev;
	u32 flags;

	/* One of both */
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attachment;
	struct p2p_window *window;
	struct notifier_block notifier;

	struct sg_table *sgt;
	enum dma_data_direction dir;
	u32 revocations;
};

/* What keeps the mapping, and is held when we are told to let go */
static void map_lock(struct importer *im)
{
	if (im->dmabuf)
		dma_resv_lock(im->dmabuf->resv, NULL);
	else
		mutex_lock(&im->window_lock);
}

static void map_unlock(struct importer *im)
{
	if (im->dmabuf)
		dma_resv_unlock(im->dmabuf->resv);
	else
		mutex_unlock(&im->window_lock);
}

/* map_lock is held. */
static void unmap(struct importer *im)
{
	if (!im->sgt)
		return;
	if (im->dmabuf)
		dma_buf_unmap_attachment(im->attachment, im->sgt, im->dir);
	else
		p2p_bridge_window_unmap(im->window, &im->pdev->dev, im->sgt,
					im->dir);
	im->sgt = NULL;
}

/* map_lock is held. */
static void revoked(struct importer *im)
{
	im->revocations++;
	if (!(im->flags & P2P_IMPORTER_STUBBORN))
		unmap(im);
}

static void buf_invalidate(struct dma_buf_attachment *attachment)
{
	revoked(attachment->importer_priv);
}

static const struct dma_buf_attach_ops attach_ops = {
	.allow_peer2peer = true,
	.P2P_DMA_BUF_CALLBACK = buf_invalidate,
};

static int window_revoked(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	struct importer *im = container_of(nb, struct importer, notifier);

	mutex_lock(&im->window_lock);
	revoked(im);
	mutex_unlock(&im->window_lock);
	return NOTIFY_OK;
}

static int attach_buf(struct importer *im, int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	im->attachment = dma_buf_dynamic_attach(dmabuf, &im->pdev->dev,
						&attach_ops, im);
	if (IS_ERR(im->attachment)) {
		dma_buf_put(dmabuf);
		return PTR_ERR(im->attachment);
	}
	im->dmabuf = dmabuf;
	return 0;
}

static int attach_window(struct importer *im, int fd)
{
	struct p2p_window *window = p2p_bridge_window_get_fd(fd);
	int ret;

	if (IS_ERR(window))
		return PTR_ERR(window);
	im->window = window;
	im->notifier.notifier_call = window_revoked;
	ret = p2p_bridge_window_register_notifier(window, &im->notifier);
	if (ret) {
		im->window = NULL;
		p2p_bridge_window_put(window);
	}
	return ret;
}

static int do_attach(struct importer *im, void __user *user)
{
	struct p2p_importer_attach arg;
	int ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (im->pdev)
		return -EBUSY;
	im->pdev = pci_get_domain_bus_and_slot(arg.rid >> 16,
					       arg.rid >> 8 & 0xff,
					       arg.rid & 0xff);
	if (!im->pdev)
		return -ENXIO;
	im->flags = arg.flags;
	ret = arg.kind == P2P_IMPORTER_DMA_BUF ? attach_buf(im, arg.fd) :
	      arg.kind == P2P_IMPORTER_WINDOW ? attach_window(im, arg.fd) :
	      -EINVAL;
	if (ret) {
		pci_dev_put(im->pdev);
		im->pdev = NULL;
	}
	return ret;
}

static struct sg_table *map(struct importer *im, enum dma_data_direction dir)
{
	if (im->dmabuf)
		return dma_buf_map_attachment(im->attachment, dir);
	return p2p_bridge_window_map(im->window, &im->pdev->dev, dir);
}

static void describe(struct p2p_importer_map *arg, struct sg_table *sgt)
{
	struct scatterlist *sg;
	int i;

	arg->segments = sgt->nents;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (i == P2P_IMPORTER_SEGMENTS)
			break;
		arg->segment[i].address = sg_dma_address(sg);
		arg->segment[i].length = sg_dma_len(sg);
	}
}

static int do_map(struct importer *im, void __user *user)
{
	struct p2p_importer_map *arg;
	struct sg_table *sgt;
	int ret = 0;

	if (!im->pdev)
		return -ENOTCONN;
	arg = memdup_user(user, sizeof(*arg));
	if (IS_ERR(arg))
		return PTR_ERR(arg);
	if (!valid_dma_direction(arg->direction)) {
		kfree(arg);
		return -EINVAL;
	}

	map_lock(im);
	if (im->sgt) {
		ret = -EBUSY;
	} else {
		sgt = map(im, arg->direction);
		ret = PTR_ERR_OR_ZERO(sgt);
		if (!ret) {
			im->sgt = sgt;
			im->dir = arg->direction;
			describe(arg, sgt);
		}
	}
	map_unlock(im);
	if (!ret && copy_to_user(user, arg, sizeof(*arg)))
		ret = -EFAULT;
	kfree(arg);
	return ret;
}

static int do_unmap(struct importer *im)
{
	if (!im->pdev)
		return -ENOTCONN;
	map_lock(im);
	unmap(im);
	map_unlock(im);
	return 0;
}

static int do_state(struct importer *im, void __user *user)
{
	struct p2p_importer_state arg;

	map_lock(im);
	arg.mapped = !!im->sgt;
	arg.revocations = im->revocations;
	map_unlock(im);
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long importer_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct importer *im = file->private_data;
	int ret;

	mutex_lock(&im->lock);
	switch (cmd) {
	case P2P_IMPORTER_ATTACH:
		ret = do_attach(im, user);
		break;
	case P2P_IMPORTER_MAP:
		ret = do_map(im, user);
		break;
	case P2P_IMPORTER_UNMAP:
		ret = do_unmap(im);
		break;
	case P2P_IMPORTER_STATE:
		ret = do_state(im, user);
		break;
	default:
		ret = -ENOTTY;
		break;
	}
	mutex_unlock(&im->lock);
	return ret;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *im = kzalloc(sizeof(*im), GFP_KERNEL);

	if (!im)
		return -ENOMEM;
	mutex_init(&im->lock);
	mutex_init(&im->window_lock);
	file->private_data = im;
	return nonseekable_open(inode, file);
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *im = file->private_data;

	if (im->window)
		p2p_bridge_window_unregister_notifier(im->window,
						      &im->notifier);
	do_unmap(im);
	if (im->dmabuf) {
		dma_buf_detach(im->dmabuf, im->attachment);
		dma_buf_put(im->dmabuf);
	}
	if (im->window)
		p2p_bridge_window_put(im->window);
	pci_dev_put(im->pdev);
	kfree(im);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.unlocked_ioctl = importer_ioctl,
};

static struct miscdevice importer_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2p-importer",
	.fops = &importer_fops,
	.mode = 0600,
};
module_misc_device(importer_device);

P2P_IMPORT_DMA_BUF;
MODULE_DESCRIPTION("Importer of p2p-bridge windows for tests");
MODULE_LICENSE("GPL");
