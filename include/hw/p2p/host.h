/*
 * A host's PCI functions, ports and IOMMUs, as sysfs and procfs show them
 *
 * Everything is read from below a root that the caller names, so that a
 * captured machine is as good as a live one.  The tree may have been captured
 * by somebody without the right to read it all, on a machine that was about to
 * break, or made up by an attacker: nothing in it is believed before it was
 * checked, and what could not be read has a reason.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_HOST_H
#define HW_P2P_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

#define P2P_BARS 6

/* Of all functions of a host; a tree that holds more is refused. */
#define P2P_HOST_MAX_FUNCTIONS 65536

/* Bits of the ACS capability and control registers (PCIe 6.0, 7.7.11). */
#define P2P_ACS_SOURCE_VALIDATION    0x01
#define P2P_ACS_TRANSLATION_BLOCKING 0x02
#define P2P_ACS_REQUEST_REDIRECT     0x04
#define P2P_ACS_COMPLETION_REDIRECT  0x08
#define P2P_ACS_UPSTREAM_FORWARDING  0x10
#define P2P_ACS_EGRESS_CONTROL       0x20
#define P2P_ACS_DIRECT_TRANSLATED    0x40

typedef enum P2PAcs {
    P2P_ACS_DIRECT,     /* requests take the shortest way */
    P2P_ACS_REDIRECT,   /* requests are sent up to the root complex */
    P2P_ACS_UNREADABLE,
} P2PAcs;

/* As PCI Express's device/port type (PCIe 6.0, 7.5.3.2). */
typedef enum P2PPortType {
    P2P_PORT_ENDPOINT = 0x0,
    P2P_PORT_LEGACY_ENDPOINT = 0x1,
    P2P_PORT_ROOT = 0x4,
    P2P_PORT_UPSTREAM = 0x5,
    P2P_PORT_DOWNSTREAM = 0x6,
    P2P_PORT_TO_PCI = 0x7,              /* PCI Express to PCI bridge */
    P2P_PORT_FROM_PCI = 0x8,
    P2P_PORT_INTEGRATED = 0x9,          /* root complex integrated endpoint */
    P2P_PORT_EVENT_COLLECTOR = 0xa,
    P2P_PORT_CONVENTIONAL = 0x10,       /* no PCI Express capability */
    P2P_PORT_UNKNOWN = 0x11,            /* could not be read */
} P2PPortType;

typedef enum P2PPower {
    P2P_POWER_UNKNOWN,
    P2P_POWER_D0,
    P2P_POWER_D1,
    P2P_POWER_D2,
    P2P_POWER_D3HOT,
    P2P_POWER_D3COLD,
} P2PPower;

typedef struct P2PLink {
    unsigned speed;     /* MT/s: 2500 to 64000; 0: unknown, or none */
    unsigned width;     /* lanes; 0: unknown, or none */
} P2PLink;

typedef struct P2PHostBar {
    uint64_t start;     /* CPU physical address; 0: not placed */
    uint64_t size;      /* bytes, a power of two; 0: there is none */
    bool memory;        /* not I/O ports */
    bool prefetchable;
    bool is_64bit;
} P2PHostBar;

/* A port's registers name three ranges that it passes down. */
typedef enum P2PPortRange {
    P2P_RANGE_MEMORY,
    P2P_RANGE_PREFETCHABLE,
    P2P_RANGE_VGA,      /* of its legacy frame buffer, if that is enabled */
    P2P_RANGES
} P2PPortRange;

typedef struct P2PPortWindow {
    bool open;
    uint64_t first, last;       /* bus addresses */
} P2PPortWindow;

typedef struct P2PIommu {
    char *name;         /* "dmar0" */
    char *kind;         /* "Intel VT-d", "AMD-Vi" or the name's text */
    unsigned width;     /* bits of the addresses that it translates; 0:
                         * not told by this kind */
} P2PIommu;

typedef struct P2PReservedRange {
    uint64_t first, last;
    char *type;         /* "reserved", "msi", "direct" etc., as Linux says */
} P2PReservedRange;

typedef struct P2PIommuGroup {
    int number;
    char *type;         /* "DMA", "identity" etc.; NULL: could not be read */
    GArray *reserved;   /* of P2PReservedRange */
} P2PIommuGroup;

typedef struct P2PFunction P2PFunction;

/*
 * One PCI function.  Owned by its P2PHost, like all that it points to, and
 * constant once it has been read.
 */
struct P2PFunction {
    char *bdf;                  /* dddd:bb:dd.f */
    char *root_bus;             /* dddd:bb of its host bridge */
    const P2PFunction *parent;  /* the port above; NULL: on the root bus */
    const struct P2PHostBridge *host_bridge;    /* what its root bus is known
                                                 * for; NULL: not asked yet */
    unsigned depth;             /* ports above */
    char *host_path;            /* "pci0000:00/0000:00:01.0/0000:01:00.0" */

    uint32_t class_code;        /* 24 bits; 0 is "unclassified" */
    int numa_node;              /* -1: not told */

    P2PPortType type;
    bool bridge;                /* it has a secondary bus */
    P2PAcs acs;
    char *why_no_acs;           /* why type or acs could not be read */
    bool header_unreadable;     /* not even the first 64 bytes */
    bool has_acs;               /* it has the capability */
    uint16_t acs_capability;    /* P2P_ACS_* */
    uint16_t acs_control;
    bool has_ats;
    bool decodes_memory;        /* PCI_COMMAND; of a virtual function, once
                                 * it has details: vf_decode of its physical
                                 * one, as its own bit is always 0 */
    bool vf_decode;             /* virtual functions decode (VF MSE) */
    /*
     * As the registers have it, of which Linux may know another story: where
     * memory BARs are on the bus, 0 if they are not, or virtual functions'.
     */
    uint64_t bar_addresses[P2P_BARS];
    P2PPortWindow windows[P2P_RANGES];  /* of a bridge */
    P2PPower pm_power;          /* of the power management capability */
    unsigned redirects;         /* functions from the root bus to this one */
    unsigned unreadable;        /* that redirect; whose ACS is unreadable */

    /* What follows is read by p2p_function_details() only. */
    uint16_t vendor, device;    /* 0: could not be read, see why_no_ids */
    char *why_no_ids;           /* NULL: they were */
    char *driver;               /* NULL: none */
    char *physical_function;    /* BDF; NULL: it is not a virtual one */
    const P2PIommu *iommu;              /* NULL: none translates for it */
    const P2PIommuGroup *iommu_group;   /* NULL: it is in none */
    P2PPower power;             /* as Linux knows it */
    P2PLink link, max_link;     /* from configuration space, if it tells */
    P2PHostBar bars[P2P_BARS];
    bool has_p2pmem;            /* P2P memory published by its driver */
    uint64_t p2pmem_size;       /* bytes */
    uint64_t p2pmem_available;
    bool detailed;
};

typedef struct P2PHostCpu {
    char *vendor;               /* "AuthenticAMD"; NULL: not told */
    unsigned family;
    unsigned physical_bits;     /* 0: not told */
} P2PHostCpu;

typedef struct P2PHost P2PHost;

/*
 * p2p_host_new: a host that nothing was read of yet.
 *
 * @sysroot: prefix of "/sys" and "/proc"; "" for this machine
 *
 * A function is read when it is first asked for, and then stays as it was: a
 * host is a snapshot, to be freed soon.  Not to be used by two threads at a
 * time.  Free it with p2p_host_free().
 */
P2PHost *p2p_host_new(const char *sysroot);
void p2p_host_free(P2PHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(P2PHost, p2p_host_free)

const char *p2p_host_sysroot(const P2PHost *host);

/*
 * p2p_host_function: function @bdf (dddd:bb:dd.f, lower case) and all ports
 * above it, or NULL with *@why set, which the caller frees.
 */
const P2PFunction *p2p_host_function(P2PHost *host, const char *bdf,
                                     char **why);

/*
 * p2p_host_list: all functions of the host, without details, in the order of
 * their addresses; those that cannot be read are left out and told to @skipped,
 * which may be NULL (an array of strings that it owns).  NULL with *@why set if
 * the host has no PCI, or cannot be read.  The caller frees the array, not what
 * is in it.
 */
GPtrArray *p2p_host_list(P2PHost *host, GPtrArray *skipped, char **why);

/* Read what p2p_host_function() leaves out. */
void p2p_function_details(P2PHost *host, const P2PFunction *function);

/* Read once; constant afterwards. */
const P2PHostCpu *p2p_host_cpu(P2PHost *host);

/* The first function on root bus "dddd:bb", or NULL with *@why set. */
const P2PFunction *p2p_host_first_on_bus(P2PHost *host, const char *bus,
                                         char **why);

/* Whether @bdf has the form dddd:bb:dd.f, lower case. */
bool p2p_is_bdf(const char *bdf);

/*
 * "dddd:bb:dd.f" of what a user typed ("BB:DD.F", upper case, no domain), or
 * NULL.  The caller frees it.
 */
char *p2p_bdf_parse(const char *text);

/* "switch downstream port", "D3hot" etc.; never NULL. */
const char *p2p_port_type_str(P2PPortType type);
const char *p2p_power_str(P2PPower power);

/* "SV+ TB- RR+ ...", as lspci shows a control register; the caller frees. */
char *p2p_acs_str(uint16_t bits);

#endif /* HW_P2P_HOST_H */
