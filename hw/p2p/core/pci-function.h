/*
 * One PCI function as a sysfs tree shows it
 *
 * The tree may have been captured by somebody without the right to read it
 * all, on a machine that was about to break: nothing in it is believed before
 * it was checked. Every call reads anew, as a port's settings may change at
 * any time, and needs no lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_PCI_FUNCTION_H
#define HW_P2P_CORE_PCI_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* The way from a host bridge down to a function. */
typedef struct P2PPciChain {
    char *host_bridge;  /* "dddd:bb" of its root bus; NULL: cleared */
    char **functions;   /* BDFs, NULL-terminated: ports, the function last */
    unsigned length;    /* of @functions, at least 1 */
} P2PPciChain;

typedef enum P2PAcs {
    P2P_ACS_DIRECT,     /* requests take the shortest way */
    P2P_ACS_REDIRECT,   /* requests are sent up to the root complex */
    P2P_ACS_UNREADABLE,
} P2PAcs;

/*
 * @sysroot, as in all that follows: prefix of "/sys"; @bdf: dddd:bb:dd.f.
 * @why, as in all that follows: set when false or unreadable is returned, to
 * a clause that names the file or the function; the caller frees it.
 */
bool p2p_pci_chain_read(const char *sysroot, const char *bdf,
                        P2PPciChain *chain, char **why);
void p2p_pci_chain_clear(P2PPciChain *chain);

/* The access control services of a port or of a function. */
P2PAcs p2p_pci_acs_read(const char *sysroot, const char *bdf, char **why);

/* PCI Express root ports only; false, with @why, for anything else. */
bool p2p_pci_is_root_port(const char *sysroot, const char *bdf, char **why);

bool p2p_pci_ids_read(const char *sysroot, const char *bdf,
                      uint16_t *vendor, uint16_t *device, char **why);

/* -1 if the firmware does not tell. */
int p2p_pci_numa_node(const char *sysroot, const char *bdf);

/* The first function on root bus "dddd:bb", or NULL; the caller frees it. */
char *p2p_pci_first_on_bus(const char *sysroot, const char *bus, char **why);

#endif /* HW_P2P_CORE_PCI_FUNCTION_H */
