/*
 * A random walk: whatever guest and user do, in whatever order, what the
 * groups grant, what query-p2p tells and what the IOMMU holds are the same
 *
 * Each event is a random one of all kinds, and all invariants are checked after
 * it: against the model of BARs (bar-model.h), against the table of the fake
 * IOMMU, and by DMA.  A failure prints the seed and the last events;
 *
 *   P2P_WALK_SEED=SEED P2P_WALK_EVENTS=EVENTS p2p-walk-test
 *
 * does the same again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "bar-model.h"
#include "p2p-monitor.h"
#include "p2p-state.h"
#include "p2p-testdev.h"

/* As many as a slow processor does in some fifteen seconds. */
#define EVENTS 4000

/* What the last events were is printed. */
#define HISTORY 40

#define PAGE 4096ull
#define RAM  (128 * MiB)

/* The fake IOMMU's last address; see hw/p2p/fake-iommu.c */
#define IOMMU_LAST ((1ull << 39) - 1)

#define DIMMS     2
#define DIMM_SIZE (128 * MiB)
#define DIMM(n)   (4 * GiB + (n) * DIMM_SIZE)

/* --- The machine ------------------------------------------------------- */

/* A group: g0 and g1 are always there, g2 comes and goes. */
#define GROUPS 3
#define NO_GROUP (-1)

typedef struct Share {
    int bar;
    uint64_t offset;
    uint64_t size;
    bool readonly;
} Share;

typedef struct Device {
    ModelDevice model;
    char id[8];
    bool pluggable;         /* it comes and goes, as something else */
    bool fake;              /* p2p-fake-passthrough */
    bool hole;              /* msix-hole=on */
    bool initiate;
    int group;
    GArray *shares;         /* of Share: its windows */
} Device;

#define DEVICES 10
#define PORTS 2             /* bridges */

/* What is remembered of a grant, or of a container, by name. */
typedef struct Memory {
    bool mapped;            /* the window, where */
    uint64_t gpa;
    uint64_t failures;      /* when it was last installed, or moved */
    uint64_t last_failures;
    bool excused;           /* of a device model: a fault hit since */
    uint64_t check;         /* number of the last one that saw it */
} Memory;

typedef struct Walk {
    QTestState *qts;
    StateMonitor *monitor;
    GRand *random;
    Model model;
    ModelBridge bridges[PORTS];
    Device devices[DEVICES];
    bool group_exists[GROUPS];
    bool required[GROUPS];
    bool dimm[DIMMS];

    unsigned number;        /* of the event */
    char *history[HISTORY];

    uint64_t fault_calls;   /* calls, when the injector was armed */
    uint64_t fault_base;    /* and faults */
    uint64_t fail_at;       /* 0: no fault is to come */
    uint64_t count;
    uint64_t delivered;     /* faults so far */
    uint64_t seen;          /* when the last event was checked */
    bool dirty;             /* something may be where it should not */
    uint64_t late;
    uint64_t token;
    GHashTable *memory;     /* "owner bar offset size who" -> Memory */
    uint64_t check;         /* number of the present one */
    uint64_t windows;       /* statistics */
    uint64_t installed;
    uint64_t transfers;
} Walk;

static uint32_t pick(Walk *w, uint32_t n)
{
    return g_rand_int_range(w->random, 0, n);
}

static bool chance(Walk *w, uint32_t one_in)
{
    return !pick(w, one_in);
}

static void G_GNUC_PRINTF(2, 3) note(Walk *w, const char *format, ...)
{
    char **entry = &w->history[w->number % HISTORY];
    g_autofree char *before = *entry;
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    *entry = before ? g_strdup_printf("%s; %s", before, text)
                    : g_steal_pointer(&text);
}

static void note_next(Walk *w)
{
    w->number++;
    g_clear_pointer(&w->history[w->number % HISTORY], g_free);
}

static uint32_t walk_seed;

/* Also when QEMU has crashed. */
static void print_history(void *opaque)
{
    Walk *w = opaque;

    for (unsigned i = w->number > HISTORY ? w->number - HISTORY + 1 : 0;
         i <= w->number; i++) {
        const char *text = w->history[i % HISTORY];

        fprintf(stderr, "event %u: %s\n", i, text ?: "");
    }
    fprintf(stderr, "do it again: P2P_WALK_SEED=%u P2P_WALK_EVENTS=%u\n",
            walk_seed, w->number + 1);
}

static bool on_event(QTestState *qts, const char *name, QDict *event,
                     void *opaque)
{
    return !g_str_equal(name, "RESET");
}

/* --- Windows ----------------------------------------------------------- */

static void share_add(Device *dev, int bar, uint64_t offset, uint64_t size,
                      bool readonly)
{
    Share share = { bar, offset, size, readonly };

    g_array_append_val(dev->shares, share);
}

/* A range without the page of registers, which device models do not share. */
static void share_around_hole(Device *dev, int bar, uint64_t offset,
                              uint64_t size, bool readonly)
{
    uint64_t end = offset + size;

    if (bar != 2 || !dev->hole) {
        share_add(dev, bar, offset, size, readonly);
        return;
    }
    if (offset < PAGE) {
        share_add(dev, bar, offset, MIN(end, PAGE) - offset, readonly);
    }
    if (end > 2 * PAGE) {
        offset = MAX(offset, 2 * PAGE);
        share_add(dev, bar, offset, end - offset, readonly);
    }
}

static void share_auto(Device *dev)
{
    for (int bar = 2; bar <= 4; bar += 2) {
        share_around_hole(dev, bar, 0, model_bar(&dev->model, bar)->size,
                          false);
    }
}

static Device *walk_device(Walk *w, const char *id)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (g_str_equal(w->devices[i].id, id)) {
            return &w->devices[i];
        }
    }
    g_assert_not_reached();
}

/* Where a window is by the model: "mapped", "hidden" or "unmapped". */
static const char *share_state(Walk *w, Device *dev, const Share *share)
{
    ModelBar *bar = model_bar(&dev->model, share->bar);

    if (!bar->decoded || (dev->fake && dev->model.power)) {
        return "unmapped";
    }
    return model_visible(&w->model, &dev->model, share->bar, share->offset,
                         share->size) ? "mapped" : "hidden";
}

/* Whether nothing but a failed call keeps it out of the IOMMU. */
static bool iommu_reaches(const StateWindow *window)
{
    uint64_t last = window->gpa + window->size - 1;

    return window->cpu_mappable && last <= IOMMU_LAST &&
           (last < 0xfee00000 || window->gpa >= 0xfef00000);
}

/* --- Invariants -------------------------------------------------------- */

static unsigned count_members(Walk *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < DEVICES; i++) {
        n += w->devices[i].model.present && w->devices[i].group != NO_GROUP;
    }
    return n;
}

/* Every window is where the model has it, and there are no others. */
static void check_places(Walk *w, const State *state)
{
    unsigned n = 0;

    g_assert_cmpuint(state->members->len, ==, count_members(w));
    for (unsigned i = 0; i < DEVICES; i++) {
        Device *dev = &w->devices[i];

        if (!dev->model.present || dev->group == NO_GROUP) {
            continue;
        }
        for (guint j = 0; j < dev->shares->len; j++) {
            Share *share = &g_array_index(dev->shares, Share, j);
            StateWindow *window = state_window(state, dev->id, share->bar,
                                               share->offset);
            const char *expected = share_state(w, dev, share);

            n++;
            g_assert_nonnull(window);
            if (!g_str_equal(window->state, expected)) {
                note(w, "%s BAR %d @0x%" PRIx64 "+0x%" PRIx64 " is %s, not %s",
                     dev->id, share->bar, share->offset, share->size,
                     window->state, expected);
            }
            g_assert_cmpstr(window->state, ==, expected);
            g_assert_cmpint(window->group[1] - '0', ==, dev->group);
            g_assert_cmpuint(window->size, ==, share->size);
            g_assert_cmpint(window->readonly, ==, share->readonly);
            if (window->mapped) {
                g_assert_cmphex(window->gpa, ==,
                                model_bar(&dev->model, share->bar)->gpa +
                                share->offset);
            }
        }
    }
    g_assert_cmpuint(state->windows->len, ==, n);
}

/* Passthrough initiators of a group share a container, and one memory. */
static Memory *remember(Walk *w, const StateWindow *window,
                        const StateGrant *grant)
{
    const char *who = grant->cpu ? grant->initiator : "iommu";
    g_autofree char *key = g_strdup_printf("%s %d %" PRIx64 " %" PRIx64 " %s",
                                           window->owner, window->bar,
                                           window->offset, window->size, who);
    Memory *memory = g_hash_table_lookup(w->memory, key);

    if (!memory) {
        memory = g_new0(Memory, 1);
        g_hash_table_insert(w->memory, g_steal_pointer(&key), memory);
    }
    if (memory->check + 1 < w->check || !memory->check) {
        /* What was known of another one of that name is worth nothing. */
        *memory = (Memory) {
            .mapped = window->mapped, .gpa = window->gpa,
            .last_failures = grant->failures,
        };
    }
    memory->check = w->check;
    return memory;
}

static bool has_reason(const StateGrant *grant, const char *words)
{
    return grant->reason && strstr(grant->reason, words);
}

/* A grant that is not installed has a reason, and it is the right one. */
static void check_model_grant(Walk *w, const StateWindow *window,
                              const StateGrant *grant, Memory *memory)
{
    bool fault = w->delivered != w->seen;

    memory->excused |= fault;
    if (grant->installed) {
        memory->excused = fault;
    } else if (window->mapped) {
        g_assert_true(has_reason(grant, "could not map BAR"));
        g_assert_true(memory->excused);
    }
}

static void check_iommu_grant(Walk *w, const StateWindow *window,
                              const StateGrant *grant, Memory *memory)
{
    bool moved = window->mapped != memory->mapped ||
                 window->gpa != memory->gpa;

    if (moved) {
        memory->failures = memory->last_failures;
    }
    memory->mapped = window->mapped;
    memory->gpa = window->gpa;
    memory->last_failures = grant->failures;

    if (grant->installed) {
        memory->failures = grant->failures;
        g_assert_true(iommu_reaches(window));
    } else if (!window->mapped) {
        g_assert_true(has_reason(grant, "is not decoded") ||
                      has_reason(grant, "not visible"));
    } else if (!window->cpu_mappable) {
        g_assert_true(has_reason(grant, "no CPU mapping"));
        g_assert_cmpuint(grant->maps + grant->failures, ==, 0);
    } else if (grant->stuck) {
        g_assert_true(has_reason(grant, "could not take BAR"));
    } else if (!iommu_reaches(window)) {
        g_assert_true(has_reason(grant, "translates up to") ||
                      has_reason(grant, "does not translate"));
    } else {
        g_assert_true(has_reason(grant, "the host could not map it: "));
        g_assert_true(has_reason(grant, strerror(grant->last_errno)));
        g_assert_cmpuint(grant->failures, >, memory->failures);
    }
}

static void check_grants(Walk *w, const State *state)
{
    for (guint i = 0; i < state->windows->len; i++) {
        StateWindow *window = state->windows->pdata[i];

        for (guint j = 0; j < window->grants->len; j++) {
            StateGrant *grant = &g_array_index(window->grants, StateGrant, j);
            Memory *memory = remember(w, window, grant);
            Device *dev = walk_device(w, grant->initiator);
            uint64_t before = memory->last_failures;

            g_assert_true(dev->model.present && dev->initiate);
            g_assert_cmpint(dev->group, ==, window->group[1] - '0');
            g_assert_cmpint(dev->fake, ==, !grant->cpu);
            w->installed += grant->installed;
            if (grant->cpu) {
                check_model_grant(w, window, grant, memory);
            } else {
                /* No call fails by itself. */
                if (!w->dirty) {
                    g_assert_cmpuint(grant->failures, ==, before);
                }
                check_iommu_grant(w, window, grant, memory);
            }
        }
    }
}

/* Of the container of a group's passthrough initiators. */
static const GArray *group_table(Walk *w, const State *state, int group)
{
    for (guint i = 0; i < state->tables->len; i++) {
        StateTable *table = state->tables->pdata[i];
        Device *dev = walk_device(w, table->user);

        if ((dev->initiate ? dev->group : NO_GROUP) == group) {
            return table->entries;
        }
    }
    return NULL;
}

static void check_tables(Walk *w, const State *state)
{
    const GArray *confined = group_table(w, state, NO_GROUP);
    uint64_t left = 0;

    g_assert_cmpuint(confined->len, ==, 0);
    for (int group = 0; group < GROUPS; group++) {
        g_autofree char *name = g_strdup_printf("g%d", group);

        left += state_check(state, name, group_table(w, state, group));
    }
    if (!w->dirty) {
        g_assert_cmpuint(left, ==, 0);
        g_assert_cmpuint(state_stuck(state), ==, 0);
    } else if (!left && !state_stuck(state)) {
        w->dirty = false;
    }
}

static void count_faults_of(Walk *w, uint64_t calls)
{
    uint64_t since = calls - w->fault_calls;
    uint64_t hits = since < w->fail_at ? 0
                    : MIN(since - w->fail_at + 1, w->count);

    if (w->fail_at) {
        w->delivered = w->fault_base + hits;
        w->fail_at = hits == w->count ? 0 : w->fail_at;
    }
}

static void count_faults(Walk *w)
{
    count_faults_of(w, qom_get_uint(w->qts, "/machine/peripheral/f", "calls"));
}

static void check(Walk *w)
{
    g_autoptr(State) state = state_new(w->monitor);

    w->check++;
    count_faults_of(w, state->calls);
    w->dirty |= w->delivered != w->seen;
    if (!w->dirty) {
        g_assert_cmpuint(state->late, ==, w->late);
    }
    w->late = state->late;
    check_places(w, state);
    check_grants(w, state);
    check_tables(w, state);
    w->seen = w->delivered;
    w->windows += state->windows->len;
}

/* --- DMA and translation ----------------------------------------------- */

/* Whether the guest's driver can have the device move data. */
static bool can_issue(Walk *w, Device *dev)
{
    return dev->model.present && dev->model.master &&
           model_visible(&w->model, &dev->model, 0, 0, TESTDEV_REGISTERS);
}

static TestDev registers(Device *dev)
{
    return (TestDev) {
        .pci = dev->model.pci,
        .registers = { dev->model.bars[0].gpa },
    };
}

static void expect_moves(Walk *w, Device *dev, uint64_t gpa, bool readonly)
{
    TestDev t = registers(dev);
    P2PBusAddr bus = { gpa };
    uint64_t sent = ++w->token * 0x9e3779b97f4a7c15ull, word = 0;

    note(w, "DMA of %s to 0x%" PRIx64, dev->id, gpa);
    qtest_writeq(w->qts, gpa, sent);
    g_assert_true(testdev_read(&t, bus, &word, sizeof(word)));
    g_assert_cmphex(word, ==, sent);

    word = ~sent;
    g_assert_cmpint(testdev_write(&t, bus, &word, sizeof(word)), ==,
                    !readonly);
    g_assert_cmphex(qtest_readq(w->qts, gpa), ==, readonly ? sent : ~sent);
    w->transfers++;
}

static void expect_refused(Walk *w, Device *dev, uint64_t gpa)
{
    TestDev t = registers(dev);
    uint64_t word = 0;

    note(w, "no DMA of %s to 0x%" PRIx64, dev->id, gpa);
    g_assert_false(testdev_read(&t, (P2PBusAddr) { gpa }, &word,
                                sizeof(word)));
    g_assert_false(testdev_write(&t, (P2PBusAddr) { gpa }, &word,
                                 sizeof(word)));
}

/* errno of p2p-translate; @io: whether it is a BAR, of another device */
static int translate(Walk *w, Device *dev, uint64_t gpa, bool is_write,
                     bool *io)
{
    g_autofree char *question = g_strdup_printf(
        "{\"execute\":\"p2p-translate\",\"arguments\":{\"initiator\":\"%s\","
        "\"vector\":[{\"gpa\":%" PRIu64 ",\"len\":8,\"flags\":[\"%s\"]}]}}",
        dev->id, gpa, is_write ? "write" : "read");
    g_autoptr(QDict) reply = state_ask(w->monitor, question);
    const QDict *result = qdict_get_qdict(reply, "return");
    const QDict *fault = qdict_get_qdict(result, "fault");
    const QListEntry *first = qlist_first(qdict_get_qlist(result, "vector"));
    int err = fault ? qdict_get_int(fault, "errno") : 0;

    note(w, "translate 0x%" PRIx64 " for %s: %d", gpa, dev->id, err);
    g_assert_cmpint(!first, ==, !!err);
    if (first) {
        const QDict *entry = qobject_to(QDict, first->value);

        g_assert_cmphex(p2p_monitor_uint(entry, "bus-address"), ==, gpa);
        g_assert_cmphex(p2p_monitor_uint(entry, "len"), ==, 8);
        g_assert_false(qdict_get_bool(entry, "self"));
        *io = g_str_equal(qdict_get_str(entry, "memory"), "io");
    }
    return err;
}

static void try_window(Walk *w, const StateWindow *window, Device *dev)
{
    const StateGrant *grant = state_grant(window, dev->id);
    Device *owner = walk_device(w, window->owner);
    uint64_t offset = window->size > PAGE && window->bar
        ? pick(w, window->size / 8) * 8ull : 0;
    uint64_t gpa = window->gpa + offset;
    bool other_group = dev->group != owner->group;
    bool io = false;
    int err;

    if (dev->group == NO_GROUP && !dev->fake) {
        return; /* as in stock QEMU */
    }
    if (dev->group != NO_GROUP && !other_group && dev != owner) {
        err = translate(w, dev, gpa, false, &io);
        g_assert_cmpint(err, ==, grant && grant->installed ? 0 : EACCES);
        if (!err) {
            g_assert_true(io);
            err = translate(w, dev, gpa, true, &io);
            g_assert_cmpint(err, ==, window->readonly ? EACCES : 0);
        }
    } else if (dev->group != NO_GROUP && other_group) {
        err = translate(w, dev, gpa, false, &io);
        g_assert_true(err == EFAULT || err == ESTALE);
    }
    if (!can_issue(w, dev) || dev == owner) {
        return;
    }
    if (grant && grant->installed) {
        expect_moves(w, dev, gpa, window->readonly);
    } else if (!w->dirty) {
        expect_refused(w, dev, gpa);
    }
}

/* An initiator that has a grant, more often than not. */
static Device *any_initiator(Walk *w, const StateWindow *window)
{
    if (window->grants->len && !chance(w, 4)) {
        return walk_device(w, g_array_index(window->grants, StateGrant,
                                            pick(w, window->grants->len))
                              .initiator);
    }
    return &w->devices[pick(w, DEVICES)];
}

static void event_dma(Walk *w)
{
    g_autoptr(State) state = state_new(w->monitor);

    for (unsigned i = 0; i < 4 && state->windows->len; i++) {
        StateWindow *window = state->windows->pdata[pick(w,
                                                    state->windows->len)];
        Device *dev = any_initiator(w, window);

        if (window->mapped && dev->model.present) {
            try_window(w, window, dev);
        }
    }
}

/* Guest RAM, and where nothing is. */
static void event_dma_elsewhere(Walk *w)
{
    Device *dev = &w->devices[pick(w, DEVICES)];
    unsigned n = pick(w, DIMMS);
    bool io = true;

    if (!dev->model.present) {
        return;
    }
    if (dev->group != NO_GROUP) {
        g_assert_cmpint(translate(w, dev, 1 * MiB, true, &io), ==, 0);
        g_assert_false(io);
        if (w->dimm[n]) {
            g_assert_cmpint(translate(w, dev, DIMM(n), true, &io), ==, 0);
            g_assert_false(io);
        }
    }
    if (!can_issue(w, dev)) {
        return;
    }
    expect_moves(w, dev, 1 * MiB + pick(w, 1000) * 8, false);
    if (w->dimm[n] && !w->dirty) {
        expect_moves(w, dev, DIMM(n) + pick(w, DIMM_SIZE / 8) * 8ull, false);
    }
    if (dev->fake || dev->group != NO_GROUP) {
        expect_refused(w, dev, RAM + pick(w, 1000) * PAGE);
        expect_refused(w, dev, 0xfec00000);
    }
}

/* --- Events of the guest ----------------------------------------------- */

static Device *any_device(Walk *w)
{
    Device *dev;

    do {
        dev = &w->devices[pick(w, DEVICES)];
    } while (!dev->model.present);
    return dev;
}

static unsigned device_number(Walk *w, Device *dev)
{
    return dev - w->devices;
}

/* Its own place, which nothing else is put over by intention. */
static uint64_t home(Walk *w, Device *dev, int bar)
{
    unsigned n = device_number(w, dev);
    ModelBridge *bridge = dev->model.bridge;

    if (!bar) {
        return (bridge ? 0xc8000000 + (bridge - w->bridges) * 16 * MiB
                       : 0xc0000000) + n * 64 * KiB;
    }
    return (bridge ? 66 + (bridge - w->bridges) : 64) * GiB +
           (2 * n + bar / 4) * 16 * MiB;
}

/* Where platform devices are, and where no BAR may be. */
static const uint64_t odd_places[] = {
    0xfee00000, 0xfec00000, 0xfed00000, 0xfff00000, 0, UINT32_MAX,
};

static uint64_t any_place(Walk *w, Device *dev, int bar)
{
    switch (pick(w, bar ? 16 : 6)) {
    case 0:
        return 0xd0000000 + pick(w, 4) * 16 * MiB + pick(w, 3) * 64 * KiB;
    case 1:
        return 16 * MiB + pick(w, 8) * 16 * MiB;    /* over RAM, and not */
    case 2:
        return odd_places[pick(w, ARRAY_SIZE(odd_places))];
    case 3:
    case 4:
        return home(w, dev, bar);
    case 5:
        return home(w, any_device(w), bar);
    case 6:
        return IOMMU_LAST + 1 - 16 * MiB + pick(w, 2) * 16 * MiB;
    case 7:
        return (1ull << (40 + pick(w, 24))) + pick(w, 4) * 16 * MiB;
    case 8:
        return 4 * GiB + pick(w, 24) * 16 * MiB;    /* among memory devices */
    case 9:
        return (uint64_t)g_rand_int(w->random) << 32 | g_rand_int(w->random);
    default:
        return 72 * GiB + pick(w, 8) * 1 * MiB;     /* in a crowd */
    }
}

static int any_bar(Walk *w)
{
    return chance(w, 8) ? 0 : 2 + 2 * pick(w, 2);
}

static void event_move(Walk *w)
{
    Device *dev = any_device(w);
    int bar = any_bar(w);
    uint64_t gpa = any_place(w, dev, bar);

    note(w, "%s BAR %d to 0x%" PRIx64, dev->id, bar, gpa);
    model_place_bar(&w->model, &dev->model, bar, gpa);
}

static void event_half(Walk *w)
{
    Device *dev = any_device(w);
    int bar = 2 + 2 * pick(w, 2);
    uint64_t gpa = any_place(w, dev, bar);
    bool high = chance(w, 2);

    note(w, "%s BAR %d %s half to 0x%" PRIx64, dev->id, bar,
         high ? "high" : "low", gpa);
    model_write_bar(&w->model, &dev->model, bar, high,
                    high ? gpa >> 32 : gpa);
}

/* As firmware does, but for decode, which may be on. */
static void event_size(Walk *w)
{
    Device *dev = any_device(w);
    int bar = any_bar(w);
    uint64_t before = model_bar(&dev->model, bar)->value;
    bool restore = !chance(w, 4);

    note(w, "size %s BAR %d%s", dev->id, bar, restore ? "" : ", leave it so");
    model_place_bar(&w->model, &dev->model, bar, UINT64_MAX);
    if (restore) {
        model_place_bar(&w->model, &dev->model, bar, before);
    }
}

static void set_up(Walk *w, Device *dev)
{
    note(w, "set up %s", dev->id);
    for (int bar = 0; bar <= 4; bar += 2) {
        model_place_bar(&w->model, &dev->model, bar, home(w, dev, bar));
    }
    if (dev->model.power) {
        model_write_power(&w->model, &dev->model, 0);
    }
    model_write_command(&w->model, &dev->model,
                        PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static GuestPciWindow bridge_home(Walk *w, ModelBridge *bridge, bool prefetch)
{
    unsigned n = bridge - w->bridges;

    return prefetch
        ? (GuestPciWindow) { { (66 + n) * GiB }, 1 * GiB }
        : (GuestPciWindow) { { 0xc8000000 + n * 16 * MiB }, 16 * MiB };
}

static void open_bridge(Walk *w, ModelBridge *bridge)
{
    note(w, "open bridge %td", bridge - w->bridges);
    model_write_bridge(&w->model, bridge,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
                       bridge_home(w, bridge, false),
                       bridge_home(w, bridge, true));
}

static void event_set_up(Walk *w)
{
    Device *dev = any_device(w);

    if (dev->model.bridge) {
        open_bridge(w, dev->model.bridge);
    }
    set_up(w, dev);
}

static void event_command(Walk *w)
{
    Device *dev = any_device(w);
    uint16_t command = (chance(w, 3) ? 0 : PCI_COMMAND_MEMORY) |
                       (chance(w, 6) ? 0 : PCI_COMMAND_MASTER);

    note(w, "%s command 0x%x", dev->id, command);
    model_write_command(&w->model, &dev->model, command);
}

static void event_power(Walk *w)
{
    static const unsigned states[] = { 0, 0, 3, 3, 1 };
    Device *dev = any_device(w);
    unsigned state = states[pick(w, ARRAY_SIZE(states))];

    note(w, "%s to D%u", dev->id, state);
    model_write_power(&w->model, &dev->model, state);
}

static void event_function_reset(Walk *w)
{
    Device *dev = any_device(w);

    if (dev->model.express) {
        note(w, "reset %s", dev->id);
        model_function_reset(&w->model, &dev->model);
        if (!chance(w, 4)) {
            set_up(w, dev);
        }
    }
}

static void event_bus_reset(Walk *w)
{
    ModelBridge *bridge = &w->bridges[pick(w, PORTS)];

    note(w, "reset bus %td", bridge - w->bridges);
    model_bus_reset(&w->model, bridge);
}

static void event_bridge(Walk *w)
{
    ModelBridge *bridge = &w->bridges[pick(w, PORTS)];
    GuestPciWindow memory = bridge_home(w, bridge, false);
    GuestPciWindow prefetchable = bridge_home(w, bridge, true);
    uint16_t command = chance(w, 6) ? 0
                       : PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

    switch (pick(w, 6)) {
    case 0:
        memory.size = prefetchable.size = 0;
        break;
    case 1:
        prefetchable.size = (1 + pick(w, 32)) * 16 * MiB;
        break;
    case 2:
        prefetchable = (GuestPciWindow) { { 72 * GiB }, 64 * MiB };
        break;
    case 3:
        memory = (GuestPciWindow) { { 0xd0000000 }, 64 * MiB };
        break;
    case 4:
        prefetchable = (GuestPciWindow) { { 64 * GiB }, 8 * GiB };
        break;
    }
    note(w, "bridge %td: 0x%x, 0x%" PRIx64 "+0x%" PRIx64 ", 0x%" PRIx64
         "+0x%" PRIx64, bridge - w->bridges, command, memory.gpa.gpa,
         memory.size, prefetchable.gpa.gpa, prefetchable.size);
    model_write_bridge(&w->model, bridge, command, memory, prefetchable);
}

static void set_up_all(Walk *w)
{
    for (unsigned i = 0; i < PORTS; i++) {
        open_bridge(w, &w->bridges[i]);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        if (w->devices[i].model.present) {
            set_up(w, &w->devices[i]);
        }
    }
}

static void event_system_reset(Walk *w)
{
    note(w, "system reset");
    model_system_reset(&w->model);
    if (!chance(w, 4)) {
        set_up_all(w);
    }
}

/* --- Events of the user ------------------------------------------------ */

/* NULL: it succeeded; else what it said, for g_free() */
static char *command(Walk *w, QDict *arguments, const char *name)
{
    g_autoptr(QDict) reply = qtest_qmp(w->qts, "{ 'execute': %s, "
                                       "'arguments': %p }", name, arguments);
    const QDict *error = qdict_get_qdict(reply, "error");

    note(w, "%s: %s", name, error ? qdict_get_str(error, "desc") : "ok");
    return error ? g_strdup(qdict_get_str(error, "desc")) : NULL;
}

static void must(Walk *w, QDict *arguments, const char *name)
{
    g_autofree char *why = command(w, arguments, name);

    g_assert_cmpstr(why, ==, NULL);
}

static QDict *dict(const char *key, const char *value)
{
    QDict *dict = qdict_new();

    qdict_put_str(dict, key, value);
    return dict;
}

static void unplug(Walk *w, Device *dev)
{
    note(w, "unplug %s", dev->id);
    model_unplug(&w->model, &dev->model, dev->id);
    g_array_set_size(dev->shares, 0);
}

static void plug(Walk *w, Device *dev)
{
    const char *bus = dev->model.bridge - w->bridges ? "rp0" : "br0";
    QDict *args = dict("id", dev->id);
    uint64_t size = 64 * KiB << 4 * pick(w, 3);
    unsigned share = pick(w, 4);
    g_autofree char *why = NULL;
    g_autofree char *slot = g_strdup_printf("%u", dev->model.pci.devfn >> 3);

    dev->fake = chance(w, 2);
    dev->hole = chance(w, 3);
    dev->group = pick(w, GROUPS + 1) - 1;
    if (dev->group != NO_GROUP && !w->group_exists[dev->group]) {
        dev->group = 0;
    }
    dev->initiate = dev->group == NO_GROUP || !chance(w, 4);

    qdict_put_str(args, "driver", dev->fake ? "p2p-fake-passthrough"
                                            : "p2p-testdev");
    qdict_put_str(args, "bus", bus);
    qdict_put_str(args, "addr", slot);
    qdict_put_int(args, "size", size);
    qdict_put_bool(args, "msix-hole", dev->hole);
    dev->model.bars[1].size = dev->model.bars[2].size = size;
    if (dev->group != NO_GROUP) {
        g_autofree char *group = g_strdup_printf("g%d", dev->group);

        qdict_put_str(args, "p2p-group", group);
        qdict_put_bool(args, "p2p-initiate", dev->initiate);
        switch (share) {
        case 0:
            qdict_put_str(args, "p2p-share", "none");
            break;
        case 1:
            qdict_put_str(args, "p2p-share", "bar2:ro+bar4@0x2000-0x5000+"
                                             "bar0");
            share_around_hole(dev, 2, 0, size, true);
            share_add(dev, 4, 0x2000, 0x3000, false);
            share_add(dev, 0, 0, TESTDEV_REGISTERS, false);
            break;
        default:
            share_auto(dev);
        }
    }
    note(w, "plug %s%s in group %d", dev->fake ? "fake " : "", dev->id,
         dev->group);
    why = command(w, args, "device_add");
    if (why) {
        g_assert_true(dev->group != NO_GROUP && w->required[dev->group]);
        g_assert_nonnull(strstr(why, "policy=require"));
        dev->model.present = false;
        g_array_set_size(dev->shares, 0);
        return;
    }
    model_plug(&w->model, &dev->model, size);
    if (!chance(w, 4)) {
        set_up(w, dev);
    }
}

static void event_hotplug(Walk *w)
{
    Device *dev;

    do {
        dev = &w->devices[pick(w, DEVICES)];
    } while (!dev->pluggable);
    if (dev->model.present) {
        unplug(w, dev);
    } else {
        plug(w, dev);
    }
}

static bool share_overlaps(Device *dev, int bar, uint64_t offset,
                           uint64_t size)
{
    for (guint i = 0; i < dev->shares->len; i++) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            return true;
        }
    }
    return false;
}

static QDict *range_arguments(Device *dev, int bar, uint64_t offset,
                              uint64_t size)
{
    QDict *args = dict("device", dev->id);

    qdict_put_int(args, "bar", bar);
    qdict_put_int(args, "offset", offset);
    qdict_put_int(args, "size", size);
    return args;
}

static void any_range(Walk *w, Device *dev, int *bar, uint64_t *offset,
                      uint64_t *size)
{
    uint64_t all;

    *bar = chance(w, 6) ? 0 : 2 + 2 * pick(w, 2);
    all = model_bar(&dev->model, *bar)->size;
    *offset = chance(w, 3) ? 0 : pick(w, all / PAGE) * PAGE;
    *size = chance(w, 3) ? all - *offset
                         : (1 + pick(w, (all - *offset) / PAGE)) * PAGE;
    if (chance(w, 20)) {
        *offset += chance(w, 2) ? 100 : all;
    }
}

static void event_share(Walk *w)
{
    Device *dev = any_device(w);
    bool readonly = chance(w, 3);
    g_autofree char *why = NULL;
    uint64_t offset, size, all;
    QDict *args;
    bool ok;
    int bar;

    any_range(w, dev, &bar, &offset, &size);
    all = model_bar(&dev->model, bar)->size;
    args = range_arguments(dev, bar, offset, size);
    if (readonly) {
        qdict_put_str(args, "access", "ro");
    }
    ok = dev->group != NO_GROUP && !(offset % PAGE) && offset + size <= all &&
         !share_overlaps(dev, bar, offset, size) &&
         !(bar == 2 && dev->hole && offset <= PAGE &&
           offset + size > PAGE) &&
         dev->shares->len < 8;
    if (dev->shares->len >= 8) {
        qobject_unref(args);
        return;
    }
    note(w, "share %s BAR %d 0x%" PRIx64 "+0x%" PRIx64, dev->id, bar, offset,
         size);
    why = command(w, args, "p2p-share");
    if (why && ok) {
        g_assert_true(w->required[dev->group]);
        g_assert_nonnull(strstr(why, "policy=require"));
    } else {
        g_assert_cmpint(!why, ==, ok);
    }
    if (!why) {
        share_add(dev, bar, offset, size, readonly);
    }
}

static void event_unshare(Walk *w)
{
    Device *dev = any_device(w);
    g_autofree char *why = NULL;
    uint64_t offset, size;
    unsigned hit = 0;
    bool cut = false;
    int bar;

    if (dev->shares->len && !chance(w, 3)) {
        Share *s = &g_array_index(dev->shares, Share,
                                  pick(w, dev->shares->len));

        bar = s->bar;
        offset = s->offset;
        size = s->size;
    } else {
        any_range(w, dev, &bar, &offset, &size);
    }
    for (guint i = 0; i < dev->shares->len; i++) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            hit++;
            cut |= s->offset < offset || s->offset + s->size > offset + size;
        }
    }
    note(w, "unshare %s BAR %d 0x%" PRIx64 "+0x%" PRIx64, dev->id, bar,
         offset, size);
    why = command(w, range_arguments(dev, bar, offset, size), "p2p-unshare");
    if (!hit || cut) {
        g_assert_nonnull(why);
        return;
    }
    if (why) {
        g_assert_nonnull(strstr(why, "out of the IOMMU"));
        count_faults(w);
        g_assert_true(w->dirty || w->delivered != w->seen);
    }
    for (guint i = dev->shares->len; i-- > 0; ) {
        Share *s = &g_array_index(dev->shares, Share, i);

        if (s->bar == bar && s->offset < offset + size &&
            offset < s->offset + s->size) {
            g_array_remove_index(dev->shares, i);
        }
    }
}

static bool group_used(Walk *w, int group)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (w->devices[i].model.present && w->devices[i].group == group) {
            return true;
        }
    }
    return false;
}

static void event_group(Walk *w)
{
    int group = chance(w, 3) ? pick(w, GROUPS) : 2;
    g_autofree char *name = g_strdup_printf("g%d", group);
    g_autofree char *why = NULL;

    if (w->group_exists[group]) {
        why = command(w, dict("id", name), "object-del");
        g_assert_cmpint(!why, ==, !group_used(w, group));
        w->group_exists[group] = why;
    } else {
        QDict *args = dict("id", name);

        w->required[group] = chance(w, 2);
        qdict_put_str(args, "qom-type", "p2p-group");
        qdict_put_str(args, "policy", w->required[group] ? "require"
                                                         : "auto");
        must(w, args, "object-add");
        w->group_exists[group] = true;
    }
}

static void dimm_unplug(Walk *w, unsigned n, const char *id, const char *mem)
{
    must(w, dict("id", id), "device_del");
    /* ACPI memory hot-plug: select a slot, eject what is in it */
    qtest_outl(w->qts, 0xa00, n);
    qtest_outb(w->qts, 0xa14, 1 << 3);
    must(w, dict("id", mem), "object-del");
    w->model.fixed[n].size = 0;
    w->dimm[n] = false;
}

static void event_dimm(Walk *w)
{
    unsigned n = pick(w, DIMMS);
    g_autofree char *id = g_strdup_printf("dimm%u", n);
    g_autofree char *mem = g_strdup_printf("mem%u", n);
    QDict *args;

    if (w->dimm[n]) {
        dimm_unplug(w, n, id, mem);
        return;
    }
    args = dict("id", mem);
    qdict_put_str(args, "qom-type", "memory-backend-ram");
    qdict_put_int(args, "size", DIMM_SIZE);
    must(w, args, "object-add");
    args = dict("id", id);
    qdict_put_str(args, "driver", "pc-dimm");
    qdict_put_str(args, "memdev", mem);
    qdict_put_int(args, "addr", DIMM(n));
    qdict_put_int(args, "slot", n);
    must(w, args, "device_add");
    w->model.fixed[n] = (GuestPciWindow) { { DIMM(n) }, DIMM_SIZE };
    w->dimm[n] = true;
}

/* --- Faults ------------------------------------------------------------ */

static void event_fault(Walk *w)
{
    static const int errors[] = { ENOMEM, ENOSPC, EFAULT, EINVAL, EIO };
    const char *path = "/machine/peripheral/f";
    int error = errors[pick(w, ARRAY_SIZE(errors))];

    count_faults(w);
    w->fault_base = w->delivered;
    w->count = 1 + pick(w, 3);
    w->fail_at = 1 + pick(w, 8);
    note(w, "calls fail from the %" PRIu64 ". on, %" PRIu64 " of them: %s",
         w->fail_at, w->count, strerror(error));
    qom_set_uint(w->qts, path, "errno", error);
    qom_set_uint(w->qts, path, "count", w->count);
    w->fault_calls = qom_get_uint(w->qts, path, "calls");
    qom_set_uint(w->qts, path, "fail-at", w->fail_at);
}

static void remember_all(Walk *w)
{
    g_autoptr(State) state = state_new(w->monitor);

    for (guint i = 0; i < state->windows->len; i++) {
        StateWindow *window = state->windows->pdata[i];

        for (guint j = 0; j < window->grants->len; j++) {
            StateGrant *grant = &g_array_index(window->grants, StateGrant, j);

            *remember(w, window, grant) = (Memory) {
                .mapped = window->mapped, .gpa = window->gpa,
                .failures = grant->failures, .last_failures = grant->failures,
                .check = w->check,
            };
        }
    }
}

/* With no fault to come, all is as if there never had been one. */
static void event_heal(Walk *w)
{
    note(w, "heal");
    count_faults(w);
    w->fail_at = 0;
    qom_set_uint(w->qts, "/machine/peripheral/f", "fail-at", 0);
    for (unsigned i = 0; i < DEVICES; i++) {
        Device *dev = &w->devices[i];

        if (dev->model.present) {
            uint16_t before = dev->model.command;

            model_write_command(&w->model, &dev->model, 0);
            model_write_command(&w->model, &dev->model, before);
        }
    }
    w->dirty = false;
    /* What failed before is no excuse: whatever is decoded has moved. */
    w->seen = w->delivered;
    remember_all(w);
}

/* --- The walk ---------------------------------------------------------- */

static const struct {
    void (*event)(Walk *w);
    unsigned weight;
} kinds[] = {
    { event_move, 20 },
    { event_half, 5 },
    { event_size, 5 },
    { event_set_up, 20 },
    { event_command, 12 },
    { event_power, 6 },
    { event_function_reset, 3 },
    { event_bus_reset, 2 },
    { event_bridge, 4 },
    { event_system_reset, 1 },
    { event_hotplug, 6 },
    { event_share, 8 },
    { event_unshare, 6 },
    { event_group, 2 },
    { event_dimm, 2 },
    { event_dma, 30 },
    { event_dma_elsewhere, 4 },
    { event_fault, 4 },
    { event_heal, 2 },
};

static void step(Walk *w)
{
    unsigned all = 0, n, i = 0;

    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        all += kinds[k].weight;
    }
    n = pick(w, all);
    while (n >= kinds[i].weight) {
        n -= kinds[i++].weight;
    }
    kinds[i].event(w);
    check(w);
}

/* Root bus: fixed; behind the bridges: some fixed, others come and go. */
static const struct {
    const char *id;
    int bridge;             /* -1: root bus; 0: br0; 1: rp0 */
    unsigned slot;
    bool pluggable;
    bool fake;
    bool hole;
    bool initiate;
    int group;
    const char *options;
} layout[DEVICES] = {
    { "p0", -1, 4, false, true, false, true, 0, "p2p-group=g0" },
    { "p1", -1, 5, false, true, true, true, 0,
      "p2p-group=g0,msix-hole=on" },
    { "p2", 0, 1, false, true, false, false, 0,
      "p2p-group=g0,p2p-initiate=off" },
    { "m0", -1, 6, false, false, false, true, 0, "p2p-group=g0" },
    { "q0", 0, 2, false, true, false, true, 1, "p2p-group=g1" },
    { "n0", -1, 7, false, false, true, true, 1,
      "p2p-group=g1,msix-hole=on" },
    { "x0", -1, 8, false, true, false, true, NO_GROUP, "size=1M" },
    { "h0", 0, 3, true },
    { "h1", 0, 4, true },
    { "h2", 1, 0, true },
};

static void layout_options(GString *args)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (!layout[i].pluggable) {
            g_string_append_printf(args, "-device %s,id=%s,bus=%s,addr=%u,%s ",
                layout[i].fake ? "p2p-fake-passthrough" : "p2p-testdev",
                layout[i].id, layout[i].bridge < 0 ? "pcie.0"
                              : layout[i].bridge ? "rp0" : "br0",
                layout[i].slot, layout[i].options);
        }
    }
}

static void walk_devices(Walk *w)
{
    static const uint8_t ports[PORTS] = { 2 << 3, 3 << 3 };

    for (unsigned i = 0; i < PORTS; i++) {
        w->bridges[i].pci = (GuestPci) { w->qts, 0, ports[i] };
        w->bridges[i].secondary = 1 + i;
        model_add_bridge(&w->model, &w->bridges[i], i ? "rp0" : "br0");
        open_bridge(w, &w->bridges[i]);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        Device *dev = &w->devices[i];

        pstrcpy(dev->id, sizeof(dev->id), layout[i].id);
        dev->model.pci = (GuestPci) { w->qts, 0, layout[i].slot << 3 };
        dev->model.bridge = layout[i].bridge < 0
                            ? NULL : &w->bridges[layout[i].bridge];
        dev->pluggable = layout[i].pluggable;
        dev->fake = layout[i].fake;
        dev->hole = layout[i].hole;
        dev->initiate = layout[i].initiate;
        dev->group = layout[i].group;
        dev->shares = g_array_new(false, false, sizeof(Share));
        w->model.devices[w->model.n_devices++] = &dev->model;
        if (!dev->pluggable) {
            model_plug(&w->model, &dev->model, 1 * MiB);
            if (dev->group != NO_GROUP) {
                share_auto(dev);
            }
        }
    }
}

static void walk_start(Walk *w)
{
    g_autoptr(GString) args = g_string_new(
        "-nodefaults -machine q35,hpet=off -m 128,slots=2,maxmem=1G "
        "-object p2p-group,id=g0 -object p2p-group,id=g1 "
        "-device pci-bridge,id=br0,bus=pcie.0,addr=2,chassis_nr=1,shpc=off,"
        "msi=off -device pcie-root-port,id=rp0,bus=pcie.0,addr=3,chassis=2 ");

    layout_options(args);
    w->monitor = state_monitor_new(args);
    w->qts = qtest_init(args->str);
    state_monitor_start(w->monitor);
    qtest_qmp_set_event_callback(w->qts, on_event, NULL);
    w->group_exists[0] = w->group_exists[1] = true;
    w->memory = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    w->model.fixed[DIMMS] = (GuestPciWindow) { { 0 }, RAM };
    w->model.fixed[DIMMS + 1] = (GuestPciWindow) { { 0xfec00000 }, 0x1000 };
    w->model.fixed[DIMMS + 2] = (GuestPciWindow) { { 0xfee00000 }, 1 * MiB };
    walk_devices(w);
    set_up_all(w);
    check(w);
}

static void walk_end(Walk *w)
{
    event_heal(w);
    check(w);
    for (unsigned i = 0; i < DEVICES; i++) {
        g_array_unref(w->devices[i].shares);
    }
    for (unsigned i = 0; i < HISTORY; i++) {
        g_free(w->history[i]);
    }
    g_hash_table_unref(w->memory);
    g_rand_free(w->random);
    qtest_quit(w->qts);
    state_monitor_free(w->monitor);
}

static unsigned environment(const char *name, unsigned value)
{
    const char *text = g_getenv(name);

    return text && *text ? g_ascii_strtoull(text, NULL, 0) : value;
}

static void test_walk(void)
{
    unsigned n = environment("P2P_WALK_EVENTS", EVENTS);
    gint64 start = g_get_monotonic_time();
    Walk walk = {}, *w = &walk;

    walk_seed = environment("P2P_WALK_SEED", (uint32_t)g_test_rand_int());
    g_test_message("P2P_WALK_SEED=%u P2P_WALK_EVENTS=%u", walk_seed, n);
    w->random = g_rand_new_with_seed(walk_seed);
    qtest_add_abrt_handler(print_history, w);
    walk_start(w);
    while (w->number < n) {
        note_next(w);
        step(w);
        if (!(w->number % 10000)) {
            g_test_message("%u events, %.0f s", w->number,
                           (g_get_monotonic_time() - start) / 1e6);
        }
    }
    walk_end(w);
    qtest_remove_abrt_handler(w);
    g_test_message("%u events in %.1f s: %" PRIu64 " windows looked at, %"
                   PRIu64 " grants installed, %" PRIu64 " transfers, %" PRIu64
                   " faults", n, (g_get_monotonic_time() - start) / 1e6,
                   w->windows, w->installed, w->transfers, w->delivered);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/walk", test_walk);
    return g_test_run();
}
