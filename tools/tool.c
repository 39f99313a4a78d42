/*
 * What the commands of qemu-p2p share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

char *tool_sysroot;

/* --- Options and errors ---------------------------------------------------- */

bool tool_parse(const ToolCommand *command, const GOptionEntry *options,
                int *argc, char ***argv)
{
    g_autofree char *usage = g_strdup_printf("%s - %s", command->arguments,
                                             command->summary);
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autofree char *examples = g_strdup_printf("Examples:\n%s",
                                                command->examples);
    g_autofree char *name = g_strdup_printf("qemu-p2p %s", command->name);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, options, NULL);
    g_option_context_set_description(context, examples);
    g_set_prgname(name);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        g_set_prgname("qemu-p2p");
        tool_error("%s; qemu-p2p %s --help tells how it is used",
                   error->message, command->name);
        return false;
    }
    g_set_prgname("qemu-p2p");
    if (tool_sysroot && !*tool_sysroot) {
        tool_error("--sysroot is empty; leave it out to read this host");
        return false;
    }
    return true;
}

void tool_add_safe(GString *out, const char *text)
{
    while (*text) {
        gunichar c = g_utf8_get_char_validated(text, -1);
        bool valid = c != (gunichar)-1 && c != (gunichar)-2;

        g_string_append_unichar(out, !valid || g_unichar_iscntrl(c) ||
                                g_unichar_type(c) == G_UNICODE_FORMAT
                                ? '?' : c);
        text = valid ? g_utf8_next_char(text) : text + 1;
    }
}

static void print_message(const char *kind, const char *format, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(format, ap);
    g_autoptr(GString) line = g_string_new(NULL);

    tool_add_safe(line, text);
    fflush(stdout);
    fprintf(stderr, "qemu-p2p: %s%s\n", kind, line->str);
}

void tool_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    print_message("", format, ap);
    va_end(ap);
}

void tool_warn(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    print_message("warning: ", format, ap);
    va_end(ap);
}

/* --- The host ---------------------------------------------------------------- */

P2PHost *tool_host(void)
{
    g_autofree char *root = g_strdup(tool_sysroot ?: "");

    /* "/" is this machine, too. */
    while (g_str_has_suffix(root, "/")) {
        root[strlen(root) - 1] = '\0';
    }
    return p2p_host_new(root);
}

#define CLASS_BRIDGE 0x06

bool tool_is_endpoint(const P2PFunction *function)
{
    return !function->bridge && function->class_code >> 16 != CLASS_BRIDGE;
}

static const P2PFunction *find_device(P2PHost *host, const char *name)
{
    g_autofree char *bdf = p2p_bdf_parse(name);
    g_autofree char *why = NULL;
    const P2PFunction *function;

    if (!bdf) {
        tool_error("'%s' is not the address of a PCI function; write it as "
                   "dddd:bb:dd.f (lspci -D prints them so)", name);
        return NULL;
    }
    function = p2p_host_function(host, bdf, &why);
    if (!function) {
        tool_error("%s; qemu-p2p topo lists those of the host", why);
    }
    return function;
}

const P2PFunction *tool_device(P2PHost *host, const char *name)
{
    const P2PFunction *function = find_device(host, name);

    if (function) {
        p2p_function_details(host, function);
    }
    return function;
}

static GPtrArray *named_devices(P2PHost *host, char **names, int n)
{
    g_autoptr(GPtrArray) functions = g_ptr_array_new();

    for (int i = 0; i < n; i++) {
        const P2PFunction *function = find_device(host, names[i]);

        if (!function) {
            return NULL;
        }
        if (!g_ptr_array_find(functions, function, NULL)) {
            g_ptr_array_add(functions, (void *)function);
        }
    }
    return g_steal_pointer(&functions);
}

GPtrArray *tool_find_devices(P2PHost *host, char **names, int n, bool all)
{
    g_autoptr(GPtrArray) skipped = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) functions = NULL;
    g_autofree char *why = NULL;

    if (n > 0) {
        return named_devices(host, names, n);
    }
    functions = p2p_host_list(host, skipped, &why);
    if (!functions) {
        tool_error("the PCI functions of the host cannot be listed: %s", why);
        return NULL;
    }
    for (guint i = 0; i < skipped->len; i++) {
        tool_warn("%s", (char *)skipped->pdata[i]);
    }
    for (guint i = functions->len; !all && i-- > 0; ) {
        if (!tool_is_endpoint(functions->pdata[i])) {
            g_ptr_array_remove_index(functions, i);
        }
    }
    return g_steal_pointer(&functions);
}

GPtrArray *tool_devices(P2PHost *host, char **names, int n, bool all)
{
    GPtrArray *functions = tool_find_devices(host, names, n, all);

    for (guint i = 0; functions && i < functions->len; i++) {
        p2p_function_details(host, functions->pdata[i]);
    }
    return functions;
}

bool tool_parse_size(const char *text, const char *units, uint64_t max,
                     uint64_t *size)
{
    const char *unit;
    char *end;

    errno = 0;
    *size = g_ascii_strtoull(text, &end, 0);
    if (errno || end == text || !g_ascii_isdigit(text[0])) {
        return false;
    }
    unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
    if (unit) {
        unsigned shift = 10 * (unit - units + 1);

        if (*size > UINT64_MAX >> shift) {
            return false;
        }
        *size <<= shift;
        end++;
    }
    return !*end && *size <= max;
}

char *tool_size_str(uint64_t size)
{
    static const char *const units[] = {
        "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
    };
    unsigned unit = 0;

    while (size >= 1024 && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT " %s", size, units[unit]);
}

char *tool_link_str(P2PLink link)
{
    if (!link.speed || !link.width) {
        return g_strdup("unknown");
    }
    return link.speed % 1000
           ? g_strdup_printf("%u.%u GT/s x%u", link.speed / 1000,
                             link.speed % 1000 / 100, link.width)
           : g_strdup_printf("%u GT/s x%u", link.speed / 1000, link.width);
}

/* --- Output -------------------------------------------------------------------- */

bool tool_colours(void)
{
    const char *term = g_getenv("TERM");
    const char *no = g_getenv("NO_COLOR");

    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 &&
           !(no && *no);
}

void tool_print_json(JsonNode *node)
{
    g_autofree char *text = NULL;

    text = json_to_string(node, true);
    puts(text);
    json_node_unref(node);
}

ToolStatus tool_finish(ToolStatus status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        tool_error("standard output: %s", g_strerror(errno));
        return TOOL_CANNOT;
    }
    return status;
}
