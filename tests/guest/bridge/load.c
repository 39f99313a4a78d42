/*
 * Threads that use a window until it goes
 *
 * Readers have the disk read into the window, writers have it write from there,
 * one thread looks at the memory. Each goes on until a call fails, or there is a
 * SIGBUS. What was said to be done before must have been done: what was read is
 * in the target's memory, what was written is on the disk. The piece in which
 * the end came may be anything.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "load.h"

#define PIECE (256 * KIB)
#define PIECES 4                /* of a thread, one after the other */
#define PART (PIECES * PIECE)
#define READERS 2
#define WRITERS 2
#define THREADS (READERS + WRITERS + 1)
#define FILE_BAR 2

_Static_assert(THREADS * PART <= LOAD_WINDOW, "parts of the window");

typedef struct Thread {
    pthread_t thread;
    const Window *window;
    unsigned index;
    bool abrupt;
    int file;
    unsigned done;              /* pieces that were said to be moved */
    uint32_t tag[PIECES];       /* of a writer's last ones */
    int error;                  /* errno of the end; 0: SIGBUS */
    bool wrong;                 /* data was not what it was said to be */
} Thread;

struct Load {
    Thread threads[THREADS];
    int pattern;
    int out;
};

static uint8_t *piece(const Thread *thread, unsigned i)
{
    return thread->window->data + thread->index * PART + i % PIECES * PIECE;
}

/* Whether the thread goes on */
static bool has_moved(Thread *thread, ssize_t n)
{
    if (n != PIECE) {
        thread->error = n < 0 ? errno : EIO;
        return false;
    }
    __atomic_fetch_add(&thread->done, 1, __ATOMIC_RELEASE);
    return true;
}

static uint64_t place(const Thread *thread, unsigned i)
{
    return (uint64_t)(thread->index * PIECES + i % PIECES) * PIECE;
}

/* Of the pattern, another place each time */
static uint64_t read_from(unsigned i)
{
    return i * 7 % (PATTERN_SIZE / PIECE) * PIECE;
}

typedef struct Ones {
    const uint64_t *word;
    bool all;
} Ones;

static void look_for_ones(void *opaque)
{
    Ones *ones = opaque;

    ones->all = *ones->word == UINT64_MAX;
}

/* No window, and no SIGBUS yet: ones to the end of the piece, or SIGBUS */
static bool is_going(const Thread *thread, unsigned i)
{
    Ones ones = {
        .word = (const uint64_t *)(piece(thread, i) + PIECE) - 1,
    };

    return thread->abrupt && (!try_touch(look_for_ones, &ones) || ones.all);
}

static void *read_on(void *opaque)
{
    Thread *thread = opaque;

    for (unsigned i = 0; ; i++) {
        int right;

        if (!has_moved(thread, pread(thread->file, piece(thread, i), PIECE,
                                     read_from(i)))) {
            return NULL;
        }
        right = try_compare(piece(thread, i), PIECE, TAG_PATTERN,
                            read_from(i));
        if (right != 1) {
            thread->wrong = right == 0 && !is_going(thread, i);
            return NULL;
        }
    }
}

static void *write_on(void *opaque)
{
    Thread *thread = opaque;

    for (unsigned i = 0; ; i++) {
        uint32_t tag = new_tag();

        if (!try_fill(piece(thread, i), PIECE, tag, 0) ||
            !has_moved(thread, pwrite(thread->file, piece(thread, i), PIECE,
                                      place(thread, i)))) {
            return NULL;
        }
        thread->tag[i % PIECES] = tag;
    }
}

static void *look_on(void *opaque)
{
    Thread *thread = opaque;

    for (unsigned i = 0; ; i++) {
        uint32_t tag = new_tag();
        int right = try_fill(piece(thread, i), PIECE, tag, 0)
                    ? try_compare(piece(thread, i), PIECE, tag, 0) : -1;

        if (right != 1) {
            thread->wrong = right == 0 && !is_going(thread, i);
            return NULL;
        }
        __atomic_fetch_add(&thread->done, 1, __ATOMIC_RELEASE);
    }
}

Load *load_begin(const Window *window, bool abrupt)
{
    Load *load = calloc(1, sizeof(*load));

    load->pattern = open_direct(PATTERN);
    load->out = open_direct(FOLDER "/out-load");
    for (unsigned i = 0; i < THREADS; i++) {
        Thread *thread = &load->threads[i];

        *thread = (Thread) {
            .window = window,
            .index = i,
            .abrupt = abrupt,
            .file = i < READERS ? load->pattern : load->out,
        };
        if (pthread_create(&thread->thread, NULL,
                           i < READERS ? read_on :
                           i < READERS + WRITERS ? write_on : look_on,
                           thread)) {
            die("no thread");
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        while (__atomic_load_n(&load->threads[i].done, __ATOMIC_ACQUIRE) < 3) {
            usleep(1000);
        }
    }
    return load;
}

/* What the host sees of what was read last */
static bool reader_right(const Thread *thread)
{
    unsigned last = thread->done - 1;

    return thread->window->bar != FILE_BAR ||
           host("bar %td %u %u %zu",
                piece(thread, last) - thread->window->data, PIECE, TAG_PATTERN,
                (size_t)read_from(last));
}

/* What the disk has of what was written last: the piece after it is torn. */
static bool writer_right(const Thread *thread)
{
    uint8_t *ram = aligned_alloc(4096, PIECE);
    bool ok = true;

    for (unsigned i = thread->done > PIECES - 1 ? thread->done - PIECES + 1 : 0;
         i < thread->done; i++) {
        ok = ok && pread(thread->file, ram, PIECE, place(thread, i)) == PIECE &&
             is_filled(ram, PIECE, thread->tag[i % PIECES], 0, "the file");
    }
    free(ram);
    return ok;
}

/* How a call may tell that there is no window any more */
static bool is_honest(const Thread *thread)
{
    switch (thread->error) {
    case 0:
    case EFAULT:
    case EIO:
        return true;
    case ENODATA:
        /* What Linux makes of an error that the disk itself had with it */
        return thread->abrupt;
    default:
        return false;
    }
}

static bool ended_well(const Thread *thread)
{
    if (!is_honest(thread)) {
        complain("thread %u: %s", thread->index, strerror(thread->error));
        return false;
    }
    if (thread->wrong) {
        complain("thread %u was given wrong data", thread->index);
        return false;
    }
    if (thread->index < READERS) {
        return reader_right(thread);
    }
    return thread->index >= READERS + WRITERS || writer_right(thread);
}

bool load_end(Load *load)
{
    bool ok = true;

    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(load->threads[i].thread, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        ok &= ended_well(&load->threads[i]);
    }
    close(load->pattern);
    close(load->out);
    free(load);
    return ok;
}
