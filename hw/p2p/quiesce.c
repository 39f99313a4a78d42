/*
 * Quiesce: nothing reaches a device past its stop point
 *
 * QEMU pauses the CPUs, has the devices stop, and only then waits for what
 * drives have in flight. A request with a window as its buffer would end in a
 * device that has stopped, and whose state may have been read out. So it is
 * waited for before the first device stops, and where there was a request in a
 * queue, it is done, too: the queues are finite, as no CPU adds to them. From
 * then until the last device runs again, no device model gets at a window.
 *
 *   stop   first of all prepare callbacks   drain; close the gate
 *          the devices' callbacks           VFIO: initiators first, then all
 *          last of all callbacks            end of the drained section
 *   run    last of all prepare callbacks    begin of a drained section
 *          the devices' callbacks
 *          last of all callbacks            open the gate; end of the section
 *
 * A state that is being loaded is not kept out: devices look at guest memory
 * while they take theirs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/aio-wait.h"
#include "block/block.h"
#include "hw/pci/pci_ids.h"
#include "qemu/main-loop.h"
#include "system/iothread.h"
#include "system/runstate.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/* The depth of a device in the tree of buses is its priority. */
#define P2P_PRIORITY_FIRST_TO_STOP INT_MAX
#define P2P_PRIORITY_LAST_TO_STOP  INT_MIN

/*
 * Time for device models to work off what they have in their queues; and once
 * more, in which only virtio's still get at windows.
 */
#define P2P_SETTLE_MS 1000

/* Rounds in which no request ends before those that are left count as held. */
#define P2P_IDLE_ROUNDS 3

/*
 * What a thread's loop has to be asked until it has been all the way round:
 * the first call may come in a round that was already under way, and in each
 * round the calls come before the handlers.
 */
#define P2P_IOTHREAD_ROUNDS 3

/* Handlers that the main loop may owe from before the stop. */
#define P2P_PENDING_MAX 1000

typedef enum P2PGate {
    P2P_GATE_OPEN,
    P2P_GATE_CLOSING,   /* no new requests but those of virtio's rings */
    P2P_GATE_CLOSED,
} P2PGate;

/* All but what is atomic is protected by the BQL. */
static P2PGate p2p_gate;        /* atomic */
static bool p2p_loading;        /* atomic */
static unsigned p2p_held;       /* pointers into windows; atomic */
static unsigned p2p_released;   /* those given back so far; atomic */
static bool p2p_drained;        /* in a drained section of ours */
static unsigned p2p_groups_listed;
static VMChangeStateEntry *p2p_first_to_stop, *p2p_last_to_stop;
static QEMUBH *p2p_wake_bh;

/* --- The gate ---------------------------------------------------------- */

static bool p2p_is_virtio(PCIDevice *dev)
{
    return object_dynamic_cast(OBJECT(dev), "virtio-pci");
}

static bool p2p_is_storage(PCIDevice *dev)
{
    return pci_get_byte(dev->config + PCI_CLASS_DEVICE + 1) ==
           PCI_BASE_CLASS_STORAGE;
}

static bool p2p_gate_open(P2PGate gate)
{
    return gate == P2P_GATE_OPEN || qatomic_read(&p2p_loading);
}

bool p2p_quiesced(void)
{
    return !p2p_gate_open(qatomic_read(&p2p_gate));
}

/*
 * The DMA helpers of disk controllers take "no pointer" for "not now". When
 * they have sent off the part of a request that they have pointers for, they
 * forget what is not a whole block of it: so whole blocks only.
 */
P2PAdmission p2p_quiesce_admit(P2PMember *member, hwaddr addr, hwaddr len)
{
    P2PGate gate = qatomic_read(&p2p_gate);

    if (p2p_gate_open(gate)) {
        return P2P_ADMIT;
    }
    if (p2p_is_virtio(member->dev)) {
        /* It gives itself up when it gets no pointer. */
        return gate == P2P_GATE_CLOSING ? P2P_ADMIT : P2P_ADMIT_NEVER;
    }
    if (!p2p_is_storage(member->dev) || (addr | len) % BDRV_SECTOR_SIZE) {
        return P2P_ADMIT_NEVER;
    }
    qatomic_set(&member->waiting, true);
    trace_p2p_quiesce_wait(p2p_device_name(member->dev), addr, len);
    return P2P_ADMIT_LATER;
}

void p2p_quiesce_hold(void)
{
    qatomic_inc(&p2p_held);
}

void p2p_quiesce_release(void)
{
    qatomic_dec(&p2p_held);
    qatomic_inc(&p2p_released);
}

PCIDevice *p2p_quiesce_waiting(void)
{
    P2PGroup *group;
    P2PMember *member;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2P_FOREACH_MEMBER(member, group) {
            if (qatomic_read(&member->waiting)) {
                return member->dev;
            }
        }
    }
    return NULL;
}

void p2p_quiesce_set_loading(bool loading)
{
    qatomic_set(&p2p_loading, loading);
}

/*
 * Who was told to wait is called again when a bounce buffer is free. There is
 * always one, as nothing needs them, so it would ask again and again.
 */
static void p2p_waiters_hold_back(P2PMember *member)
{
    member->dev->bus_master_as.max_bounce_buffer_size = 0;
}

static void p2p_waiters_wake(P2PMember *member)
{
    AddressSpace *as = &member->dev->bus_master_as;

    qatomic_set(&member->waiting, false);
    as->max_bounce_buffer_size = SIZE_MAX;
    address_space_register_map_client(as, p2p_wake_bh);
    as->max_bounce_buffer_size = member->dev->max_bounce_buffer_size;
}

static void p2p_foreach_model(void (*fn)(P2PMember *member))
{
    P2PGroup *group;
    P2PMember *member;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2P_FOREACH_MEMBER(member, group) {
            if (!member->passthrough) {
                fn(member);
            }
        }
    }
}

static void p2p_gate_set(P2PGate gate)
{
    qatomic_set(&p2p_gate, gate);
    p2p_foreach_model(gate == P2P_GATE_OPEN ? p2p_waiters_wake
                                            : p2p_waiters_hold_back);
}

/* --- Drain ------------------------------------------------------------- */

static void p2p_drained_begin(void)
{
    bdrv_drain_all_begin();
    p2p_drained = true;
}

static void p2p_drained_end(void)
{
    if (p2p_drained) {
        p2p_drained = false;
        bdrv_drain_all_end();
    }
}

static void p2p_nothing(void *opaque)
{
    /* Only that it is called matters. */
}

static int p2p_iothread_round(Object *obj, void *opaque)
{
    IOThread *iothread = (IOThread *)object_dynamic_cast(obj, TYPE_IOTHREAD);

    if (iothread) {
        aio_wait_bh_oneshot(iothread_get_aio_context(iothread), p2p_nothing,
                            NULL);
    }
    return 0;
}

/*
 * What device models have put off until their thread's loop comes round, and
 * what they have been told to look at: a virtio device that finds a CPU's
 * notification when it stops would take requests out of its rings then.
 */
static void p2p_run_pending(void)
{
    for (unsigned i = 0; i < P2P_IOTHREAD_ROUNDS; i++) {
        object_child_foreach(object_get_objects_root(), p2p_iothread_round,
                             NULL);
    }
    for (unsigned i = 0; i < P2P_PENDING_MAX &&
                         aio_poll(qemu_get_aio_context(), false); i++) {
        /* nothing else to do */
    }
}

/*
 * Wait until no request has a pointer into a window. A drained section holds
 * up requests that begin meanwhile, and the next piece of those that have
 * several: hence one section after the other, until nothing ends any more.
 * What is held even then is nobody's request: a virtio-gpu's memory, or a
 * request that has failed and stopped the machine (werror=stop).
 *
 * A device that writes into a queue can keep this up for ever; so there is an
 * end, after which requests that are still there fail.
 */
static void p2p_quiesce(void)
{
    int64_t end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + P2P_SETTLE_MS;
    unsigned idle = 0, rounds = 0;
    int64_t late;

    p2p_run_pending();
    for (;;) {
        unsigned before = qatomic_read(&p2p_released);

        rounds++;
        p2p_drained_begin();
        idle = qatomic_read(&p2p_released) == before ? idle + 1 : 0;
        if ((idle && !qatomic_read(&p2p_held)) || idle >= P2P_IDLE_ROUNDS ||
            qatomic_read(&p2p_gate) == P2P_GATE_CLOSED) {
            break;
        }
        p2p_drained_end();
        p2p_run_pending();
        late = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) - end;
        if (late > P2P_SETTLE_MS) {
            p2p_gate_set(P2P_GATE_CLOSED);
        } else if (late > 0 && qatomic_read(&p2p_gate) == P2P_GATE_OPEN) {
            p2p_gate_set(P2P_GATE_CLOSING);
        }
    }
    p2p_gate_set(P2P_GATE_CLOSED);
    trace_p2p_quiesce(rounds, qatomic_read(&p2p_held));
}

/* --- The machine stops and runs ---------------------------------------- */

static void p2p_first_prepare(void *opaque, bool running, RunState state)
{
    if (running) {
        p2p_migration_before_run();
        p2p_drained_begin();
    } else {
        p2p_quiesce();
    }
}

static void p2p_first_change(void *opaque, bool running, RunState state)
{
    if (running) {
        p2p_gate_set(P2P_GATE_OPEN);
        trace_p2p_resume();
        p2p_drained_end();
    }
}

static void p2p_last_change(void *opaque, bool running, RunState state)
{
    if (!running) {
        p2p_drained_end();
    }
}

void p2p_quiesce_begin(void)
{
    if (p2p_groups_listed++) {
        return;
    }
    if (!p2p_wake_bh) {
        p2p_wake_bh = qemu_bh_new(p2p_nothing, NULL);
    }
    p2p_first_to_stop = p2p_add_vm_change_state_handler(
        p2p_first_change, p2p_first_prepare, NULL, P2P_PRIORITY_FIRST_TO_STOP);
    p2p_last_to_stop = p2p_add_vm_change_state_handler(
        p2p_last_change, NULL, NULL, P2P_PRIORITY_LAST_TO_STOP);
}

void p2p_quiesce_end(void)
{
    if (--p2p_groups_listed) {
        return;
    }
    qemu_del_vm_change_state_handler(p2p_first_to_stop);
    qemu_del_vm_change_state_handler(p2p_last_to_stop);
    qatomic_set(&p2p_gate, P2P_GATE_OPEN);
}
