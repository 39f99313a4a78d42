/*
 * p2p-bridge translate: addresses that an initiator can use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

#define DEFAULT_LENGTH 4096

/* As many as a device takes */
#define ENTRIES_MAX P2P_BRIDGE_MAX_VECTOR_VALUE

static bool fits(const char *text, uint64_t length)
{
    if (!length || length > UINT32_MAX) {
        message("'%s': an entry has from 1 byte to 4 GiB - 1; write more "
                "entries", text);
        return false;
    }
    return true;
}

/* ADDRESS[+LENGTH], or a place in a BAR */
static bool parse_entry(const char *text, uint32_t flags,
                        struct p2p_bridge_vec *vec)
{
    const char *plus = strchr(text, '+');
    char start[32];
    uint64_t address;
    uint64_t length = DEFAULT_LENGTH;

    *vec = (struct p2p_bridge_vec) { .flags = flags };
    if (looks_like_place(text)) {
        struct place place;

        if (!parse_place(text, &place)) {
            return false;
        }
        if (place.end) {
            length = place.end - place.offset;
        }
        vec->flags |= P2P_BRIDGE_VEC_BY_BAR;
        vec->rid = place.rid;
        vec->bar = place.bar;
        vec->addr = place.offset;
        vec->len = length;
        return fits(text, length);
    }
    /* What is too long for it is no number either. */
    snprintf(start, sizeof(start), "%.*s",
             (int)(plus ? plus - text : (ptrdiff_t)strlen(text)), text);
    if (!parse_size(start, &address) ||
        (plus && !parse_size(plus + 1, &length))) {
        message("'%s' is no entry; write ADDRESS[+LENGTH], such as "
                "0x100000000+2M, or BDF:barN[@OFFSET[-END]]", text);
        return false;
    }
    vec->addr = address;
    vec->len = length;
    return fits(text, length);
}

static const char *flags_str(uint32_t flags, char text[96])
{
    snprintf(text, 96, "%s%s%s%s", flags & P2P_BRIDGE_VEC_IO ? "BAR" : "RAM",
             flags & P2P_BRIDGE_VEC_SELF ? ", its own" : "",
             flags & P2P_BRIDGE_VEC_BUS ? ", bus address" : "",
             flags & P2P_BRIDGE_VEC_REVOCABLE ? ", revocable" : "");
    return text;
}

static void print_entries(const struct p2p_bridge_vec *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t map = (out[i].flags & P2P_BRIDGE_VEC_MAP_MASK) >>
                       P2P_BRIDGE_VEC_MAP_SHIFT;
        char flags[96];

        printf("0x%016" PRIx64 "  %10" PRIu32 "  %s, %s, generation %" PRIu32
               "\n", (uint64_t)out[i].addr, out[i].len,
               flags_str(out[i].flags, flags), p2p_bridge_map_type_str(map),
               out[i].generation);
    }
}

static enum status explain(const struct p2p_bridge_fault *fault,
                           char **entries, uint32_t n)
{
    if (fault->status == P2P_BRIDGE_NO_MEMBER) {
        message("translate: %s (p2p-bridge list)",
                p2p_bridge_fault_str(fault));
        return STATUS_NO;
    }
    if (fault->status && fault->index < n) {
        message("'%s': %s (at 0x%" PRIx64 ")", entries[fault->index],
                p2p_bridge_fault_str(fault), fault->address);
        return STATUS_NO;
    }
    message("translate: %s%s", strerror(errno),
            errno == EPERM ? "; addresses are for root (CAP_SYS_RAWIO)" : "");
    return STATUS_CANNOT;
}

/* With room for what comes out, which may be more than what goes in */
static enum status translate(struct p2p_bridge *bridge, uint32_t initiator,
                             uint32_t kind, const struct p2p_bridge_vec *in,
                             char **entries, uint32_t n)
{
    uint32_t n_out = 2 * n;
    uint32_t room;
    struct p2p_bridge_vec *out = NULL;
    struct p2p_bridge_fault fault;
    enum status status;
    int done;

    do {
        room = n_out;
        free(out);
        out = calloc(room, sizeof(*out));
        if (!out) {
            message("no memory for %" PRIu32 " entries", room);
            return STATUS_CANNOT;
        }
        done = p2p_bridge_translate(bridge, initiator, kind, in, n, out,
                                    &n_out, &fault);
        /* It may have been split more often meanwhile. */
    } while (done < 0 && errno == ENOSPC && n_out > room &&
             n_out <= ENTRIES_MAX * 16);
    if (done == 0) {
        print_entries(out, n_out);
        status = STATUS_OK;
    } else {
        status = explain(&fault, entries, n);
    }
    free(out);
    return status;
}

static enum status translate_all(uint32_t initiator, uint32_t kind,
                                 uint32_t flags, char **entries, uint32_t n)
{
    struct p2p_bridge_vec *in = calloc(n, sizeof(*in));
    struct p2p_bridge *bridge;
    enum status status = STATUS_CANNOT;

    if (!in) {
        message("no memory for %" PRIu32 " entries", n);
        return STATUS_CANNOT;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!parse_entry(entries[i], flags, &in[i])) {
            free(in);
            return STATUS_CANNOT;
        }
    }
    bridge = open_device();
    if (bridge) {
        status = translate(bridge, initiator, kind, in, entries, n);
        p2p_bridge_close(bridge);
    }
    free(in);
    return status;
}

enum { OPTION_BUS = OPTION_OWN, OPTION_READ, OPTION_WRITE, OPTION_NO_MERGE };

static enum status run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "bus", no_argument, NULL, OPTION_BUS },
        { "read", no_argument, NULL, OPTION_READ },
        { "write", no_argument, NULL, OPTION_WRITE },
        { "no-merge", no_argument, NULL, OPTION_NO_MERGE },
        COMMON_OPTIONS
    };
    static const uint32_t flag_of[] = {
        [OPTION_READ - OPTION_OWN] = P2P_BRIDGE_VEC_READ,
        [OPTION_WRITE - OPTION_OWN] = P2P_BRIDGE_VEC_WRITE,
        [OPTION_NO_MERGE - OPTION_OWN] = P2P_BRIDGE_VEC_NO_MERGE,
    };
    const uint32_t both = P2P_BRIDGE_VEC_READ | P2P_BRIDGE_VEC_WRITE;
    uint32_t kind = P2P_BRIDGE_KIND_GPA;
    uint32_t flags = 0;
    uint32_t initiator;
    int option;

    while ((option = next_option(command, argc, argv, options)) != -1) {
        if (option == '?') {
            return STATUS_CANNOT;
        }
        if (option == OPTION_BUS) {
            kind = P2P_BRIDGE_KIND_BUS;
        } else {
            flags |= flag_of[option - OPTION_OWN];
        }
    }
    if (argc - optind < 2 || argc - optind - 1 > ENTRIES_MAX) {
        message("translate takes an initiator and from 1 to %d entries; "
                "p2p-bridge translate --help shows how", ENTRIES_MAX);
        return STATUS_CANNOT;
    }
    if (!parse_function("initiator", argv[optind], &initiator)) {
        return STATUS_CANNOT;
    }
    return translate_all(initiator, kind, flags & both ? flags : flags | both,
                         argv + optind + 1, argc - optind - 1);
}

const struct command command_translate = {
    .name = "translate",
    .arguments = "INITIATOR ADDRESS[+LENGTH]|BDF:barN[@OFFSET[-END]]...",
    .summary = "addresses that an initiator can use",
    .options =
        "  --bus                 Untranslated bus addresses\n"
        "  --read                The initiator reads (default: both)\n"
        "  --write               The initiator writes\n"
        "  --no-merge            Do not join neighbours\n",
    .examples =
        "  p2p-bridge translate 66:00.0 65:00.0:bar2@0-2M\n"
        "  p2p-bridge translate --write 66:00.0 0x100000+64K 0x120000+4K\n",
    .run = run,
};
