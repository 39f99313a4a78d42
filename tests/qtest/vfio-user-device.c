/*
 * A vfio-user-pci device of the machine under test, and the process behind it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include "vfio-user-device.h"

void vfio_user_server_start(VfioUserServer *server, const char *path,
                            uint64_t bar_size, const char *option)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *home = g_path_get_dirname(self);
    /* The folder of the qtests, or one beside it */
    g_autofree char *program = g_build_filename(home, "..", "qtest",
                                                "vfio-user-server", NULL);
    g_autofree char *size = g_strdup_printf("--bar-size=%" PRIu64, bar_size);
    char *argv[] = { program, size, (char *)path, (char *)option, NULL };
    g_autoptr(GError) error = NULL;
    static const char ready[] = "ready\n";
    char buffer[sizeof(ready)] = "";

    g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                             NULL, NULL, &server->pid, NULL, &server->out,
                             NULL, &error);
    g_assert_no_error(error);
    for (size_t at = 0; at < strlen(ready); at++) {
        g_assert_cmpint(read(server->out, buffer + at, 1), ==, 1);
    }
    g_assert_cmpstr(buffer, ==, ready);
    g_assert_true(g_unix_set_fd_nonblocking(server->out, true, NULL));
}

int vfio_user_server_wait(VfioUserServer *server, const char *path)
{
    int status;

    g_assert_cmpint(waitpid(server->pid, &status, 0), ==, server->pid);
    close(server->out);
    unlink(path);
    *server = (VfioUserServer) {};
    return status;
}

char *vfio_user_device_json(const char *id, unsigned slot, const char *path,
                            const char *properties)
{
    /* No answer may be taken for late on a machine that is busy. */
    return g_strdup_printf("{\"driver\":\"vfio-user-pci\",\"id\":\"%s\","
                           "\"addr\":\"%u.0\",\"x-msg-timeout\":120000,"
                           "\"socket\":{\"type\":\"unix\",\"path\":\"%s\"}%s}",
                           id, slot, path, properties);
}
