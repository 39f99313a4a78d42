/*
 * A p2p-bridge driver, and files, that a test plays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fake-bridge.h"

#define FILES 256           /* descriptors whose O_DIRECT is remembered */

Fake fake;

static bool direct[FILES];

void fake_begin(void)
{
    fake = (Fake) {
        .node = 2,
        .other_nodes = ENOENT,
        .n_members = 2,
        .per_call = 1000,
        .access = P2P_BRIDGE_ACCESS_RW,
        .block = 4096,
        .device = -1,
        .memory = memfd_create("window", MFD_CLOEXEC),
    };
    memset(direct, 0, sizeof(direct));
    g_assert_cmpint(fake.memory, >=, 0);
    g_assert_cmpint(ftruncate(fake.memory, FAKE_WINDOW_SIZE), ==, 0);
}

void fake_end(void)
{
    close(fake.memory);
    if (fake.opened) {
        close(fake.events);
    }
}

void fake_event(uint16_t type, uint16_t reason, uint32_t window)
{
    struct p2p_bridge_event event = {
        .type = type, .reason = reason, .window = window, .generation = 8,
    };

    g_assert_cmpint(write(fake.events, &event, sizeof(event)), ==,
                    sizeof(event));
}

/* --- The driver ---------------------------------------------------------- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

static int open_node(unsigned node, int flags)
{
    int ends[2];

    if (node != fake.node) {
        errno = fake.other_nodes;
        return -1;
    }
    g_assert_cmpint(flags, ==, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
    fake.device = ends[0];
    fake.events = ends[1];
    g_atomic_int_inc(&fake.opened);
    return ends[0];
}

int __wrap_open64(const char *path, int flags, ...)
{
    unsigned node;
    mode_t mode;
    va_list args;
    int fd;

    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    if (sscanf(path, "/dev/p2p-bridge%u", &node) == 1) {
        return open_node(node, flags);
    }
    fd = __real_open64(path, flags & ~O_DIRECT, mode);
    if (fd >= 0 && fd < FILES) {
        direct[fd] = flags & O_DIRECT;
    }
    return fd;
}

static int identify(struct p2p_bridge_identify *identify)
{
    g_assert_cmpuint(identify->size, ==, sizeof(*identify));
    g_assert_cmpuint(identify->flags, ==, 0);
    *identify = (struct p2p_bridge_identify) {
        .size = sizeof(*identify), .generation = 7, .members = fake.n_members,
        .windows = 1, .pairs = 1, .max_windows = 64, .max_vector = 4096,
        .slots = 512, .slot_shift = 21, .page_shift = 12, .revoke_ms = 1000,
    };
    return 0;
}

static void list_entry(unsigned long request, char *entries, unsigned i,
                       unsigned index)
{
    if (request == P2P_BRIDGE_IOC_MEMBERS) {
        ((struct p2p_bridge_member *)entries)[i] = (struct p2p_bridge_member) {
            .rid = index ? FAKE_TARGET + index - 1 : FAKE_INITIATOR,
            .flags = index ? 0 : P2P_BRIDGE_MEMBER_INITIATES,
            .windows = index == 1,
        };
    } else if (request == P2P_BRIDGE_IOC_WINDOWS) {
        ((struct p2p_bridge_host_window *)entries)[i] =
            (struct p2p_bridge_host_window) {
                .rid = FAKE_TARGET, .bar = FAKE_BAR, .access = fake.access,
                .flags = P2P_BRIDGE_WINDOW_DECODED | P2P_BRIDGE_WINDOW_MEMORY,
                .length = FAKE_WINDOW_SIZE,
            };
    } else {
        ((struct p2p_bridge_pair *)entries)[i] = (struct p2p_bridge_pair) {
            .initiator = FAKE_INITIATOR, .target = FAKE_TARGET,
            .path = P2P_BRIDGE_PATH_PHB,
            .map_type = P2P_BRIDGE_MAP_THRU_HOST_BRIDGE,
            .flags = P2P_BRIDGE_PAIR_INSTALLED,
        };
    }
}

static int list(unsigned long request, struct p2p_bridge_list *list)
{
    unsigned total = request == P2P_BRIDGE_IOC_MEMBERS ? fake.n_members : 1;
    unsigned room = list->count;

    g_assert_cmpuint(list->size, ==, sizeof(*list));
    g_assert_cmpuint(list->flags, ==, 0);
    fake.lists++;
    list->count = 0;
    while (list->count < MIN(room, fake.per_call) &&
           list->first + list->count < total) {
        list_entry(request, (char *)(uintptr_t)list->entries, list->count,
                   list->first + list->count);
        list->count++;
    }
    if (fake.too_many) {
        list->count = room + 1;
    }
    list->total = total;
    list->generation = 7 + (fake.changes ? fake.lists / fake.changes : 0);
    return 0;
}

static int share(struct p2p_bridge_share *share)
{
    fake.share = *share;
    fake.shared = true;
    share->window = FAKE_NUMBER;
    return 0;
}

static int attach(struct p2p_bridge_attach *attach)
{
    fake.attach = *attach;
    g_atomic_int_set(&fake.attached, true);
    attach->slot = 3;
    attach->offset = 3 << 21;
    return 0;
}

static int export(unsigned long request, struct p2p_bridge_export *argument)
{
    fake.export = *argument;
    fake.export_request = request;
    argument->fd = dup(fake.memory);
    return 0;
}

static int translate(struct p2p_bridge_translate *translate)
{
    fake.translate = *translate;
    fake.translate_in = *(struct p2p_bridge_vec *)(uintptr_t)translate->in;
    translate->n_out = fake.answer.n_out;
    translate->status = fake.answer.status;
    translate->index = fake.answer.index;
    translate->reason = fake.answer.reason;
    translate->fault_addr = fake.answer.fault_addr;
    if (fake.answer.n_out && !fake.answer.status) {
        *(struct p2p_bridge_vec *)(uintptr_t)translate->out = fake.answer_vec;
    }
    return 0;
}

static int driver(unsigned long request, void *argument)
{
    switch (request) {
    case P2P_BRIDGE_IOC_IDENTIFY:
        return identify(argument);
    case P2P_BRIDGE_IOC_MEMBERS:
    case P2P_BRIDGE_IOC_WINDOWS:
    case P2P_BRIDGE_IOC_PAIRS:
        return list(request, argument);
    case P2P_BRIDGE_IOC_SHARE:
        return share(argument);
    case P2P_BRIDGE_IOC_UNSHARE:
        fake.unshare = *(struct p2p_bridge_window *)argument;
        fake.shared = false;
        return 0;
    case P2P_BRIDGE_IOC_ATTACH:
        return attach(argument);
    case P2P_BRIDGE_IOC_DETACH:
        fake.detach = *(struct p2p_bridge_window *)argument;
        g_atomic_int_set(&fake.attached, false);
        return 0;
    case P2P_BRIDGE_IOC_DMA_BUF:
    case P2P_BRIDGE_IOC_MEMORY:
        return export(request, argument);
    case P2P_BRIDGE_IOC_TRANSLATE:
        return translate(argument);
    case P2P_BRIDGE_IOC_BUS_RELEASE:
        fake.release = *(struct p2p_bridge_bus_release *)argument;
        return 0;
    default:
        errno = ENOTTY;
        return -1;
    }
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list args;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (fd != fake.device) {
        return __real_ioctl(fd, request, argument);
    }
    if (request == fake.fail) {
        errno = fake.error;
        return -1;
    }
    return driver(request, argument);
}

/* --- Files --------------------------------------------------------------- */

ssize_t __real_pread64(int fd, void *data, size_t size, off_t at);
ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at);
int __real_mkostemp64(char *path, int flags);
int __wrap_mkostemp64(char *path, int flags);
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

int __wrap_statx(int fd, const char *path, int flags, unsigned mask,
                 struct statx *stx);

/* 4096 is what is taken for granted where a file system does not tell. */
int __wrap_statx(int fd, const char *path, int flags, unsigned mask,
                 struct statx *stx)
{
    (void)fd;
    (void)path;
    (void)flags;
    *stx = (struct statx) {
        .stx_mask = fake.block == 4096 ? 0 : mask,
        .stx_dio_offset_align = fake.block,
        .stx_dio_mem_align = fake.block,
    };
    return 0;
}

int __wrap_mkostemp64(char *path, int flags)
{
    int fd = __real_mkostemp64(path, flags & ~O_DIRECT);

    if (fd >= 0 && fd < FILES) {
        direct[fd] = flags & O_DIRECT;
    }
    return fd;
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    long argument;
    int result;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    if (command == F_SETFL) {
        direct[fd] = argument & O_DIRECT;
        argument &= ~O_DIRECT;
    }
    result = __real_fcntl64(fd, command, argument);
    return command == F_GETFL && direct[fd] ? result | O_DIRECT : result;
}

/* Whether this transfer is made at all; else *@result is of it. */
static bool begin(int fd, const void *data, size_t *size, off_t at,
                  ssize_t *result)
{
    if (direct[fd]) {
        fake.direct++;
        if (*size % fake.block || at % fake.block ||
            (uintptr_t)data % fake.block) {
            errno = EINVAL;
            *result = -1;
            return false;
        }
    }
    if (++fake.transfers != fake.break_at) {
        return true;
    }
    if (fake.raise) {
        raise(fake.raise);
    }
    if (fake.revoke) {
        g_assert_cmpint(ftruncate(fake.memory, 0), ==, 0);
        fake_event(P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_UNSHARED,
                   FAKE_NUMBER);
    }
    if (fake.revoke_other) {
        fake_event(P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_UNSHARED,
                   FAKE_NUMBER + 64);
    }
    if (fake.break_error) {
        errno = fake.break_error;
        *result = -1;
        return false;
    }
    if (fake.break_size) {
        *size = MIN(*size, fake.break_size);
    }
    return true;
}

ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t at)
{
    ssize_t result;

    if (begin(fd, data, &size, at, &result)) {
        result = __real_pread64(fd, data, size, at);
        if (fake.spoil && fake.transfers == fake.break_at && result > 0) {
            ((char *)data)[result - 1] ^= 1;
        }
    }
    return result;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at)
{
    ssize_t result;

    if (begin(fd, data, &size, at, &result)) {
        result = __real_pwrite64(fd, data, size, at);
    }
    return result;
}
