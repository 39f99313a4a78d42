/*
 * qemu-p2p verify: between verify-vfio.c and its two back ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_BACKEND_H
#define P2P_TOOL_VERIFY_BACKEND_H

#include "verify-data.h"
#include "verify-vfio.h"

/* The IOMMU address space of a group.  Owned by the session. */
typedef struct VerifyDomain {
    int number;             /* of the group */
    int group;              /* type1: descriptors; -1: not open */
    int container;
    uint32_t ioas;          /* iommufd: id of the address space */
} VerifyDomain;

struct VerifyDevice {
    VerifySession *session;
    const P2PFunction *function;
    VerifyDomain *domain;
    int fd;
    struct {
        uint64_t offset, size;  /* in @fd; bytes */
        bool can_map;
    } region[P2P_BARS];
    uint64_t config;            /* where its configuration space is in @fd */
};

typedef struct VerifyBackendOps {
    const char *name;
    /* Whether this host has it. */
    bool (*present)(void);
    /* Make the session's iommufd.  NULL: none is needed. */
    bool (*begin)(VerifySession *session, GError **error);
    /* Open a new domain; what was opened is closed by the caller. */
    bool (*open_domain)(VerifySession *session, VerifyDomain *domain,
                        const P2PFunction *function, GError **error);
    /* Set @device->fd. */
    bool (*open_device)(VerifyDevice *device, GError **error);
    /* Append to @ranges. */
    bool (*ranges)(VerifyDevice *device, GArray *ranges, GError **error);
    bool (*map_memory)(VerifyDevice *device, uint64_t iova, void *memory,
                       uint64_t size, GError **error);
    bool (*map_bar)(VerifyDevice *target, unsigned bar, uint64_t offset,
                    VerifyMapping *mapping, GError **error);
    /* False: errno tells why.  *@size: bytes that the kernel unmapped */
    bool (*unmap)(VerifyMapping *mapping, uint64_t *size);
} VerifyBackendOps;

extern const VerifyBackendOps verify_type1;
extern const VerifyBackendOps verify_iommufd;

struct VerifySession {
    const VerifyBackendOps *ops;
    int iommufd;            /* -1: not open */
    GPtrArray *devices;     /* of VerifyDevice */
    GPtrArray *domains;     /* of VerifyDomain */
};

/* "%s: ERRNO'S TEXT", and a hint if it is not NULL */
void G_GNUC_PRINTF(3, 4) verify_error_errno(GError **error, const char *hint,
                                            const char *format, ...);

#endif /* P2P_TOOL_VERIFY_BACKEND_H */
