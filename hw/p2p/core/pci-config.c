/*
 * What a function's configuration space tells
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pci-config.h"

/* PCIe 6.0, 7.5.1 to 7.7.11: only what is needed of configuration space. */
enum {
    CFG_VENDOR = 0x00,
    CFG_COMMAND = 0x04,
    CFG_COMMAND_MEMORY = 0x02,
    CFG_STATUS = 0x06,
    CFG_STATUS_CAP_LIST = 0x10,
    CFG_CLASS_REVISION = 0x08,
    CFG_HEADER_TYPE = 0x0e,
    CFG_HEADER_TYPE_MASK = 0x7f,
    CFG_HEADER_TYPE_BRIDGE = 1,
    CFG_BARS = 0x10,
    CFG_BRIDGE_BARS = 2,
    CFG_BAR_IO = 0x1,
    CFG_BAR_TYPE_MASK = 0x6,
    CFG_BAR_TYPE_64BIT = 0x4,
    CFG_BAR_FLAGS = 0xf,
    CFG_MEMORY_BASE = 0x20,
    CFG_MEMORY_LIMIT = 0x22,
    CFG_PREFETCHABLE_BASE = 0x24,
    CFG_PREFETCHABLE_LIMIT = 0x26,
    CFG_PREFETCHABLE_64BIT = 0x1,
    CFG_PREFETCHABLE_UPPER_BASE = 0x28,
    CFG_PREFETCHABLE_UPPER_LIMIT = 0x2c,
    CFG_WINDOW_MASK = 0xfff0,
    CFG_CAP_POINTER = 0x34,
    CFG_BRIDGE_CONTROL = 0x3e,
    CFG_BRIDGE_CONTROL_VGA = 0x08,
    CFG_HEADER_SIZE = 0x40,
    CFG_EXT_START = 0x100,

    CAP_ID_PM = 0x01,
    PM_CONTROL = 0x04,
    PM_CONTROL_STATE = 0x3,

    CAP_ID_EXPRESS = 0x10,
    EXPRESS_FLAGS = 0x02,
    EXPRESS_LINK_CAPABILITY = 0x0c,
    EXPRESS_LINK_STATUS = 0x12,
    EXPRESS_TYPE_SHIFT = 4,
    EXPRESS_TYPE_MASK = 0xf,

    EXT_CAP_ID_ACS = 0x0d,
    EXT_CAP_ID_ATS = 0x0f,
    EXT_CAP_ID_SRIOV = 0x10,
    EXT_CAP_MIN_SIZE = 0x08,
    ACS_CAPABILITY = 0x04,
    ACS_CONTROL = 0x06,
    SRIOV_CONTROL = 0x08,
    SRIOV_CONTROL_VF_MEMORY = 0x08,
};

/* Offsets of extended capabilities; 0: there is none */
typedef struct Extended {
    size_t acs, ats, sriov;
} Extended;

typedef struct Config {
    const char *bdf;
    const uint8_t *bytes;
    size_t size;
    char *why;              /* what is wrong with it; NULL: nothing */
} Config;

static uint16_t config_u16(const Config *config, size_t at)
{
    return config->bytes[at] | config->bytes[at + 1] << 8;
}

static uint32_t config_u32(const Config *config, size_t at)
{
    return config_u16(config, at) |
           (uint32_t)config_u16(config, at + 2) << 16;
}

static bool say_truncated(Config *config)
{
    config->why = g_strdup_printf("only %zu of %d bytes of the configuration "
                                  "space of %s can be read (root may read "
                                  "all)", config->size, P2P_CONFIG_SIZE,
                                  config->bdf);
    return false;
}

static bool say_unsound(Config *config)
{
    config->why = g_strdup_printf("the capability list of %s is not sound",
                                  config->bdf);
    return false;
}

/* Whether anybody answers at all. */
static bool check_header(Config *config)
{
    if (config->size < CFG_HEADER_SIZE) {
        config->why = g_strdup_printf("the configuration space of %s has only "
                                      "%zu bytes", config->bdf, config->size);
        return false;
    }
    if (config_u32(config, CFG_VENDOR) == UINT32_MAX &&
        config_u32(config, CFG_COMMAND) == UINT32_MAX) {
        config->why = g_strdup_printf("%s does not answer (powered down or "
                                      "gone)", config->bdf);
        return false;
    }
    return true;
}

static unsigned header_type(const Config *config)
{
    return config->bytes[CFG_HEADER_TYPE] & CFG_HEADER_TYPE_MASK;
}

/* Capabilities of the first 256 bytes; 0: there is none */
typedef struct Capabilities {
    size_t express, pm;
} Capabilities;

static void note_capability(Capabilities *found, unsigned id, size_t at)
{
    size_t *place = id == CAP_ID_EXPRESS ? &found->express
                    : id == CAP_ID_PM ? &found->pm : NULL;

    if (place && *place == 0) {
        *place = at;
    }
}

/*
 * What is behind PCI Express does not matter if it cannot be read. Without
 * PCI Express a function has no extended configuration space.
 */
static bool walk_capabilities(Config *config, Capabilities *found)
{
    size_t here = 0;
    int budget = (CFG_EXT_START - CFG_HEADER_SIZE) / 4;

    if ((config_u16(config, CFG_STATUS) & CFG_STATUS_CAP_LIST) &&
        header_type(config) <= CFG_HEADER_TYPE_BRIDGE) {
        here = config->bytes[CFG_CAP_POINTER] & ~3u;
    }
    while (here != 0) {
        if (here < CFG_HEADER_SIZE || budget-- == 0) {
            return found->express || say_unsound(config);
        }
        if (here + EXPRESS_FLAGS + 2 > config->size) {
            return found->express || say_truncated(config);
        }
        note_capability(found, config->bytes[here], here);
        here = config->bytes[here + 1] & ~3u;
    }
    return true;
}

static void note_extended(Extended *found, unsigned id, size_t at)
{
    size_t *place = id == EXT_CAP_ID_ACS ? &found->acs
                    : id == EXT_CAP_ID_ATS ? &found->ats
                    : id == EXT_CAP_ID_SRIOV ? &found->sriov : NULL;

    /* The first one counts, as for Linux. */
    if (place && *place == 0) {
        *place = at;
    }
}

static bool walk_extended(Config *config, Extended *found)
{
    size_t here = CFG_EXT_START;
    int budget = (P2P_CONFIG_SIZE - CFG_EXT_START) / 4;

    if (config->size < P2P_CONFIG_SIZE) {
        return say_truncated(config);
    }
    while (here != 0) {
        uint32_t header;

        if (here < CFG_EXT_START ||
            here + EXT_CAP_MIN_SIZE > P2P_CONFIG_SIZE || budget-- == 0) {
            return say_unsound(config);
        }
        /* A register that does not answer (all ones) leads out of the area. */
        header = config_u32(config, here);
        note_extended(found, header & 0xffff, here);
        here = header >> 20 & ~3u;
    }
    return true;
}

static void parse_acs(P2PFunction *function, const Config *config, size_t at)
{
    const uint16_t redirect = P2P_ACS_REQUEST_REDIRECT |
                              P2P_ACS_COMPLETION_REDIRECT |
                              P2P_ACS_EGRESS_CONTROL;

    function->acs = P2P_ACS_DIRECT;
    if (at == 0) {
        return;
    }
    function->has_acs = true;
    function->acs_capability = config_u16(config, at + ACS_CAPABILITY);
    function->acs_control = config_u16(config, at + ACS_CONTROL);
    if (function->acs_control & redirect) {
        function->acs = P2P_ACS_REDIRECT;
    }
}

/* Link speed and width, which are at the same place of both registers. */
static P2PLink link_of(uint32_t link_register)
{
    static const unsigned speeds[16] = {
        0, 2500, 5000, 8000, 16000, 32000, 64000,
    };

    return (P2PLink) {
        .speed = speeds[link_register & 0xf],
        .width = link_register >> 4 & 0x3f,
    };
}

static void parse_link(P2PFunction *function, const Config *config,
                       size_t express)
{
    if (express + EXPRESS_LINK_STATUS + 2 <= config->size) {
        function->max_link = link_of(
            config_u32(config, express + EXPRESS_LINK_CAPABILITY));
        function->link = link_of(
            config_u16(config, express + EXPRESS_LINK_STATUS));
    }
}

/* A flag of BARs says that the next register has the upper half. */
static void parse_bars(P2PFunction *function, const Config *config)
{
    unsigned n = function->bridge ? CFG_BRIDGE_BARS
                 : header_type(config) == 0 ? P2P_BARS : 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t low = config_u32(config, CFG_BARS + 4 * i);
        uint64_t *address = &function->bar_addresses[i];

        if (low & CFG_BAR_IO) {
            continue;
        }
        *address = low & ~(uint32_t)CFG_BAR_FLAGS;
        if ((low & CFG_BAR_TYPE_MASK) == CFG_BAR_TYPE_64BIT && i + 1 < n) {
            i++;
            *address |= (uint64_t)config_u32(config, CFG_BARS + 4 * i) << 32;
        }
    }
}

/* PCI-to-PCI Bridge Architecture 1.2, 3.2.5: in MiB; base above limit: shut */
static P2PPortWindow window(uint16_t base, uint16_t limit, uint32_t upper_base,
                            uint32_t upper_limit)
{
    P2PPortWindow result = {
        .first = (uint64_t)upper_base << 32 |
                 (uint32_t)(base & CFG_WINDOW_MASK) << 16,
        .last = (uint64_t)upper_limit << 32 |
                (uint32_t)(limit & CFG_WINDOW_MASK) << 16 | 0xfffff,
    };

    result.open = result.first <= result.last;
    return result;
}

static void parse_windows(P2PFunction *function, const Config *config)
{
    uint16_t base = config_u16(config, CFG_MEMORY_BASE);
    uint16_t limit = config_u16(config, CFG_MEMORY_LIMIT);
    P2PPortWindow *windows = function->windows;
    bool wide;

    /* Zeros after a reset are not an open window yet. */
    if (base || limit || function->decodes_memory) {
        windows[P2P_RANGE_MEMORY] = window(base, limit, 0, 0);
    }
    base = config_u16(config, CFG_PREFETCHABLE_BASE);
    limit = config_u16(config, CFG_PREFETCHABLE_LIMIT);
    wide = base & CFG_PREFETCHABLE_64BIT;
    /* Zeros are how a bridge says that it has none. */
    if (base || limit) {
        windows[P2P_RANGE_PREFETCHABLE] = window(
            base, limit,
            wide ? config_u32(config, CFG_PREFETCHABLE_UPPER_BASE) : 0,
            wide ? config_u32(config, CFG_PREFETCHABLE_UPPER_LIMIT) : 0);
    }
    if (config_u16(config, CFG_BRIDGE_CONTROL) & CFG_BRIDGE_CONTROL_VGA) {
        windows[P2P_RANGE_VGA] = (P2PPortWindow) { true, 0xa0000, 0xbffff };
    }
}

static void parse_header(P2PFunction *function, const Config *config)
{
    function->class_code = config_u32(config, CFG_CLASS_REVISION) >> 8;
    function->bridge = header_type(config) == CFG_HEADER_TYPE_BRIDGE;
    function->decodes_memory = config_u16(config, CFG_COMMAND) &
                               CFG_COMMAND_MEMORY;
    parse_bars(function, config);
    if (function->bridge) {
        parse_windows(function, config);
    }
}

static void parse_power(P2PFunction *function, const Config *config, size_t pm)
{
    static const P2PPower states[] = {
        P2P_POWER_D0, P2P_POWER_D1, P2P_POWER_D2, P2P_POWER_D3HOT,
    };

    if (pm && pm + PM_CONTROL + 2 <= config->size) {
        function->pm_power = states[config_u16(config, pm + PM_CONTROL) &
                                    PM_CONTROL_STATE];
    }
}

static bool parse(P2PFunction *function, Config *config)
{
    Extended found = { 0 };
    Capabilities capabilities = { 0 };
    size_t express;
    bool sound;

    function->header_unreadable = true;
    if (!check_header(config)) {
        return false;
    }
    function->header_unreadable = false;
    parse_header(function, config);
    sound = walk_capabilities(config, &capabilities);
    parse_power(function, config, capabilities.pm);
    if (!sound) {
        return false;
    }
    express = capabilities.express;
    if (express == 0) {
        function->type = P2P_PORT_CONVENTIONAL;
        function->acs = P2P_ACS_DIRECT;
        return true;
    }
    function->type = config_u16(config, express + EXPRESS_FLAGS) >>
                     EXPRESS_TYPE_SHIFT & EXPRESS_TYPE_MASK;
    parse_link(function, config, express);
    if (!walk_extended(config, &found)) {
        return false;
    }
    parse_acs(function, config, found.acs);
    function->has_ats = found.ats;
    function->vf_decode = found.sriov &&
                          found.sriov + SRIOV_CONTROL + 2 <= P2P_CONFIG_SIZE &&
                          (config_u16(config, found.sriov + SRIOV_CONTROL) &
                           SRIOV_CONTROL_VF_MEMORY);
    return true;
}

void p2p_config_parse(P2PFunction *function, const uint8_t *bytes,
                      size_t size)
{
    Config config = { function->bdf, bytes, size, NULL };

    function->type = P2P_PORT_UNKNOWN;
    function->acs = P2P_ACS_UNREADABLE;
    parse(function, &config);
    function->why_no_acs = config.why;
}
