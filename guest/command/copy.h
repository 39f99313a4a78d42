/*
 * Between a file and a window
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_BRIDGE_COPY_H
#define P2P_BRIDGE_COPY_H

#include <sys/types.h>
#include "command.h"

#define COPY_PIECE (1024 * 1024)    /* bytes of one read or write */
#define BLOCK_MAX 65536             /* bytes, of a block of direct I/O */

struct file {
    const char *name;           /* as the user has called it */
    char *path;                 /* to be written: where its links lead */
    char *temporary;            /* that becomes @path in the end; or NULL */
    int fd;
    uint64_t size;              /* bytes; what is read */
    uint32_t block;             /* O_DIRECT: of which places and sizes are
                                   multiples; 1: not O_DIRECT */
    uint32_t alignment;         /* the same of memory */
    bool regular;
};

struct copy {
    struct file *file;
    uint8_t *window;            /* where it begins */
    uint64_t size;              /* bytes */
    bool to_window;
    /* Called now and then, if not NULL; all of it in bytes */
    void (*progress)(const char *what, uint64_t done, uint64_t all);
};

enum copy_end {
    COPY_DONE,
    COPY_FAILED,                /* @error */
    COPY_SHORT,                 /* the file has ended early */
    COPY_GONE,                  /* the window has */
    COPY_STOPPED,               /* by a signal */
    COPY_DIFFERS,               /* @at is the first byte that does */
};

struct copy_result {
    enum copy_end end;
    int error;                  /* errno */
    uint64_t at;                /* bytes that are right, before that */
};

/*
 * copy_run: move the data.  Pieces of COPY_PIECE go directly between disk and
 * window; what does not fill a block at the end goes through the CPU.
 */
struct copy_result copy_run(const struct copy *copy);

/* copy_verify: read the file again, into RAM, and compare. */
struct copy_result copy_verify(const struct copy *copy);

/* @direct: O_DIRECT.  STATUS_OK, or a message was printed. */
enum status file_open_source(struct file *file, const char *name, bool direct);

/*
 * A regular file is written under another name, beside, which file_keep() gives
 * up for its own; others are written in place.
 */
enum status file_open_target(struct file *file, const char *name, bool direct);

/* All is written: to the disk with it, and to its name. */
enum status file_keep(struct file *file);

/* Remove what was not kept, and close. */
void file_close(struct file *file);

/* A bar on standard error, if that is a terminal; for struct copy */
void show_progress(const char *what, uint64_t done, uint64_t all);
void end_progress(void);

#endif
