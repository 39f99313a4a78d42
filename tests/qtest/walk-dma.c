/*
 * The random walk: what devices reach
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "p2p-monitor.h"
#include "p2p-testdev.h"
#include "walk.h"

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

void event_dma(Walk *w)
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

/* A BAR may be anywhere above RAM too; a window of it there may be reached. */
static bool bar_at(Walk *w, uint64_t gpa)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        for (int bar = 0; bar <= 4; bar += 2) {
            const ModelBar *b = model_bar(&w->devices[i].model, bar);

            if (b->decoded && gpa - b->gpa < b->size) {
                return true;
            }
        }
    }
    return false;
}

/* Guest RAM, and where nothing is. */
void event_dma_elsewhere(Walk *w)
{
    Device *dev = &w->devices[pick(w, DEVICES)];
    uint64_t nowhere = RAM + pick(w, 1000) * PAGE;
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
        if (!bar_at(w, nowhere)) {
            expect_refused(w, dev, nowhere);
        }
        expect_refused(w, dev, 0xfec00000);
    }
}
