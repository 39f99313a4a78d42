/*
 * What all that runs as process 1 of a guest needs: file systems, modules,
 * the console of results, disks by their serial number
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

#define WAIT 20             /* seconds for disks to appear */

void end(bool complete)
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

void mount_at(const char *type, const char *path)
{
    mkdir(path, 0755);
    if (mount(type, path, type, 0, NULL) < 0 && errno != EBUSY) {
        die("mount %s: %m", path);
    }
}

static bool insert_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0;
    int why = errno;

    if (fd >= 0) {
        close(fd);
    }
    errno = why;
    return ok;
}

void load_module(const char *path)
{
    if (!insert_module(path)) {
        die("%s: %m", path);
    }
}

/* Of a kernel that has drivers as modules: /modules names them, in order. */
static void load_modules(void)
{
    FILE *list = fopen("/modules", "r");
    char path[256];

    while (list && fgets(path, sizeof(path), list)) {
        path[strcspn(path, "\n")] = '\0';
        /* Some are for other processors. */
        if (!insert_module(path) && errno != ENODEV) {
            die("%s: %m", path);
        }
    }
    if (list) {
        fclose(list);
    }
}

/* What comes from the host is for us, and nobody's line to edit or to echo. */
static void make_raw(int fd)
{
    struct termios mode;

    if (tcgetattr(fd, &mode) == 0) {
        cfmakeraw(&mode);
        tcsetattr(fd, TCSANOW, &mode);
    }
}

void begin(void)
{
    /* The kernel's console, until there is the other one */
    mount_at("devtmpfs", "/dev");
    if (!freopen("/dev/console", "w", stdout)) {
        end(false);
    }
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    load_modules();
    if (access("/dev/hvc0", W_OK) < 0 || !freopen("/dev/hvc0", "w", stdout) ||
        !freopen("/dev/hvc0", "r", stdin)) {
        die("no virtio console: %m");
    }
    make_raw(STDIN_FILENO);
}

/* --- Disks -------------------------------------------------------------- */

bool read_line(const char *path, char *line, size_t size)
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
char *wait_for_block(unsigned index)
{
    static double waited;
    char *name;

    while (!(name = find_block(index)) && waited < WAIT) {
        nanosleep(&(struct timespec) { .tv_nsec = 20 * 1000 * 1000 }, NULL);
        waited += 0.02;
    }
    return name;
}

/* --- The command line --------------------------------------------------- */

const char *option(int argc, char **argv, const char *name)
{
    size_t n = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=') {
            return argv[i] + n + 1;
        }
    }
    die("no %s= on the command line", name);
}
