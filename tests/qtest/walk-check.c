/*
 * The random walk: what must hold after each event
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "walk.h"

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

void count_faults(Walk *w)
{
    count_faults_of(w, qom_get_uint(w->qts, "/machine/peripheral/f", "calls"));
}

void check(Walk *w)
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

void remember_all(Walk *w)
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
