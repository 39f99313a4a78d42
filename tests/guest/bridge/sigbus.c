/*
 * Memory that may go while it is touched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <setjmp.h>
#include <signal.h>
#include "bridge.h"

static __thread sigjmp_buf gone;
static __thread bool expected;

static void on_sigbus(int number)
{
    if (!expected) {
        signal(number, SIG_DFL);
        return;
    }
    siglongjmp(gone, 1);
}

void catch_sigbus(void)
{
    struct sigaction action = { .sa_handler = on_sigbus };

    sigaction(SIGBUS, &action, NULL);
}

bool try_touch(void (*touch)(void *opaque), void *opaque)
{
    if (sigsetjmp(gone, 1)) {
        expected = false;
        return false;
    }
    expected = true;
    touch(opaque);
    expected = false;
    return true;
}

typedef struct Piece {
    void *data;
    size_t size;
    uint32_t tag;
    uint64_t offset;
    bool right;
} Piece;

static void fill_piece(void *opaque)
{
    Piece *piece = opaque;

    fill(piece->data, piece->size, piece->tag, piece->offset);
}

static void compare_piece(void *opaque)
{
    Piece *piece = opaque;

    piece->right = is_filled(piece->data, piece->size, piece->tag,
                             piece->offset, "the window");
}

bool try_fill(void *data, size_t size, uint32_t tag, uint64_t offset)
{
    Piece piece = {
        .data = data, .size = size, .tag = tag, .offset = offset,
    };

    return try_touch(fill_piece, &piece);
}

int try_compare(const void *data, size_t size, uint32_t tag, uint64_t offset)
{
    Piece piece = {
        .data = (void *)data, .size = size, .tag = tag, .offset = offset,
    };

    return try_touch(compare_piece, &piece) ? piece.right : -1;
}
