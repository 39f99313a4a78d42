// SPDX-License-Identifier: GPL-2.0-only
/*
 * p2p-bridge: attributes of the PCI function, see ABI
 *
 * What the driver last knew; nothing here asks the device.
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "bridge.h"

/* As sysfs names functions.  Return: where what follows belongs. */
static int emit_rid(char *buf, int at, u32 rid)
{
	return at + sysfs_emit_at(buf, at, "%04x:%02x:%02x.%x", rid >> 16,
				  rid >> 8 & 0xff, rid >> 3 & 0x1f, rid & 7);
}

static const char *name_of(const char *const *names, size_t n, u8 i)
{
	return i < n ? names[i] : "unknown";
}

static ssize_t features_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%#llx\n", b->features);
}
static DEVICE_ATTR_RO(features);

static ssize_t generation_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);
	ssize_t n;

	mutex_lock(&b->lock);
	n = sysfs_emit(buf, "%u\n", b->topology.generation);
	mutex_unlock(&b->lock);
	return n;
}
static DEVICE_ATTR_RO(generation);

static ssize_t members_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);
	const struct p2p_bridge_member *m;
	int n = 0;
	u32 i;

	mutex_lock(&b->lock);
	for (i = 0; i < b->topology.n_members; i++) {
		m = &b->topology.members[i];
		n = emit_rid(buf, n, m->rid);
		n += sysfs_emit_at(buf, n, "%s%s%s windows=%u\n",
				   m->flags & P2P_BRIDGE_MEMBER_INITIATES ?
				   " initiates" : "",
				   m->flags & P2P_BRIDGE_MEMBER_PASSTHROUGH ?
				   " passthrough" : "",
				   m->flags & P2P_BRIDGE_MEMBER_SELF ?
				   " self" : "",
				   m->windows);
	}
	mutex_unlock(&b->lock);
	return n;
}
static DEVICE_ATTR_RO(members);

static ssize_t windows_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct p2p_bridge *b = dev_get_drvdata(dev);
	const struct p2p_bridge_host_window *w;
	int n = 0;
	u32 i;

	mutex_lock(&b->lock);
	for (i = 0; i < b->topology.n_windows; i++) {
		w = &b->topology.windows[i];
		n = emit_rid(buf, n, w->rid);
		n += sysfs_emit_at(buf, n,
				   " bar=%u offset=%#llx size=%#llx %s%s%s%s\n",
				   w->bar, w->offset, w->length,
				   w->access == P2P_BRIDGE_ACCESS_RW ?
				   "rw" : "ro",
				   w->flags & P2P_BRIDGE_WINDOW_DECODED ?
				   " decoded" : "",
				   w->flags & P2P_BRIDGE_WINDOW_MEMORY ?
				   " memory" : "",
				   w->flags & P2P_BRIDGE_WINDOW_RAM_LIKE ?
				   " ram-like" : "");
	}
	mutex_unlock(&b->lock);
	return n;
}
static DEVICE_ATTR_RO(windows);

static ssize_t pairs_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	static const char *const paths[] = {
		[P2P_BRIDGE_PATH_SELF] = "X",
		[P2P_BRIDGE_PATH_PIX] = "PIX",
		[P2P_BRIDGE_PATH_PXB] = "PXB",
		[P2P_BRIDGE_PATH_PHB] = "PHB",
		[P2P_BRIDGE_PATH_NODE] = "NODE",
		[P2P_BRIDGE_PATH_SYS] = "SYS",
	};
	static const char *const map_types[] = {
		[P2P_BRIDGE_MAP_NONE] = "none",
		[P2P_BRIDGE_MAP_NOT_SUPPORTED] = "not-supported",
		[P2P_BRIDGE_MAP_BUS_ADDR] = "bus-addr",
		[P2P_BRIDGE_MAP_THRU_HOST_BRIDGE] = "thru-host-bridge",
		[P2P_BRIDGE_MAP_CPU] = "cpu",
	};
	struct p2p_bridge *b = dev_get_drvdata(dev);
	const struct p2p_bridge_pair *p;
	int n = 0;
	u32 i;

	mutex_lock(&b->lock);
	for (i = 0; i < b->topology.n_pairs; i++) {
		p = &b->topology.pairs[i];
		n = emit_rid(buf, n, p->initiator);
		n += sysfs_emit_at(buf, n, " ");
		n = emit_rid(buf, n, p->target);
		n += sysfs_emit_at(buf, n, " %s %s%s%s\n",
				   name_of(paths, ARRAY_SIZE(paths), p->path),
				   name_of(map_types, ARRAY_SIZE(map_types),
					   p->map_type),
				   p->flags & P2P_BRIDGE_PAIR_INSTALLED ?
				   " installed" : "",
				   p->flags & P2P_BRIDGE_PAIR_ROUTED ?
				   " routed" : "");
	}
	mutex_unlock(&b->lock);
	return n;
}
static DEVICE_ATTR_RO(pairs);

static struct attribute *attributes[] = {
	&dev_attr_features.attr,
	&dev_attr_generation.attr,
	&dev_attr_members.attr,
	&dev_attr_windows.attr,
	&dev_attr_pairs.attr,
	NULL
};

static const struct attribute_group group = {
	.name = "p2p_bridge",
	.attrs = attributes,
};

const struct attribute_group *p2p_sysfs_groups[] = {
	&group,
	NULL
};
