/*
 * The file of a copy
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "copy.h"

/* Of a kernel, or a file system, that does not tell */
#define BLOCK_GUESS 4096

static enum status cannot(const char *name)
{
    switch (errno) {
    case EINVAL:
        message("%s: its file system has no direct I/O; use one on a disk, "
                "such as ext4 or XFS, or --buffered, which goes through the "
                "page cache", name);
        break;
    case ENOENT:
        message("%s: %s (a window is BDF:barN[@OFFSET[-END]])", name,
                strerror(errno));
        break;
    default:
        message("%s: %s", name, strerror(errno));
    }
    return STATUS_CANNOT;
}

/* What direct I/O asks of places, sizes and memory */
static void find_alignment(struct file *file, const struct stat *st)
{
    int sector = 0;

    file->block = BLOCK_GUESS;
    file->alignment = BLOCK_GUESS;
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_offset_align) {
        file->block = stx.stx_dio_offset_align;
        file->alignment = stx.stx_dio_mem_align;
        return;
    }
#endif
    if (S_ISBLK(st->st_mode) && ioctl(file->fd, BLKSSZGET, &sector) == 0 &&
        sector > 0) {
        file->block = sector;
        file->alignment = sector;
    }
}

static enum status look_at(struct file *file, bool direct)
{
    struct stat st;

    if (fstat(file->fd, &st) < 0) {
        return cannot(file->name);
    }
    file->regular = S_ISREG(st.st_mode);
    file->size = st.st_size;
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(file->fd, BLKGETSIZE64, &file->size) < 0) {
            return cannot(file->name);
        }
    } else if (!file->regular) {
        message("%s is neither a regular file nor a block device",
                file->name);
        return STATUS_CANNOT;
    }
    file->block = 1;
    file->alignment = 1;
    if (direct) {
        find_alignment(file, &st);
    }
    if (file->block > BLOCK_MAX) {
        message("%s: direct I/O in blocks of %u bytes is more than this "
                "program knows; use --buffered", file->name, file->block);
        return STATUS_CANNOT;
    }
    return STATUS_OK;
}

enum status file_open_source(struct file *file, const char *name, bool direct)
{
    *file = (struct file) { .name = name };
    file->fd = open(name, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
    return file->fd < 0 ? cannot(name) : look_at(file, direct);
}

/* With the mode of the file that it replaces, or as of a new one */
static void take_mode(int fd, const struct stat *old)
{
    mode_t mask = umask(0);

    umask(mask);
    /* If it cannot be changed the file is its owner's alone. */
    if (fchmod(fd, old ? old->st_mode & 0777 : 0666 & ~mask) < 0) {
        return;
    }
}

static enum status open_beside(struct file *file, bool direct,
                               const struct stat *old)
{
    file->path = old ? realpath(file->name, NULL) : strdup(file->name);
    if (!file->path) {
        return cannot(file->name);
    }
    if (asprintf(&file->temporary, "%s.XXXXXX", file->path) < 0) {
        file->temporary = NULL;
        message("no memory");
        return STATUS_CANNOT;
    }
    file->fd = mkostemp(file->temporary,
                        O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (file->fd < 0) {
        int why = errno;

        /* The name is no file's, but one that cannot do it may be left. */
        if (why == EINVAL) {
            unlink(file->temporary);
        }
        free(file->temporary);
        file->temporary = NULL;
        errno = why;
        return cannot(file->name);
    }
    take_mode(file->fd, old);
    return look_at(file, direct);
}

enum status file_open_target(struct file *file, const char *name, bool direct)
{
    struct stat st;
    bool there = stat(name, &st) == 0;

    *file = (struct file) { .name = name, .fd = -1 };
    if (!there && errno != ENOENT) {
        return cannot(name);
    }
    if (!there || S_ISREG(st.st_mode)) {
        return open_beside(file, direct, there ? &st : NULL);
    }
    file->fd = open(name, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
    return file->fd < 0 ? cannot(name) : look_at(file, direct);
}

enum status file_keep(struct file *file)
{
    if (fsync(file->fd) < 0 ||
        (file->temporary && rename(file->temporary, file->path) < 0)) {
        return cannot(file->name);
    }
    free(file->temporary);
    file->temporary = NULL;
    return STATUS_OK;
}

void file_close(struct file *file)
{
    if (file->temporary) {
        unlink(file->temporary);
        free(file->temporary);
        file->temporary = NULL;
    }
    free(file->path);
    file->path = NULL;
    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
}
