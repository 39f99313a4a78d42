/*
 * The program of the guest: disks, the target's memory, and what is done
 * with them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_GUEST_H
#define P2P_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KIB 1024
#define MIB (1024 * 1024)

typedef struct Disk {
    const char *name;   /* DEVICE/BACK-END */
    unsigned index;     /* its content is that of tests/lab/pattern INDEX */
    int fd;             /* of the block device, O_DIRECT */
    uint64_t size;      /* bytes */
    size_t alignment;   /* in bytes, that its driver wants of memory */
    bool p2pdma;        /* its driver takes P2PDMA pages */
} Disk;

typedef struct Memory {
    const char *name;   /* NULL: there is none */
    uint8_t *data;
    size_t size;        /* bytes */
    bool p2pdma;        /* these are P2PDMA pages */
} Memory;

/* One page kind of the target each; and guest RAM, at least as large */
enum { MEMORY_P2PDMA, MEMORY_GENERIC, MEMORY_RAM, MEMORY_KINDS };

/*
 * A disk's content, and what is written to it: the 64-bit word for byte
 * OFFSET of the disk is @tag << 40 | OFFSET, little-endian.
 */
#define TAG_BITS 40
/* Before the first write: what tests/lab/pattern makes */
#define TAG_INITIAL(index) (((index) + 1u) << 16)
/* What verify() leaves behind: tests/lab/pattern, 128 drives further */
#define TAG_FINAL(index) (((index) + 129u) << 16)

void fill(void *data, size_t size, uint32_t tag, uint64_t offset);

/*
 * Whether @data is what fill() has made. If not, tell what is wrong, in a line
 * for report(); @what says whose data it is.
 */
bool is_filled(const void *data, size_t size, uint32_t tag, uint64_t offset,
               const char *what);

/* All of @size bytes or failure, which is told in a line for report(). */
bool read_disk(const Disk *disk, void *data, size_t size, uint64_t at);
bool write_disk(const Disk *disk, const void *data, size_t size, uint64_t at);

/* Keep a line to print below the test's "not ok". */
void complain(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Print "ok" or "not ok" with the name, then the complaints. */
void report(bool ok, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- Process 1 ----------------------------------------------------------- */

/*
 * Mount what programs expect, load the modules that the file /modules lists,
 * and have standard output and input be the virtio console.
 */
void begin(void);

/* End the guest; @complete: it has come to its end, which the host is told. */
void end(bool complete);

/* For what makes all else meaningless: print, and end the guest. */
void die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

void mount_at(const char *type, const char *path);
void load_module(const char *path);

/* The first word of a file; false: there is none. */
bool read_line(const char *path, char *line, size_t size);

/*
 * The name in /dev of the disk with the serial number p2p-@index, for free();
 * NULL: there is none, and none appears.
 */
char *wait_for_block(unsigned index);

/* The value of NAME=VALUE in the program's arguments */
const char *option(int argc, char **argv, const char *name);

/* --- Disks and the target ------------------------------------------------- */

/* @memory: all MEMORY_KINDS */
void verify(const Disk *disk, const Memory *memory);
void bench(const Disk *disks, unsigned n, const Memory *memory,
           unsigned rounds);

#endif
