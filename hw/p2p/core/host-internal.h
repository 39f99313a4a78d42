/*
 * What the parts of a P2PHost share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_HOST_INTERNAL_H
#define HW_P2P_CORE_HOST_INTERNAL_H

#include "hw/p2p/host.h"

struct P2PHost {
    char *sysroot;
    GHashTable *functions;  /* bdf -> P2PFunction, which it owns */
    GPtrArray *names;       /* of all functions, ordered; NULL: not read yet */
    GHashTable *iommus;     /* name -> P2PIommu, which it owns */
    GHashTable *groups;     /* number (as text) -> P2PIommuGroup, owned */
    GHashTable *bridges;    /* root bus -> P2PHostBridge, which it owns */
    P2PHostCpu cpu;
    bool cpu_read;
};

/*
 * What is read, each list beside its reader, NULL at its end: for a program
 * that copies a host.  Files may be in a folder below.
 */
extern const char *const p2p_function_files[];      /* of a function */
extern const char *const p2p_function_links[];
extern const char *const p2p_iommu_files[];         /* sys/class/iommu/NAME */
extern const char *const p2p_iommu_group_files[];   /* of a group */
extern const char *const p2p_cpu_keys[];            /* of proc/cpuinfo */

/* @host was made up: the functions that it has are all that there are. */
void p2p_host_is_complete(P2PHost *host);

/*
 * p2p_host_device: the functions of the device that @function is of, and all
 * below them, as p2p_host_list() would have them: only these are read.  What
 * could be anywhere, because its place cannot be read, is told to @skipped.
 */
GPtrArray *p2p_host_device(P2PHost *host, const P2PFunction *function,
                           GPtrArray *skipped, char **why);

/* Their addresses, @prefix before each, ';' in between; the caller frees it. */
char *p2p_function_names(const GPtrArray *functions, const char *prefix);

/* The folder of a function, or of all with bdf NULL; the caller frees it. */
char *p2p_function_folder(const char *sysroot, const char *bdf);

/*
 * Where function @bdf is: "pci0000:00/0000:00:01.0/0000:01:00.0", from its
 * host bridge down, or NULL with *@why.  The caller frees it.
 */
char *p2p_function_way(const char *sysroot, const char *bdf, char **why);

/*
 * Read function @bdf, without details.  @parent: the port above, or NULL;
 * @way: as above, taken over.
 */
P2PFunction *p2p_function_read(const char *sysroot, const char *bdf,
                               const P2PFunction *parent, char *way);
void p2p_function_free(P2PFunction *function);

/* All of its own details, but for the IOMMU's. */
void p2p_function_read_details(const char *sysroot, P2PFunction *function);

/* The unit that is called @name, or an IOMMU group, as sysfs shows them. */
P2PIommu *p2p_iommu_read(const char *sysroot, const char *name);
void p2p_iommu_free(P2PIommu *iommu);
P2PIommuGroup *p2p_iommu_group_read(const char *sysroot, const char *number);
void p2p_iommu_group_free(P2PIommuGroup *group);

#endif /* HW_P2P_CORE_HOST_INTERNAL_H */
