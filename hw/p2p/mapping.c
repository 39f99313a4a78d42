/*
 * QEMU's own mappings of BAR ranges: what the views of device models lead to
 *
 * A mapping is made anew from the device's file, although the device has one
 * already, so that it can be taken away: from one moment to the next nothing
 * is behind its addresses any more, whoever still uses a pointer into it.
 *
 * A BAR that is no file is reached through the memory core.  Its mapping is a
 * range of addresses with nothing behind, which only p2p_bar_mapping_copy()
 * knows what to do with.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "hw/boards.h"
#include "hw/p2p/internal.h"
#include "trace.h"

OBJECT_DECLARE_SIMPLE_TYPE(P2PBarMapping, P2P_BAR_MAPPING)

/*
 * An address_space_map() holds a reference: the addresses are not used for
 * anything else before the last request that knows them has ended.
 */
struct P2PBarMapping {
    Object parent_obj;

    struct rcu_head rcu;

    P2PGroup *group;        /* owned reference; NULL: the fault mapping */
    P2PTraffic *traffic;    /* owned reference; the window's; or NULL */
    /* Only if QEMU's NVMe driver may have it: it maps all RAM blocks. */
    bool has_region;
    bool region_later;      /* if it lives until then */
    MemoryRegion region;
    uint8_t *hva;
    size_t size;
    bool file;              /* there are bytes behind the addresses */
    Object *peek;           /* the way to a BAR that is no file; BQL */
    int state;              /* P2PMappingState; atomic */
    QTAILQ_ENTRY(P2PBarMapping) next;   /* in p2p_retired */
};

/* Revoked, but perhaps still known to a request; BQL. */
static QTAILQ_HEAD(, P2PBarMapping) p2p_retired =
    QTAILQ_HEAD_INITIALIZER(p2p_retired);

/* --- Which mapping an address belongs to ------------------------------- */

typedef struct P2PMappingEntry {
    uint8_t *hva;
    size_t size;
    P2PBarMapping *mapping;
} P2PMappingEntry;

/* All there are, ascending by address.  Changed with the BQL, read by RCU. */
typedef struct P2PMappingTable {
    struct rcu_head rcu;
    size_t n;
    P2PMappingEntry entries[];
} P2PMappingTable;

static P2PMappingTable *p2p_mapping_table;

static void p2p_mapping_table_replace(P2PBarMapping *without,
                                      P2PBarMapping *with)
{
    P2PMappingTable *old = p2p_mapping_table;
    size_t n = old ? old->n : 0;
    P2PMappingTable *new = g_malloc(sizeof(*new) +
                                    (n + 1) * sizeof(new->entries[0]));
    P2PMappingEntry fresh = {};

    if (with) {
        fresh = (P2PMappingEntry) { with->hva, with->size, with };
    }
    new->n = 0;
    for (size_t i = 0; i < n; i++) {
        P2PMappingEntry *entry = &old->entries[i];

        if (fresh.mapping && fresh.hva < entry->hva) {
            new->entries[new->n++] = fresh;
            fresh.mapping = NULL;
        }
        if (entry->mapping != without) {
            new->entries[new->n++] = *entry;
        }
    }
    if (fresh.mapping) {
        new->entries[new->n++] = fresh;
    }
    qatomic_rcu_set(&p2p_mapping_table, new);
    if (old) {
        g_free_rcu(old, rcu);
    }
}

P2PBarMapping *p2p_bar_mapping_find(const void *hva)
{
    const P2PMappingTable *table = qatomic_rcu_read(&p2p_mapping_table);
    const uint8_t *p = hva;
    size_t first = 0, end = table ? table->n : 0;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        const P2PMappingEntry *entry = &table->entries[middle];

        if (p < entry->hva) {
            end = middle;
        } else if (p >= entry->hva + entry->size) {
            first = middle + 1;
        } else {
            return entry->mapping;
        }
    }
    return NULL;
}

/* --- What is behind the addresses -------------------------------------- */

/*
 * A file without a byte: who touches a mapping of it gets SIGBUS, and the
 * kernel, when it copies for somebody, EFAULT.
 */
static int p2p_nothing_fd = -1;

/* A page of ones, which is what a read from a PCI device that is gone gives. */
static int p2p_ones_fd = -1;

/* See p2p_fault_mapping(). */
static P2PBarMapping *p2p_fault;

/* Makes new mappings for those that have broken. */
static QEMUBH *p2p_mend_bh;

/* Put nothing behind the addresses. */
static bool p2p_bar_mapping_empty(P2PBarMapping *mapping)
{
    return mmap(mapping->hva, mapping->size, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED, p2p_nothing_fd, 0) != MAP_FAILED;
}

static void p2p_mend(void *opaque)
{
    p2p_bar_mapping_empty(p2p_fault);
    p2p_changed();
    p2p_update();
}

bool p2p_bar_mapping_rescue(void *hva)
{
    size_t page = qemu_real_host_page_size();
    P2PBarMapping *mapping;

    RCU_READ_LOCK_GUARD();
    mapping = p2p_bar_mapping_find(hva);
    if (!mapping) {
        return false;
    }
    /* First of all: no request that finds the page may pass for right. */
    if (qatomic_cmpxchg(&mapping->state, P2P_MAPPING_LIVE,
                        P2P_MAPPING_BROKEN) == P2P_MAPPING_LIVE ||
        mapping == p2p_fault) {
        qemu_bh_schedule(p2p_mend_bh);
    }
    return mmap(QEMU_ALIGN_PTR_DOWN(hva, page), page, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_FIXED, p2p_ones_fd, 0) != MAP_FAILED;
}

static int p2p_bar_fd(PCIDevice *dev, int bar, off_t *offset)
{
    const P2PPassthrough *passthrough;

    if (object_dynamic_cast(OBJECT(dev), TYPE_P2P_BAR_FILE)) {
        return P2P_BAR_FILE_GET_CLASS(dev)->get_fd(dev, bar, offset);
    }
    passthrough = p2p_passthrough(dev);
    return passthrough && passthrough->bar_fd
           ? passthrough->bar_fd(dev, bar, offset) : -1;
}

/* --- Life -------------------------------------------------------------- */

/*
 * QEMU's NVMe driver gives each RAM block I/O addresses of its own, of 39
 * bits, and never gives them to another one. It is told of a mapping as of any
 * RAM block, and takes it out of its IOMMU when that goes; but a buffer for
 * which there was no room is mapped when a request comes, and stays mapped.
 * That must not be: a mapping for which there may be no room is not for it.
 */
#define P2P_DIRECT_ROOM (384 * GiB)

static int p2p_add_ram_block(RAMBlock *block, void *opaque)
{
    *(uint64_t *)opaque += qemu_ram_get_max_length(block);
    return 0;
}

static bool p2p_direct_room(uint64_t size)
{
    static uint64_t before;
    uint64_t now = 0;

    before += size;
    qemu_ram_foreach_block(p2p_add_ram_block, &now);
    return now + before < P2P_DIRECT_ROOM;
}

static P2PBarMapping *p2p_bar_mapping_create(P2PGroup *group, void *hva,
                                             size_t size)
{
    P2PBarMapping *mapping = P2P_BAR_MAPPING(object_new(TYPE_P2P_BAR_MAPPING));

    mapping->group = group;
    if (group) {
        object_ref(OBJECT(group));
    }
    mapping->hva = hva;
    mapping->size = size;
    p2p_mapping_table_replace(NULL, mapping);
    return mapping;
}

/* Not RAM, so that nobody takes it for the machine's. */
static void p2p_bar_mapping_add_region(P2PBarMapping *mapping)
{
    memory_region_init_ram_device_ptr(&mapping->region, OBJECT(mapping),
                                      "p2p-bar-mapping", mapping->size,
                                      mapping->hva);
    mapping->has_region = true;
}

static void *p2p_map_file(P2PBarWindow *window, int fd, off_t start)
{
    int prot = PROT_READ | (window->access == P2P_ACCESS_RW ? PROT_WRITE : 0);

    return fd < 0 ? MAP_FAILED : mmap(NULL, window->size, prot, MAP_SHARED, fd,
                                      start);
}

P2PBarMapping *p2p_bar_mapping_new(P2PBarWindow *window, bool steady)
{
    P2PMemoryPlace memory = p2p_window_memory(window);
    PCIDevice *dev = memory.member->dev;
    P2PBarMapping *mapping;
    off_t start = 0;
    int fd = p2p_bar_fd(dev, memory.bar, &start);
    bool fits = window->size == (size_t)window->size;
    void *hva = MAP_FAILED;
    bool file;

    errno = -p2p_inject_fault();
    fits = fits && !errno;

    if (window->backing == P2P_BACKING_RAM_DEVICE && fits) {
        hva = p2p_map_file(window, fd, start + memory.offset);
    }
    file = hva != MAP_FAILED;
    if (!file && fits) {
        hva = mmap(NULL, window->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                   p2p_nothing_fd, 0);
    }
    if (hva == MAP_FAILED) {
        /* Once: the guest can have it tried as often as it likes. */
        if (!window->no_mapping_told) {
            window->no_mapping_told = true;
            error_report("BAR %d of %s: no room for a mapping of %" PRIu64
                         " bytes: %s; emulated devices cannot reach it, the "
                         "rest works", memory.bar, p2p_device_name(dev),
                         window->size, strerror(errno));
        }
        return NULL;
    }
    mapping = p2p_bar_mapping_create(window->owner->group, hva, window->size);
    mapping->traffic = g_atomic_rc_box_acquire(window->traffic);
    mapping->file = file;
    /* A guest attaches windows as often as it likes: there is no room for it. */
    if (file && steady && !window->source &&
        window->access == P2P_ACCESS_RW && p2p_direct_room(window->size)) {
        /* Drives are told of it, but not by who loads a state. */
        mapping->region_later = qemu_in_coroutine();
        if (!mapping->region_later) {
            p2p_bar_mapping_add_region(mapping);
        }
    }
    if (!file) {
        mapping->peek = p2p_peek_new(dev->io_regions[memory.bar].memory,
                                     memory.offset, window->size);
    }
    trace_p2p_mapping_new(p2p_device_name(dev), memory.bar, memory.offset,
                          hva, window->size, file);
    return mapping;
}

void p2p_bar_mapping_settle(P2PBarMapping *mapping)
{
    if (mapping->region_later &&
        p2p_bar_mapping_state(mapping) == P2P_MAPPING_LIVE) {
        mapping->region_later = false;
        p2p_bar_mapping_add_region(mapping);
    }
}

P2PBarMapping *p2p_fault_mapping(void)
{
    return p2p_fault;
}

static int p2p_ones_new(Error **errp)
{
    size_t page = qemu_real_host_page_size();
    g_autofree void *ones = g_malloc(page);
    int fd = qemu_memfd_create("p2p-ones", page, false, 0, 0, errp);

    memset(ones, 0xff, page);
    if (fd >= 0 && pwrite(fd, ones, page, 0) != page) {
        error_setg_errno(errp, errno, "cannot fill a page of memory");
        close(fd);
        return -1;
    }
    return fd;
}

bool p2p_bar_mappings_init(Error **errp)
{
    void *hva;

    if (p2p_fault) {
        return true;
    }
    if (p2p_nothing_fd < 0) {
        p2p_nothing_fd = qemu_memfd_create("p2p-nothing", 0, false, 0, 0,
                                           errp);
    }
    if (p2p_ones_fd < 0) {
        p2p_ones_fd = p2p_nothing_fd < 0 ? -1 : p2p_ones_new(errp);
    }
    if (p2p_ones_fd < 0) {
        return false;
    }
    hva = mmap(NULL, P2P_FAULT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
               p2p_nothing_fd, 0);
    if (hva == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map memory");
        return false;
    }
    /* Last of what may fail: the handler must not be set twice. */
    if (!p2p_guard_init(errp)) {
        munmap(hva, P2P_FAULT_SIZE);
        return false;
    }
    p2p_mend_bh = qemu_bh_new(p2p_mend, NULL);
    p2p_fault = p2p_bar_mapping_create(NULL, hva, P2P_FAULT_SIZE);
    p2p_fault->state = P2P_MAPPING_REVOKED;
    return true;
}

static void p2p_bar_mapping_drop(struct rcu_head *rcu)
{
    object_unref(OBJECT(container_of(rcu, P2PBarMapping, rcu)));
}

static QEMUTimer *p2p_reap_timer;
#define P2P_REAP_MS 1000

/*
 * The last reference that a request has may end in any thread; what it leaves
 * behind goes here. The addresses may be used again when no reader of the table
 * can find them.
 */
static void p2p_bar_mappings_reap(void *opaque)
{
    P2PBarMapping *mapping, *tmp;

    QTAILQ_FOREACH_SAFE(mapping, &p2p_retired, next, tmp) {
        if (qatomic_read(&OBJECT(mapping)->ref) == 1) {
            QTAILQ_REMOVE(&p2p_retired, mapping, next);
            p2p_mapping_table_replace(mapping, NULL);
            call_rcu1(&mapping->rcu, p2p_bar_mapping_drop);
        }
    }
    if (!QTAILQ_EMPTY(&p2p_retired)) {
        timer_mod(p2p_reap_timer,
                  qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + P2P_REAP_MS);
    }
}

void p2p_bar_mapping_revoke(P2PBarMapping *mapping)
{
    trace_p2p_mapping_revoke(mapping->hva, mapping->size);
    qatomic_set(&mapping->state, P2P_MAPPING_REVOKED);

    if (mapping->has_region) {
        /* QEMU's own NVMe driver has it in a host IOMMU: out of there, now. */
        ram_block_notify_remove(mapping->hva, mapping->size, mapping->size);
    }
    /*
     * When this returns, no processor has the old pages in its TLB: neither
     * a thread of QEMU nor the kernel on its behalf copies to the BAR.
     */
    if (!p2p_bar_mapping_empty(mapping) &&
        mprotect(mapping->hva, mapping->size, PROT_NONE)) {
        error_report("p2p: a mapping of a BAR cannot be taken away: %s; "
                     "requests in flight may still reach it", strerror(errno));
    }
    if (mapping->peek) {
        p2p_peek_free(mapping->peek);
        mapping->peek = NULL;
    }
    QTAILQ_INSERT_TAIL(&p2p_retired, mapping, next);
    if (!p2p_reap_timer) {
        p2p_reap_timer = timer_new_ms(QEMU_CLOCK_REALTIME,
                                      p2p_bar_mappings_reap, NULL);
    }
    p2p_bar_mappings_reap(NULL);
}

static void p2p_bar_mapping_finalize(Object *obj)
{
    P2PBarMapping *mapping = P2P_BAR_MAPPING(obj);

    if (mapping->hva) {
        munmap(mapping->hva, mapping->size);
    }
    if (mapping->traffic) {
        g_atomic_rc_box_release(mapping->traffic);
    }
    if (mapping->group) {
        object_unref(OBJECT(mapping->group));
    }
}

/* --- Use --------------------------------------------------------------- */

void *p2p_bar_mapping_hva(P2PBarMapping *mapping)
{
    return mapping->hva;
}

P2PMappingState p2p_bar_mapping_state(P2PBarMapping *mapping)
{
    return qatomic_read(&mapping->state);
}

bool p2p_bar_mapping_is_file(P2PBarMapping *mapping)
{
    return mapping->file;
}

bool p2p_bar_mapping_is_direct(P2PBarMapping *mapping)
{
    return mapping->has_region;
}

P2PGroup *p2p_bar_mapping_group(P2PBarMapping *mapping)
{
    return mapping->group;
}

P2PTraffic *p2p_bar_mapping_traffic(P2PBarMapping *mapping)
{
    return mapping->traffic;
}

void *p2p_bar_mapping_get(P2PBarMapping *mapping, uint64_t offset)
{
    object_ref(OBJECT(mapping));
    p2p_guard_thread();
    return mapping->hva + offset;
}

void p2p_bar_mapping_put(P2PBarMapping *mapping)
{
    object_unref(OBJECT(mapping));
}

/* At any address: a device may begin its transfer where it likes. */
typedef uint16_t P2PAccess16 QEMU_ALIGNED(1);
typedef uint32_t P2PAccess32 QEMU_ALIGNED(1);
typedef uint64_t P2PAccess64 QEMU_ALIGNED(1);

/* One access of 1, 2, 4 or 8 bytes, as the bus has it. */
static void p2p_access(void *hva, void *value, unsigned size, bool is_write)
{
    switch (size) {
#define ACCESS(bytes, type)                                     \
    case bytes:                                                 \
        if (is_write) {                                         \
            *(volatile type *)hva = *(type *)value;             \
        } else {                                                \
            *(type *)value = *(volatile type *)hva;             \
        }                                                       \
        break
    ACCESS(1, uint8_t);
    ACCESS(2, P2PAccess16);
    ACCESS(4, P2PAccess32);
    ACCESS(8, P2PAccess64);
#undef ACCESS
    default:
        g_assert_not_reached();
    }
}

MemTxResult p2p_bar_mapping_access(P2PBarMapping *mapping, uint64_t offset,
                                   uint64_t *value, unsigned size,
                                   bool is_write)
{
    MemTxResult result = MEMTX_OK;

    if (mapping->file) {
        p2p_guard_thread();
        p2p_access(mapping->hva + offset, value, size, is_write);
    } else if (mapping->peek) {
        result = p2p_peek_rw(mapping->peek, offset, value, size, is_write);
    }
    return p2p_bar_mapping_state(mapping) == P2P_MAPPING_LIVE
           ? result : result | MEMTX_ERROR;
}

int p2p_bar_mapping_copy(P2PBarMapping *mapping, void *hva, void *buffer,
                         size_t size, bool is_write)
{
    size_t offset = (uint8_t *)hva - mapping->hva;

    assert(bql_locked());
    if (p2p_bar_mapping_state(mapping) != P2P_MAPPING_LIVE ||
        p2p_peek_rw(mapping->peek, offset, buffer, size, is_write)) {
        return -EFAULT;
    }
    return 0;
}

static const TypeInfo p2p_bar_mapping_types[] = {
    {
        .name = TYPE_P2P_BAR_MAPPING,
        .parent = TYPE_OBJECT,
        .instance_size = sizeof(P2PBarMapping),
        .instance_finalize = p2p_bar_mapping_finalize,
    }, {
        .name = TYPE_P2P_BAR_FILE,
        .parent = TYPE_INTERFACE,
        .class_size = sizeof(P2PBarFileClass),
    },
};

DEFINE_TYPES(p2p_bar_mapping_types)
