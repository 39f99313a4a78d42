/*
 * One PCI function as a sysfs tree shows it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>
#include "host-internal.h"
#include "pci-config.h"
#include "sysfs.h"

/* Files of "resource" have a line for each BAR, and some more. */
#define RESOURCE_MAX 4096

/* Linux, include/linux/ioport.h */
#define RESOURCE_MEMORY       0x00000200
#define RESOURCE_IO           0x00000100
#define RESOURCE_PREFETCH     0x00002000
#define RESOURCE_64BIT        0x00100000
#define RESOURCE_UNSET        0x20000000

const char *const p2p_function_files[] = {
    "class", "config", "current_link_speed", "current_link_width", "device",
    "max_link_speed", "max_link_width", "numa_node", "p2pmem/available",
    "p2pmem/published", "p2pmem/size", "power_state", "resource", "vendor",
    NULL
};

/* The last two are host.c's. */
const char *const p2p_function_links[] = {
    "driver", "physfn", "iommu", "iommu_group", NULL
};

/* --- Addresses --------------------------------------------------------- */

static const char *skip_hex(const char *s, unsigned least, unsigned most)
{
    unsigned n = 0;

    while (n < most && g_ascii_isxdigit(*s) && !g_ascii_isupper(*s)) {
        s++;
        n++;
    }
    return n >= least ? s : NULL;
}

/* Domains have more than four digits behind some bridges (Intel VMD). */
static const char *skip_bus(const char *s)
{
    s = skip_hex(s, 4, 8);
    return s && *s == ':' ? skip_hex(s + 1, 2, 2) : NULL;
}

bool p2p_is_bdf(const char *bdf)
{
    const char *s = skip_bus(bdf);

    return s && s[0] == ':' && (s[1] == '0' || s[1] == '1') &&
           skip_hex(s + 2, 1, 1) && s[3] == '.' && s[4] >= '0' &&
           s[4] <= '7' && !s[5];
}

static bool is_host_bridge(const char *s)
{
    s = g_str_has_prefix(s, "pci") ? skip_bus(s + strlen("pci")) : NULL;
    return s && !*s;
}

char *p2p_bdf_parse(const char *text)
{
    g_autofree char *lower = g_ascii_strdown(text, -1);
    g_autofree char *bdf = NULL;
    const char *colon = strchr(lower, ':');

    bdf = colon && strchr(colon + 1, ':') ? g_strdup(lower)
                                          : g_strdup_printf("0000:%s", lower);
    return p2p_is_bdf(bdf) ? g_steal_pointer(&bdf) : NULL;
}

char *p2p_function_folder(const char *sysroot, const char *bdf)
{
    return g_strdup_printf("%s/sys/bus/pci/devices%s%s", sysroot,
                           bdf ? "/" : "", bdf ?: "");
}

/* --- Its place --------------------------------------------------------- */

/* What follows the last host bridge: one may itself be a function (VMD). */
static char *way_from_link(const char *link, const char *bdf)
{
    g_auto(GStrv) parts = g_strsplit(link, "/", -1);
    unsigned n = g_strv_length(parts);
    unsigned i = n;

    while (i > 0 && p2p_is_bdf(parts[i - 1])) {
        i--;
    }
    if (i == 0 || i == n || !is_host_bridge(parts[i - 1]) ||
        strcmp(parts[n - 1], bdf) != 0) {
        return NULL;
    }
    return g_strjoinv("/", &parts[i - 1]);
}

char *p2p_function_way(const char *sysroot, const char *bdf, char **why)
{
    g_autofree char *path = NULL;
    g_autofree char *link = NULL;
    g_autoptr(GError) error = NULL;
    char *way;

    if (!p2p_is_bdf(bdf)) {
        *why = g_strdup_printf("'%s' is not the address of a PCI function "
                               "(dddd:bb:dd.f, lower case)", bdf);
        return NULL;
    }
    path = p2p_function_folder(sysroot, bdf);
    link = g_file_read_link(path, &error);
    if (!link) {
        *why = g_strdup_printf("there is no PCI function %s (%s)", bdf,
                               error->message);
        return NULL;
    }
    way = way_from_link(link, bdf);
    if (!way) {
        *why = g_strdup_printf("the link %s does not lead through a host "
                               "bridge to %s: '%s'", path, bdf,
                               p2p_sysfs_printable(link));
    }
    return way;
}

/* --- Reading ------------------------------------------------------------ */

static bool read_id(const char *folder, const char *bdf, const char *name,
                    uint16_t *id, char **why)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *cause = NULL;
    g_autofree char *text = p2p_sysfs_read(path, 16, NULL, &cause);
    const char *end;

    if (!text) {
        *why = g_strdup_printf("the %s of %s cannot be read (%s)", name, bdf,
                               cause);
        return false;
    }
    end = g_str_has_prefix(text, "0x") ? skip_hex(text + 2, 4, 4) : NULL;
    if (!end || end[strspn(end, " \n")]) {
        *why = g_strdup_printf("%s holds no PCI id", path);
        return false;
    }
    *id = strtoul(text, NULL, 16);
    return true;
}

static void read_ids(const char *folder, P2PFunction *function)
{
    if (!read_id(folder, function->bdf, "vendor", &function->vendor,
                 &function->why_no_ids) ||
        !read_id(folder, function->bdf, "device", &function->device,
                 &function->why_no_ids)) {
        function->vendor = function->device = 0;
    }
}

/* For those whose header does not tell. */
static void read_class(const char *folder, P2PFunction *function)
{
    uint64_t class_code;

    if (function->header_unreadable &&
        p2p_sysfs_number(folder, "class", 0xffffff, &class_code)) {
        function->class_code = class_code;
    }
}

static int read_node(const char *folder)
{
    uint64_t node;

    return p2p_sysfs_number(folder, "numa_node", 999999, &node) ? (int)node
                                                                : -1;
}

static void read_config(const char *folder, P2PFunction *function)
{
    g_autofree char *path = g_build_filename(folder, "config", NULL);
    g_autofree char *cause = NULL;
    g_autofree char *bytes = NULL;
    size_t size = 0;

    bytes = p2p_sysfs_read(path, P2P_CONFIG_SIZE, &size, &cause);
    if (bytes) {
        p2p_config_parse(function, (const uint8_t *)bytes, size);
    } else {
        function->type = P2P_PORT_UNKNOWN;
        function->header_unreadable = true;
        function->acs = P2P_ACS_UNREADABLE;
        function->why_no_acs = g_strdup_printf(
            "the configuration space of %s cannot be read (%s)",
            function->bdf, cause);
    }
}

P2PFunction *p2p_function_read(const char *sysroot, const char *bdf,
                               const P2PFunction *parent, char *way)
{
    P2PFunction *function = g_new0(P2PFunction, 1);
    g_autofree char *folder = p2p_function_folder(sysroot, bdf);
    const char *end = strchr(way, '/');

    function->bdf = g_strdup(bdf);
    function->host_path = way;
    function->root_bus = g_strndup(way + strlen("pci"),
                                   end - way - strlen("pci"));
    function->parent = parent;
    function->depth = parent ? parent->depth + 1 : 0;
    function->numa_node = read_node(folder);
    read_config(folder, function);
    read_class(folder, function);
    function->redirects = (parent ? parent->redirects : 0) +
                          (function->acs == P2P_ACS_REDIRECT);
    function->unreadable = (parent ? parent->unreadable : 0) +
                           (function->acs == P2P_ACS_UNREADABLE);
    return function;
}

void p2p_function_free(P2PFunction *function)
{
    g_free(function->bdf);
    g_free(function->root_bus);
    g_free(function->host_path);
    g_free(function->why_no_ids);
    g_free(function->why_no_acs);
    g_free(function->driver);
    g_free(function->physical_function);
    g_free(function);
}

/* --- Details ------------------------------------------------------------ */

static P2PPower read_power(const char *folder)
{
    static const char *const names[] = {
        [P2P_POWER_D0] = "D0",
        [P2P_POWER_D1] = "D1",
        [P2P_POWER_D2] = "D2",
        [P2P_POWER_D3HOT] = "D3hot",
        [P2P_POWER_D3COLD] = "D3cold",
    };
    g_autofree char *text = p2p_sysfs_text(folder, "power_state");

    for (unsigned i = P2P_POWER_D0; i < G_N_ELEMENTS(names); i++) {
        if (g_strcmp0(text, names[i]) == 0) {
            return i;
        }
    }
    return P2P_POWER_UNKNOWN;
}

/* "8.0 GT/s PCIe" */
static unsigned read_speed(const char *folder, const char *name)
{
    g_autofree char *text = p2p_sysfs_text(folder, name);
    char *end;
    double speed;

    if (!text) {
        return 0;
    }
    speed = g_ascii_strtod(text, &end);
    return g_str_has_prefix(end, " GT/s") && speed > 0 && speed < 1000
           ? (unsigned)(speed * 1000 + 0.5) : 0;
}

static P2PLink read_link(const char *folder, const char *speed,
                         const char *width)
{
    uint64_t lanes = 0;

    /* 255: not known to the kernel either */
    if (!p2p_sysfs_number(folder, width, 254, &lanes)) {
        lanes = 0;
    }
    return (P2PLink) { read_speed(folder, speed), lanes };
}

static bool parse_bar(const char *line, P2PHostBar *bar)
{
    uint64_t value[3];
    const char *at = line;

    for (unsigned i = 0; i < 3; i++) {
        char *end;

        value[i] = g_ascii_strtoull(at, &end, 16);
        if (end == at) {
            return false;
        }
        at = end;
    }
    if (!(value[2] & (RESOURCE_MEMORY | RESOURCE_IO)) ||
        value[1] < value[0] || value[1] - value[0] == UINT64_MAX ||
        ((value[1] - value[0]) & (value[1] - value[0] + 1))) {
        return false;
    }
    *bar = (P2PHostBar) {
        .start = value[2] & RESOURCE_UNSET ? 0 : value[0],
        .size = value[1] - value[0] + 1,
        .memory = value[2] & RESOURCE_MEMORY,
        .prefetchable = value[2] & RESOURCE_PREFETCH,
        .is_64bit = value[2] & RESOURCE_64BIT,
    };
    return true;
}

static void read_bars(const char *folder, P2PFunction *function)
{
    g_autofree char *path = g_build_filename(folder, "resource", NULL);
    g_autofree char *text = p2p_sysfs_read(path, RESOURCE_MAX, NULL, NULL);
    g_auto(GStrv) lines = NULL;

    if (!text) {
        return;
    }
    lines = g_strsplit(text, "\n", P2P_BARS + 1);
    for (unsigned i = 0; i < P2P_BARS && lines[i]; i++) {
        if (!parse_bar(lines[i], &function->bars[i])) {
            function->bars[i] = (P2PHostBar) { 0 };
        }
    }
}

static void read_p2pmem(const char *folder, P2PFunction *function)
{
    uint64_t published = 0;

    function->has_p2pmem =
        p2p_sysfs_number(folder, "p2pmem/published", 1, &published) &&
        published &&
        p2p_sysfs_number(folder, "p2pmem/size", UINT64_MAX,
                         &function->p2pmem_size);
    if (function->has_p2pmem &&
        !p2p_sysfs_number(folder, "p2pmem/available", UINT64_MAX,
                          &function->p2pmem_available)) {
        function->p2pmem_available = 0;
    }
}

void p2p_function_read_details(const char *sysroot, P2PFunction *function)
{
    g_autofree char *folder = p2p_function_folder(sysroot, function->bdf);
    g_autofree char *physical = p2p_sysfs_link_name(folder, "physfn");

    read_ids(folder, function);
    function->driver = p2p_sysfs_link_name(folder, "driver");
    if (physical && p2p_is_bdf(physical)) {
        function->physical_function = g_steal_pointer(&physical);
    }
    function->power = read_power(folder);
    if (!function->max_link.speed) {
        function->link = read_link(folder, "current_link_speed",
                                   "current_link_width");
        function->max_link = read_link(folder, "max_link_speed",
                                       "max_link_width");
    }
    read_bars(folder, function);
    read_p2pmem(folder, function);
    function->detailed = true;
}

/* --- Words --------------------------------------------------------------- */

const char *p2p_port_type_str(P2PPortType type)
{
    switch (type) {
    case P2P_PORT_ENDPOINT:
        return "endpoint";
    case P2P_PORT_LEGACY_ENDPOINT:
        return "legacy endpoint";
    case P2P_PORT_ROOT:
        return "root port";
    case P2P_PORT_UPSTREAM:
        return "switch upstream port";
    case P2P_PORT_DOWNSTREAM:
        return "switch downstream port";
    case P2P_PORT_TO_PCI:
        return "PCIe-to-PCI bridge";
    case P2P_PORT_FROM_PCI:
        return "PCI-to-PCIe bridge";
    case P2P_PORT_INTEGRATED:
        return "root complex integrated endpoint";
    case P2P_PORT_EVENT_COLLECTOR:
        return "root complex event collector";
    case P2P_PORT_CONVENTIONAL:
        return "conventional PCI function";
    case P2P_PORT_UNKNOWN:
        break;
    }
    return "function of unknown type";
}

const char *p2p_power_str(P2PPower power)
{
    switch (power) {
    case P2P_POWER_D0:
        return "D0";
    case P2P_POWER_D1:
        return "D1";
    case P2P_POWER_D2:
        return "D2";
    case P2P_POWER_D3HOT:
        return "D3hot";
    case P2P_POWER_D3COLD:
        return "D3cold";
    case P2P_POWER_UNKNOWN:
        break;
    }
    return "unknown";
}

char *p2p_acs_str(uint16_t bits)
{
    static const struct {
        uint16_t bit;
        const char *name;
    } names[] = {
        { P2P_ACS_SOURCE_VALIDATION, "SV" },
        { P2P_ACS_TRANSLATION_BLOCKING, "TB" },
        { P2P_ACS_REQUEST_REDIRECT, "RR" },
        { P2P_ACS_COMPLETION_REDIRECT, "CR" },
        { P2P_ACS_UPSTREAM_FORWARDING, "UF" },
        { P2P_ACS_EGRESS_CONTROL, "EC" },
        { P2P_ACS_DIRECT_TRANSLATED, "DT" },
    };
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_string_append_printf(text, "%s%s%c", i ? " " : "", names[i].name,
                               bits & names[i].bit ? '+' : '-');
    }
    return g_string_free(text, FALSE);
}
