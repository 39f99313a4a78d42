/*
 * Faults of the lab's Intel IOMMU, as its emulation tells them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "lab-faults.h"

static int open_faults(void)
{
    const char *path = g_getenv("P2P_LAB_FAULTS");
    int fd;

    g_assert_nonnull(path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

LabFaults lab_faults_from_now(void)
{
    int fd = open_faults();
    LabFaults from = { lseek(fd, 0, SEEK_END) };

    close(fd);
    return from;
}

/* Bus, slot and function as PCI Express numbers a requester */
static unsigned source_id(const char *bdf)
{
    unsigned domain, bus, slot, function;

    g_assert_cmpint(sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot,
                           &function), ==, 4);
    return bus << 8 | slot << 3 | function;
}

/* "vtd_dmar_fault sid 0x100 fault 6 addr 0x1000 write 0" */
static bool line_tells(const char *line, unsigned source,
                       const DmarAccess *access)
{
    static const char event[] = "vtd_dmar_fault ";
    const char *fault = strstr(line, event);
    unsigned sid, reason, write;
    uint64_t iova;

    return fault &&
           sscanf(fault + strlen(event),
                  "sid 0x%x fault %u addr 0x%" SCNx64 " write %u", &sid,
                  &reason, &iova, &write) == 4 &&
           sid == source && write == access->write &&
           iova >= access->first.iova &&
           iova - access->first.iova < access->size;
}

unsigned lab_faults_count(LabFaults from, const DmarAccess *access)
{
    unsigned source = source_id(access->bdf);
    unsigned count = 0;
    int fd = open_faults();
    FILE *file = fdopen(fd, "r");
    char line[256];

    g_assert_nonnull(file);
    g_assert_cmpint(fseeko(file, from.offset, SEEK_SET), ==, 0);
    while (fgets(line, sizeof(line), file)) {
        count += line_tells(line, source, access);
    }
    fclose(file);
    return count;
}
