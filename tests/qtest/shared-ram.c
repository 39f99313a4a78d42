/*
 * Guest RAM that the test sees as its own memory, too
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib.h>
#include "shared-ram.h"

void shared_ram_new(SharedRam *ram, uint64_t size)
{
    ram->size = size;
    ram->fd = memfd_create("guest-ram", MFD_CLOEXEC);
    g_assert_cmpint(ram->fd, >=, 0);
    g_assert_cmpint(ftruncate(ram->fd, size), ==, 0);
    ram->hva = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd,
                    0);
    g_assert_true(ram->hva != MAP_FAILED);
}

void shared_ram_free(SharedRam *ram)
{
    munmap(ram->hva, ram->size);
    close(ram->fd);
}

char *shared_ram_options(const SharedRam *ram)
{
    return g_strdup_printf("-m size=%" PRIu64 "B -object memory-backend-file,"
                           "id=ram,share=on,size=%" PRIu64 ","
                           "mem-path=/proc/%d/fd/%d", ram->size, ram->size,
                           (int)getpid(), ram->fd);
}
