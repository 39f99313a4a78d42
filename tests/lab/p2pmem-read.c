/*
 * p2pmem-read TARGET DISK INDEX: does Linux let a drive write into a device's
 * P2P memory, and does the data arrive?
 *
 * Reads the first blocks of DISK, a drive of the lab with its number INDEX,
 * with O_DIRECT into P2P memory of the PCI function TARGET, and looks at it.
 * Prints "intact", "lost" (Linux said yes, the data is not there), or "refused"
 * and why.  Exit status 0; 1: it could not be tried.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536

/* See tests/lab/pattern. */
static int is_pattern(const volatile uint64_t *words, unsigned index)
{
    for (uint64_t i = 0; i < SIZE / sizeof(*words); i++) {
        if (words[i] != ((uint64_t)(index + 1) << 56 | i * sizeof(*words))) {
            return 0;
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    char path[128];
    volatile uint64_t *memory;
    int fd, disk;
    ssize_t n;

    if (argc != 4) {
        fputs("usage: p2pmem-read TARGET DISK INDEX\n", stderr);
        return 1;
    }
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/p2pmem/allocate",
             argv[1]);
    fd = open(path, O_RDWR);
    memory = fd < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                                        MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        perror(path);
        return 1;
    }
    disk = open(argv[2], O_RDONLY | O_DIRECT);
    if (disk < 0) {
        perror(argv[2]);
        return 1;
    }
    /* What a former transfer may have left is not to be taken for this one. */
    for (size_t i = 0; i < SIZE / sizeof(*memory); i++) {
        memory[i] = ~UINT64_C(0);
    }
    n = pread(disk, (void *)memory, SIZE, 0);
    if (n < 0) {
        printf("refused %s\n", strerrorname_np(errno));
    } else if (n != SIZE) {
        fprintf(stderr, "%s: only %zd bytes\n", argv[2], n);
        return 1;
    } else {
        puts(is_pattern(memory, atoi(argv[3])) ? "intact" : "lost");
    }
    return 0;
}
