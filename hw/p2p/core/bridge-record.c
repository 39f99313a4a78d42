/*
 * p2p-bridge: guest windows, their revocation, and the status page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bridge-internal.h"

#define RECORDS P2P_BRIDGE_MAX_WINDOWS_VALUE

/* --- Status page --------------------------------------------------------- */

static void write_record(uint8_t *raw, const P2PBridgeRecord *record)
{
    bool shown = record->state == P2P_BRIDGE_STATE_ATTACHED ||
                 record->state == P2P_BRIDGE_STATE_REVOKING;

    put32(raw + P2P_BRIDGE_RECORD_WINDOW, record->number);
    put32(raw + P2P_BRIDGE_RECORD_STATE, record->state);
    put32(raw + P2P_BRIDGE_RECORD_SLOT, shown ? record->slot : 0);
    put32(raw + P2P_BRIDGE_RECORD_REASON, record->reason);
    put64(raw + P2P_BRIDGE_RECORD_SIZE, record->size);
    put32(raw + P2P_BRIDGE_RECORD_RID, record->rid);
    put32(raw + P2P_BRIDGE_RECORD_GENERATION, record->generation);
}

/*
 * The guest's processors read it at any time: what is written before stays
 * before, and what is written later stays later.
 */
static void write_sequence(uint8_t *page, uint32_t sequence)
{
    uint32_t *at = (uint32_t *)(page + P2P_BRIDGE_PAGE_SEQUENCE);

    __atomic_exchange_n(at, GUINT32_TO_LE(sequence), __ATOMIC_SEQ_CST);
}

void p2p_bridge_write_page(P2PBridge *bridge)
{
    uint8_t *page = bridge->page;
    uint32_t sequence = get32(page + P2P_BRIDGE_PAGE_SEQUENCE) & ~1u;
    uint64_t pending = 0;

    write_sequence(page, sequence + 1);
    put32(page + P2P_BRIDGE_PAGE_MAGIC, P2P_BRIDGE_MAGIC_VALUE);
    put32(page + P2P_BRIDGE_PAGE_GENERATION, bridge->generation);
    put32(page + P2P_BRIDGE_PAGE_EVENTS_LOST, bridge->events_lost);
    put32(page + P2P_BRIDGE_PAGE_RECORDS, RECORDS);
    for (unsigned i = 0; i < RECORDS; i++) {
        write_record(page + P2P_BRIDGE_PAGE_FIRST +
                     i * P2P_BRIDGE_RECORD_BYTES, &bridge->records[i]);
        if (bridge->records[i].state == P2P_BRIDGE_STATE_REVOKING) {
            pending |= 1ull << i;
        }
    }
    put64(page + P2P_BRIDGE_PAGE_PENDING, pending);
    write_sequence(page, sequence + 2);
}

uint32_t p2p_bridge_get_sequence(const P2PBridge *bridge)
{
    return get32(bridge->page + P2P_BRIDGE_PAGE_SEQUENCE);
}

void p2p_bridge_set_sequence(P2PBridge *bridge, uint32_t sequence)
{
    write_sequence(bridge->page, sequence);
}

void p2p_bridge_next_generation(P2PBridge *bridge)
{
    bridge->generation++;
    p2p_bridge_write_page(bridge);
}

/* --- Events -------------------------------------------------------------- */

static void post(P2PBridge *bridge, unsigned type, unsigned reason,
                 const P2PBridgeRecord *record)
{
    uint8_t event[P2P_BRIDGE_EVENT_BYTES] = { 0 };

    put16(event + P2P_BRIDGE_EVT_TYPE, type);
    put16(event + P2P_BRIDGE_EVT_REASON, reason);
    if (record) {
        put32(event + P2P_BRIDGE_EVT_WINDOW, record->number);
        put32(event + P2P_BRIDGE_EVT_SLOT, record->slot);
        put32(event + P2P_BRIDGE_EVT_TARGET, record->rid);
    }
    p2p_bridge_post(bridge, event);
}

void p2p_bridge_changed(P2PBridge *bridge)
{
    p2p_bridge_next_generation(bridge);
    post(bridge, P2P_BRIDGE_EVENT_CHANGED, 0, NULL);
}

void p2p_bridge_bus_revoked(P2PBridge *bridge, uint32_t initiator,
                            uint32_t target, unsigned reason)
{
    uint8_t event[P2P_BRIDGE_EVENT_BYTES] = { 0 };

    put16(event + P2P_BRIDGE_EVT_TYPE, P2P_BRIDGE_EVENT_BUS_REVOKED);
    put16(event + P2P_BRIDGE_EVT_REASON, reason);
    put32(event + P2P_BRIDGE_EVT_RID, initiator);
    put32(event + P2P_BRIDGE_EVT_TARGET, target);
    p2p_bridge_post(bridge, event);
}

/* --- States -------------------------------------------------------------- */

static unsigned index_of(P2PBridge *bridge, const P2PBridgeRecord *record)
{
    return record - bridge->records;
}

static P2PBridgeRecord *find(P2PBridge *bridge, uint32_t number)
{
    P2PBridgeRecord *record =
        &bridge->records[number & P2P_BRIDGE_WINDOW_RECORD_MASK];

    return number && record->number == number ? record : NULL;
}

static bool is_shown(const P2PBridgeRecord *record)
{
    return record->state == P2P_BRIDGE_STATE_ATTACHED ||
           record->state == P2P_BRIDGE_STATE_REVOKING;
}

static void set_state(P2PBridge *bridge, P2PBridgeRecord *record,
                      unsigned state, unsigned reason)
{
    record->state = state;
    record->reason = reason;
    record->generation = bridge->generation + 1;
    p2p_bridge_next_generation(bridge);
}

/* Out of everybody's reach first, told later. */
static void finish(P2PBridge *bridge, P2PBridgeRecord *record,
                   unsigned reason)
{
    if (is_shown(record)) {
        bridge->ops->detach(bridge->opaque, index_of(bridge, record));
    }
    set_state(bridge, record, P2P_BRIDGE_STATE_REVOKED, reason);
    post(bridge, P2P_BRIDGE_EVENT_REVOKED, reason, record);
    record->slot = 0;
}

/* --- Commands ------------------------------------------------------------ */

static uint32_t next_number(P2PBridge *bridge, unsigned index)
{
    uint32_t number;

    do {
        number = ++bridge->last_number * RECORDS + index;
    } while (!number);
    return number;
}

unsigned p2p_bridge_share(P2PBridge *bridge, const P2PBridgeRecord *window,
                          P2PBridgeCompletion *completion)
{
    unsigned index = 0;
    unsigned status;

    while (index < RECORDS && bridge->records[index].number) {
        index++;
    }
    if (index == RECORDS) {
        return P2P_BRIDGE_LIMIT;
    }
    status = bridge->ops->share(bridge->opaque, index, window);
    if (status == P2P_BRIDGE_OK) {
        bridge->records[index] = *window;
        bridge->records[index].number = next_number(bridge, index);
        set_state(bridge, &bridge->records[index], P2P_BRIDGE_STATE_SHARED, 0);
        completion->value = bridge->records[index].number;
    }
    return status;
}

unsigned p2p_bridge_unshare(P2PBridge *bridge, uint32_t number)
{
    P2PBridgeRecord *record = find(bridge, number);

    if (!record) {
        return P2P_BRIDGE_NO_WINDOW;
    }
    if (is_shown(record)) {
        return P2P_BRIDGE_ATTACHED;
    }
    bridge->ops->unshare(bridge->opaque, index_of(bridge, record));
    *record = (P2PBridgeRecord) { 0 };
    set_state(bridge, record, P2P_BRIDGE_STATE_FREE, 0);
    return P2P_BRIDGE_OK;
}

/* A window that is shown in one of @n slots from @slot on; NULL: none is. */
static const P2PBridgeRecord *taken(const P2PBridge *bridge, uint64_t slot,
                                    uint64_t n)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        const P2PBridgeRecord *record = &bridge->records[i];

        if (is_shown(record) && record->slot < slot + n &&
            slot < record->slot + p2p_bridge_slots(record->size)) {
            return record;
        }
    }
    return NULL;
}

unsigned p2p_bridge_attach(P2PBridge *bridge, uint32_t number, uint32_t slot,
                           P2PBridgeCompletion *completion)
{
    P2PBridgeRecord *record = find(bridge, number);
    const P2PBridgeRecord *other;
    uint64_t offset = (uint64_t)slot << P2P_BRIDGE_SLOT_SHIFT_VALUE;
    uint64_t n;
    unsigned status;

    if (!record) {
        return P2P_BRIDGE_NO_WINDOW;
    }
    if (record->state == P2P_BRIDGE_STATE_REVOKED) {
        completion->reason = record->reason;
        return P2P_BRIDGE_REVOKED;
    }
    if (is_shown(record)) {
        return P2P_BRIDGE_ATTACHED;
    }
    n = p2p_bridge_slots(record->size);
    if (slot >= bridge->config.slots || n > bridge->config.slots - slot) {
        return P2P_BRIDGE_BAD_SLOT;
    }
    other = taken(bridge, slot, n);
    if (other) {
        completion->value = other->number;
        return P2P_BRIDGE_SLOT_TAKEN;
    }
    status = bridge->ops->attach(bridge->opaque, index_of(bridge, record),
                                 offset);
    if (status == P2P_BRIDGE_OK) {
        record->slot = slot;
        set_state(bridge, record, P2P_BRIDGE_STATE_ATTACHED, 0);
        completion->value = offset;
    }
    return status;
}

unsigned p2p_bridge_detach(P2PBridge *bridge, uint32_t number,
                           P2PBridgeCompletion *completion)
{
    P2PBridgeRecord *record = find(bridge, number);

    if (!record) {
        return P2P_BRIDGE_NO_WINDOW;
    }
    if (record->state == P2P_BRIDGE_STATE_REVOKED) {
        completion->reason = record->reason;
        return P2P_BRIDGE_REVOKED;
    }
    if (record->state == P2P_BRIDGE_STATE_REVOKING) {
        finish(bridge, record, P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
        return P2P_BRIDGE_OK;
    }
    if (record->state != P2P_BRIDGE_STATE_ATTACHED) {
        return P2P_BRIDGE_NOT_ATTACHED;
    }
    bridge->ops->detach(bridge->opaque, index_of(bridge, record));
    record->slot = 0;
    set_state(bridge, record, P2P_BRIDGE_STATE_SHARED, 0);
    return P2P_BRIDGE_OK;
}

unsigned p2p_bridge_acknowledge(P2PBridge *bridge, uint32_t number)
{
    P2PBridgeRecord *record = find(bridge, number);

    if (!record) {
        return P2P_BRIDGE_NO_WINDOW;
    }
    if (record->state != P2P_BRIDGE_STATE_REVOKING) {
        return P2P_BRIDGE_NOT_REVOKED;
    }
    finish(bridge, record, P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
    return P2P_BRIDGE_OK;
}

/* --- The host's side ----------------------------------------------------- */

bool p2p_bridge_revoke(P2PBridge *bridge, unsigned index, int64_t now)
{
    P2PBridgeRecord *record = &bridge->records[index];

    if (record->state == P2P_BRIDGE_STATE_REVOKING) {
        return true;
    }
    if (record->state != P2P_BRIDGE_STATE_ATTACHED) {
        return false;
    }
    record->deadline = now + bridge->config.revoke_ms;
    set_state(bridge, record, P2P_BRIDGE_STATE_REVOKING,
              P2P_BRIDGE_REVOKE_UNSHARED);
    post(bridge, P2P_BRIDGE_EVENT_REVOKE, P2P_BRIDGE_REVOKE_UNSHARED, record);
    return true;
}

void p2p_bridge_lose(P2PBridge *bridge, unsigned index, unsigned reason)
{
    P2PBridgeRecord *record = &bridge->records[index];

    if (record->state != P2P_BRIDGE_STATE_FREE &&
        record->state != P2P_BRIDGE_STATE_REVOKED) {
        finish(bridge, record, reason);
    }
}

int64_t p2p_bridge_deadline(const P2PBridge *bridge)
{
    int64_t first = -1;

    for (unsigned i = 0; i < RECORDS; i++) {
        const P2PBridgeRecord *record = &bridge->records[i];

        if (record->state == P2P_BRIDGE_STATE_REVOKING &&
            (first < 0 || record->deadline < first)) {
            first = record->deadline;
        }
    }
    return first;
}

void p2p_bridge_timeout(P2PBridge *bridge, int64_t now)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        P2PBridgeRecord *record = &bridge->records[i];

        if (record->state == P2P_BRIDGE_STATE_REVOKING &&
            record->deadline <= now) {
            finish(bridge, record, P2P_BRIDGE_REVOKE_TIMEOUT);
        }
    }
}

/* --- Life ---------------------------------------------------------------- */

static void clear_regs(P2PBridge *bridge)
{
    bridge->regs = (P2PBridgeRegs) {
        .completion_vector = P2P_BRIDGE_NO_VECTOR,
        .event_vector = P2P_BRIDGE_NO_VECTOR,
    };
    bridge->rings = (P2PBridgeRings) { 0 };
}

void p2p_bridge_init(P2PBridge *bridge, const P2PBridgeOps *ops, void *opaque,
                     const P2PBridgeConfig *config, uint8_t *page)
{
    *bridge = (P2PBridge) {
        .ops = ops, .opaque = opaque, .config = *config, .page = page,
        .scratch = g_new(P2PBridgeScratch, 1),
    };
    clear_regs(bridge);
    p2p_bridge_write_page(bridge);
}

void p2p_bridge_destroy(P2PBridge *bridge)
{
    g_clear_pointer(&bridge->scratch, g_free);
}

void p2p_bridge_reset(P2PBridge *bridge)
{
    clear_regs(bridge);
    bridge->ops->clear(bridge->opaque);
    memset(bridge->records, 0, sizeof(bridge->records));
    bridge->events_lost = 0;
    p2p_bridge_next_generation(bridge);
}

/* --- A state from elsewhere ---------------------------------------------- */

static const char *check_record(P2PBridge *bridge, unsigned index)
{
    P2PBridgeRecord *record = &bridge->records[index];
    uint64_t page = 1ull << bridge->config.page_shift;
    uint64_t n;

    if (!record->number) {
        return record->state == P2P_BRIDGE_STATE_FREE
               ? NULL : "a window without a number has a state";
    }
    if ((record->number & P2P_BRIDGE_WINDOW_RECORD_MASK) != index ||
        record->state == P2P_BRIDGE_STATE_FREE ||
        record->state > P2P_BRIDGE_STATE_REVOKED || record->bar > 5 ||
        record->access > P2P_BRIDGE_ACCESS_RW ||
        record->reason > P2P_BRIDGE_REVOKE_ACKNOWLEDGED) {
        return "a window makes no sense";
    }
    if (!record->size || (record->offset | record->size) % page ||
        record->offset + record->size < record->offset) {
        return "a window is not a range of pages";
    }
    n = p2p_bridge_slots(record->size);
    if (is_shown(record) && (record->slot >= bridge->config.slots ||
                             n > bridge->config.slots - record->slot)) {
        return "a window does not fit into the aperture; give the device the "
               "same aperture= on both sides";
    }
    return NULL;
}

static const char *check_overlap(P2PBridge *bridge)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        P2PBridgeRecord *record = &bridge->records[i];
        unsigned state = record->state;
        bool overlaps;

        if (is_shown(record)) {
            record->state = P2P_BRIDGE_STATE_SHARED;
            overlaps = taken(bridge, record->slot,
                             p2p_bridge_slots(record->size));
            record->state = state;
            if (overlaps) {
                return "two windows are in one slot";
            }
        }
    }
    return NULL;
}

static const char *check_loaded_regs(P2PBridge *bridge)
{
    const P2PBridgeRegs *regs = &bridge->regs;

    if (regs->control & ~P2P_BRIDGE_CONTROL_ENABLE ||
        (regs->status && regs->status != P2P_BRIDGE_STATUS_READY &&
         regs->status != P2P_BRIDGE_STATUS_FAILED) ||
        !regs->status != !regs->control) {
        return "its status makes no sense";
    }
    if (!p2p_bridge_is_ready(bridge)) {
        return NULL;
    }
    /* A command is executed and completed in one go. */
    if (bridge->rings.completion_tail != bridge->rings.command_head) {
        return "its rings make no sense";
    }
    switch (p2p_bridge_check_regs(bridge)) {
    case P2P_BRIDGE_ERROR_NONE:
        return NULL;
    case P2P_BRIDGE_ERROR_FEATURES:
        return "its driver uses a feature that it does not have here; give "
               "the p2p-group the same bus-address= on both sides";
    }
    return "it is enabled with registers that cannot be";
}

const char *p2p_bridge_loaded(P2PBridge *bridge, int64_t now)
{
    const char *wrong = check_loaded_regs(bridge);

    for (unsigned i = 0; !wrong && i < RECORDS; i++) {
        P2PBridgeRecord *record = &bridge->records[i];

        wrong = check_record(bridge, i);
        record->deadline = MAX(0, MIN(record->deadline,
                                      now + bridge->config.revoke_ms));
    }
    return wrong ?: check_overlap(bridge);
}
