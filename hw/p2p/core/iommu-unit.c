/*
 * A host's IOMMUs and IOMMU groups as sysfs shows them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "host-internal.h"
#include "sysfs.h"

/* Of the file of reserved ranges, and of those that are kept. */
#define RESERVED_MAX_SIZE 65536
#define RESERVED_MAX 256

/* Intel VT-d 5.0, 11.4.2: MGAW, one less than the bits. */
#define VTD_CAP_MGAW_SHIFT 16
#define VTD_CAP_MGAW_MASK  0x3f

/* SAGAW: which levels of tables there are; bit 1: three, 39 bits, and so on */
#define VTD_CAP_SAGAW_SHIFT 8
#define VTD_CAP_SAGAW_MASK  0x1f

/* AMD IOMMU 3.10, MMIO offset 0030h: HATS, levels above four. */
#define AMD_EFR_HATS_SHIFT 10
#define AMD_EFR_HATS_MASK  3

const char *const p2p_iommu_files[] = {
    "amd-iommu/features", "intel-iommu/cap", NULL
};

const char *const p2p_iommu_group_files[] = {
    "reserved_regions", "type", NULL
};

static unsigned vtd_width(uint64_t cap)
{
    unsigned mgaw = (cap >> VTD_CAP_MGAW_SHIFT & VTD_CAP_MGAW_MASK) + 1;
    unsigned sagaw = cap >> VTD_CAP_SAGAW_SHIFT & VTD_CAP_SAGAW_MASK;
    unsigned tables = 0;

    for (unsigned bit = 0; bit < 5; bit++) {
        tables = sagaw & 1u << bit ? MIN(30 + 9 * bit, 64) : tables;
    }
    return tables ? MIN(mgaw, tables) : mgaw;
}

/* Linux uses as many levels as the processor has for the host's own tables. */
static unsigned amd_width(uint64_t features)
{
    static const unsigned widths[] = { 48, 57, 64, 0 };

    return widths[features >> AMD_EFR_HATS_SHIFT & AMD_EFR_HATS_MASK];
}

/* A register in hexadecimal, without 0x; AMD's file has two, "EFR:EFR2". */
static bool read_register(const char *folder, const char *name,
                          uint64_t *value)
{
    g_autofree char *text = p2p_sysfs_text(folder, name);
    char *end;

    if (!text) {
        return false;
    }
    *value = g_ascii_strtoull(text, &end, 16);
    return end != text && (!*end || *end == ':');
}

P2PIommu *p2p_iommu_read(const char *sysroot, const char *name)
{
    P2PIommu *iommu = g_new0(P2PIommu, 1);
    g_autofree char *folder = g_strdup_printf("%s/sys/class/iommu/%s",
                                              sysroot, name);
    uint64_t value;

    iommu->name = g_strdup(name);
    if (g_str_has_prefix(name, "dmar")) {
        iommu->kind = g_strdup("Intel VT-d");
        if (read_register(folder, "intel-iommu/cap", &value)) {
            iommu->width = vtd_width(value);
        }
    } else if (g_str_has_prefix(name, "ivhd")) {
        iommu->kind = g_strdup("AMD-Vi");
        if (read_register(folder, "amd-iommu/features", &value)) {
            iommu->width = amd_width(value);
        }
    } else {
        iommu->kind = g_strdup(g_str_has_prefix(name, "smmu") ? "Arm SMMU"
                                                              : name);
    }
    return iommu;
}

void p2p_iommu_free(P2PIommu *iommu)
{
    g_free(iommu->name);
    g_free(iommu->kind);
    g_free(iommu);
}

static void clear_range(void *opaque)
{
    P2PReservedRange *range = opaque;

    g_free(range->type);
}

/* "0x00000000fee00000 0x00000000feefffff msi" */
static void parse_reserved(GArray *ranges, const char *line)
{
    P2PReservedRange range = { 0 };
    char *end, *next;

    range.first = g_ascii_strtoull(line, &end, 16);
    range.last = g_ascii_strtoull(end, &next, 16);
    if (end == line || next == end || range.last < range.first ||
        ranges->len >= RESERVED_MAX) {
        return;
    }
    range.type = p2p_sysfs_printable(g_strstrip(g_strdup(next)));
    g_array_append_val(ranges, range);
}

static void read_reserved(const char *folder, GArray *ranges)
{
    g_autofree char *path = g_build_filename(folder, "reserved_regions", NULL);
    g_autofree char *text = p2p_sysfs_read(path, RESERVED_MAX_SIZE, NULL,
                                           NULL);
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;

    for (char **line = lines; line && *line; line++) {
        parse_reserved(ranges, *line);
    }
}

P2PIommuGroup *p2p_iommu_group_read(const char *sysroot, const char *number)
{
    P2PIommuGroup *group = g_new0(P2PIommuGroup, 1);
    g_autofree char *folder = g_strdup_printf("%s/sys/kernel/iommu_groups/%s",
                                              sysroot, number);

    group->number = g_ascii_strtoull(number, NULL, 10);
    group->type = p2p_sysfs_text(folder, "type");
    group->reserved = g_array_new(false, false, sizeof(P2PReservedRange));
    g_array_set_clear_func(group->reserved, clear_range);
    read_reserved(folder, group->reserved);
    return group;
}

void p2p_iommu_group_free(P2PIommuGroup *group)
{
    g_free(group->type);
    g_array_unref(group->reserved);
    g_free(group);
}
