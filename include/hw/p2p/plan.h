/*
 * A guest's PCI topology that mirrors the host's where it matters
 *
 * Devices below one switch of the host are below one switch of the guest, all
 * others have a root port each, and each host bridge has one in the guest, of
 * its NUMA node: so the guest's own software comes to the decisions that are
 * right for the host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_PLAN_H
#define HW_P2P_PLAN_H

#include "hw/p2p/topology.h"

typedef enum P2PPlanKind {
    P2P_PLAN_HOST_BRIDGE,   /* pxb-pcie */
    P2P_PLAN_ROOT_PORT,     /* pcie-root-port */
    P2P_PLAN_UPSTREAM,      /* x3130-upstream */
    P2P_PLAN_DOWNSTREAM,    /* xio3130-downstream */
    P2P_PLAN_DEVICE,        /* vfio-pci */
} P2PPlanKind;

typedef struct P2PPlanNode P2PPlanNode;

struct P2PPlanNode {
    P2PPlanKind kind;
    char *id;                   /* QEMU's: "p2p-rp0", "dev0" */
    const P2PPlanNode *parent;  /* NULL: on pcie.0 */
    unsigned slot, function;    /* on the bus of the parent */
    bool multifunction;         /* function 0 of several */
    unsigned number;            /* of its kind, from 0 */
    unsigned chassis;           /* of root and downstream ports: from 1 */
    unsigned bus;               /* number of the bus that it is on, as
                                 * firmware and Linux count */
    unsigned secondary;         /* of a bridge: the bus below; of a host
                                 * bridge: bus_nr */
    unsigned subordinate;       /* of a bridge: the last bus below */
    const P2PFunction *host;    /* the host's function (or port) that it
                                 * stands for; NULL: none in particular */
    P2PLink link;               /* of ports: what to show; 0: leave it */
    int numa_node;              /* of a host bridge: the guest's; -1: none */
    int group;                  /* of a device: its p2p-group; -1: none */
    int clique;                 /* of an NVIDIA GPU: its clique; -1: none */
    const P2PFunction *guest;   /* as the guest's kernel sees it */
};

typedef struct P2PPlanOptions {
    uint64_t memory;            /* bytes of guest RAM */
} P2PPlanOptions;

typedef struct P2PPlan {
    P2PHost *host;              /* borrowed */
    P2PHost *guest;             /* as the guest's kernel will see it */
    uint64_t memory;
    GPtrArray *nodes;           /* of P2PPlanNode, parents first; owned */
    GPtrArray *devices;         /* those that are devices, in the order asked
                                 * for */
    unsigned groups;            /* p2p-group objects, from 0 */
    int numa_nodes;             /* guest NUMA nodes; 0: none are needed */
    int *host_nodes;            /* the host's node of each */
    unsigned physical_bits;     /* guest's; 0: no number fits, see problems */
    uint64_t hole64_start;      /* where 64-bit BARs may begin (GPA) */
    uint64_t hole64_size;       /* bytes; what they need, or more */
    GPtrArray *problems;        /* of char *: what will not work, with
                                 * numbers and the way out; owned */
    GPtrArray *notes;           /* of char *: owned */
} P2PPlan;

/*
 * p2p_plan_new: plan a q35 machine for @functions (const P2PFunction *, with
 * details, endpoints of @host, which has to outlive the plan).  NULL with
 * *@why set (the caller frees it) if there can be none: too many devices,
 * or one is above another.
 * What will not work is no error, but a problem of the plan.
 */
P2PPlan *p2p_plan_new(P2PHost *host, const GPtrArray *functions,
                      const P2PPlanOptions *options, char **why);
void p2p_plan_free(P2PPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(P2PPlan, p2p_plan_free)

#endif /* HW_P2P_PLAN_H */
