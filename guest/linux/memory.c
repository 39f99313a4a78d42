// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: memory of windows, for programs and for direct I/O
 *
 * A memory file maps struct pages of the aperture.  They are of one of two
 * kinds.  Generic pages pass for RAM everywhere, hence only for memory without
 * side effects; nothing but us keeps their page map from going while somebody
 * has one.  P2PDMA pages go to nobody who does not know of them; they belong to
 * the device's managed resources, so that a slot that has them once has them
 * until the driver is unbound.
 *
 * A page's own reference is ours: it is idle if its count is 1.
 */
#include <linux/cc_platform.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/memory_hotplug.h>
#include <linux/mount.h>
#include <linux/pci-p2pdma.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>

#include "bridge.h"
#include "compat.h"

#define P2P_MAGIC	0x42503250

/* --- A file system, so that a window has an address space ---------------- */

static int memory_fs_init(struct fs_context *fc)
{
	return init_pseudo(fc, P2P_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type memory_fs = {
	.name = "p2p-bridge",
	.owner = THIS_MODULE,
	.init_fs_context = memory_fs_init,
	.kill_sb = kill_anon_super,
};

/* Mounted as long as there is an inode, for a mount holds the module. */
static struct vfsmount *memory_mount;
static int memory_mounts;

/* window->lock is held. */
static int make_inode(struct p2p_window *w)
{
	struct inode *inode;
	int ret;

	if (w->inode)
		return 0;
	ret = simple_pin_fs(&memory_fs, &memory_mount, &memory_mounts);
	if (ret)
		return ret;
	inode = alloc_anon_inode(memory_mount->mnt_sb);
	if (IS_ERR(inode)) {
		simple_release_fs(&memory_mount, &memory_mounts);
		return PTR_ERR(inode);
	}
	i_size_write(inode, w->length);
	mutex_lock(&w->exports_lock);
	w->inode = inode;
	mutex_unlock(&w->exports_lock);
	return 0;
}

/* If no file has it.  window->lock is held. */
static void drop_inode(struct p2p_window *w)
{
	struct inode *inode = w->inode;

	if (w->files || !inode)
		return;
	mutex_lock(&w->exports_lock);
	w->inode = NULL;
	mutex_unlock(&w->exports_lock);
	iput(inode);
	simple_release_fs(&memory_mount, &memory_mounts);
}

/**
 * p2p_memory_zap - take a window's memory from all programs that have it mapped
 * @w: the window, whose map_lock was taken to write since it is not usable
 */
void p2p_memory_zap(struct p2p_window *w)
{
	mutex_lock(&w->exports_lock);
	if (w->inode)
		unmap_mapping_range(w->inode->i_mapping, 0, 0, 1);
	mutex_unlock(&w->exports_lock);
}

/* --- Pages --------------------------------------------------------------- */

static unsigned long slot_pages(const struct p2p_window *w)
{
	return (unsigned long)w->n_slots << (w->bridge->slot_shift -
					     PAGE_SHIFT);
}

/* What memremap_pages() would complain of with a warning */
static int check_range(struct p2p_window *w, struct range *range)
{
	struct range possible = mhp_get_pluggable_range(true);

	range->start = p2p_window_address(w);
	range->end = range->start +
		     ((u64)w->n_slots << w->bridge->slot_shift) - 1;
	if (!IS_ALIGNED(range->start | (range->end + 1),
			memremap_compat_align()))
		return -EINVAL;
	if (range->start < possible.start || range->end > possible.end) {
		dev_warn_once(&w->bridge->pdev->dev,
			      "aperture is beyond what can have pages\n");
		return -ERANGE;
	}
	return 0;
}

/* window->lock is held. */
static int make_generic(struct p2p_window *w)
{
	struct p2p_bridge *b = w->bridge;
	struct dev_pagemap *map;
	bool taken;
	void *addr;
	int ret;

	mutex_lock(&b->lock);
	taken = find_next_bit(b->slots_p2pdma, w->slot + w->n_slots,
			      w->slot) < w->slot + w->n_slots;
	mutex_unlock(&b->lock);
	if (taken)
		return -EBUSY;
	/* RAM that is encrypted, which this is not */
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT) ||
	    !p2p_topology_ram_like(b, w))
		return -EOPNOTSUPP;

	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	map->type = MEMORY_DEVICE_GENERIC;
	map->nr_range = 1;
	ret = check_range(w, &map->range);
	if (ret)
		goto free;
	addr = memremap_pages(map, dev_to_node(&b->pdev->dev));
	if (IS_ERR(addr)) {
		ret = PTR_ERR(addr);
		goto free;
	}
	atomic_inc(&b->paged);
	w->pagemap = map;
	w->first_page = virt_to_page(addr);
	w->pages = P2P_PAGES_GENERIC;
	return 0;

free:
	kfree(map);
	return ret;
}

/*
 * Make P2PDMA pages of slots that have none, and take them all from the pool
 * that programs can allocate from through sysfs.  bridge->lock is held.
 */
static int add_p2pdma(struct p2p_bridge *b, u32 slot, u32 n)
{
	size_t size = (size_t)n << b->slot_shift;
	u64 offset = (u64)slot << b->slot_shift;
	struct page *page;
	unsigned long i;
	void *addr;
	int ret;

	ret = pci_p2pdma_add_resource(b->pdev, P2P_BRIDGE_BAR_APERTURE, size,
				      offset);
	if (ret)
		return ret;
	bitmap_set(b->slots_p2pdma, slot, n);
	addr = pci_alloc_p2pmem(b->pdev, size);
	if (!addr)
		return -EBUSY;	/* a program was faster */
	page = virt_to_page(addr);
	if (page_to_phys(page) != b->aperture + offset) {
		pci_free_p2pmem(b->pdev, addr, size);
		return -EBUSY;
	}
	/* Freeing a page gives back one reference; so far there is one. */
	if (size >> PAGE_SHIFT > 1)
		percpu_ref_get_many(&p2p_page_pgmap(page)->ref,
				    (size >> PAGE_SHIFT) - 1);
	for (i = 0; i < size >> PAGE_SHIFT; i++)
		set_page_count(page + i, 1);
	bitmap_set(b->slots_held, slot, n);
	return 0;
}

/* window->lock is held. */
static int make_p2pdma(struct p2p_window *w)
{
	struct p2p_bridge *b = w->bridge;
	u32 end = w->slot + w->n_slots, from, to;
	struct range range;
	int ret;

	if (!P2P_HAS_P2PDMA)
		return -EOPNOTSUPP;
	ret = check_range(w, &range);
	if (ret)
		return ret;
	mutex_lock(&b->lock);
	for (from = w->slot; from < end && !ret; from = to) {
		from = find_next_zero_bit(b->slots_p2pdma, end, from);
		to = find_next_bit(b->slots_p2pdma, end, from);
		if (from < to)
			ret = add_p2pdma(b, from, to - from);
	}
	if (!ret && find_next_zero_bit(b->slots_held, end, w->slot) < end)
		ret = -EBUSY;
	mutex_unlock(&b->lock);
	if (ret)
		return ret;
	atomic_inc(&b->paged);
	w->first_page = pfn_to_page(PHYS_PFN(range.start));
	w->pages = P2P_PAGES_P2PDMA;
	return 0;
}

/**
 * p2p_memory_free_pages - a window has no pages any more
 * @w: the window, whose lock is held, and whose pages are idle
 */
void p2p_memory_free_pages(struct p2p_window *w)
{
	struct p2p_bridge *b = w->bridge;

	if (w->pages == P2P_PAGES_NONE)
		return;
	down_write(&w->map_lock);
	w->first_page = NULL;
	up_write(&w->map_lock);
	if (w->pages == P2P_PAGES_GENERIC) {
		memunmap_pages(w->pagemap);
		kfree(w->pagemap);
		w->pagemap = NULL;
	}
	w->pages = P2P_PAGES_NONE;
	if (atomic_dec_and_test(&b->paged))
		wake_up_all(&b->quiet);
}

/**
 * p2p_memory_wait_idle - wait until nobody has a reference to a page
 * @w: the window, whose lock is held
 * @timeout_ms: how long; 0: look only
 *
 * Return: whether nobody has.
 */
bool p2p_memory_wait_idle(struct p2p_window *w, unsigned int timeout_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);
	unsigned long i, n = slot_pages(w);

	if (w->pages == P2P_PAGES_NONE)
		return true;
	for (i = 0; i < n; i++) {
		while (page_ref_count(w->first_page + i) > 1) {
			if (!timeout_ms || time_after(jiffies, end))
				return false;
			usleep_range(500, 1000);
		}
		if (i % 4096 == 4095)
			cond_resched();
	}
	return true;
}

/* Return: whether they are free now. */
static bool drain_window(struct p2p_window *w)
{
	bool idle;

	mutex_lock(&w->lock);
	idle = p2p_memory_wait_idle(w, 10000);
	if (idle)
		p2p_memory_free_pages(w);
	mutex_unlock(&w->lock);
	return idle;
}

static void put_p2pdma(struct p2p_bridge *b)
{
	unsigned long pages = 1UL << (b->slot_shift - PAGE_SHIFT);
	unsigned long slot, i;
	struct page *page;

	for_each_set_bit(slot, b->slots_held, b->slots) {
		page = pfn_to_page(PHYS_PFN(b->aperture) + slot * pages);
		for (i = 0; i < pages; i++)
			put_page(page + i);
		cond_resched();
	}
	bitmap_zero(b->slots_held, b->slots);
}

/**
 * p2p_memory_drain - wait until no page of the aperture is in use, and free all
 * @b: the bridge, which is DEAD
 *
 * However long it takes: behind the pages' addresses there will be something
 * else.  For P2PDMA pages the managed resources wait.
 */
void p2p_memory_drain(struct p2p_bridge *b)
{
	struct p2p_window *w = NULL;

	while ((w = p2p_window_next(b, w))) {
		while (!drain_window(w))
			dev_warn(&b->pdev->dev,
				 "window %#x: I/O with its memory has not ended\n",
				 w->number);
	}
	/*
	 * Of windows that nobody has, the work frees them.  It looks at pages
	 * of either kind, which must be there as long as it does.
	 */
	while (!wait_event_timeout(b->quiet, !atomic_read(&b->paged), 10 * HZ))
		dev_warn(&b->pdev->dev, "I/O with a window has not ended\n");
	put_p2pdma(b);
}

/* --- Files --------------------------------------------------------------- */

static vm_fault_t memory_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct p2p_window *w = vma->vm_private_data;
	unsigned long address = vmf->address & PAGE_MASK;
	unsigned long end = min(ALIGN(address + 1, PMD_SIZE), vma->vm_end);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct page *page;

	down_read(&w->map_lock);
	if (w->usable && w->first_page) {
		page = w->first_page + vmf->pgoff;
		ret = vmf_insert_page(vma, address, page);
		/* What comes next will be wanted, too; no matter if it fails. */
		while (ret == VM_FAULT_NOPAGE && address + PAGE_SIZE < end) {
			address += PAGE_SIZE;
			if (vm_insert_page(vma, address, ++page))
				break;
		}
	}
	up_read(&w->map_lock);
	return ret;
}

static const struct vm_operations_struct memory_vm_ops = {
	.fault = memory_fault,
};

static int memory_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct p2p_window *w = file->private_data;
	u64 pages = w->length >> PAGE_SHIFT;

	/* Of a file that is read only a shared mapping is not VM_SHARED. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	/* A child would have it without our knowing whether it should. */
	p2p_vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP |
			 VM_DONTCOPY);
	vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	vma->vm_ops = &memory_vm_ops;
	vma->vm_private_data = w;
	return 0;
}

static int memory_release(struct inode *inode, struct file *file)
{
	struct p2p_window *w = file->private_data;

	mutex_lock(&w->lock);
	w->files--;
	drop_inode(w);
	mutex_unlock(&w->lock);
	p2p_window_exported_put(w);
	return 0;
}

static const struct file_operations memory_fops = {
	.owner = THIS_MODULE,
	.mmap = memory_mmap,
	.llseek = generic_file_llseek,
	.release = memory_release,
};

static struct file *memory_file(struct p2p_window *w)
{
	int flags = w->access == P2P_BRIDGE_ACCESS_RO ? O_RDONLY : O_RDWR;
	struct file *file;

	/* The file gives back a reference to the module that it does not take. */
	__module_get(THIS_MODULE);
	ihold(w->inode);
	file = alloc_file_pseudo(w->inode, memory_mount, "p2p-bridge", flags,
				 &memory_fops);
	if (IS_ERR(file)) {
		iput(w->inode);
		module_put(THIS_MODULE);
		return file;
	}
	file->private_data = w;
	w->files++;
	return file;
}

/* --- Which pages --------------------------------------------------------- */

/*
 * The kernel may take a switch for the way between the two, and gives physical
 * addresses then, which an IOMMU of the guest does not know.
 */
static bool translated(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY;
}

/* Return: whether Linux lets @client use P2PDMA pages of @b, and rightly. */
static int suits_p2pdma(struct p2p_bridge *b, u32 client, bool *suits)
{
	struct pci_dev *pdev;

	*suits = false;
	if (!client || !P2P_HAS_P2PDMA)
		return 0;
	pdev = pci_get_domain_bus_and_slot(client >> 16, client >> 8 & 0xff,
					   client & 0xff);
	if (!pdev)
		return -ENXIO;
	*suits = pci_p2pdma_distance(b->pdev, &pdev->dev, false) >= 0 &&
		 !translated(&pdev->dev);
	pci_dev_put(pdev);
	return 0;
}

/* window->lock is held. */
static int make_pages(struct p2p_window *w, u32 pages, u32 client)
{
	bool suits;
	int ret;

	ret = suits_p2pdma(w->bridge, client, &suits);
	if (ret)
		return ret;
	switch (pages) {
	case P2P_BRIDGE_PAGES_GENERIC:
		if (w->pages == P2P_PAGES_P2PDMA)
			return -EBUSY;
		return w->pages ? 0 : make_generic(w);
	case P2P_BRIDGE_PAGES_P2PDMA:
		if (w->pages == P2P_PAGES_GENERIC)
			return -EBUSY;
		return w->pages ? 0 : make_p2pdma(w);
	case P2P_BRIDGE_PAGES_AUTO:
		/* Generic ones work with everybody. */
		if (w->pages == P2P_PAGES_GENERIC)
			return 0;
		if (suits)
			return w->pages ? 0 : make_p2pdma(w);
		return w->pages ? -EBUSY : make_generic(w);
	default:
		return -EINVAL;
	}
}

/**
 * p2p_memory_file - a file whose memory is a window's
 * @w: the window; the caller holds the bridge's gate
 * @pages: P2P_BRIDGE_PAGES_*
 * @client: RID of the initiator that it is for, or 0
 *
 * Return: the file; -EBUSY if the window, or its slot, has pages of another
 * kind; -EOPNOTSUPP if there cannot be such pages.
 */
struct file *p2p_memory_file(struct p2p_window *w, u32 pages, u32 client)
{
	struct file *file = NULL;
	int ret;

	ret = p2p_window_export_begin(w);
	if (ret)
		return ERR_PTR(ret);
	ret = !PAGE_ALIGNED(w->length) ? -EINVAL : make_inode(w);
	if (!ret)
		ret = make_pages(w, pages, client);
	if (!ret) {
		file = memory_file(w);
		ret = PTR_ERR_OR_ZERO(file);
	}
	if (ret)
		drop_inode(w);
	p2p_window_export_end(w, !ret);
	return ret ? ERR_PTR(ret) : file;
}

/* Return: with a reference, the window of a memory file, or an error pointer. */
struct p2p_window *p2p_memory_window(int fd)
{
	struct p2p_window *w = ERR_PTR(-EINVAL);
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op == &memory_fops) {
		w = file->private_data;
		p2p_window_get(w);
	}
	fput(file);
	return w;
}
