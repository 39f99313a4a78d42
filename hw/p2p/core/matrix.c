/*
 * The verdicts of all pairs of a set of functions, by classes
 *
 * A class is a set of functions whose pairs all have one verdict, and whose
 * pairs with any function outside have one verdict, too.  Classes are found
 * from the leaves of the tree upwards: functions that are alike as seen from a
 * port (as far below it, with or without redirection on the way, of one NUMA
 * node) and come from different ports below it have one verdict with each
 * other; if it is also the one within each, and what else is below these ports
 * makes no difference between them, they are one class.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"

/* Above so many classes a table of their pairs would be too large. */
#define TABLE_MAX 1024

/* A port that hands up more is taken for irregular: nothing below it merges. */
#define SIBLINGS_MAX 16

/* A class that may still grow. */
typedef struct Group {
    const P2PFunction *member;  /* any one of them */
    GArray *members;            /* of unsigned: indices */
    P2PVerdict within;          /* if there are several */
    /* All that came from one port to the present one: the first, how many. */
    guint first, siblings;
} Group;

/* What a port makes of its groups, and how it takes functions for alike. */
typedef struct Key {
    unsigned depth;
    bool redirects;
    bool unreadable;
    int numa_node;
} Key;

typedef struct Class {
    const P2PFunction *member;
    P2PVerdict within;
} Class;

struct P2PMatrix {
    P2PHost *host;
    unsigned *class_of;         /* of each function */
    P2PVerdict *self;           /* each function with itself */
    GArray *classes;            /* of Class */
    P2PVerdict *table;          /* classes x classes; NULL: too many */
};

typedef struct Builder {
    P2PHost *host;
    GHashTable *own;            /* P2PFunction -> its Group, to be put in */
    GHashTable *pending;        /* port or root bus -> GPtrArray of Group */
    GPtrArray *levels;          /* GPtrArray of functions, by depth */
    GHashTable *seen;           /* those in levels */
    GPtrArray *merged;          /* of Group: of no more use, owned */
    GPtrArray *done;            /* of Group, in the end */
} Builder;

static bool same_verdict(const P2PVerdict *a, const P2PVerdict *b)
{
    return a->path_class == b->path_class && a->map_type == b->map_type &&
           a->unknown == b->unknown &&
           a->routed_by_root_complex == b->routed_by_root_complex;
}

static void group_free(void *opaque)
{
    Group *group = opaque;

    g_array_unref(group->members);
    g_free(group);
}

/* --- Merging ------------------------------------------------------------- */

/* @port: NULL at the root bus, which nobody sees through to what is below. */
static Key group_key(const Group *group, const P2PFunction *port)
{
    const P2PFunction *f = group->member;

    if (!port) {
        return (Key) { .numa_node = f->numa_node };
    }
    return (Key) {
        .depth = f->depth,
        .redirects = f->redirects > port->redirects,
        .unreadable = f->unreadable > port->unreadable,
        .numa_node = f->numa_node,
    };
}

static guint key_hash(const void *opaque)
{
    const Key *key = opaque;

    return key->depth * 31 + key->redirects * 2 + key->unreadable +
           key->numa_node * 1009u;
}

static gboolean key_equal(const void *a, const void *b)
{
    const Key *x = a, *y = b;

    return x->depth == y->depth && x->redirects == y->redirects &&
           x->unreadable == y->unreadable && x->numa_node == y->numa_node;
}

/* Whether @group fits to @into, which @across is the verdict with. */
static bool fits(const Group *group, const P2PVerdict *across)
{
    return group->members->len == 1 || same_verdict(&group->within, across);
}

/* Whether @group's siblings see @other as they see it; no if it is one. */
static bool siblings_agree(Builder *b, const GPtrArray *groups,
                           const Group *group, const Group *other)
{
    if (group->siblings > SIBLINGS_MAX) {
        return false;
    }
    for (guint i = 0; i < group->siblings; i++) {
        const Group *sibling = groups->pdata[group->first + i];
        P2PVerdict near, far;

        if (sibling == group) {
            continue;
        }
        near = p2p_topology_verdict(b->host, sibling->member, group->member);
        far = p2p_topology_verdict(b->host, sibling->member, other->member);
        if (!same_verdict(&near, &far)) {
            return false;
        }
    }
    return true;
}

/*
 * Put what fits of @alike, which are those of @groups with one key, into one;
 * all to @result. Those that are merged stay until all of @groups are done:
 * siblings are compared with them.
 */
static void merge_alike(Builder *b, const GPtrArray *groups,
                        const GPtrArray *alike, GPtrArray *result)
{
    Group *into = NULL;

    for (guint i = 0; i < alike->len; i++) {
        Group *group = alike->pdata[i];
        P2PVerdict across;

        if (into) {
            across = p2p_topology_verdict(b->host, into->member,
                                          group->member);
        }
        if (into && fits(into, &across) && fits(group, &across) &&
            siblings_agree(b, groups, into, group) &&
            siblings_agree(b, groups, group, into)) {
            into->within = across;
            g_array_append_vals(into->members, group->members->data,
                                group->members->len);
            g_ptr_array_add(b->merged, group);
        } else {
            g_ptr_array_add(result, group);
            into = into && fits(into, &across) ? into : group;
        }
    }
}

static GPtrArray *merge(Builder *b, const GPtrArray *groups,
                        const P2PFunction *port)
{
    g_autoptr(GHashTable) by_key = g_hash_table_new_full(
        key_hash, key_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    GPtrArray *result = g_ptr_array_new();

    for (guint i = 0; i < groups->len; i++) {
        Key key = group_key(groups->pdata[i], port);
        GPtrArray *alike = g_hash_table_lookup(by_key, &key);

        if (!alike) {
            alike = g_ptr_array_new();
            g_hash_table_insert(by_key, g_memdup2(&key, sizeof(key)), alike);
            g_ptr_array_add(keys, alike);
        }
        g_ptr_array_add(alike, groups->pdata[i]);
    }
    for (guint i = 0; i < keys->len; i++) {
        merge_alike(b, groups, keys->pdata[i], result);
    }
    g_ptr_array_set_size(b->merged, 0);
    return result;
}

/* --- From the leaves to the root buses ----------------------------------- */

static void add_level(Builder *b, const P2PFunction *function)
{
    for (; function && g_hash_table_add(b->seen, (void *)function);
         function = function->parent) {
        while (b->levels->len <= function->depth) {
            g_ptr_array_add(b->levels, g_ptr_array_new());
        }
        g_ptr_array_add(b->levels->pdata[function->depth], (void *)function);
    }
}

static void hand_up(Builder *b, const void *above, GPtrArray *groups)
{
    GPtrArray *pending = g_hash_table_lookup(b->pending, above);
    guint first;

    if (!pending) {
        pending = g_ptr_array_new();
        g_hash_table_insert(b->pending, (void *)above, pending);
    }
    first = pending->len;
    for (guint i = 0; i < groups->len; i++) {
        Group *group = groups->pdata[i];

        group->first = first;
        group->siblings = groups->len;
        g_ptr_array_add(pending, group);
    }
}

static void take_port(Builder *b, const P2PFunction *port,
                      GHashTable *root_buses)
{
    GPtrArray *below = g_hash_table_lookup(b->pending, port);
    g_autoptr(GPtrArray) groups = below ? merge(b, below, port)
                                        : g_ptr_array_new();
    Group *own = g_hash_table_lookup(b->own, port);
    const void *above = port->parent;

    if (own) {
        g_ptr_array_add(groups, own);
    }
    if (!above) {
        /* One pointer for each name. */
        char *name = g_hash_table_lookup(root_buses, port->root_bus);

        if (!name) {
            name = port->root_bus;
            g_hash_table_insert(root_buses, name, name);
        }
        above = name;
    }
    hand_up(b, above, groups);
}

static void take_root_buses(Builder *b, GHashTable *root_buses)
{
    GHashTableIter iter;
    void *name;

    g_hash_table_iter_init(&iter, root_buses);
    while (g_hash_table_iter_next(&iter, NULL, &name)) {
        GPtrArray *below = g_hash_table_lookup(b->pending, name);
        g_autoptr(GPtrArray) groups = merge(b, below, NULL);

        for (guint i = 0; i < groups->len; i++) {
            g_ptr_array_add(b->done, groups->pdata[i]);
        }
    }
}

static GPtrArray *find_groups(P2PHost *host, const GPtrArray *functions)
{
    g_autoptr(GHashTable) root_buses = g_hash_table_new(g_str_hash,
                                                        g_str_equal);
    g_autoptr(GHashTable) own = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) pending = g_hash_table_new_full(
        NULL, NULL, NULL, (GDestroyNotify)g_ptr_array_unref);
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) levels = g_ptr_array_new_with_free_func(
        (GDestroyNotify)g_ptr_array_unref);
    g_autoptr(GPtrArray) merged = g_ptr_array_new_with_free_func(group_free);
    Builder b = {
        .host = host, .own = own, .pending = pending, .levels = levels,
        .seen = seen, .merged = merged,
        .done = g_ptr_array_new_with_free_func(group_free),
    };

    for (unsigned i = 0; i < functions->len; i++) {
        Group *group = g_new0(Group, 1);

        group->member = functions->pdata[i];
        group->members = g_array_new(false, false, sizeof(unsigned));
        g_array_append_val(group->members, i);
        g_hash_table_insert(own, (void *)group->member, group);
        add_level(&b, group->member);
    }
    for (guint depth = levels->len; depth-- > 0; ) {
        GPtrArray *level = levels->pdata[depth];

        for (guint i = 0; i < level->len; i++) {
            take_port(&b, level->pdata[i], root_buses);
        }
    }
    take_root_buses(&b, root_buses);
    return b.done;
}

/* --- The matrix ---------------------------------------------------------- */

static void fill_table(P2PMatrix *matrix)
{
    unsigned n = matrix->classes->len;

    matrix->table = g_new(P2PVerdict, n * n);
    for (unsigned i = 0; i < n; i++) {
        Class *a = &g_array_index(matrix->classes, Class, i);

        for (unsigned j = 0; j < n; j++) {
            Class *b = &g_array_index(matrix->classes, Class, j);

            matrix->table[i * n + j] = i == j ? a->within
                : p2p_topology_verdict(matrix->host, a->member, b->member);
        }
    }
}

P2PMatrix *p2p_matrix_new(P2PHost *host, const GPtrArray *functions)
{
    g_autoptr(GPtrArray) groups = find_groups(host, functions);
    P2PMatrix *matrix = g_new0(P2PMatrix, 1);

    matrix->host = host;
    matrix->class_of = g_new(unsigned, functions->len);
    matrix->self = g_new(P2PVerdict, functions->len);
    matrix->classes = g_array_new(false, false, sizeof(Class));
    for (unsigned i = 0; i < functions->len; i++) {
        matrix->self[i] = p2p_topology_verdict(host, functions->pdata[i],
                                               functions->pdata[i]);
    }
    for (unsigned i = 0; i < groups->len; i++) {
        const Group *group = groups->pdata[i];
        Class class = { group->member, group->within };

        g_array_append_val(matrix->classes, class);
        for (guint j = 0; j < group->members->len; j++) {
            matrix->class_of[g_array_index(group->members, unsigned, j)] = i;
        }
    }
    if (matrix->classes->len <= TABLE_MAX) {
        fill_table(matrix);
    }
    return matrix;
}

void p2p_matrix_free(P2PMatrix *matrix)
{
    g_free(matrix->class_of);
    g_free(matrix->self);
    g_array_unref(matrix->classes);
    g_free(matrix->table);
    g_free(matrix);
}

P2PVerdict p2p_matrix_verdict(const P2PMatrix *matrix, unsigned initiator,
                              unsigned target)
{
    unsigned a = matrix->class_of[initiator];
    unsigned b = matrix->class_of[target];
    unsigned n = matrix->classes->len;

    if (initiator == target) {
        return matrix->self[initiator];
    }
    if (matrix->table) {
        return matrix->table[a * n + b];
    }
    if (a == b) {
        return g_array_index(matrix->classes, Class, a).within;
    }
    return p2p_topology_verdict(
        matrix->host, g_array_index(matrix->classes, Class, a).member,
        g_array_index(matrix->classes, Class, b).member);
}

unsigned p2p_matrix_classes(const P2PMatrix *matrix)
{
    return matrix->classes->len;
}

unsigned p2p_matrix_class(const P2PMatrix *matrix, unsigned function)
{
    return matrix->class_of[function];
}
