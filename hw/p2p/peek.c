/*
 * Looking at part of a memory region from outside, wherever the region is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/p2p/internal.h"

#define TYPE_P2P_PEEK "p2p-peek"
OBJECT_DECLARE_SIMPLE_TYPE(P2PPeek, P2P_PEEK)

/*
 * The alias does not stand at address 0: a root that holds nothing but an
 * alias of a whole region there is taken by the memory core for that region,
 * which then stands where it is in its container.
 */
#define P2P_PEEK_AT (1ULL << 62)

/* The owner of its regions: FlatViews may hold them for a while. */
struct P2PPeek {
    Object parent_obj;

    MemoryRegion root;
    MemoryRegion alias;
    AddressSpace as;
};

Object *p2p_peek_new(MemoryRegion *mr, hwaddr offset, uint64_t size)
{
    P2PPeek *peek = P2P_PEEK(object_new(TYPE_P2P_PEEK));

    memory_region_init(&peek->root, OBJECT(peek), "p2p-peek", UINT64_MAX);
    memory_region_init_alias(&peek->alias, OBJECT(peek), "p2p-peek-alias", mr,
                             offset, size);
    memory_region_add_subregion(&peek->root, P2P_PEEK_AT, &peek->alias);
    address_space_init(&peek->as, &peek->root, "p2p-peek");
    return OBJECT(peek);
}

MemoryRegionSection p2p_peek_find(Object *obj, hwaddr offset, uint64_t size)
{
    MemoryRegionSection s = memory_region_find(&P2P_PEEK(obj)->root,
                                               P2P_PEEK_AT + offset, size);

    s.offset_within_address_space -= P2P_PEEK_AT;
    return s;
}

MemTxResult p2p_peek_rw(Object *obj, hwaddr offset, void *buffer, hwaddr size,
                        bool is_write)
{
    return address_space_rw(&P2P_PEEK(obj)->as, P2P_PEEK_AT + offset,
                            MEMTXATTRS_UNSPECIFIED, buffer, size, is_write);
}

void p2p_peek_free(Object *obj)
{
    P2PPeek *peek = P2P_PEEK(obj);

    /* Within one transaction, so that no FlatView is made of what is left. */
    memory_region_transaction_begin();
    memory_region_del_subregion(&peek->root, &peek->alias);
    address_space_destroy(&peek->as);
    memory_region_transaction_commit();
    object_unref(obj);
}

static const TypeInfo p2p_peek_info = {
    .name = TYPE_P2P_PEEK,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(P2PPeek),
};

static void p2p_peek_register_types(void)
{
    type_register_static(&p2p_peek_info);
}

type_init(p2p_peek_register_types)
