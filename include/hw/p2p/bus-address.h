/*
 * When an untranslated bus address may be handed out, and which
 *
 * A transfer that a PCIe switch routes by itself is seen by no IOMMU: nothing
 * but the conditions below keeps it where it belongs, so all of them are looked
 * at anew each time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_BUS_ADDRESS_H
#define HW_P2P_BUS_ADDRESS_H

#include "hw/p2p/addr.h"
#include "hw/p2p/host.h"

/*
 * In the order in which they are looked at; what does not hold.
 *
 * A BAR that has no address, or another size than the VM knows, holds nothing.
 * What cannot be known is also where a virtual function's BARs are, and where
 * requests go at a port of no known kind.  "Below" is the device of the
 * switch's upstream port and all that is below it.  The switch is the one above
 * initiator and target, or, if ports above it let requests pass to their
 * neighbours, the outermost one that requests reach like this.
 */
typedef enum P2PBusObstacle {
    P2P_BUS_NONE,
    P2P_BUS_DISABLED,           /* the group has bus-address=off */
    P2P_BUS_GUEST_IOMMU,        /* translates for the initiator */
    P2P_BUS_NOT_PASSTHROUGH,    /* initiator or target; or it is a bridge */
    P2P_BUS_UNKNOWN,            /* something could not be read */
    P2P_BUS_NO_SWITCH,          /* none below the root complex above both */
    P2P_BUS_CONVENTIONAL,       /* a bridge to conventional PCI on the way */
    P2P_BUS_REDIRECTED,         /* by ACS: RR, CR or EC */
    P2P_BUS_OUTSIDE_PORT,       /* not in the BAR, or a port's window */
    P2P_BUS_NO_DECODE,          /* target or a port; or the BAR moved */
    P2P_BUS_ASLEEP,             /* target, initiator or a port not in D0 */
    P2P_BUS_OVERLAP,            /* what the initiator reaches, with one below */
    P2P_BUS_STRANGER,           /* a function below that is not the VM's */
    P2P_BUS__MAX
} P2PBusObstacle;

typedef struct P2PBusRange {
    uint64_t start;
    uint64_t size;              /* bytes, not 0 */
} P2PBusRange;

typedef struct P2PBusRequest {
    bool enabled;               /* the group's bus-address=on */
    bool guest_iommu;           /* translates for the initiator */
    /* Host BDFs (dddd:bb:dd.f, lower case); NULL: no function of the host */
    const char *initiator;
    const char *target;
    unsigned bar;               /* of the target */
    uint64_t bar_size;          /* bytes, as the device has it for the VM */
    uint64_t offset;            /* in the BAR, bytes */
    uint64_t size;              /* bytes, not 0 */
    /*
     * All that the initiator can reach: I/O virtual addresses, of guest RAM,
     * windows (of this target, too) and interrupt doorbells. One of them that
     * happens to be an address that the target has on the bus is refused like
     * any other.
     */
    const P2PBusRange *reach;
    size_t n_reach;
    /* Host BDFs of all functions of this VM, the two of above, too. */
    const char *const *owned;
    size_t n_owned;
} P2PBusRequest;

/*
 * p2p_bus_address: look at all conditions, in the host as it is now.
 *
 * @host: fresh, or as old as the answer may be. ACS can be read with root's
 *     rights only; without them the answer is P2P_BUS_UNKNOWN.
 * @address: of the first byte of the range, written if all of them hold
 * @why: if not NULL, and one does not hold: what is in the way, with the names
 *     of the functions and the way out, for g_free()
 *
 * It reads the link of each function of the host, and the files of those below
 * the switch that @host does not have yet. Any thread that owns @host.
 */
P2PBusObstacle p2p_bus_address(P2PHost *host, const P2PBusRequest *request,
                               P2PBusAddr *address, char **why);

/* "redirected" etc.; never NULL. */
const char *p2p_bus_obstacle_str(P2PBusObstacle obstacle);

#endif /* HW_P2P_BUS_ADDRESS_H */
