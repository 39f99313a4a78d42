/*
 * The guest that uses a p2p-bridge: what is there, and what is tried with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_GUEST_BRIDGE_H
#define P2P_GUEST_BRIDGE_H

#include <libp2p-bridge.h>
#include "../guest.h"

#define FOLDER "/mnt"               /* ext4, on the first disk */
#define PATTERN FOLDER "/pattern"   /* of the tag below, from the host */
#define PATTERN_SIZE (8 * MIB)
#define TAG_PATTERN TAG_INITIAL(0)
/* What is written has a tag of its own. */
uint32_t new_tag(void);

/* The machine: one bridge, one disk, one target */
typedef struct Machine {
    struct p2p_bridge *bridge;      /* NULL: not open */
    uint32_t disk;                  /* RID */
    uint32_t target;                /* RID */
    char self[P2P_BRIDGE_RID_CHARS];    /* of the bridge, as sysfs has it */
    char target_name[P2P_BRIDGE_RID_CHARS];
    char disk_name[P2P_BRIDGE_RID_CHARS];
} Machine;

extern Machine machine;

/* A window, shared, attached and mapped */
typedef struct Window {
    uint32_t bar;
    uint32_t number;
    uint8_t *data;
    size_t size;                    /* bytes */
} Window;

/* --- setup.c */

/* Load the driver, mount the disk, find all in sysfs. */
void set_up(void);
void open_bridge(void);
void close_bridge(void);
void load_driver(void);

/*
 * Share @size bytes at @offset of the target's BAR, attach and map them;
 * false, with a complaint.
 */
bool open_window(Window *window, uint32_t bar, uint64_t offset, size_t size,
                 uint32_t pages);
/* False: something could not be undone, which is complained of. */
bool close_window(Window *window);

/* Open a file of the disk for direct I/O, created if it is not there. */
int open_direct(const char *path);

/* --- host.c: ask the host.  True: it says "ok"; else a complaint. */
bool host(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- log.c: since when it was called last, the kernel's log is harmless. */
bool log_is_clean(void);

/* --- sigbus.c: run something that may touch memory which has gone. */
void catch_sigbus(void);
/* False: there was a SIGBUS. */
bool try_touch(void (*touch)(void *opaque), void *opaque);
bool try_fill(void *data, size_t size, uint32_t tag, uint64_t offset);
/* 1: it is as fill() has made it; 0: it is not; -1: SIGBUS */
int try_compare(const void *data, size_t size, uint32_t tag, uint64_t offset);

/* --- The parts: each reports its results. */
void try_topology(void);
void try_data(uint32_t bar, uint32_t pages, const char *name);
void try_uring(uint32_t bar, uint32_t pages, const char *name);
void try_refusals(void);
void try_tool(void);
void try_revoke(unsigned rounds);
void try_decode(unsigned rounds);
void try_importer(void);
void try_unbind(void);
void try_reload(void);
void try_p2pmem(void);
void measure(unsigned rounds);

#endif
