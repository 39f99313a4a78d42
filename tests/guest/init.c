/*
 * Process 1 of the guest that tries disks
 *
 * The kernel's command line has, behind "--", what to do:
 *
 *   verify|bench target=yes|no rounds=N disks=NAME,NAME...
 *
 * The disk of the list's entry N, from 0, has the serial number p2p-N. Lines
 * of results go to the virtio console, of which nobody else writes a word;
 * the last one is "end".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "guest.h"

#define DISKS_MAX 32
#define RAM_SIZE (16 * MIB)

/* --- The target --------------------------------------------------------- */

static Memory map_memory(const char *name, const char *path, size_t size,
                         bool p2pdma)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    Memory memory = { .name = name, .size = size, .p2pdma = p2pdma };

    if (fd < 0) {
        die("%s: %m", path);
    }
    memory.data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory.data == MAP_FAILED) {
        die("mapping of %zu bytes of %s: %m", size, path);
    }
    close(fd);
    return memory;
}

/* @folder: of the target in sysfs */
static size_t pool_size(const char *folder)
{
    char path[256];
    char text[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "%s/size", folder);
    file = fopen(path, "r");
    if (!file || !fgets(text, sizeof(text), file)) {
        die("%s: %m", path);
    }
    fclose(file);
    return strtoul(text, NULL, 0);
}

static void find_target(Memory *memory)
{
    char path[256];
    size_t size;
    glob_t found;

    load_module("/p2p-target.ko");
    if (glob("/sys/module/p2p_target/drivers/pci:*/0*/p2pmem", 0, NULL,
             &found)) {
        die("no target: its driver has found no device with such a BAR");
    }
    size = pool_size(found.gl_pathv[0]);
    snprintf(path, sizeof(path), "%s/allocate", found.gl_pathv[0]);
    memory[MEMORY_P2PDMA] = map_memory("p2pdma", path, size, true);
    memory[MEMORY_GENERIC] = map_memory("generic", "/dev/p2p-generic", size,
                                        false);
    globfree(&found);
}

/* --- Disks -------------------------------------------------------------- */

/* As large as the disk can: Linux by itself asks for less at a time. */
static void allow_large_requests(const char *block)
{
    char path[64];
    char text[32];
    int fd;

    snprintf(path, sizeof(path), "/sys/block/%s/queue/max_hw_sectors_kb",
             block);
    if (!read_line(path, text, sizeof(text))) {
        die("%s: %m", path);
    }
    snprintf(path, sizeof(path), "/sys/block/%s/queue/max_sectors_kb", block);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        die("%s: %m", path);
    }
    close(fd);
}

static bool open_disk(Disk *disk, const char *name, unsigned index)
{
    char path[64];
    char text[32];
    char *block = wait_for_block(index);

    *disk = (Disk) { .name = name, .index = index };
    if (!block) {
        complain("the guest has no such disk");
        return false;
    }
    snprintf(path, sizeof(path), "/dev/%s", block);
    disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk->fd < 0 || ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0) {
        complain("%s: %m", path);
        return false;
    }
    allow_large_requests(block);
    /* Linux's name for it is a mask. */
    snprintf(path, sizeof(path), "/sys/block/%s/queue/dma_alignment", block);
    disk->alignment = read_line(path, text, sizeof(text)) ? atoi(text) + 1
                                                          : 512;
    /* The only one of the drivers in this kernel */
    disk->p2pdma = strncmp(block, "nvme", 4) == 0;
    free(block);
    return true;
}

static unsigned open_disks(Disk *disks, char *names)
{
    unsigned n = 0;
    unsigned index = 0;

    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        if (index == DISKS_MAX) {
            die("more than %d disks", DISKS_MAX);
        }
        if (open_disk(&disks[n], name, index)) {
            n++;
        } else {
            report(false, "%s", name);
        }
        index++;
    }
    return n;
}

/* --- What to do --------------------------------------------------------- */

int main(int argc, char **argv)
{
    static Disk disks[DISKS_MAX];
    Memory memory[MEMORY_KINDS] = {};
    unsigned n;

    begin();
    if (strcmp(option(argc, argv, "target"), "yes") == 0) {
        find_target(memory);
    }
    memory[MEMORY_RAM] = (Memory) {
        .name = "ram",
        .size = RAM_SIZE,
        .data = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0),
    };
    if (memory[MEMORY_RAM].data == MAP_FAILED) {
        die("%d bytes of RAM: %m", RAM_SIZE);
    }

    n = open_disks(disks, strdup(option(argc, argv, "disks")));
    if (argc > 1 && strcmp(argv[1], "verify") == 0) {
        for (unsigned i = 0; i < n; i++) {
            verify(&disks[i], memory);
        }
    } else if (argc > 1 && strcmp(argv[1], "bench") == 0) {
        bench(disks, n, memory, atoi(option(argc, argv, "rounds")));
    } else {
        die("neither verify nor bench");
    }
    end(true);
}
