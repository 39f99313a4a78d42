/*
 * qemu-p2p verify: devices that VFIO has given to this program, and what is
 * mapped into their IOMMU
 *
 * Concepts
 *   A *session* owns all that is opened.  Every IOMMU group has a *domain* of
 *   its own, an IOMMU address space that is empty at first: no device reaches
 *   anything that verify_map_...() has not named.  There are two back ends,
 *   VFIO's type1 container and iommufd.
 *   No BAR is ever touched through a mapping, which may end in a SIGBUS: all
 *   bytes go through the kernel's read and write.
 *
 * All functions that take a GError set it when they return false or NULL.
 * One thread only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_VFIO_H
#define P2P_TOOL_VERIFY_VFIO_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include "hw/p2p/host.h"

#define VERIFY_ERROR verify_error_quark()
GQuark verify_error_quark(void);

typedef enum VerifyError {
    VERIFY_ERROR_FAILED,
    VERIFY_ERROR_STOPPED,       /* a signal asks for the end */
    VERIFY_ERROR_NO_ANSWER,     /* the controller is stuck */
} VerifyError;

typedef enum VerifyBackend {
    VERIFY_BACKEND_AUTO,        /* type1, or iommufd where there is no type1 */
    VERIFY_BACKEND_TYPE1,
    VERIFY_BACKEND_IOMMUFD,
} VerifyBackend;

typedef struct VerifySession VerifySession;
typedef struct VerifyDevice VerifyDevice;

/* Free it with verify_session_free(), which closes all its devices. */
VerifySession *verify_session_new(VerifyBackend backend, GError **error);
void verify_session_free(VerifySession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VerifySession, verify_session_free)

/* "type1" or "iommufd" */
const char *verify_session_backend(const VerifySession *session);

/*
 * verify_device_open: take @function, which must be bound to a VFIO driver and
 * be in an IOMMU group.  The kernel resets the function, if it can.  The
 * session owns the result; @function has to outlive it.
 */
VerifyDevice *verify_device_open(VerifySession *session,
                                 const P2PFunction *function, GError **error);

const P2PFunction *verify_device_function(const VerifyDevice *device);

/* --- Registers and memory ------------------------------------------------ */

/* Bytes of a BAR, as the kernel copies them */
bool verify_bar_read(VerifyDevice *device, unsigned bar, uint64_t offset,
                     void *data, size_t size, GError **error);
bool verify_bar_write(VerifyDevice *device, unsigned bar, uint64_t offset,
                      const void *data, size_t size, GError **error);

/* Set and clear bits of PCI_COMMAND. */
bool verify_command(VerifyDevice *device, uint16_t set, uint16_t clear,
                    GError **error);

/* --- The IOMMU ----------------------------------------------------------- */

/* Which addresses the IOMMU takes: an array of VerifyRange. */
GArray *verify_device_ranges(VerifyDevice *device, GError **error);

/* What is mapped; all zeroes: nothing.  verify_unmap() it. */
typedef struct VerifyMapping {
    VerifyDevice *device;   /* whose IOMMU domain; NULL: not mapped */
    uint64_t iova, size;    /* bytes */
    /* type1: the BAR, of which the kernel takes page frames; never touched */
    void *bar;
} VerifyMapping;

/* Memory of this program, page-aligned, for reading and writing */
bool verify_map_memory(VerifyDevice *device, uint64_t iova, void *memory,
                       uint64_t size, VerifyMapping *mapping, GError **error);

/* A window of @target's BAR, for @device to reach; page-aligned */
bool verify_map_bar(VerifyDevice *device, uint64_t iova, VerifyDevice *target,
                    unsigned bar, uint64_t offset, uint64_t size,
                    VerifyMapping *mapping, GError **error);

/* Fine with nothing mapped.  @mapping is all zeroes afterwards. */
bool verify_unmap(VerifyMapping *mapping, GError **error);

#endif /* P2P_TOOL_VERIFY_VFIO_H */
