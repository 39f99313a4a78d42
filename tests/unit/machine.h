/*
 * Machines that a test makes up: trees of sysfs and procfs in a folder
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_MACHINE_H
#define P2P_TESTS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>

/* Device/port types (PCIe 6.0, 7.5.3.2), ACS bits (7.7.11); our own -1, -2 */
enum {
    TYPE_ENDPOINT = 0,
    TYPE_LEGACY_ENDPOINT = 1,
    TYPE_ROOT_PORT = 4,
    TYPE_UPSTREAM = 5,
    TYPE_DOWNSTREAM = 6,
    TYPE_TO_PCI = 7,
    TYPE_INTEGRATED = 9,
    TYPE_CONVENTIONAL = -1,     /* no PCI Express capability */
    TYPE_PCI_BRIDGE = -2,       /* a bridge without one */

    NO_ACS = -1,
    ACS_SV = 0x01,
    ACS_RR = 0x04,
    ACS_CR = 0x08,
    ACS_UF = 0x10,
    ACS_EC = 0x20,
    ACS_DT = 0x40,

    CONFIG_SIZE = 4096,
    CONVENTIONAL_SIZE = 256,
    UNPRIVILEGED_SIZE = 64,
    ACS_AT = 0x148,
};

#define MACHINE_BARS 6

typedef struct Machine {
    char *root;                 /* for --sysroot */
} Machine;

typedef struct MachineLink {
    double speed;               /* GT/s; 0: the function has no link */
    unsigned width;
} MachineLink;

typedef struct MachineBar {
    uint64_t start;             /* 0: the firmware gave it none */
    uint64_t size;              /* 0: there is none */
    bool io, is_64bit, prefetchable;
} MachineBar;

typedef struct MachineWindow {
    uint64_t first, last;       /* last 0: shut */
} MachineWindow;

/* What is 0 or NULL is not there, unless a comment says otherwise. */
typedef struct MachineFunction {
    /* From the host bridge, "pci0000:00/0000:00:01.0/0000:01:00.0" */
    const char *way;
    int type;
    int acs;                    /* control register, or NO_ACS */
    unsigned acs_capability;
    bool ats;
    bool sriov, vf_decode;      /* VF MSE of the SR-IOV capability */
    uint16_t vendor, device;
    uint32_t class_code;
    unsigned secondary, subordinate;    /* buses of a bridge */
    bool decode;
    const char *power;          /* "D3hot" */
    MachineLink link, max_link;
    int numa_node;              /* as in sysfs: -1 is none */
    int group;                  /* -1: none */
    const char *iommu;          /* "dmar0" */
    const char *driver;
    const char *physical_function;      /* BDF; its own ids read as ~0 */
    MachineBar bars[MACHINE_BARS];      /* of a bridge two */
    MachineWindow memory, prefetchable; /* of a bridge, whole MiB */
    bool vga;                           /* of a bridge: the frame buffer's */
    uint64_t p2pmem_size, p2pmem_available;
    size_t config_size;         /* bytes that can be read */
} MachineFunction;

/* In a new folder of its own; machine_free() removes it. */
Machine machine_new(void);

/* In folder @root, which is empty or not there yet; stays. */
Machine machine_new_in(const char *root);
void machine_free(Machine *machine);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Machine, machine_free)

void machine_cpu(const Machine *machine, const char *vendor, unsigned family);

/* With the line of address sizes, if @bits is not 0. */
void machine_cpu_bits(const Machine *machine, const char *vendor,
                      unsigned family, unsigned bits);

/*
 * An IOMMU of @width address bits, "dmar0" or "ivhd0" etc.; 0: its width cannot
 * be read.
 */
void machine_iommu(const Machine *machine, const char *name, unsigned width);

/* @reserved: lines as Linux has them; "" if there are none */
void machine_group(const Machine *machine, int number, const char *type,
                   const char *reserved);

void machine_function(const Machine *machine, const MachineFunction *function);

/* The files of one that is there, but not its links. */
void machine_rewrite(const Machine *machine, const MachineFunction *function);

/* A function of which nothing matters but its type and ACS. */
void machine_add(const Machine *machine, const char *way, int type, int acs);

/* --- Changes ------------------------------------------------------------- */

/* The path of a function's file; the caller frees it. */
char *machine_file(const Machine *machine, const char *bdf, const char *name);
void machine_text(const Machine *machine, const char *bdf, const char *name,
                  const char *text);
void machine_remove(const Machine *machine, const char *bdf,
                    const char *name);
void machine_ids(const Machine *machine, const char *bdf, const char *vendor,
                 const char *device);
void machine_acs(const Machine *machine, const char *bdf, int type, int acs);

/* CONFIG_SIZE bytes, of which machine_config() writes the first @size. */
void make_config(uint8_t *config, int type, int acs);
void machine_config(const Machine *machine, const char *bdf,
                    const uint8_t *config, size_t size);

/* @path below the machine's root, with the folders above. */
void machine_write(const Machine *machine, const char *path, const void *data,
                   gssize size);

void write_file(const char *path, const void *data, gssize size);
void put16(uint8_t *config, unsigned at, unsigned value);
void put32(uint8_t *config, unsigned at, uint32_t value);

#endif
