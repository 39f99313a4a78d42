/*
 * One PCI function as a sysfs tree shows it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "pci-function.h"

/* Domains have more than four digits behind some bridges (Intel VMD). */
#define BUS_PATTERN "[0-9a-f]{4,8}:[0-9a-f]{2}"
#define BDF_PATTERN "^" BUS_PATTERN ":[01][0-9a-f]\\.[0-7]\\z"
#define HOST_BRIDGE_PATTERN "^pci" BUS_PATTERN "\\z"

/* PCIe 6.0, 7.5.1 to 7.7.11: only what is needed of configuration space. */
enum {
    CFG_VENDOR = 0x00,
    CFG_STATUS = 0x06,
    CFG_STATUS_CAP_LIST = 0x10,
    CFG_HEADER_TYPE = 0x0e,
    CFG_HEADER_TYPE_MASK = 0x7f,
    CFG_HEADER_TYPE_BRIDGE = 1,
    CFG_CAP_POINTER = 0x34,
    CFG_HEADER_SIZE = 0x40,
    CFG_EXT_START = 0x100,
    CFG_SIZE = 0x1000,

    CAP_ID_EXPRESS = 0x10,
    EXPRESS_FLAGS = 0x02,
    EXPRESS_TYPE_SHIFT = 4,
    EXPRESS_TYPE_MASK = 0xf,
    EXPRESS_TYPE_ROOT_PORT = 4,

    EXT_CAP_ID_ACS = 0x0d,
    ACS_CONTROL = 0x06,
    ACS_SIZE = 0x08,
    ACS_REQUEST_REDIRECT = 0x04,
    ACS_COMPLETION_REDIRECT = 0x08,
    ACS_EGRESS_CONTROL = 0x20,
};

typedef struct Config {
    uint8_t *bytes;
    size_t size;
} Config;

static char *function_file(const char *sysroot, const char *bdf,
                           const char *name)
{
    return g_strdup_printf("%s/sys/bus/pci/devices/%s%s%s", sysroot, bdf,
                           *name ? "/" : "", name);
}

static bool matches(const char *pattern, const char *s)
{
    return g_regex_match_simple(pattern, s, 0, 0);
}

static bool is_bdf(const char *s)
{
    return matches(BDF_PATTERN, s);
}

static bool chain_from_link(const char *link, const char *bdf,
                            P2PPciChain *chain)
{
    g_auto(GStrv) parts = g_strsplit(link, "/", -1);
    unsigned n = g_strv_length(parts);
    unsigned i = n;

    /* The last host bridge: a bridge may itself be a PCI function (VMD). */
    while (i > 0 && is_bdf(parts[i - 1])) {
        i--;
    }
    if (i == 0 || i == n || !matches(HOST_BRIDGE_PATTERN, parts[i - 1]) ||
        strcmp(parts[n - 1], bdf) != 0) {
        return false;
    }
    chain->host_bridge = g_strdup(parts[i - 1] + strlen("pci"));
    chain->functions = g_strdupv(&parts[i]);
    chain->length = n - i;
    return true;
}

bool p2p_pci_chain_read(const char *sysroot, const char *bdf,
                        P2PPciChain *chain, char **why)
{
    g_autofree char *path = NULL;
    g_autofree char *link = NULL;
    g_autoptr(GError) error = NULL;

    memset(chain, 0, sizeof(*chain));
    if (!is_bdf(bdf)) {
        *why = g_strdup_printf("'%s' is not the address of a PCI function "
                               "(dddd:bb:dd.f, lower case)", bdf);
        return false;
    }
    path = function_file(sysroot, bdf, "");
    link = g_file_read_link(path, &error);
    if (!link) {
        *why = g_strdup_printf("there is no PCI function %s (%s)", bdf,
                               error->message);
        return false;
    }
    if (!chain_from_link(link, bdf, chain)) {
        *why = g_strdup_printf("the link %s does not lead through a host "
                               "bridge to %s: '%s'", path, bdf, link);
        return false;
    }
    return true;
}

void p2p_pci_chain_clear(P2PPciChain *chain)
{
    g_free(chain->host_bridge);
    g_strfreev(chain->functions);
    memset(chain, 0, sizeof(*chain));
}

static uint16_t config_u16(const Config *config, size_t at)
{
    return config->bytes[at] | config->bytes[at + 1] << 8;
}

static uint32_t config_u32(const Config *config, size_t at)
{
    return config_u16(config, at) |
           (uint32_t)config_u16(config, at + 2) << 16;
}

static bool config_read(const char *sysroot, const char *bdf, Config *config,
                        char **why)
{
    g_autofree char *path = function_file(sysroot, bdf, "config");
    g_autoptr(GError) error = NULL;
    char *contents;

    if (!g_file_get_contents(path, &contents, &config->size, &error)) {
        *why = g_strdup_printf("the configuration space of %s cannot be read "
                               "(%s)", bdf, error->message);
        return false;
    }
    config->bytes = (uint8_t *)contents;
    if (config->size < CFG_HEADER_SIZE) {
        *why = g_strdup_printf("the configuration space of %s has only %zu "
                               "bytes", bdf, config->size);
    } else if (config_u16(config, CFG_VENDOR) == 0xffff) {
        *why = g_strdup_printf("%s does not answer (powered down or gone)",
                               bdf);
    } else {
        return true;
    }
    g_free(contents);
    return false;
}

static void say_truncated(const char *bdf, const Config *config, char **why)
{
    *why = g_strdup_printf("only %zu of %d bytes of the configuration space "
                           "of %s can be read (root may read all)",
                           config->size, CFG_SIZE, bdf);
}

static void say_unsound(const char *bdf, char **why)
{
    *why = g_strdup_printf("the capability list of %s is not sound", bdf);
}

/*
 * Offset of the PCI Express capability in *@at, 0 if there is none. Without
 * it a function has no extended configuration space.
 */
static bool find_express(const Config *config, const char *bdf, size_t *at,
                         char **why)
{
    size_t here = 0;
    int budget = (CFG_EXT_START - CFG_HEADER_SIZE) / 4;

    *at = 0;
    if ((config_u16(config, CFG_STATUS) & CFG_STATUS_CAP_LIST) &&
        (config->bytes[CFG_HEADER_TYPE] & CFG_HEADER_TYPE_MASK) <=
        CFG_HEADER_TYPE_BRIDGE) {
        here = config->bytes[CFG_CAP_POINTER] & ~3u;
    }
    while (here != 0) {
        if (here < CFG_HEADER_SIZE || budget-- == 0) {
            say_unsound(bdf, why);
            return false;
        }
        if (here + EXPRESS_FLAGS + 2 > config->size) {
            say_truncated(bdf, config, why);
            return false;
        }
        if (config->bytes[here] == CAP_ID_EXPRESS) {
            *at = here;
            return true;
        }
        here = config->bytes[here + 1] & ~3u;
    }
    return true;
}

/* Offset of the ACS capability in *@at, 0 if there is none. */
static bool find_acs(const Config *config, const char *bdf, size_t *at,
                     char **why)
{
    size_t here = CFG_EXT_START;
    int budget = (CFG_SIZE - CFG_EXT_START) / 4;

    if (!find_express(config, bdf, at, why)) {
        return false;
    }
    if (*at == 0) {
        return true;
    }
    *at = 0;
    if (config->size < CFG_SIZE) {
        say_truncated(bdf, config, why);
        return false;
    }
    while (here != 0) {
        uint32_t header;

        if (here < CFG_EXT_START || here + ACS_SIZE > CFG_SIZE ||
            budget-- == 0) {
            say_unsound(bdf, why);
            return false;
        }
        /* A register that does not answer (all ones) leads out of the area. */
        header = config_u32(config, here);
        if ((header & 0xffff) == EXT_CAP_ID_ACS) {
            *at = here;
            return true;
        }
        here = header >> 20 & ~3u;
    }
    return true;
}

P2PAcs p2p_pci_acs_read(const char *sysroot, const char *bdf, char **why)
{
    const uint16_t redirect = ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT |
                              ACS_EGRESS_CONTROL;
    Config config;
    P2PAcs acs = P2P_ACS_DIRECT;
    size_t at;

    if (!config_read(sysroot, bdf, &config, why)) {
        return P2P_ACS_UNREADABLE;
    }
    if (!find_acs(&config, bdf, &at, why)) {
        acs = P2P_ACS_UNREADABLE;
    } else if (at != 0 && config_u16(&config, at + ACS_CONTROL) & redirect) {
        acs = P2P_ACS_REDIRECT;
    }
    g_free(config.bytes);
    return acs;
}

bool p2p_pci_is_root_port(const char *sysroot, const char *bdf, char **why)
{
    Config config;
    bool found;
    size_t at;
    int type = -1;

    if (!config_read(sysroot, bdf, &config, why)) {
        return false;
    }
    found = find_express(&config, bdf, &at, why);
    if (found && at != 0) {
        type = config_u16(&config, at + EXPRESS_FLAGS) >> EXPRESS_TYPE_SHIFT &
               EXPRESS_TYPE_MASK;
    }
    if (found && type != EXPRESS_TYPE_ROOT_PORT) {
        *why = g_strdup_printf("%s is not a root port", bdf);
    }
    g_free(config.bytes);
    return type == EXPRESS_TYPE_ROOT_PORT;
}

static bool read_id(const char *sysroot, const char *bdf, const char *name,
                    uint16_t *id, char **why)
{
    g_autofree char *path = function_file(sysroot, bdf, name);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    if (!g_file_get_contents(path, &text, NULL, &error)) {
        *why = g_strdup_printf("the %s of %s cannot be read (%s)", name, bdf,
                               error->message);
        return false;
    }
    if (!matches("^0x[0-9a-f]{4}\\s*\\z", text)) {
        *why = g_strdup_printf("%s holds no PCI id", path);
        return false;
    }
    *id = g_ascii_strtoull(text, NULL, 16);
    return true;
}

bool p2p_pci_ids_read(const char *sysroot, const char *bdf,
                      uint16_t *vendor, uint16_t *device, char **why)
{
    return read_id(sysroot, bdf, "vendor", vendor, why) &&
           read_id(sysroot, bdf, "device", device, why);
}

int p2p_pci_numa_node(const char *sysroot, const char *bdf)
{
    g_autofree char *path = function_file(sysroot, bdf, "numa_node");
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !matches("^[0-9]{1,6}\\s*\\z", text)) {
        return -1;
    }
    return g_ascii_strtoull(text, NULL, 10);
}

char *p2p_pci_first_on_bus(const char *sysroot, const char *bus, char **why)
{
    g_autofree char *path = function_file(sysroot, "", "");
    g_autofree char *prefix = g_strdup_printf("%s:", bus);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    char *first = NULL;
    const char *name;

    if (!dir) {
        *why = g_strdup(error->message);
        return NULL;
    }
    /* With equal prefixes the order of the text is that of the numbers. */
    while ((name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, prefix) && is_bdf(name) &&
            (!first || strcmp(name, first) < 0)) {
            g_free(first);
            first = g_strdup(name);
        }
    }
    if (!first) {
        *why = g_strdup_printf("there is no function on root bus %s", bus);
    }
    return first;
}
