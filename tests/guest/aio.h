/*
 * Linux's asynchronous I/O (io_submit(2)), without a library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_GUEST_AIO_H
#define P2P_GUEST_AIO_H

#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "guest.h"

static inline aio_context_t aio_begin(unsigned depth)
{
    aio_context_t context = 0;

    if (syscall(SYS_io_setup, depth, &context) < 0) {
        die("io_setup: %m");
    }
    return context;
}

static inline void aio_end(aio_context_t context)
{
    syscall(SYS_io_destroy, context);
}

static inline void aio_prepare(struct iocb *iocb, const Disk *disk, bool write,
                               void *data, size_t size, uint64_t at)
{
    *iocb = (struct iocb) {
        .aio_data = (uintptr_t)iocb,
        .aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
        .aio_fildes = disk->fd,
        .aio_buf = (uintptr_t)data,
        .aio_nbytes = size,
        .aio_offset = at,
    };
}

static inline void aio_submit(aio_context_t context, struct iocb **iocbs,
                              unsigned n)
{
    while (n) {
        long done = syscall(SYS_io_submit, context, n, iocbs);

        if (done <= 0) {
            die("io_submit: %m");
        }
        iocbs += done;
        n -= done;
    }
}

/* Wait for at least @least; returns how many. */
static inline unsigned aio_wait(aio_context_t context, struct io_event *events,
                                unsigned least, unsigned most)
{
    long n = syscall(SYS_io_getevents, context, least, most, events, NULL);

    if (n < (long)least) {
        die("io_getevents: %m");
    }
    return n;
}

#endif
