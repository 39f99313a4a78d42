/*
 * io_uring: many requests at once, reads and writes, of one window
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge.h"

#define DEPTH 32
#define BLOCK (64 * KIB)
#define SIZE (DEPTH * BLOCK)

typedef struct Queue {
    struct io_uring ring;
    Window *window;
    int in;
    int out;
    uint32_t tag;
} Queue;

/* Even blocks are read, odd ones written. */
static void prepare(Queue *queue)
{
    fill(queue->window->data, SIZE, queue->tag, 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
        uint8_t *data = queue->window->data + i * BLOCK;

        if (i & 1) {
            io_uring_prep_write(sqe, queue->out, data, BLOCK, i * BLOCK);
        } else {
            io_uring_prep_read(sqe, queue->in, data, BLOCK, i * BLOCK);
        }
        io_uring_sqe_set_data64(sqe, i);
    }
}

static bool complete(Queue *queue)
{
    bool ok = io_uring_submit(&queue->ring) == DEPTH;

    for (unsigned i = 0; i < DEPTH && ok; i++) {
        struct io_uring_cqe *cqe;

        if (io_uring_wait_cqe(&queue->ring, &cqe) < 0) {
            complain("io_uring_wait_cqe failed");
            return false;
        }
        if (cqe->res != BLOCK) {
            complain("request %u: %s", (unsigned)cqe->user_data,
                     cqe->res < 0 ? strerror(-cqe->res) : "short");
            ok = false;
        }
        io_uring_cqe_seen(&queue->ring, cqe);
    }
    return ok;
}

static bool compare(Queue *queue)
{
    uint8_t *ram = aligned_alloc(4096, BLOCK);
    bool ok = true;

    for (unsigned i = 0; i < DEPTH && ok; i++) {
        uint64_t at = i * BLOCK;

        ok = is_filled(queue->window->data + at, BLOCK,
                       i & 1 ? queue->tag : TAG_PATTERN, at, "the window");
        if (i & 1) {
            ok &= pread(queue->out, ram, BLOCK, at) == BLOCK &&
                  is_filled(ram, BLOCK, queue->tag, at, "the file");
        }
    }
    free(ram);
    return ok;
}

void try_uring(uint32_t bar, uint32_t pages, const char *name)
{
    Window window;
    Queue queue = {
        .window = &window,
        .in = open_direct(PATTERN),
        .out = open_direct(FOLDER "/out-uring"),
    };
    int status = io_uring_queue_init(DEPTH, &queue.ring, 0);

    if (status < 0) {
        die("io_uring: %s", strerror(-status));
    }
    if (open_window(&window, bar, 0, SIZE, pages)) {
        bool ok = true;

        for (unsigned i = 0; i < 4 && ok; i++) {
            queue.tag = new_tag();
            prepare(&queue);
            ok = complete(&queue) && compare(&queue);
        }
        report(ok & close_window(&window), "%s/io_uring", name);
    } else {
        report(false, "%s/io_uring", name);
    }
    io_uring_queue_exit(&queue.ring);
    close(queue.in);
    close(queue.out);
}
