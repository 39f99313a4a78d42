/*
 * Groups, members, windows, grants and views, as hw/p2p shares them
 *
 *   P2PGroup ─┬─ P2PMember ─┬─ P2PBarWindow ─── P2PInstall, one for each
 *             │  (function) │  (shared range)   IOMMU container or view that
 *             │             │                   the window was put into
 *             │             │     │       └─ P2PBarMapping, by which device
 *             │             │     │          models reach it
 *             │             └─ P2PView ── P2PSlice (what stands in it)
 *             └─ P2PMap (snapshot for translation)
 *
 * A window that a p2p-bridge shows in its aperture is one of the bridge's, with
 * the memory of another one, its source: all that is true of windows is true of
 * it, but that it has no more than one life.
 *
 * p2p_update() is the one place where a change of any kind (guest moves a
 * BAR, device comes or goes) becomes a change of views, grants and map.
 * Everything here is protected by the BQL, but for P2PGroup.snapshot, which
 * readers take under RCU, and where a comment says so: device models map their
 * buffers, and drives move data into them, in any thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_INTERNAL_H
#define HW_P2P_INTERNAL_H

#include "hw/p2p/compat.h"
#include "exec/hwaddr.h"
#include "hw/pci/pci_device.h"
#include "hw/p2p/hooks.h"
#include "hw/p2p/map.h"
#include "hw/p2p/topology.h"
#include "qapi/qapi-types-p2p.h"
#include "qemu/coroutine.h"
#include "qemu/rcu.h"
#include "qemu/stats64.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qom/object.h"

#define TYPE_P2P_GROUP "p2p-group"
OBJECT_DECLARE_SIMPLE_TYPE(P2PGroup, P2P_GROUP)

#define P2P_MAX_WINDOWS_PER_MEMBER 64

/*
 * Each is a section of each view's FlatView, of which QEMU has a limit that it
 * asserts (4096, with the machine's RAM), and all are looked at when the guest
 * moves one.
 */
#define P2P_MAX_WINDOWS_PER_GROUP 1024

typedef struct P2PView P2PView;
typedef struct P2PBarWindow P2PBarWindow;
typedef struct P2PShown P2PShown;
typedef struct P2PBarMapping P2PBarMapping;
typedef struct P2PBounce P2PBounce;
typedef struct P2PPassthrough P2PPassthrough;
typedef struct P2PSaved P2PSaved;

/* --- group.c ----------------------------------------------------------- */

/* A map, what RCU needs to free it, and what the next one is made from. */
typedef struct P2PMapSnapshot {
    struct rcu_head rcu;
    P2PMap *map;
    uint64_t cpu_initiators;
    GArray *windows;          /* of P2PWindow, ascending; BQL */
} P2PMapSnapshot;

struct P2PGroup {
    Object parent_obj;

    P2PPolicy policy;
    bool bus_address;
    uint64_t bounce_limit;    /* bytes */
    P2PBounce *bounce;
    P2PMember *members[P2P_MAX_INITIATORS]; /* by index; NULL: free */
    P2PView *view;            /* of passthrough initiators; NULL: none */
    P2PMapSnapshot *snapshot; /* RCU; NULL: no member yet */
    QEMUTimer *event_timer;   /* tells what changed too soon; NULL: unused */
    CoQueue revoking;         /* who waits for guests, see p2p_bridges_wait() */
    P2PSaved *saved;          /* for migration; owned */
    bool listed;              /* in p2p_groups */
    QTAILQ_ENTRY(P2PGroup) next;
};

typedef QTAILQ_HEAD(, P2PGroup) P2PGroupList;
extern P2PGroupList p2p_groups;

/* Iterate over the members of a group. */
P2PMember *p2p_group_next(P2PGroup *group, P2PMember *after);
#define P2P_FOREACH_MEMBER(m, g) \
    for ((m) = p2p_group_next((g), NULL); (m); (m) = p2p_group_next((g), (m)))

const char *p2p_group_id(P2PGroup *group);

/* All windows of all groups. */
void p2p_foreach_window(void (*fn)(P2PGroup *group, P2PBarWindow *window));

/* Have those in p2p_bridges_wait() look again.  Any thread with the BQL. */
void p2p_group_wake(P2PGroup *group);

/*
 * Bring views, grants and maps in line with the machine.  Returns when, by
 * get_clock(), what was to be taken away was out of everybody's reach: that
 * comes first.
 */
int64_t p2p_update(void);

/* Something has happened that the next p2p_update() must take in. */
void p2p_changed(void);

/* The buffers of its drives; constant, any thread. */
P2PBounce *p2p_group_bounce(P2PGroup *group);

/* Replace the snapshot that readers see; takes @snapshot, which may be NULL. */
void p2p_group_publish(P2PGroup *group, P2PMapSnapshot *snapshot);

/* --- member.c ---------------------------------------------------------- */

/* What an initiator did: with one window, or with all. */
typedef struct P2PCounts {
    uint64_t maps;
    uint64_t unmaps;
    uint64_t failures;
    uint64_t requests;
    uint64_t bytes;
} P2PCounts;

struct P2PMember {
    PCIDevice *dev;
    P2PGroup *group;
    unsigned index;       /* initiator number in the group's map */
    const P2PPassthrough *passthrough; /* NULL: a device model */
    bool realized;        /* its windows are known */
    bool on_trial;        /* policy=require may refuse it yet */
    bool suspended;       /* its BARs are about to go, or have gone */
    bool by_request;      /* the block layer knows what it transfers */
    char *host_bdf;       /* NULL: not a function of this host */
    P2PView *view;        /* its own; NULL: passthrough, shares another */
    GPtrArray *windows;   /* of P2PBarWindow, owned */
    uint8_t memory_bars;  /* p2p-share=auto: those that could be shared */
    uint8_t unloaded_bars; /* not shared since a state was loaded */
    P2PCounts ended;      /* of its grants that are no more */
    bool waiting;         /* has a request that waits for the machine; atomic */
    Error *no_migration;  /* blockers; NULL: none */
    Error *no_cpr;
};

/* id or QOM path: how messages and the monitor name a device; owned by it. */
const char *p2p_device_name(PCIDevice *dev);
bool p2p_device_check_viommu(PCIDevice *dev, Error **errp);

/*
 * Whether, if policy=require, all grants of and to @member can be installed; or
 * those of its windows from number @first on.
 */
bool p2p_member_check_required(P2PMember *member, Error **errp);
bool p2p_windows_check_required(P2PMember *member, guint first, Error **errp);

/* --- window.c ---------------------------------------------------------- */

typedef enum P2PBacking {
    P2P_BACKING_RAM,         /* RAM that stands in a BAR */
    P2P_BACKING_RAM_DEVICE,  /* a device's memory with a CPU mapping */
    P2P_BACKING_IO,          /* no CPU mapping */
} P2PBacking;

/*
 * What became of a window in one container, which is an IOMMU domain of the
 * host, or in the view of a device model.
 */
typedef struct P2PInstall {
    const void *container;
    const P2PPassthrough *backend; /* of the container; NULL: a view */
    bool mapped;
    hwaddr gpa;              /* where, or where the last call failed */
    uint64_t stuck;          /* bytes that could not be unmapped from @gpa */
    uint64_t maps;
    uint64_t unmaps;
    uint64_t failures;
    int last_errno;          /* of the last failure; 0: none */
    bool failed;             /* the last call failed */
    unsigned moves;          /* of the window, when it did */
    unsigned room;           /* see iommu.c */
} P2PInstall;

/* What is in the way of a grant; the words for it are made when it changes. */
typedef enum P2PObstacleKind {
    P2P_OBSTACLE_UNKNOWN,        /* not yet looked for */
    P2P_OBSTACLE_NONE,
    P2P_OBSTACLE_NOT_DECODED,
    P2P_OBSTACLE_INTX,
    P2P_OBSTACLE_HIDDEN,
    P2P_OBSTACLE_NO_MAPPING,     /* QEMU could not map it, for a model */
    P2P_OBSTACLE_MAP_ERROR,
    P2P_OBSTACLE_STUCK,          /* where it was before */
    P2P_OBSTACLE_NO_CPU_MAPPING,
    P2P_OBSTACLE_NO_CONTAINER,   /* the initiator has no IOMMU domain */
    P2P_OBSTACLE_BEYOND,         /* the last address of the IOMMU */
    P2P_OBSTACLE_RESERVED,       /* the IOMMU does not translate it */
} P2PObstacleKind;

typedef struct P2PObstacle {
    P2PObstacleKind kind;
    int err;                     /* MAP_ERROR, STUCK: errno */
    hwaddr gpa;                  /* of the window: BEYOND, RESERVED, STUCK */
    hwaddr first;                /* RESERVED */
    hwaddr last;                 /* BEYOND: of the IOMMU; RESERVED */
} P2PObstacle;

/* Verdict on one initiator, and what was told about it. */
typedef struct P2PGrant {
    P2PObstacle obstacle;
    bool installed;
    char *reason;            /* why not; NULL if installed */
    bool has_path;           /* both are passthrough */
    P2PPath path;
    bool warned;
    bool told_installed;
    char *told_reason;
    int64_t told_at;         /* ms; 0: never */
    bool pending;            /* changed since, tell later */
} P2PGrant;

/* What device models moved into and out of a window. Any thread. */
typedef struct P2PTraffic {
    Stat64 requests[P2P_DATA_PATH__MAX];
    Stat64 bytes[P2P_DATA_PATH__MAX];   /* those elsewhere included */
    Stat64 failed;
    struct {
        Stat64 requests;
        Stat64 bytes;         /* in this window */
    } by[P2P_MAX_INITIATORS];
} P2PTraffic;

struct P2PBarWindow {
    P2PMember *owner;
    uint8_t bar;
    uint64_t offset;         /* in the BAR; both multiples of the page size */
    uint64_t size;
    P2PAccess access;
    P2PBacking backing;
    MemoryRegion *mr;        /* what stands there; NULL: P2P_BACKING_IO */
    hwaddr mr_offset;        /* where the window begins in it */
    /* In an aperture: whose memory it has.  NULL: that of its own BAR. */
    P2PBarWindow *source;
    uint64_t source_offset;  /* where it begins in @source */
    unsigned source_moves;   /* see @moves, of @source when it was attached */
    bool lost;               /* @source is not what it was: for good */
    P2PShown *shown;         /* aperture.c's; NULL unless @source is set */
    bool ending;             /* p2p-unshare waits for guests to let it go */
    /*
     * For device models; revoked and made anew when the window moves.  An
     * owned reference; NULL: none now.
     */
    P2PBarMapping *mapping;
    bool no_mapping_told;
    P2PTraffic *traffic;         /* a reference of a g_atomic_rc_box */

    bool on_trial;           /* policy=require may refuse it yet */
    P2PWindowState state;
    hwaddr gpa;              /* present one, or the last if has_gpa */
    bool has_gpa;
    unsigned moves;          /* times that state or gpa changed, modulo */
    GArray *installs;        /* of P2PInstall */
    P2PGrant grants[P2P_MAX_INITIATORS];
};

/*
 * Parse @share (NULL: auto) against the BARs of @member and fill its windows.
 */
bool p2p_windows_create(P2PMember *member, const char *share, Error **errp);
void p2p_window_free(P2PBarWindow *window);

/* Room for one more in the group and the member; false with @errp set. */
bool p2p_window_has_room(P2PMember *member, Error **errp);

/* A window with the memory of @range; it belongs to @member. */
typedef struct P2PRange {
    uint64_t offset;        /* in the BAR */
    uint64_t size;
    P2PBacking backing;
    MemoryRegion *mr;       /* what stands there, if it has a CPU mapping */
    hwaddr mr_offset;       /* and where the range begins in it */
} P2PRange;
P2PBarWindow *p2p_window_new(P2PMember *member, int bar, const P2PRange *range,
                             P2PAccess access);

/* Where the memory of a window is, which may be shown by another device. */
typedef struct P2PMemoryPlace {
    P2PMember *member;
    uint8_t bar;
    uint64_t offset;        /* in the BAR */
} P2PMemoryPlace;
P2PMemoryPlace p2p_window_memory(const P2PBarWindow *window);

/*
 * Take @windows from @member, out of all views, and free them.  False: some
 * could not be taken out of an IOMMU.
 */
bool p2p_windows_remove(P2PMember *member, GPtrArray *windows, Error **errp);

/*
 * Share a range of a BAR at run time, or end that.  @size: 0 stands for the
 * rest of the BAR. A window is shared no longer as a whole only. When
 * p2p_windows_unshare() returns true, no device can reach the windows.
 */
bool p2p_windows_share(P2PMember *member, uint8_t bar, uint64_t offset,
                       uint64_t size, P2PAccess access, Error **errp);
bool p2p_windows_unshare(P2PMember *member, uint8_t bar, uint64_t offset,
                         uint64_t size, Error **errp);

/* The windows that p2p_windows_unshare() would take back; the caller frees. */
GPtrArray *p2p_windows_to_unshare(P2PMember *member, uint8_t bar,
                                  uint64_t offset, uint64_t size,
                                  Error **errp);

/* The shared window that holds the range; NULL: none does. */
P2PBarWindow *p2p_window_holding(P2PMember *member, uint8_t bar,
                                 uint64_t offset, uint64_t size);

/* Why nothing of a memory BAR is shared; NULL: it is none, or something is. */
const char *p2p_bar_why_unshared(P2PMember *member, int bar);

/* Work out where the window is now. */
void p2p_window_locate(P2PBarWindow *window);

/* Whether device models reach the window by P2PBarWindow.mapping only. */
bool p2p_window_needs_mapping(P2PBarWindow *window);

/* Whether the window can be in the view of a device model now. */
bool p2p_window_fits_view(P2PBarWindow *window);

/* The record of @container; NULL if it never saw the window. */
P2PInstall *p2p_window_install(P2PBarWindow *window, const void *container);
P2PInstall *p2p_window_install_add(P2PBarWindow *window,
                                   const void *container);

/* --- aperture.c -------------------------------------------------------- */

/*
 * Show @size bytes of @source, from @source_offset on, at @offset of @aperture,
 * which is BAR @bar of @member.  NULL: no room for one more window.
 */
P2PBarWindow *p2p_aperture_attach(P2PMember *member, int bar,
                                  MemoryRegion *aperture, uint64_t offset,
                                  P2PBarWindow *source,
                                  uint64_t source_offset, uint64_t size,
                                  P2PAccess access);

/*
 * When this returns nobody reaches @windows, all of one aperture, there; they
 * are freed. It costs as much for one as for many.
 */
void p2p_aperture_detach(GPtrArray *windows);

/*
 * Let the CPUs see what is attached, and nothing that is lost; within a memory
 * transaction.
 */
void p2p_apertures_sync(void);

/*
 * Whether @s, which is at @at of the place for @window, is aperture without a
 * window: that is where it is about to be.
 */
bool p2p_aperture_is_empty_at(P2PBarWindow *window, MemoryRegionSection *s,
                              uint64_t at);

/* --- bridge.c ---------------------------------------------------------- */

#define TYPE_P2P_BRIDGE "p2p-bridge"

/* @window is lost, and will be detached when there is time for it. */
void p2p_bridge_window_lost(P2PBarWindow *window);

/*
 * The host window @source is about to go, as its member leaves or not: detach
 * all that show it.
 */
void p2p_bridges_source_ends(P2PBarWindow *source, bool leaves);

/* @member is about to leave its group. */
void p2p_bridges_member_leaves(P2PMember *member);

/* Members, windows or grants of @group may have changed. */
void p2p_bridges_changed(P2PGroup *group);

/*
 * Ask the guest to let go what it has of @source.  Returns whether something is
 * to be waited for: in a coroutine, by p2p_bridges_wait(), which returns each
 * time that something has changed.
 */
bool p2p_bridges_revoke(P2PBarWindow *source);
void coroutine_fn p2p_bridges_wait(P2PGroup *group);
/* The host has what it wanted, or does not want it any more. */
void p2p_bridges_revoke_end(void);

/* The machine is about to run: windows of a state that was loaded. */
void p2p_bridges_before_run(P2PGroup *group);

/* --- mapping.c --------------------------------------------------------- */

#define TYPE_P2P_BAR_MAPPING "p2p-bar-mapping"

/* It only ever gets worse. */
typedef enum P2PMappingState {
    P2P_MAPPING_LIVE,
    P2P_MAPPING_BROKEN,     /* the BAR has gone before we were told */
    P2P_MAPPING_REVOKED,
} P2PMappingState;

/* Before all else; once is enough. */
bool p2p_bar_mappings_init(Error **errp);

/*
 * A mapping of @window for device models; the caller's reference is to be
 * given to p2p_bar_mapping_revoke().  @steady: the BAR is known to answer.
 * NULL, with a message: no memory.
 */
P2PBarMapping *p2p_bar_mapping_new(P2PBarWindow *window, bool steady);

/* After a state was loaded: what could not be done for @mapping meanwhile. */
void p2p_bar_mapping_settle(P2PBarMapping *mapping);

/*
 * Take away what is behind the mapping, and the caller's reference.  When it
 * returns neither a thread, nor a drive of the host that QEMU drives itself,
 * can reach the BAR by it, and nothing that is in flight will.
 */
void p2p_bar_mapping_revoke(P2PBarMapping *mapping);

/* A mapping that always was revoked; borrowed, never freed. */
#define P2P_FAULT_SIZE (1 * MiB)
P2PBarMapping *p2p_fault_mapping(void);

void *p2p_bar_mapping_hva(P2PBarMapping *mapping);

/* The following are for any thread. */

/*
 * Whose addresses @hva is one of; NULL: nobody's. Within an RCU read-side
 * critical section; the mapping stays for as long as a request maps it.
 */
P2PBarMapping *p2p_bar_mapping_find(const void *hva);

P2PMappingState p2p_bar_mapping_state(P2PBarMapping *mapping);
P2PGroup *p2p_bar_mapping_group(P2PBarMapping *mapping);
P2PTraffic *p2p_bar_mapping_traffic(P2PBarMapping *mapping);

/* Whether there are bytes behind its addresses while it lives. */
bool p2p_bar_mapping_is_file(P2PBarMapping *mapping);

/* Whether QEMU's NVMe driver may give it to the host's drive. */
bool p2p_bar_mapping_is_direct(P2PBarMapping *mapping);

/*
 * A pointer to the byte at @offset, with a reference for p2p_bar_mapping_put().
 * The calling thread may touch the memory.
 */
void *p2p_bar_mapping_get(P2PBarMapping *mapping, uint64_t offset);
void p2p_bar_mapping_put(P2PBarMapping *mapping);

/* One access of @size bytes, 1, 2, 4 or 8.  With the BQL. */
MemTxResult p2p_bar_mapping_access(P2PBarMapping *mapping, uint64_t offset,
                                   uint64_t *value, unsigned size,
                                   bool is_write);

/*
 * Copy between @buffer and the BAR, which is no file, at the mapping's @hva.
 * Returns 0 or -errno.  With the BQL.
 */
int p2p_bar_mapping_copy(P2PBarMapping *mapping, void *hva, void *buffer,
                         size_t size, bool is_write);

/*
 * For the signal handler: make an access to @hva end well.  The mapping is
 * broken then, and the main loop makes a new one if the window still is there.
 */
bool p2p_bar_mapping_rescue(void *hva);

/* Implemented by device models whose BARs are files. */
#define TYPE_P2P_BAR_FILE "p2p-bar-file"
typedef struct P2PBarFileClass {
    InterfaceClass parent;
    /* The fd, which stays the device's, and where @bar begins; -1: none. */
    int (*get_fd)(PCIDevice *dev, int bar, off_t *offset);
} P2PBarFileClass;
DECLARE_CLASS_CHECKERS(P2PBarFileClass, P2P_BAR_FILE, TYPE_P2P_BAR_FILE)

/* --- guard.c ----------------------------------------------------------- */

bool p2p_guard_init(Error **errp);

/* From now on the calling thread may touch mappings that go. */
void p2p_guard_thread(void);

/* --- transfer.c -------------------------------------------------------- */

/* Have the block layer ask. */
void p2p_transfer_init(void);

/* Buffers of @size bytes in all, a multiple of the page size. */
P2PBounce *p2p_bounce_new(uint64_t size, Error **errp);
void p2p_bounce_free(P2PBounce *bounce);

/*
 * How drives with @bs as their image read into a BAR, or write from it, and why
 * that way. With the graph lock, at least for reading.
 */
P2PDataPath p2p_data_path(BlockDriverState *bs, bool is_write,
                          const char **why);

/* --- stats.c ----------------------------------------------------------- */

/* Have query-stats ask; any number of times. */
void p2p_stats_init(void);

/*
 * A drive's request has ended.  For any thread, as the next one; NULL is for
 * mappings of which nothing is counted.
 */
void p2p_traffic_add(P2PTraffic *traffic, P2PDataPath path, uint64_t bytes,
                     int ret);

/*
 * An initiator has read or written: the block layer tells of drives' requests,
 * if it knows whose the drive is, else who unmaps a buffer does; and whoever
 * sees a single access.
 */
void p2p_traffic_add_of(P2PTraffic *traffic, unsigned initiator,
                        uint64_t requests, uint64_t bytes);

/* P2PMember.by_request of a device that is realized. */
bool p2p_counts_requests(PCIDevice *dev);

/* Whether what @initiator moves is seen at all. */
bool p2p_counts_traffic(P2PMember *initiator, P2PBarWindow *window);

P2PCounts p2p_counts(P2PMember *initiator, P2PBarWindow *window);

/* The grant ends: what was counted stays with the initiator. */
void p2p_counts_keep(P2PMember *initiator, P2PBarWindow *window);

/* --- peek.c ------------------------------------------------------------ */

/* Part of @mr as an address space of its own, at offset 0. */
Object *p2p_peek_new(MemoryRegion *mr, hwaddr offset, uint64_t size);
/* As memory_region_find(): the caller drops the section's region. */
MemoryRegionSection p2p_peek_find(Object *peek, hwaddr offset, uint64_t size);
MemTxResult p2p_peek_rw(Object *peek, hwaddr offset, void *buffer, hwaddr size,
                        bool is_write);
void p2p_peek_free(Object *peek);

/* --- model-window.c ---------------------------------------------------- */

/* What stands for @window, at its present address, in @view. */
Object *p2p_model_window_new(P2PView *view, P2PBarWindow *window);
MemoryRegion *p2p_model_window_region(Object *model);

/*
 * Whether @mr is the region of such a window; which, what is at @addr in it,
 * and where in the view.  @mapping: NULL if it may not be written.
 */
bool p2p_model_window_find(MemoryRegion *mr, hwaddr addr, bool is_write,
                           P2PView **view, P2PBarMapping **mapping,
                           hwaddr *gpa);

/* --- view.c ------------------------------------------------------------ */

/*
 * @group: for its name; NULL: none
 * @member: the only user, a device model, in whose view are windows; NULL:
 *     passthrough devices, whose windows are put into their IOMMU (iommu.c)
 */
P2PView *p2p_view_new(P2PGroup *group, P2PMember *member);
void p2p_view_free(P2PView *view);
AddressSpace *p2p_view_address_space(P2PView *view);
P2PMember *p2p_view_member(P2PView *view);

/* The view of a device model whose root @mr is; NULL: none. Any thread. */
P2PView *p2p_view_from_root(MemoryRegion *mr);

/* The view of passthrough devices that may reach no peer. */
P2PView *p2p_view_confined(void);

/* Whether there is any, which outlives the last group. */
bool p2p_views_exist(void);

/* Put all views in line with guest RAM and the located windows. */
void p2p_views_sync(void);

/* Tell of an access that @view, which is of a device model, refuses. */
MemTxResult p2p_view_fault(P2PView *view, hwaddr gpa, bool write);

/* Where devices raise interrupts; returns the size. */
uint64_t p2p_doorbells(hwaddr *base);

/* How many there were, told or not.  Any thread. */
uint64_t p2p_view_faults(P2PView *view);

/* Guest RAM as the views hold it, for the map. */
typedef void P2PRamFn(MemoryRegion *mr, hwaddr gpa, hwaddr offset,
                      uint64_t size, bool readonly, void *opaque);
void p2p_foreach_ram(P2PRamFn *fn, void *opaque);

/* --- quiesce.c --------------------------------------------------------- */

/* For the first group, and with the last. */
void p2p_quiesce_begin(void);
void p2p_quiesce_end(void);

/* Whether no device model may get at a window: the machine is stopped. */
bool p2p_quiesced(void);

typedef enum P2PAdmission {
    P2P_ADMIT,
    P2P_ADMIT_LATER,    /* no pointer now, ask again when there is room */
    P2P_ADMIT_NEVER,    /* the request fails */
} P2PAdmission;

/* What @member, which asks for @len bytes at @addr of a window, gets. */
P2PAdmission p2p_quiesce_admit(P2PMember *member, hwaddr addr, hwaddr len);

/* A request gets, and gives back, a pointer into a window.  Any thread. */
void p2p_quiesce_hold(void);
void p2p_quiesce_release(void);

/* A device with a request that waits for the machine to run; or NULL. */
PCIDevice *p2p_quiesce_waiting(void);

/* Devices take over a state that is being loaded. */
void p2p_quiesce_set_loading(bool loading);

/* --- migration.c ------------------------------------------------------- */

/* For a group that is about to be in p2p_groups, or has been. */
bool p2p_migration_begin(P2PGroup *group, Error **errp);
void p2p_migration_end(P2PGroup *group);

/* @member, which is realized, may be in the way of migration. */
bool p2p_migration_join(P2PMember *member, Error **errp);
void p2p_migration_leave(P2PMember *member);

/* The machine is about to run, perhaps with a state that was loaded. */
void p2p_migration_before_run(void);

/* --- grant.c ----------------------------------------------------------- */

/* What a member's mappings are kept under in P2PBarWindow.installs. */
const void *p2p_member_container(P2PMember *member);

/* What became of @window for @member; NULL: it never saw it. */
P2PInstall *p2p_member_install(P2PMember *member, P2PBarWindow *window);

/* Recompute the grants of @group, tell what changed, publish the map. */
void p2p_grants_update(P2PGroup *group);
void p2p_grants_tell_pending(void *group);

/* Monitor events keep their times by it, as in the rest of QEMU. */
QEMUClockType p2p_event_clock(void);

/*
 * A guest can make a grant come and go, and a device model fault, as fast as it
 * writes to a register.  The last state of a grant is always told, the ones
 * before, and the faults of a member, at most once in this time.
 */
#define P2P_TELL_INTERVAL_MS 1000
void p2p_grant_clear(P2PGrant *grant);

/* @window is no longer shared: tell what ends with it, and @why. */
void p2p_window_grants_end(P2PBarWindow *window, const char *why);

/* @member leaves: tell what ends with it, forget what concerns it. */
void p2p_grants_end(P2PMember *member);

/* What is in the way, in words, with the way out; NULL: nothing. */
char *p2p_obstacle_reason(P2PObstacle obstacle, P2PMember *initiator,
                          P2PBarWindow *window);

/* A failed map call in words, with the way out. */
char *p2p_grant_map_error(P2PMember *initiator, int err);

/* --- iommu.c ----------------------------------------------------------- */

/* Take out of the host's IOMMU what is not to be there any more. */
void p2p_iommu_revoke(void);

/* Put the windows in that are missing, unless they are to wait. */
void p2p_iommu_install(void);

/*
 * Devices are being loaded: a BAR has its place before the device answers, so
 * no window is put in, and no grant is looked at.
 */
void p2p_iommu_set_waiting(bool waiting);
bool p2p_iommu_is_waiting(void);

/* Take @window, whatever it is, out of all containers. */
void p2p_iommu_revoke_window(P2PBarWindow *window);

/*
 * @member, which is in its group yet, leaves: nothing of the group stays in its
 * container if it is the last one there.  The device may be in it for longer.
 */
void p2p_iommu_leave(P2PMember *member);

/*
 * The host's device behind @member may decode now, as it did not when its
 * windows could not be mapped: whether there are such, which the next
 * p2p_update() tries again.
 */
bool p2p_iommu_retry(P2PMember *member);

/* @window is about to be freed: what is stuck of it is tried again without. */
void p2p_iommu_abandon_window(P2PBarWindow *window);

/* Bytes of the range of @bar that are stuck, and belong to no window. */
uint64_t p2p_iommu_stuck(P2PMember *member, int bar, uint64_t start,
                         uint64_t end);

/* All of @group; the caller frees it. */
P2PStuckInfoList *p2p_iommu_stuck_info(P2PGroup *group);

/* How long all unmap calls so far have taken: nanoseconds in the kernel */
extern int64_t p2p_iommu_unmap_ns;

/*
 * Whether the container of @initiator can map the first page of @window: tried
 * at an address where nothing is. Returns 0 or -errno.
 */
int p2p_iommu_try(P2PMember *initiator, P2PBarWindow *window);

/* What is in the way of @window in @initiator's container: its place. */
P2PObstacle p2p_iommu_place(P2PMember *initiator, P2PBarWindow *window);

/*
 * Whether a BAR of @size bytes, a power of two, fits between the addresses that the container
 * of @initiator does not translate.  False: @limit is the last one that it
 * does.
 */
bool p2p_iommu_has_room(P2PMember *initiator, uint64_t size, hwaddr *limit);

/* Warn if the guest may place BARs where the host's IOMMU does not reach. */
void p2p_iommu_check_width(P2PGroup *group);

/*
 * For tests: called before each call to the host that may fail, from the main
 * thread. What it returns, if not 0, is taken for the call's result, a negative
 * errno value. NULL: there is none.
 */
extern int (*p2p_fault_injector)(void);

static inline int p2p_inject_fault(void)
{
    return p2p_fault_injector ? p2p_fault_injector() : 0;
}

/* --- passthrough.c ----------------------------------------------------- */

/* What is to be mapped into an IOMMU. */
typedef struct P2PIommuMap {
    hwaddr iova;
    uint64_t size;          /* bytes; as iova and offset multiples of a page */
    bool readonly;
    PCIDevice *dev;         /* the target */
    int bar;
    uint64_t offset;        /* in the BAR */
    MemoryRegion *mr;       /* what stands there */
    void *hva;              /* and its CPU mapping */
} P2PIommuMap;

/*
 * What devices of one kind can tell of themselves and of the IOMMU of the host
 * that translates for them.  A container is an IOMMU domain, with the devices
 * in it.  A function that is not there: see p2p_passthrough_*().
 */
struct P2PPassthrough {
    /* A function on a real bus, in contrast to one that a process emulates. */
    bool hardware;
    /* What maps for it. */
    P2PBackEnd (*backend)(PCIDevice *dev);
    /* NULL: it is in none yet, or no longer. */
    void *(*container)(PCIDevice *dev);
    /* Both return 0 or -errno. */
    int (*map)(void *container, const P2PIommuMap *map);
    int (*unmap)(void *container, hwaddr iova, uint64_t size);
    /* An unmap() that failed need not be tried again: nobody answers. */
    bool unmap_once;
    /* What it translates, a list of Range, ascending; NULL: not known. */
    const GList *(*iova_ranges)(void *container);
    /* The way out of a failed map() of @dev; never NULL. */
    const char *(*map_hint)(PCIDevice *dev, int err);
    /* NULL: it is not a function of this host. */
    char *(*host_bdf)(PCIDevice *dev);
    /* Host IOMMU group, known before realize; -1: cannot be told. */
    int (*iommu_group)(PCIDevice *dev);
    /* INTx has suspended the CPU mapping of the BAR. */
    bool (*mapping_suspended)(PCIDevice *dev, int bar);
    /* The device has no other interrupt than INTx that QEMU emulates. */
    bool (*intx_only)(PCIDevice *dev);
    /* The file that the BAR is in, which stays the device's; -1: none. */
    int (*bar_fd)(PCIDevice *dev, int bar, off_t *offset);
    /* Switch memory decode behind the guest's back; returns what it was. */
    bool (*set_decode)(PCIDevice *dev, bool on);
    /* Have it issue no DMA before the guest allows it again. */
    void (*stop_mastering)(PCIDevice *dev);
};

/* Devices of this QOM type, and of those derived from it, are passed through. */
void p2p_passthrough_register(const char *type, const P2PPassthrough *ops);

/* NULL: @dev is a device model. */
const P2PPassthrough *p2p_passthrough(PCIDevice *dev);

/* These are for a passthrough device, and have a result in any case. */
int p2p_passthrough_iommu_group(PCIDevice *dev);
bool p2p_passthrough_intx_only(PCIDevice *dev);
bool p2p_passthrough_mapping_suspended(PCIDevice *dev, int bar);
bool p2p_passthrough_set_decode(PCIDevice *dev, bool on);

#endif /* HW_P2P_INTERNAL_H */
