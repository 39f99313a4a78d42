/*
 * Disk images of all kinds, for tests of the ways that data takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "image.h"

#define RAW "driver=raw,file.driver=file,file.filename=%s"
#define SECRET "secret,id=key0,data=correct-horse"
#define LUKS "driver=luks,key-secret=key0,file.driver=file,file.filename=%s"

const ImageKind image_kinds[] = {
    {
        .name = "raw",
        .data_path = "kernel-copy",
        .image = RAW,
    }, {
        .name = "raw-throttled",
        .data_path = "kernel-copy",
        .image = RAW,
        .objects = "-object throttle-group,id=tg0 ",
        .filter = "driver=throttle,throttle-group=tg0",
    }, {
        .name = "raw-o-direct",
        .data_path = "bounce",
        .image = RAW ",file.cache.direct=on,file.aio=threads",
    }, {
        .name = "raw-native",
        .data_path = "bounce",
        .image = RAW ",file.cache.direct=on,file.aio=native",
    }, {
        .name = "raw-io-uring",
        .data_path = "bounce",
        .image = RAW ",file.cache.direct=on,file.aio=io_uring",
    }, {
        .name = "raw-detect-zeroes",
        .data_path = "bounce",
        .image = RAW ",detect-zeroes=on",
    }, {
        .name = "raw-copy-on-read",
        .data_path = "bounce",
        .image = RAW,
        .filter = "driver=copy-on-read",
    }, {
        .name = "qcow2",
        .data_path = "bounce",
        .convert = "-O qcow2",
        .image = "driver=qcow2,file.driver=file,file.filename=%s",
    }, {
        .name = "qcow2-compressed",
        .data_path = "bounce",
        .convert = "-c -O qcow2",
        .image = "driver=qcow2,file.driver=file,file.filename=%s",
    }, {
        .name = "luks",
        .data_path = "bounce",
        .convert = "-O luks -o key-secret=key0,iter-time=10",
        .secret = "--object " SECRET,
        .image = LUKS,
        .objects = "-object " SECRET " ",
    },
    { }
};

const ImageKind *image_kind(const char *name)
{
    const ImageKind *kind = image_kinds;

    while (!g_str_equal(kind->name, name)) {
        kind++;
        g_assert_nonnull(kind->name);
    }
    return kind;
}

/* Returns what went wrong, to be freed, or NULL. */
G_GNUC_PRINTF(1, 2)
static char *qemu_img(const char *format, ...)
{
    const char *program = getenv("QTEST_QEMU_IMG");
    g_autofree char *arguments = NULL;
    g_autofree char *command = NULL;
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;
    char *message = NULL;
    int status;
    va_list ap;

    g_assert_nonnull(program);
    va_start(ap, format);
    arguments = g_strdup_vprintf(format, ap);
    va_end(ap);
    command = g_strdup_printf("%s %s", program, arguments);
    g_spawn_command_line_sync(command, &output, &message, &status, &error);
    g_assert_no_error(error);
    g_free(output);
    output = NULL;
    if (status) {
        return g_strchomp(message);
    }
    g_free(message);
    return NULL;
}

static char *new_file(const void *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("p2p-image-XXXXXX", &path, &error);

    g_assert_no_error(error);
    close(fd);
    g_file_set_contents(path, data, size, &error);
    g_assert_no_error(error);
    return path;
}

static char *image_node(const Image *image)
{
    g_auto(GStrv) parts = g_strsplit(image->kind->image, "%s", 2);

    return g_strjoin("", parts[0], image->file, parts[1], NULL);
}

/* Converts to @file. */
static char *image_make(Image *image, const char *file)
{
    const ImageKind *kind = image->kind;
    g_autofree char *node = NULL;

    if (kind->convert) {
        char *why = qemu_img("convert %s -f raw %s %s %s", kind->secret ?: "",
                             kind->convert, file, image->file);
        if (why) {
            return why;
        }
    }
    node = image_node(image);
    return qemu_img("info %s --image-opts %s", kind->secret ?: "", node);
}

Image *image_new(const ImageKind *kind, const void *data, size_t size,
                 char **why)
{
    Image *image = g_new0(Image, 1);
    g_autofree char *raw = NULL;

    image->kind = kind;
    image->file = new_file(data, size);
    raw = kind->convert ? new_file(data, size) : NULL;
    *why = image_make(image, raw);
    if (raw) {
        unlink(raw);
    }
    if (*why) {
        image_free(image);
        return NULL;
    }
    return image;
}

void image_free(Image *image)
{
    unlink(image->file);
    g_free(image->file);
    g_free(image);
}

char *image_options(const Image *image)
{
    const ImageKind *kind = image->kind;
    g_autofree char *node = image_node(image);

    return kind->filter
           ? g_strdup_printf("%s-blockdev %s,node-name=image "
                             "-blockdev %s,file=image,node-name=disk ",
                             kind->objects ?: "", node, kind->filter)
           : g_strdup_printf("%s-blockdev %s,node-name=disk ",
                             kind->objects ?: "", node);
}

void *image_read(const Image *image, size_t size)
{
    g_autofree char *node = image_node(image);
    g_autofree char *raw = new_file("", 0);
    g_autofree char *why = NULL;
    g_autoptr(GError) error = NULL;
    char *data;
    gsize length;

    why = qemu_img("convert %s --image-opts -O raw %s %s",
                   image->kind->secret ?: "", node, raw);
    g_assert_cmpstr(why, ==, NULL);
    g_file_get_contents(raw, &data, &length, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(length, ==, size);
    unlink(raw);
    return data;
}
