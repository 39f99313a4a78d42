/*
 * qemu-p2p capture: what the tool reads of a host, as files
 *
 * Names and links come from a tree that may be anything: only names that were
 * checked become names of files, and nothing is written through a link.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "host-internal.h"
#include "pci-config.h"
#include "sysfs.h"
#include "tool.h"

#define FILE_MAX_SIZE 65536
#define MAX_GROUPS 65536

typedef struct Capture {
    const char *from;       /* sysroot */
    char *to;               /* a new folder beside the one asked for */
    GHashTable *iommus;     /* names that were copied */
    GError *error;          /* the first one; nothing is done after it */
    guint no_acs;           /* functions whose ACS could not be read */
} Capture;

/* --- Writing ---------------------------------------------------------- */

static void fail(Capture *c, const char *path)
{
    int code = errno;

    if (!c->error) {
        g_set_error(&c->error, G_FILE_ERROR, g_file_error_from_errno(code),
                    "%s: %s", path, g_strerror(code));
    }
}

static char *new_folder(Capture *c, const char *name)
{
    char *path = g_build_filename(c->to, name, NULL);

    if (!c->error && g_mkdir_with_parents(path, 0755) < 0) {
        fail(c, path);
    }
    return path;
}

static void write_file(Capture *c, const char *path, const char *data,
                       gsize size)
{
    g_autofree char *folder = g_path_get_dirname(path);

    if (c->error) {
        return;
    }
    if (g_mkdir_with_parents(folder, 0755) < 0) {
        fail(c, folder);
        return;
    }
    g_file_set_contents_full(path, data, size, G_FILE_SET_CONTENTS_NONE, 0644,
                             &c->error);
}

static void write_link(Capture *c, const char *folder, const char *name,
                       const char *target)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    if (!c->error && symlink(target, path) < 0) {
        fail(c, path);
    }
}

/* --- Serial numbers --------------------------------------------------- */

static guint32 config_u32(const char *bytes, gsize at)
{
    guint32 value;

    memcpy(&value, bytes + at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

/*
 * The configuration space is what decides about ACS, but it has the device's
 * serial number (PCIe 6.0, 7.9.3) and a word of its vital product data (7.9.18)
 * too, which are nobody's business.
 */
static void hide_serial_number(char *bytes, gsize size)
{
    gsize at = 0x100;

    for (unsigned n = 0; n < 960 && at >= 0x100 && at + 12 <= size; n++) {
        guint32 header = config_u32(bytes, at);

        if ((header & 0xffff) == 0x0003) {
            memset(bytes + at + 4, 0, 8);
        }
        at = header >> 20 & 0xffc;
    }
    at = size >= 0x40 ? (guint8)bytes[0x34] & 0xfc : 0;
    for (unsigned n = 0; n < 48 && at >= 0x40 && at + 8 <= MIN(size, 256);
         n++) {
        guint32 header = config_u32(bytes, at);

        if ((header & 0xff) == 0x03) {
            memset(bytes + at + 2, 0, 6);
        }
        at = header >> 8 & 0xfc;
    }
}

/* --- Folders ---------------------------------------------------------- */

static void copy_files(Capture *c, const char *from, const char *to,
                       const char *const *names)
{
    for (; *names && !c->error; names++) {
        g_autofree char *source = g_build_filename(from, *names, NULL);
        g_autofree char *target = g_build_filename(to, *names, NULL);
        bool config = strcmp(*names, "config") == 0;
        gsize size = 0;
        g_autofree char *data = p2p_sysfs_read(
            source, config ? P2P_CONFIG_SIZE : FILE_MAX_SIZE, &size, NULL);

        if (data && config) {
            hide_serial_number(data, size);
        }
        if (data) {
            write_file(c, target, data, size);
        }
    }
}

/* As Linux has it: a link in the class to the device. */
static void copy_iommu(Capture *c, const char *name)
{
    g_autofree char *from = NULL;
    g_autofree char *to = NULL;
    g_autofree char *class = NULL;
    g_autofree char *place = NULL;
    g_autofree char *link = NULL;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        strchr(name, '/') ||
        !g_hash_table_add(c->iommus, g_strdup(name))) {
        return;
    }
    from = g_build_filename(c->from, "/sys/class/iommu", name, NULL);
    place = g_build_filename("sys/devices/virtual/iommu", name, NULL);
    link = g_build_filename("../../devices/virtual/iommu", name, NULL);
    class = new_folder(c, "sys/class/iommu");
    to = new_folder(c, place);
    write_link(c, class, name, link);
    copy_files(c, from, to, p2p_iommu_files);
}

static bool is_number(const char *name)
{
    guint64 value;

    return g_ascii_string_to_unsigned(name, 10, 0, INT32_MAX, &value, NULL) &&
           strlen(name) <= 10;
}

static void copy_groups(Capture *c)
{
    g_autofree char *from = g_build_filename(
        c->from, "/sys/kernel/iommu_groups", NULL);
    g_autoptr(GDir) dir = g_dir_open(from, 0, NULL);
    const char *name;
    guint n = 0;

    while (dir && !c->error && (name = g_dir_read_name(dir))) {
        g_autofree char *source = g_build_filename(from, name, NULL);
        g_autofree char *place = NULL;
        g_autofree char *to = NULL;

        if (!is_number(name) || n++ == MAX_GROUPS) {
            continue;
        }
        place = g_build_filename("sys/kernel/iommu_groups", name, NULL);
        to = new_folder(c, place);
        copy_files(c, source, to, p2p_iommu_group_files);
    }
}

/* --- Functions -------------------------------------------------------- */

static bool is_plain(const char *name)
{
    return *name && *name != '.' &&
           !name[strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ:._-")];
}

/*
 * Where the folder of @function is, below sys/devices: as its link says, if
 * that is plain, and in the order of bridges else.
 */
static char *find_place(const Capture *c, const P2PFunction *function)
{
    static const char prefix[] = "../../../devices/";
    g_autofree char *path = p2p_function_folder(c->from, function->bdf);
    g_autofree char *link = g_file_read_link(path, NULL);
    g_auto(GStrv) parts = NULL;
    bool inside = false;

    if (!link || !g_str_has_prefix(link, prefix)) {
        return g_strdup(function->host_path);
    }
    parts = g_strsplit(link + strlen(prefix), "/", -1);
    for (char **part = parts; *part; part++) {
        /* Behind a host bridge names could be those of files. */
        bool pci = g_str_has_prefix(*part, "pci") || p2p_is_bdf(*part);

        if (!is_plain(*part) || (inside && !pci)) {
            return g_strdup(function->host_path);
        }
        inside |= g_str_has_prefix(*part, "pci");
    }
    return g_strdup(link + strlen(prefix));
}

static void copy_links(Capture *c, const char *from, const char *to)
{
    for (const char *const *name = p2p_function_links; *name; name++) {
        g_autofree char *path = g_build_filename(from, *name, NULL);
        g_autofree char *link = g_file_read_link(path, NULL);
        g_autofree char *base = link ? g_path_get_basename(link) : NULL;

        if (base) {
            /* An absolute one would lead out of the copy. */
            write_link(c, to, *name, *link == '/' ? base : link);
        }
    }
}

static void copy_function(Capture *c, const P2PFunction *function)
{
    g_autofree char *from = p2p_function_folder(c->from, function->bdf);
    g_autofree char *place = find_place(c, function);
    g_autofree char *inside = g_build_filename("sys/devices", place, NULL);
    g_autofree char *to = new_folder(c, inside);
    g_autofree char *bus = new_folder(c, "sys/bus/pci/devices");
    g_autofree char *target = g_build_filename("../../../devices", place,
                                               NULL);

    copy_files(c, from, to, p2p_function_files);
    copy_links(c, from, to);
    write_link(c, bus, function->bdf, target);
    if (function->iommu) {
        copy_iommu(c, function->iommu->name);
    }
    c->no_acs += function->acs == P2P_ACS_UNREADABLE;
}

/* --- The processor ---------------------------------------------------- */

static bool has_key(const char *line)
{
    for (const char *const *key = p2p_cpu_keys; *key; key++) {
        const char *rest = line + strlen(*key);

        if (g_str_has_prefix(line, *key) && rest[strspn(rest, " \t")] == ':') {
            return true;
        }
    }
    return false;
}

/* Of the first processor, the lines that are read. */
static void copy_cpu(Capture *c)
{
    g_autofree char *from = g_build_filename(c->from, "/proc/cpuinfo", NULL);
    g_autofree char *to = g_build_filename(c->to, "proc/cpuinfo", NULL);
    g_autofree char *text = p2p_sysfs_read(from, FILE_MAX_SIZE, NULL, NULL);
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;
    g_autoptr(GString) kept = g_string_new(NULL);

    if (!text) {
        return;
    }
    for (char **line = lines; *line && **line; line++) {
        if (has_key(*line)) {
            g_string_append_printf(kept, "%s\n", *line);
        }
    }
    write_file(c, to, kept->str, kept->len);
}

/* --- All or nothing --------------------------------------------------- */

static int remove_one(const char *path, G_GNUC_UNUSED const struct stat *st,
                      G_GNUC_UNUSED int type, G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void copy_host(Capture *c, const GPtrArray *functions)
{
    for (guint i = 0; i < functions->len && !c->error; i++) {
        copy_function(c, functions->pdata[i]);
    }
    copy_groups(c);
    copy_cpu(c);
}

/* An interrupt comes when nothing half-written is left any more. */
static void hold_signals(sigset_t *before)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, before);
}

/* A folder beside @path, which takes its place in the end. */
static bool begin(Capture *c, const char *path)
{
    c->to = g_strdup_printf("%s.XXXXXX", path);
    if (!g_mkdtemp_full(c->to, 0755)) {
        tool_error("%s: no folder can be made there: %s", path,
                   g_strerror(errno));
        return false;
    }
    return true;
}

static bool finish(Capture *c, const char *path)
{
    if (!c->error && rename(c->to, path) < 0) {
        fail(c, path);
    }
    if (c->error) {
        tool_error("nothing was captured: %s", c->error->message);
        remove_tree(c->to);
        g_error_free(c->error);
        return false;
    }
    return true;
}

static bool is_free(const char *path)
{
    g_autoptr(GDir) dir = NULL;
    struct stat st;

    if (lstat(path, &st) < 0) {
        return true;
    }
    dir = S_ISDIR(st.st_mode) ? g_dir_open(path, 0, NULL) : NULL;
    if (!dir || g_dir_read_name(dir)) {
        tool_error("%s exists already; name a folder that does not, or is "
                   "empty", path);
        return false;
    }
    return true;
}

static ToolStatus capture(P2PHost *host, const char *path)
{
    g_autoptr(GHashTable) iommus = g_hash_table_new_full(
        g_str_hash, g_str_equal, g_free, NULL);
    Capture c = { .from = p2p_host_sysroot(host), .iommus = iommus };
    g_autoptr(GPtrArray) functions = NULL;
    sigset_t before;
    bool done;

    if (!is_free(path)) {
        return TOOL_CANNOT;
    }
    functions = tool_devices(host, NULL, 0, true);
    if (!functions) {
        return TOOL_CANNOT;
    }
    hold_signals(&before);
    done = begin(&c, path);
    if (done) {
        copy_host(&c, functions);
        done = finish(&c, path);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    g_free(c.to);
    if (!done) {
        return TOOL_CANNOT;
    }
    if (c.no_acs) {
        tool_warn("the ACS settings of %u functions are missing: only root "
                  "may read them; what depends on them is told as unknown",
                  c.no_acs);
    }
    printf("%u functions captured; qemu-p2p topo --sysroot %s shows them\n",
           functions->len, path);
    return TOOL_OK;
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    const GOptionEntry options[] = {
        TOOL_SYSROOT_OPTION,
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_autofree char *path = NULL;

    if (!tool_parse(command, options, &argc, &argv)) {
        return TOOL_CANNOT;
    }
    if (argc != 2 || !*argv[1]) {
        tool_error("one folder is needed, which is made");
        return TOOL_CANNOT;
    }
    path = g_canonicalize_filename(argv[1], NULL);
    host = tool_host();
    return capture(host, path);
}

const ToolCommand tool_capture = {
    .name = "capture",
    .arguments = "DIR",
    .summary = "copy what the tool reads of this host into a folder",
    .examples =
        "  sudo qemu-p2p capture myhost && tar czf myhost.tgz myhost\n"
        "  qemu-p2p topo --sysroot myhost\n"
        "Addresses, ids, BARs, ports and IOMMU groups are captured; serial "
        "numbers are not.\nWithout root the ACS settings are missing.\n",
    .run = run,
};
