/*
 * Moving the data of a copy, and comparing it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "copy.h"

#define PAGE 4096

static struct copy_result ended(enum copy_end end, uint64_t at)
{
    return (struct copy_result) {
        .end = end,
        .error = end == COPY_FAILED ? errno : 0,
        .at = at,
    };
}

/* --- The CPU in a window that may go ------------------------------------- */

static sigjmp_buf gone;

static void on_bus_error(int signal)
{
    (void)signal;
    siglongjmp(gone, 1);
}

struct touch {
    void (*run)(struct touch *touch);
    uint8_t *to;
    const uint8_t *from;
    size_t size;
    size_t equal;               /* out, of compare(): bytes */
};

static void move(struct touch *touch)
{
    memcpy(touch->to, touch->from, touch->size);
}

static void compare(struct touch *touch)
{
    touch->equal = 0;
    if (memcmp(touch->to, touch->from, touch->size) == 0) {
        touch->equal = touch->size;
        return;
    }
    while (touch->equal < touch->size &&
           touch->to[touch->equal] == touch->from[touch->equal]) {
        touch->equal++;
    }
}

/* False: the window has gone (SIGBUS). */
static bool guarded(struct touch *touch)
{
    struct sigaction action = { .sa_handler = on_bus_error };
    struct sigaction before;
    volatile bool there = true;

    sigaction(SIGBUS, &action, &before);
    if (sigsetjmp(gone, 1) == 0) {
        touch->run(touch);
    } else {
        there = false;
    }
    sigaction(SIGBUS, &before, NULL);
    return there;
}

/* --- Reading and writing ------------------------------------------------- */

/*
 * All of @size bytes between the file at @at and @data.  What is short is gone
 * on with, as long as direct I/O can go on there.
 */
static struct copy_result transfer(const struct file *file, bool write,
                                   uint8_t *data, size_t size, uint64_t at)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n;

        if (stopped) {
            return ended(COPY_STOPPED, at + done);
        }
        n = write ? pwrite(file->fd, data + done, size - done, at + done)
                  : pread(file->fd, data + done, size - done, at + done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ended(COPY_FAILED, at + done);
        }
        done += n;
        if (n == 0 || (done < size && done % file->block)) {
            return ended(COPY_SHORT, at + done);
        }
    }
    return ended(COPY_DONE, at + done);
}

/* The last bytes, fewer than a block: no disk can write them by itself. */
static struct copy_result copy_tail(const struct copy *copy, uint64_t at)
{
    uint8_t block[BLOCK_MAX];
    struct touch touch = { .run = move, .size = copy->size - at };
    struct copy_result result;
    int flags = fcntl(copy->file->fd, F_GETFL);

    if (flags < 0 ||
        fcntl(copy->file->fd, F_SETFL, flags & ~O_DIRECT) < 0) {
        return ended(COPY_FAILED, at);
    }
    if (copy->to_window) {
        touch.to = copy->window + at;
        touch.from = block;
        result = transfer(copy->file, false, block, touch.size, at);
        if (result.end == COPY_DONE && !guarded(&touch)) {
            result = ended(COPY_GONE, at);
        }
    } else {
        touch.to = block;
        touch.from = copy->window + at;
        result = guarded(&touch)
                 ? transfer(copy->file, true, block, touch.size, at)
                 : ended(COPY_GONE, at);
    }
    fcntl(copy->file->fd, F_SETFL, flags);
    return result;
}

static void tell(const struct copy *copy, const char *what, uint64_t done)
{
    if (copy->progress) {
        copy->progress(what, done, copy->size);
    }
}

static size_t piece_at(uint64_t at, uint64_t size)
{
    return size - at < COPY_PIECE ? size - at : COPY_PIECE;
}

struct copy_result copy_run(const struct copy *copy)
{
    uint64_t whole = copy->size - copy->size % copy->file->block;
    struct copy_result result = ended(COPY_DONE, 0);

    for (uint64_t at = 0; at < whole; at = result.at) {
        result = transfer(copy->file, !copy->to_window, copy->window + at,
                          piece_at(at, whole), at);
        if (result.end != COPY_DONE) {
            return result;
        }
        tell(copy, "copied", result.at);
    }
    if (whole < copy->size) {
        result = copy_tail(copy, whole);
    }
    return result;
}

/* --- Verifying ----------------------------------------------------------- */

/* A read up to the end of a block, of which the file may have a part only */
static struct copy_result read_piece(const struct copy *copy, uint8_t *ram,
                                     size_t size, uint64_t at)
{
    uint32_t block = copy->file->block;
    struct copy_result result;

    result = transfer(copy->file, false, ram,
                      (size + block - 1) / block * block, at);
    if (result.end == COPY_SHORT && result.at >= at + size) {
        result = ended(COPY_DONE, at + size);
    }
    return result;
}

static struct copy_result verify_piece(const struct copy *copy, uint8_t *ram,
                                       uint64_t at)
{
    struct touch touch = {
        .run = compare,
        .to = copy->window + at,
        .from = ram,
        .size = piece_at(at, copy->size),
    };
    struct copy_result result = read_piece(copy, ram, touch.size, at);

    if (result.end != COPY_DONE) {
        return result;
    }
    if (!guarded(&touch)) {
        return ended(COPY_GONE, at);
    }
    return ended(touch.equal == touch.size ? COPY_DONE : COPY_DIFFERS,
                 at + touch.equal);
}

struct copy_result copy_verify(const struct copy *copy)
{
    struct copy_result result = ended(COPY_DONE, 0);
    void *ram;
    int error = posix_memalign(&ram, PAGE, COPY_PIECE);

    if (error) {
        errno = error;
        return ended(COPY_FAILED, 0);
    }
    while (result.end == COPY_DONE && result.at < copy->size) {
        result = verify_piece(copy, ram, result.at);
        tell(copy, "compared", result.at);
    }
    free(ram);
    return result;
}
