/*
 * Reading a sysfs tree that may be anything
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sysfs.h"

#define TEXT_MAX 256

/*
 * Bytes read, or -1 with errno.  A short text comes at once: what is asked for
 * again and again would only say that there is no more.
 */
static ssize_t read_all(int fd, char *to, size_t max)
{
    size_t done = 0;

    while (done < max) {
        ssize_t n = read(fd, to + done, max - done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        done += n;
        if (n == 0 || max <= TEXT_MAX) {
            break;
        }
    }
    return done;
}

/* Never waits: a captured tree may hold a FIFO. */
static int open_regular(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        fd = -1;
    }
    return fd;
}

char *p2p_sysfs_read(const char *path, size_t max, size_t *size, char **why)
{
    int fd = open_regular(path);
    char *text = NULL;
    ssize_t n = -1;

    if (fd >= 0) {
        text = g_malloc(max + 1);
        n = read_all(fd, text, max);
    }
    if (n < 0) {
        if (why) {
            *why = g_strdup(g_strerror(errno));
        }
        g_clear_pointer(&text, g_free);
    } else {
        text[n] = '\0';
        if (size) {
            *size = n;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

char *p2p_sysfs_printable(char *text)
{
    for (char *c = text; *c; c++) {
        if (!g_ascii_isprint(*c)) {
            *c = '?';
        }
    }
    return text;
}

char *p2p_sysfs_text(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char *text = p2p_sysfs_read(path, TEXT_MAX, NULL, NULL);

    return text ? p2p_sysfs_printable(g_strstrip(text)) : NULL;
}

bool p2p_sysfs_number(const char *folder, const char *name, uint64_t max,
                      uint64_t *value)
{
    g_autofree char *text = p2p_sysfs_text(folder, name);
    bool hex;

    if (!text) {
        return false;
    }
    hex = g_str_has_prefix(text, "0x");
    return g_ascii_string_to_unsigned(hex ? text + 2 : text, hex ? 16 : 10, 0,
                                      max, value, NULL);
}

char *p2p_sysfs_link_name(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *link = g_file_read_link(path, NULL);

    return link ? p2p_sysfs_printable(g_path_get_basename(link)) : NULL;
}
