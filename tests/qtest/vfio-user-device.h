/*
 * A vfio-user-pci device of the machine under test, and the process behind it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_VFIO_USER_DEVICE_H
#define P2P_TESTS_VFIO_USER_DEVICE_H

#include <glib.h>

/* A process of vfio-user-server.c */
typedef struct VfioUserServer {
    GPid pid;         /* 0: none */
    int out;          /* its standard output, behind "ready"; non-blocking */
} VfioUserServer;

/*
 * vfio_user_server_start: returns when QEMU can connect.
 *
 * @path: of its socket
 * @bar_size: bytes of BAR 2
 * @option: one more of its options, or NULL
 */
void vfio_user_server_start(VfioUserServer *server, const char *path,
                            uint64_t bar_size, const char *option);

/*
 * vfio_user_server_wait: wait for its end, which is that of its client, and
 * remove its socket.  Returns its wait status.
 */
int vfio_user_server_wait(VfioUserServer *server, const char *path);

/*
 * vfio_user_device_json: what QEMU's -device and device_add take.
 *
 * @path: of the server's socket
 * @properties: further ones, as in JSON, each with a comma in front
 *
 * The caller frees it.
 */
char *vfio_user_device_json(const char *id, unsigned slot, const char *path,
                            const char *properties);

#endif /* P2P_TESTS_VFIO_USER_DEVICE_H */
