/*
 * Names of classes, vendors and devices, from the system's pci.ids
 *
 * The file is Debian's pci.ids package's, where there is one; without it,
 * numbers are shown, which are right, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>
#include "sysfs.h"
#include "tool.h"

static const char *const places[] = {
    "/usr/share/misc/pci.ids",
    "/usr/share/hwdata/pci.ids",
};

/* Far more than the file has. */
#define IDS_MAX (16 << 20)

/* Of a tree that brings its own, as one that was made up does. */
static char *captured(void)
{
    g_autofree char *path = tool_sysroot
        ? g_strconcat(tool_sysroot, places[0], NULL) : NULL;
    char *text = path ? p2p_sysfs_read(path, IDS_MAX, NULL, NULL) : NULL;

    for (char *c = text; c && *c; c++) {
        if (!g_ascii_isprint(*c) && *c != '\n' && *c != '\t') {
            *c = '?';
        }
    }
    return text;
}

/* The whole file, read once; "" if there is none. */
static const char *database(void)
{
    static char *text;

    if (!text) {
        text = captured();
    }
    for (size_t i = 0; i < G_N_ELEMENTS(places) && !text; i++) {
        g_file_get_contents(places[i], &text, NULL, NULL);
    }
    if (!text) {
        text = g_strdup("");
    }
    return text;
}

/* The next line that has @tabs tabs in front, and is not of an outer level. */
static const char *next_line(const char *line, unsigned tabs)
{
    for (;;) {
        unsigned n;

        line = strchr(line, '\n');
        if (!line || !*++line) {
            return NULL;
        }
        n = strspn(line, "\t");
        if (n == tabs) {
            return line + n;
        }
        if (n < tabs && *line != '#' && *line != '\n') {
            return NULL;
        }
    }
}

/* What follows "@id  " in one of the lines of a level; for g_free() */
static const char *find_id(const char *from, unsigned tabs, const char *id)
{
    const char *line = from;

    while ((line = next_line(line, tabs))) {
        if (g_str_has_prefix(line, id) && line[strlen(id)] == ' ') {
            return line;
        }
    }
    return NULL;
}

static char *name_of(const char *line, const char *id)
{
    const char *name = line + strlen(id);

    name += strspn(name, " ");
    return g_strndup(name, strcspn(name, "\n"));
}

char *tool_class_name(const P2PFunction *function)
{
    g_autofree char *base = g_strdup_printf("C %02x",
                                            function->class_code >> 16);
    g_autofree char *sub = g_strdup_printf("%02x",
                                           function->class_code >> 8 & 0xff);
    const char *line = find_id(database(), 0, base);
    const char *inner = line ? find_id(line, 1, sub) : NULL;

    if (inner) {
        return name_of(inner, sub);
    }
    return line ? name_of(line, base)
                : g_strdup_printf("class %04x", function->class_code >> 8);
}

char *tool_device_name(const P2PFunction *function)
{
    g_autofree char *vendor = g_strdup_printf("%04x", function->vendor);
    g_autofree char *device = g_strdup_printf("%04x", function->device);
    const char *line = find_id(database(), 0, vendor);
    const char *inner = line ? find_id(line, 1, device) : NULL;
    g_autofree char *maker = line ? name_of(line, vendor)
                                  : g_strdup(vendor);
    g_autofree char *name = inner ? name_of(inner, device)
                                  : g_strdup_printf("[%s:%s]", vendor,
                                                    device);

    return g_strdup_printf("%s %s", maker, name);
}
