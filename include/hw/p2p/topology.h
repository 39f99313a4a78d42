/*
 * Host PCI topology: how one function reaches another, and whether the
 * platform routes it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_TOPOLOGY_H
#define HW_P2P_TOPOLOGY_H

#include <stdbool.h>
#include <glib.h>
#include "hw/p2p/host.h"
#include "hw/p2p/vec.h"

/* The usual letters of topology matrices. */
typedef enum P2PPathClass {
    P2P_PATH_SELF,     /* X: the same function */
    P2P_PATH_PIX,      /* one switch, or one device below a port */
    P2P_PATH_PXB,      /* several switches, not the root complex */
    P2P_PATH_PHB,      /* one host bridge */
    P2P_PATH_NODE,     /* two host bridges of one NUMA node, or no node told */
    P2P_PATH_SYS,      /* across NUMA nodes */
    P2P_PATH_UNKNOWN,  /* could not be read */
    P2P_PATH__MAX
} P2PPathClass;

typedef struct P2PVerdict {
    P2PPathClass path_class;
    /*
     * Linux's verdict (pci_p2pdma_distance): P2P_MAP_BUS_ADDR,
     * P2P_MAP_THRU_HOST_BRIDGE or P2P_MAP_NOT_SUPPORTED. Where the ACS setting
     * of a port cannot be read, as if it redirected.
     */
    P2PMapType map_type;
    /*
     * Not supported only because what decides could not be read, which is
     * another word for no.
     */
    bool unknown;
    /*
     * Whether a transfer that goes up to the root complex, through the IOMMU
     * and down again is known to arrive, even if a switch would route this
     * pair without. Unknown is no.
     */
    bool routed_by_root_complex;
} P2PVerdict;

/*
 * p2p_topology_verdict: how @initiator reaches @target, both of @host, in some
 * nanoseconds.
 */
P2PVerdict p2p_topology_verdict(P2PHost *host, const P2PFunction *initiator,
                                const P2PFunction *target);

/* "bus-addr", "thru-host-bridge", "not-supported" or "unknown". */
const char *p2p_verdict_str(const P2PVerdict *verdict);

/*
 * p2p_topology_reason: a sentence about what decided, with the way out; the
 * caller frees it.
 */
char *p2p_topology_reason(P2PHost *host, const P2PFunction *initiator,
                          const P2PFunction *target);

/* The last port that is above both (or is one of both); NULL: none is. */
const P2PFunction *p2p_topology_common(const P2PFunction *a,
                                       const P2PFunction *b);

/*
 * p2p_topology_redirects: the functions on the way whose ACS redirects, of the
 * target's side first. Borrowed from the host; the caller frees the array.
 */
GPtrArray *p2p_topology_redirects(const P2PFunction *initiator,
                                  const P2PFunction *target);

/*
 * p2p_topology_direct_translated: whether all functions on the way that
 * redirect let requests pass that @initiator had translated by ATS (PCIe 6.0,
 * 6.12.3). Linux does not count such requests: the verdict is that of others.
 */
bool p2p_topology_direct_translated(const P2PFunction *initiator,
                                    const P2PFunction *target);

/*
 * p2p_topology_remedies: what a user can change so that @target is reached on
 * a shorter way, or at all, the least intrusive first: only settings of ports
 * on this path. Empty: nothing can, or need, be done. An array of strings that
 * owns them.
 */
GPtrArray *p2p_topology_remedies(P2PHost *host, const P2PFunction *initiator,
                                 const P2PFunction *target);

/* What a function's root complex is known for: a clause, for g_free(). */
char *p2p_topology_root_complex(P2PHost *host, const P2PFunction *initiator,
                                const P2PFunction *target);

typedef struct P2PPath {
    P2PVerdict verdict;
    char *reason;  /* what decided, and the way out; never NULL */
} P2PPath;

/*
 * p2p_topology_path: work out the path from @initiator to @target anew.
 *
 * @sysroot: prefix of "/sys" and "/proc"; "" for this machine
 * @initiator, @target: BDF as dddd:bb:dd.f, lower case
 * @path: filled in; p2p_path_clear() it
 *
 * Never fails: what cannot be read gives P2P_PATH_UNKNOWN or
 * P2P_MAP_NOT_SUPPORTED, and a reason that says what was missing. An ACS
 * setting can be read with root's rights only. May be called by any thread.
 */
void p2p_topology_path(const char *sysroot, const char *initiator,
                       const char *target, P2PPath *path);
void p2p_path_clear(P2PPath *path);

/* "PIX" etc.; never NULL. */
const char *p2p_path_class_str(P2PPathClass path_class);

/*
 * The verdicts of all pairs of a set of functions
 *
 * Functions that all others see alike, and that see each other alike, are one
 * class: all drives below a switch, for one. There are as many classes as
 * switches and root ports of a kind, whatever the number of functions; only
 * pairs of classes are worked out.
 */
typedef struct P2PMatrix P2PMatrix;

/*
 * p2p_matrix_new: of @functions (const P2PFunction *), which are all of @host
 * and each of them once. Free it with p2p_matrix_free(); it borrows @host and
 * does not need the array any more.
 */
P2PMatrix *p2p_matrix_new(P2PHost *host, const GPtrArray *functions);
void p2p_matrix_free(P2PMatrix *matrix);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(P2PMatrix, p2p_matrix_free)

/* From functions[@initiator] to functions[@target]. */
P2PVerdict p2p_matrix_verdict(const P2PMatrix *matrix, unsigned initiator,
                              unsigned target);

unsigned p2p_matrix_classes(const P2PMatrix *matrix);
unsigned p2p_matrix_class(const P2PMatrix *matrix, unsigned function);

#endif /* HW_P2P_TOPOLOGY_H */
