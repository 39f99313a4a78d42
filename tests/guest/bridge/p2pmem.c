/*
 * The way of stock drivers: P2PDMA pages of another disk's controller memory
 * buffer, a member of the group, too
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bridge.h"

#define SIZE MIB

static uint8_t *allocate(void)
{
    glob_t found = {};
    uint8_t *data;
    int fd;

    if (glob("/sys/bus/pci/drivers/nvme/*/p2pmem/allocate", 0, NULL, &found)) {
        complain("no disk has p2pmem");
        return NULL;
    }
    fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    globfree(&found);
    if (data == MAP_FAILED) {
        complain("p2pmem/allocate: %m");
        return NULL;
    }
    return data;
}

static bool moved(ssize_t n, const char *what)
{
    if (n != SIZE) {
        complain("%s: %m", what);
    }
    return n == SIZE;
}

void try_p2pmem(void)
{
    uint8_t *ram = aligned_alloc(4096, SIZE);
    uint8_t *data = allocate();
    uint32_t tag = new_tag();
    int in = open_direct(PATTERN);
    int out = open_direct(FOLDER "/out-p2pmem");

    report(data && moved(pread(in, data, SIZE, MIB), "read") &&
           is_filled(data, SIZE, TAG_PATTERN, MIB, "the buffer"),
           "p2pmem/read");
    if (data) {
        fill(data, SIZE, tag, 0);
    }
    report(data && moved(pwrite(out, data, SIZE, 0), "write") &&
           moved(pread(out, ram, SIZE, 0), "read into RAM") &&
           is_filled(ram, SIZE, tag, 0, "the file") && fsync(out) == 0 &&
           host("keep out-p2pmem %u %u", SIZE, tag), "p2pmem/write");
    if (data) {
        munmap(data, SIZE);
    }
    close(in);
    close(out);
    free(ram);
}
