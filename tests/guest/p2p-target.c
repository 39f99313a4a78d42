// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of the target in the guest tests: it hands the memory of BAR 2 of a
 * test device to programs, which then do direct I/O with it.
 *
 * The lower half are P2PDMA pages; sysfs has them as p2pmem/allocate.  Block
 * drivers that do not know of peer-to-peer DMA refuse such pages (virtio-blk
 * does), hence the upper half: generic device pages, which pass for memory
 * everywhere.  /dev/p2p-generic maps them.
 *
 * There is one target in a guest.
 */
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

#define TARGET_BAR	2

/* Of the one that there is; else NULL. */
static struct pci_dev *target;
static struct dev_pagemap generic;

static int generic_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long pfn = PHYS_PFN(generic.range.start) + vma->vm_pgoff;
	unsigned long addr;
	int ret;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff > PHYS_PFN(range_len(&generic.range)) ||
	    vma_pages(vma) >
	    PHYS_PFN(range_len(&generic.range)) - vma->vm_pgoff)
		return -ENXIO;

	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		ret = vm_insert_page(vma, addr, pfn_to_page(pfn++));
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations generic_fops = {
	.owner = THIS_MODULE,
	.mmap = generic_mmap,
};

static struct miscdevice generic_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2p-generic",
	.fops = &generic_fops,
};

static int target_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	resource_size_t half = pci_resource_len(pdev, TARGET_BAR) / 2;
	resource_size_t start = pci_resource_start(pdev, TARGET_BAR);
	void *addr;
	int ret;

	if (target)
		return -EBUSY;
	if (!half || !IS_ALIGNED(half, memremap_compat_align()))
		return dev_err_probe(&pdev->dev, -EINVAL,
				     "BAR %d is too small\n", TARGET_BAR);
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ret = pci_p2pdma_add_resource(pdev, TARGET_BAR, half, 0);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "no P2PDMA pages\n");
	pci_p2pmem_publish(pdev, true);

	generic.type = MEMORY_DEVICE_GENERIC;
	generic.range.start = start + half;
	generic.range.end = start + 2 * half - 1;
	generic.nr_range = 1;
	addr = devm_memremap_pages(&pdev->dev, &generic);
	ret = PTR_ERR_OR_ZERO(addr) ?: misc_register(&generic_device);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "no generic pages\n");
	target = pdev;
	return 0;
}

/*
 * The pages go with the device's managed resources.  An open file keeps the
 * module here, and sysfs cannot unbind it, so nobody has them mapped now.
 */
static void target_remove(struct pci_dev *pdev)
{
	misc_deregister(&generic_device);
	target = NULL;
}

static const struct pci_device_id target_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0005) },	/* p2p-testdev */
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0xffee) },	/* vfio-user-server */
	{ }
};
MODULE_DEVICE_TABLE(pci, target_ids);

static struct pci_driver target_driver = {
	.name = "p2p-target",
	.id_table = target_ids,
	.probe = target_probe,
	.remove = target_remove,
	.driver.suppress_bind_attrs = true,
};
module_pci_driver(target_driver);

MODULE_DESCRIPTION("Target of peer-to-peer DMA for tests");
MODULE_LICENSE("GPL");
