/*
 * Process 1 of the guest
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
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

#define DISKS_MAX 32
#define RAM_SIZE (16 * MIB)
#define WAIT 20             /* seconds for disks to appear */

static void end(bool complete)
{
    if (complete) {
        puts("end");
    }
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
    sync();
    reboot(RB_AUTOBOOT);
    for (;;) {
        pause();
    }
}

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("Bail out! ", stdout);
    vprintf(format, args);
    puts("");
    va_end(args);
    end(false);
    abort();
}

static void mount_at(const char *type, const char *path)
{
    mkdir(path, 0755);
    if (mount(type, path, type, 0, NULL) < 0 && errno != EBUSY) {
        die("mount %s: %m", path);
    }
}

/* --- The target --------------------------------------------------------- */

static void load_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) {
        die("%s: %m", path);
    }
    close(fd);
}

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

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "r");
    bool ok = file && fgets(line, size, file);

    if (file) {
        fclose(file);
    }
    if (ok) {
        line[strcspn(line, " \n")] = '\0';
    }
    return ok;
}

/* @path: a disk's serial number in sysfs; returns its name in /dev */
static char *block_name(const char *path)
{
    char name[32];

    return sscanf(path, "/sys/block/%31[^/]", name) == 1 ? strdup(name) : NULL;
}

static char *find_block(unsigned index)
{
    char wanted[32];
    char *name = NULL;
    glob_t found = {};

    snprintf(wanted, sizeof(wanted), "p2p-%u", index);
    glob("/sys/block/[a-z]*/serial", 0, NULL, &found);
    glob("/sys/block/[a-z]*/device/serial", GLOB_APPEND, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc && !name; i++) {
        char serial[32] = "";

        if (read_line(found.gl_pathv[i], serial, sizeof(serial)) &&
            strcmp(serial, wanted) == 0) {
            name = block_name(found.gl_pathv[i]);
        }
    }
    globfree(&found);
    return name;
}

/* Drivers look for their disks at leisure. */
static char *wait_for_block(unsigned index)
{
    static double waited;
    char *name;

    while (!(name = find_block(index)) && waited < WAIT) {
        nanosleep(&(struct timespec) { .tv_nsec = 20 * 1000 * 1000 }, NULL);
        waited += 0.02;
    }
    return name;
}

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

static const char *option(int argc, char **argv, const char *name)
{
    size_t n = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=') {
            return argv[i] + n + 1;
        }
    }
    die("no %s= on the command line", name);
}

int main(int argc, char **argv)
{
    static Disk disks[DISKS_MAX];
    Memory memory[MEMORY_KINDS] = {};
    unsigned n;

    /* The kernel's console, until there is the other one */
    mount_at("devtmpfs", "/dev");
    freopen("/dev/console", "w", stdout);
    if (access("/dev/hvc0", W_OK) < 0 || !freopen("/dev/hvc0", "w", stdout)) {
        die("no virtio console: %m");
    }
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");

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
