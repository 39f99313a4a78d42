/*
 * The parts of qemu-p2p inventory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_INVENTORY_H
#define P2P_TOOL_INVENTORY_H

#include "tool.h"

typedef enum ReachKind {
    REACH_ANY,      /* the verdict is yes, for a process of the host */
    REACH_SWITCH,   /* and no request leaves the switch: bus-addr */
    REACH_VM,       /* the root complex routes, as it has to for a VM */
    REACH_KINDS
} ReachKind;

typedef struct Inventory {
    const GPtrArray *functions;     /* of const P2PFunction */
    const P2PMatrix *matrix;        /* of the functions */
    unsigned *sets[REACH_KINDS];    /* of each function: its set */
} Inventory;

/*
 * inventory_sets: a set for each function, so that all functions of a set
 * reach each other both ways; a set is called by the index of its first
 * function.  Every function is in one, if alone.  For g_free()
 */
unsigned *inventory_sets(const GPtrArray *functions, const P2PMatrix *matrix,
                         ReachKind kind);

/* The first function of a function's set. */
const P2PFunction *inventory_set(const Inventory *inventory, ReachKind kind,
                                 unsigned function);

typedef struct DraNames {
    const char *driver;     /* DNS subdomain, 63 characters at most */
    const char *node;       /* DNS subdomain, 253 at most */
    gint64 generation;      /* of the pool, 1 or more */
} DraNames;

/* Whether @names are what Kubernetes takes; else an error is printed. */
bool inventory_check_names(const DraNames *names);

/* A List of ResourceSlices (resource.k8s.io/v1), all of one pool. */
JsonNode *inventory_dra(const Inventory *inventory, const DraNames *names);

#endif /* P2P_TOOL_INVENTORY_H */
