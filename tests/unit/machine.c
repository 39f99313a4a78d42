/*
 * Machines that a test makes up: trees of sysfs and procfs in a folder
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "machine.h"

/* --- Files --------------------------------------------------------------- */

void write_file(const char *path, const void *data, gssize size)
{
    gsize n = size < 0 ? strlen(data) : (gsize)size;
    FILE *file = fopen(path, "w");

    /* Not g_file_set_contents(), which waits for the disk. */
    g_assert_nonnull(file);
    g_assert_cmpuint(fwrite(data, 1, n, file), ==, n);
    g_assert_cmpint(fclose(file), ==, 0);
}

static void make_folder(const char *path)
{
    g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
}

void machine_write(const Machine *machine, const char *path, const void *data,
                   gssize size)
{
    g_autofree char *full = g_strdup_printf("%s/%s", machine->root, path);
    g_autofree char *folder = g_path_get_dirname(full);

    make_folder(folder);
    write_file(full, data, size);
}

static void make_link(const char *path, const char *target)
{
    g_autofree char *folder = g_path_get_dirname(path);

    make_folder(folder);
    g_assert_cmpint(symlink(target, path), ==, 0);
}

Machine machine_new_in(const char *root)
{
    Machine machine = { g_strdup(root) };
    g_autofree char *devices = g_strdup_printf("%s/sys/bus/pci/devices",
                                               root);
    g_autofree char *proc = g_strdup_printf("%s/proc", root);

    make_folder(devices);
    make_folder(proc);
    return machine;
}

Machine machine_new(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *root = g_dir_make_tmp("p2p-machine-XXXXXX", &error);

    g_assert_no_error(error);
    return machine_new_in(root);
}

static int remove_one(const char *path, G_GNUC_UNUSED const struct stat *st,
                      G_GNUC_UNUSED int type, G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

void machine_free(Machine *machine)
{
    g_assert_cmpint(nftw(machine->root, remove_one, 16, FTW_DEPTH | FTW_PHYS),
                    ==, 0);
    g_free(machine->root);
}

char *machine_file(const Machine *machine, const char *bdf, const char *name)
{
    return g_strdup_printf("%s/sys/bus/pci/devices/%s/%s", machine->root, bdf,
                           name);
}

void machine_text(const Machine *machine, const char *bdf, const char *name,
                  const char *text)
{
    g_autofree char *path = machine_file(machine, bdf, name);

    write_file(path, text, -1);
}

static void G_GNUC_PRINTF(4, 5) machine_printf(const Machine *machine,
                                               const char *bdf,
                                               const char *name,
                                               const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    machine_text(machine, bdf, name, text);
}

void machine_remove(const Machine *machine, const char *bdf, const char *name)
{
    g_autofree char *path = machine_file(machine, bdf, name);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

/* --- What is no function ------------------------------------------------- */

void machine_cpu_bits(const Machine *machine, const char *vendor,
                      unsigned family, unsigned bits)
{
    g_autofree char *sizes = bits ? g_strdup_printf(
        "address sizes\t: %u bits physical, 48 bits virtual\n", bits)
                                  : g_strdup("");
    g_autofree char *text = g_strdup_printf(
        "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: 1\n"
        "model name\t: made up\n%s\nprocessor\t: 1\nvendor_id\t: other\n"
        "cpu family\t: 1\n", vendor, family, sizes);

    machine_write(machine, "proc/cpuinfo", text, -1);
}

void machine_cpu(const Machine *machine, const char *vendor, unsigned family)
{
    machine_cpu_bits(machine, vendor, family, 0);
}

void machine_iommu(const Machine *machine, const char *name, unsigned width)
{
    bool intel = g_str_has_prefix(name, "dmar");
    g_autofree char *link = g_strdup_printf("%s/sys/class/iommu/%s",
                                            machine->root, name);
    g_autofree char *target = g_strdup_printf("../../devices/virtual/iommu/%s",
                                              name);
    g_autofree char *path = g_strdup_printf(
        "sys/devices/virtual/iommu/%s/%s", name,
        !width ? "uevent" : intel ? "intel-iommu/cap" : "amd-iommu/features");
    /* VT-d 5.0, 11.4.2: MGAW; AMD IOMMU 3.10, 0030h: HATS */
    uint64_t cap = UINT64_C(0xd2078c10000462) | (uint64_t)(width - 1) << 16;
    uint64_t features = UINT64_C(0x246577efa2054200) |
                        (width > 48 ? 1 << 10 : 0);
    g_autofree char *text = !width ? g_strdup("") : g_strdup_printf(
        intel ? "%" G_GINT64_MODIFIER "x\n" : "%" G_GINT64_MODIFIER "x:10\n",
        intel ? cap : features);

    machine_write(machine, path, text, -1);
    make_link(link, target);
}

void machine_group(const Machine *machine, int number, const char *type,
                   const char *reserved)
{
    g_autofree char *folder = g_strdup_printf("sys/kernel/iommu_groups/%d",
                                              number);
    g_autofree char *type_path = g_strdup_printf("%s/type", folder);
    g_autofree char *reserved_path = g_strdup_printf("%s/reserved_regions",
                                                     folder);
    g_autofree char *line = g_strdup_printf("%s\n", type);

    machine_write(machine, type_path, line, -1);
    machine_write(machine, reserved_path, reserved, -1);
}

/* --- Configuration space ------------------------------------------------- */

enum {
    PM_AT = 0x40,
    EXPRESS_AT = 0x80,
    AER_AT = 0x100,
    ATS_AT = 0x160,
    SRIOV_AT = 0x180,
};

void put16(uint8_t *config, unsigned at, unsigned value)
{
    config[at] = value;
    config[at + 1] = value >> 8;
}

void put32(uint8_t *config, unsigned at, uint32_t value)
{
    put16(config, at, value);
    put16(config, at + 2, value >> 16);
}

static bool is_bridge(int type)
{
    return type == TYPE_PCI_BRIDGE || (type >= TYPE_ROOT_PORT &&
                                       type <= TYPE_TO_PCI);
}

static unsigned link_register(MachineLink link)
{
    static const double speeds[] = { 2.5, 5, 8, 16, 32, 64 };

    for (unsigned i = 0; i < G_N_ELEMENTS(speeds); i++) {
        if (link.speed == speeds[i]) {
            return (i + 1) | link.width << 4;
        }
    }
    return 0;
}

static void put_bars(uint8_t *config, const MachineFunction *f)
{
    for (unsigned i = 0; i < (is_bridge(f->type) ? 2 : MACHINE_BARS); i++) {
        const MachineBar *bar = &f->bars[i];

        if (bar->size) {
            put32(config, 0x10 + 4 * i, bar->start | (bar->io ? 0x1 : 0) |
                  (bar->is_64bit ? 0x4 : 0) | (bar->prefetchable ? 0x8 : 0));
        }
        if (bar->size && bar->is_64bit) {
            put32(config, 0x10 + 4 * ++i, bar->start >> 32);
        }
    }
}

/* Shut as Linux does it: the base above the limit. */
static void put_windows(uint8_t *config, const MachineFunction *f)
{
    MachineWindow memory = f->memory, prefetchable = f->prefetchable;

    if (!memory.last) {
        memory.first = 0xfff00000;
    }
    if (!prefetchable.last) {
        prefetchable.first = 0xfff00000;
    }
    put16(config, 0x20, memory.first >> 16 & 0xfff0);
    put16(config, 0x22, memory.last >> 16 & 0xfff0);
    put16(config, 0x24, (prefetchable.first >> 16 & 0xfff0) | 1);
    put16(config, 0x26, (prefetchable.last >> 16 & 0xfff0) | 1);
    put32(config, 0x28, prefetchable.first >> 32);
    put32(config, 0x2c, prefetchable.last >> 32);
    put16(config, 0x3e, f->vga ? 0x0008 : 0);
}

static void put_header(uint8_t *config, const MachineFunction *f)
{
    bool virtual = f->physical_function;

    put16(config, 0x00, virtual ? 0xffff : f->vendor);
    put16(config, 0x02, virtual ? 0xffff : f->device);
    put16(config, 0x04, f->decode && !virtual ? 0x0006 : 0);
    put16(config, 0x06, 0x0010);
    put32(config, 0x08, f->class_code << 8);
    config[0x0e] = is_bridge(f->type) ? 0x81 : 0x00;
    if (!virtual) {
        put_bars(config, f);
    }
    if (is_bridge(f->type)) {
        config[0x19] = f->secondary;
        config[0x1a] = f->subordinate;
        put_windows(config, f);
    }
    config[0x34] = PM_AT;
}

static unsigned put_extended(uint8_t *config, unsigned before, unsigned at,
                             unsigned id)
{
    put16(config, before + 2, at << 4 | (before == AER_AT ? 2 : 1));
    put32(config, at, 1 << 16 | id);
    return at;
}

/*
 * Power management at 0x40, PCI Express at 0x80; error reporting at 0x100,
 * ACS and others behind it.
 */
static void put_function(uint8_t *config, const MachineFunction *f)
{
    unsigned last = AER_AT;

    memset(config, 0, CONFIG_SIZE);
    put_header(config, f);
    put16(config, PM_AT, f->type < 0 ? 0x0001 : EXPRESS_AT << 8 | 0x01);
    put16(config, PM_AT + 4, g_strcmp0(f->power, "D3hot") == 0 ? 3 : 0);
    if (f->type < 0) {
        return;
    }
    put16(config, EXPRESS_AT, 0x0010);
    put16(config, EXPRESS_AT + 2, f->type << 4 | 2);
    put32(config, EXPRESS_AT + 0x0c, link_register(f->max_link));
    put16(config, EXPRESS_AT + 0x12, link_register(f->link));
    put32(config, AER_AT, 1 << 16 | 0x01);
    if (f->acs != NO_ACS) {
        last = put_extended(config, last, ACS_AT, 0x0d);
        put16(config, ACS_AT + 4, f->acs_capability);
        put16(config, ACS_AT + 6, f->acs);
    }
    if (f->ats) {
        last = put_extended(config, last, ATS_AT, 0x0f);
    }
    if (f->sriov) {
        put_extended(config, last, SRIOV_AT, 0x10);
        put16(config, SRIOV_AT + 8, 0x0011 | (f->vf_decode ? 0x0008 : 0));
    }
}

static MachineFunction plain(const char *way, int type, int acs)
{
    return (MachineFunction) {
        .way = way, .type = type, .acs = acs, .acs_capability = 0x7f,
        .vendor = 0x8086, .device = 0x29c0, .numa_node = -1, .group = -1,
        .config_size = type == TYPE_CONVENTIONAL ? CONVENTIONAL_SIZE
                                                 : CONFIG_SIZE,
    };
}

void make_config(uint8_t *config, int type, int acs)
{
    MachineFunction function = plain("", type, acs);

    put_function(config, &function);
}

void machine_config(const Machine *machine, const char *bdf,
                    const uint8_t *config, size_t size)
{
    g_autofree char *path = machine_file(machine, bdf, "config");

    write_file(path, config, size);
}

/* --- Functions ----------------------------------------------------------- */

static void write_link(const Machine *machine, const char *bdf,
                       const char *which, MachineLink link)
{
    g_autofree char *speed = g_strdup_printf("%s_link_speed", which);
    g_autofree char *width = g_strdup_printf("%s_link_width", which);

    machine_printf(machine, bdf, speed, "%.1f GT/s PCIe\n", link.speed);
    machine_printf(machine, bdf, width, "%u\n", link.width);
}

/* Linux, include/linux/ioport.h */
static uint64_t bar_flags(const MachineBar *bar)
{
    return bar->io ? 0x40101 : (0x40200 | (bar->is_64bit ? 0x100004 : 0) |
                                (bar->prefetchable ? 0x2008 : 0) |
                                (bar->start ? 0 : 0x20000000));
}

static void write_bars(const Machine *machine, const char *bdf,
                       const MachineFunction *f)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (unsigned i = 0; i < MACHINE_BARS + 7; i++) {
        const MachineBar *bar = i < MACHINE_BARS ? &f->bars[i] : NULL;
        bool there = bar && bar->size;

        g_string_append_printf(
            text, "0x%016" G_GINT64_MODIFIER "x 0x%016" G_GINT64_MODIFIER
            "x 0x%016" G_GINT64_MODIFIER "x\n", there ? bar->start : 0,
            there ? bar->start + bar->size - 1 : 0,
            there ? bar_flags(bar) : 0);
    }
    machine_text(machine, bdf, "resource", text->str);
}

/* A link of a function's folder to @target, which is relative to /sys. */
static void link_up(const Machine *machine, const MachineFunction *f,
                    const char *name, const char *target)
{
    const char *bdf = strrchr(f->way, '/') + 1;
    g_autofree char *path = machine_file(machine, bdf, name);
    g_autoptr(GString) up = g_string_new("../../");

    for (const char *c = f->way; *c; c++) {
        if (*c == '/') {
            g_string_append(up, "../");
        }
    }
    g_string_append(up, target);
    make_link(path, up->str);
}

static void write_links(const Machine *machine, const MachineFunction *f)
{
    if (f->group >= 0) {
        g_autofree char *target = g_strdup_printf("kernel/iommu_groups/%d",
                                                  f->group);

        link_up(machine, f, "iommu_group", target);
    }
    if (f->iommu) {
        g_autofree char *target = g_strdup_printf("devices/virtual/iommu/%s",
                                                  f->iommu);

        link_up(machine, f, "iommu", target);
    }
    if (f->driver) {
        g_autofree char *target = g_strdup_printf("bus/pci/drivers/%s",
                                                  f->driver);

        link_up(machine, f, "driver", target);
    }
    if (f->physical_function) {
        g_autofree char *target = g_strdup_printf("bus/pci/devices/%s",
                                                  f->physical_function);

        link_up(machine, f, "physfn", target);
    }
}

static void write_p2pmem(const Machine *machine, const char *bdf,
                         const MachineFunction *f)
{
    g_autofree char *folder = machine_file(machine, bdf, "p2pmem");

    make_folder(folder);
    machine_text(machine, bdf, "p2pmem/published", "1\n");
    machine_printf(machine, bdf, "p2pmem/size", "%" G_GUINT64_FORMAT "\n",
                   f->p2pmem_size);
    machine_printf(machine, bdf, "p2pmem/available",
                   "%" G_GUINT64_FORMAT "\n", f->p2pmem_available);
}

static void write_power(const Machine *machine, const char *bdf,
                        const char *power)
{
    if (power) {
        machine_printf(machine, bdf, "power_state", "%s\n", power);
    } else {
        g_autofree char *path = machine_file(machine, bdf, "power_state");

        g_unlink(path);         /* if it is there */
    }
}

void machine_rewrite(const Machine *machine, const MachineFunction *f)
{
    const char *bdf = strrchr(f->way, '/') + 1;
    uint8_t config[CONFIG_SIZE];

    machine_printf(machine, bdf, "vendor", "0x%04x\n", f->vendor);
    machine_printf(machine, bdf, "device", "0x%04x\n", f->device);
    machine_printf(machine, bdf, "class", "0x%06x\n", f->class_code);
    machine_printf(machine, bdf, "numa_node", "%d\n", f->numa_node);
    put_function(config, f);
    machine_config(machine, bdf, config, f->config_size);
    write_power(machine, bdf, f->power);
    if (f->max_link.speed) {
        write_link(machine, bdf, "current", f->link);
        write_link(machine, bdf, "max", f->max_link);
    }
    write_bars(machine, bdf, f);
    if (f->p2pmem_size) {
        write_p2pmem(machine, bdf, f);
    }
}

void machine_function(const Machine *machine, const MachineFunction *f)
{
    const char *bdf = strrchr(f->way, '/') + 1;
    g_autofree char *folder = g_strdup_printf("%s/sys/devices/%s",
                                              machine->root, f->way);
    g_autofree char *link = g_strdup_printf("%s/sys/bus/pci/devices/%s",
                                            machine->root, bdf);
    g_autofree char *target = g_strdup_printf("../../../devices/%s", f->way);

    make_folder(folder);
    make_link(link, target);
    machine_rewrite(machine, f);
    write_links(machine, f);
}

void machine_add(const Machine *machine, const char *way, int type, int acs)
{
    MachineFunction function = plain(way, type, acs);

    machine_function(machine, &function);
}

void machine_ids(const Machine *machine, const char *bdf, const char *vendor,
                 const char *device)
{
    machine_text(machine, bdf, "vendor", vendor);
    machine_text(machine, bdf, "device", device);
}

void machine_acs(const Machine *machine, const char *bdf, int type, int acs)
{
    uint8_t config[CONFIG_SIZE];

    make_config(config, type, acs);
    machine_config(machine, bdf, config, CONFIG_SIZE);
}
