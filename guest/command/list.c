/*
 * p2p-bridge list: members, windows, pairs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

#define TRIES 16

struct lists {
    struct p2p_bridge_identify identify;
    struct p2p_bridge_member *members;
    struct p2p_bridge_host_window *windows;
    struct p2p_bridge_pair *pairs;
    size_t n_members;
    size_t n_windows;
    size_t n_pairs;
};

static void free_lists(struct lists *lists)
{
    free(lists->members);
    free(lists->windows);
    free(lists->pairs);
    *lists = (struct lists) { 0 };
}

/* Parts of one generation: -1 with errno, else whether they are. */
static int read_once(struct p2p_bridge *bridge, struct lists *lists)
{
    uint32_t generation[3];

    if (p2p_bridge_members(bridge, &lists->members, &lists->n_members,
                           &generation[0]) < 0 ||
        p2p_bridge_windows(bridge, &lists->windows, &lists->n_windows,
                           &generation[1]) < 0 ||
        p2p_bridge_pairs(bridge, &lists->pairs, &lists->n_pairs,
                         &generation[2]) < 0 ||
        p2p_bridge_identify(bridge, &lists->identify) < 0) {
        return -1;
    }
    return generation[0] == lists->identify.generation &&
           generation[1] == lists->identify.generation &&
           generation[2] == lists->identify.generation;
}

static bool read_lists(struct p2p_bridge *bridge, struct lists *lists)
{
    for (unsigned i = 0; i < TRIES; i++) {
        int fits = read_once(bridge, lists);

        if (fits > 0) {
            return true;
        }
        free_lists(lists);
        if (fits < 0) {
            message("the group cannot be listed: %s", strerror(errno));
            return false;
        }
    }
    message("the group cannot be listed: it changes all the time; try again");
    return false;
}

/* --- For people ---------------------------------------------------------- */

static void print_members(const struct lists *lists)
{
    printf("Members\n");
    for (size_t i = 0; i < lists->n_members; i++) {
        const struct p2p_bridge_member *member = &lists->members[i];
        char bdf[P2P_BRIDGE_RID_CHARS];

        printf("  %s  %s, %s, %" PRIu32 " window%s%s\n",
               p2p_bridge_rid_str(member->rid, bdf),
               member->flags & P2P_BRIDGE_MEMBER_PASSTHROUGH ? "passthrough"
                                                             : "emulated",
               member->flags & P2P_BRIDGE_MEMBER_INITIATES
               ? "initiates" : "does not initiate", member->windows,
               member->windows == 1 ? "" : "s",
               member->flags & P2P_BRIDGE_MEMBER_SELF ? ", this p2p-bridge"
                                                      : "");
    }
}

static void print_windows(const struct lists *lists)
{
    printf("\nWindows that the host shares\n");
    if (!lists->n_windows) {
        printf("  none\n");
    }
    for (size_t i = 0; i < lists->n_windows; i++) {
        const struct p2p_bridge_host_window *window = &lists->windows[i];
        char bdf[P2P_BRIDGE_RID_CHARS];
        char size[SIZE_CHARS];

        printf("  %s:bar%u@0x%" PRIx64 "-0x%" PRIx64 "  %s, %s%s%s%s",
               p2p_bridge_rid_str(window->rid, bdf), window->bar,
               (uint64_t)window->offset,
               (uint64_t)(window->offset + window->length),
               size_str(window->length, size),
               window->access == P2P_BRIDGE_ACCESS_RW ? "read and write"
                                                      : "read only",
               window->flags & P2P_BRIDGE_WINDOW_RAM_LIKE ? ", RAM-like" : "",
               window->flags & P2P_BRIDGE_WINDOW_MEMORY
               ? "" : ", cannot be attached",
               window->flags & P2P_BRIDGE_WINDOW_DECODED
               ? "" : ", not decoded");
        if (window->gpa) {
            printf(", at 0x%" PRIx64, (uint64_t)window->gpa);
        }
        putchar('\n');
    }
}

static void print_pairs(const struct lists *lists)
{
    printf("\nPairs\n");
    if (!lists->n_pairs) {
        printf("  none\n");
    }
    for (size_t i = 0; i < lists->n_pairs; i++) {
        const struct p2p_bridge_pair *pair = &lists->pairs[i];
        char from[P2P_BRIDGE_RID_CHARS];
        char to[P2P_BRIDGE_RID_CHARS];

        printf("  %s -> %s  %s, %s, %s, %s\n",
               p2p_bridge_rid_str(pair->initiator, from),
               p2p_bridge_rid_str(pair->target, to),
               p2p_bridge_path_str(pair->path),
               p2p_bridge_map_type_str(pair->map_type),
               pair->flags & P2P_BRIDGE_PAIR_INSTALLED ? "granted"
                                                       : "not granted",
               pair->flags & P2P_BRIDGE_PAIR_ROUTED ? "routed"
                                                    : "not known to be routed");
    }
}

/* --- For programs -------------------------------------------------------- */

static const char *json_bool(uint32_t flags, uint32_t flag)
{
    return flags & flag ? "true" : "false";
}

static void json_members(const struct lists *lists)
{
    for (size_t i = 0; i < lists->n_members; i++) {
        const struct p2p_bridge_member *member = &lists->members[i];
        char bdf[P2P_BRIDGE_RID_CHARS];

        printf("%s\n    { \"bdf\": \"%s\", \"initiates\": %s, "
               "\"passthrough\": %s, \"self\": %s, \"windows\": %" PRIu32
               " }", i ? "," : "", p2p_bridge_rid_str(member->rid, bdf),
               json_bool(member->flags, P2P_BRIDGE_MEMBER_INITIATES),
               json_bool(member->flags, P2P_BRIDGE_MEMBER_PASSTHROUGH),
               json_bool(member->flags, P2P_BRIDGE_MEMBER_SELF),
               member->windows);
    }
}

static void json_windows(const struct lists *lists)
{
    for (size_t i = 0; i < lists->n_windows; i++) {
        const struct p2p_bridge_host_window *window = &lists->windows[i];
        char bdf[P2P_BRIDGE_RID_CHARS];

        printf("%s\n    { \"bdf\": \"%s\", \"bar\": %u, \"offset\": %" PRIu64
               ", \"size\": %" PRIu64 ", \"access\": \"%s\", "
               "\"decoded\": %s, \"memory\": %s, \"ram-like\": %s",
               i ? "," : "", p2p_bridge_rid_str(window->rid, bdf), window->bar,
               (uint64_t)window->offset, (uint64_t)window->length,
               window->access == P2P_BRIDGE_ACCESS_RW ? "rw" : "ro",
               json_bool(window->flags, P2P_BRIDGE_WINDOW_DECODED),
               json_bool(window->flags, P2P_BRIDGE_WINDOW_MEMORY),
               json_bool(window->flags, P2P_BRIDGE_WINDOW_RAM_LIKE));
        if (window->gpa) {
            printf(", \"gpa\": %" PRIu64, (uint64_t)window->gpa);
        }
        printf(" }");
    }
}

static void json_pairs(const struct lists *lists)
{
    for (size_t i = 0; i < lists->n_pairs; i++) {
        const struct p2p_bridge_pair *pair = &lists->pairs[i];
        char from[P2P_BRIDGE_RID_CHARS];
        char to[P2P_BRIDGE_RID_CHARS];

        printf("%s\n    { \"initiator\": \"%s\", \"target\": \"%s\", "
               "\"path\": \"%s\", \"map-type\": \"%s\", \"granted\": %s, "
               "\"routed\": %s }", i ? "," : "",
               p2p_bridge_rid_str(pair->initiator, from),
               p2p_bridge_rid_str(pair->target, to),
               p2p_bridge_path_str(pair->path),
               p2p_bridge_map_type_str(pair->map_type),
               json_bool(pair->flags, P2P_BRIDGE_PAIR_INSTALLED),
               json_bool(pair->flags, P2P_BRIDGE_PAIR_ROUTED));
    }
}

static void print_json(const struct lists *lists)
{
    const struct p2p_bridge_identify *identify = &lists->identify;

    printf("{\n  \"generation\": %" PRIu32 ",\n  \"bus-address\": %s,\n"
           "  \"aperture-size\": %" PRIu64 ",\n  \"max-windows\": %" PRIu32
           ",\n  \"members\": [",
           identify->generation,
           identify->features & P2P_BRIDGE_FEATURE_BUS_ADDRESS ? "true"
                                                               : "false",
           (uint64_t)identify->slots << (identify->slot_shift & 31),
           identify->max_windows);
    json_members(lists);
    printf("\n  ],\n  \"windows\": [");
    json_windows(lists);
    printf("\n  ],\n  \"pairs\": [");
    json_pairs(lists);
    printf("\n  ]\n}\n");
}

/* --- The command --------------------------------------------------------- */

enum { OPTION_JSON = OPTION_OWN };

static enum status run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, OPTION_JSON },
        COMMON_OPTIONS
    };
    struct p2p_bridge *bridge;
    struct lists lists = { 0 };
    bool json = false;
    bool done;
    int option;

    while ((option = next_option(command, argc, argv, options)) != -1) {
        if (option != OPTION_JSON) {
            return STATUS_CANNOT;
        }
        json = true;
    }
    if (optind < argc) {
        message("list takes no argument, not '%s'", argv[optind]);
        return STATUS_CANNOT;
    }
    bridge = open_device();
    if (!bridge) {
        return STATUS_CANNOT;
    }
    done = read_lists(bridge, &lists);
    p2p_bridge_close(bridge);
    if (!done) {
        return STATUS_CANNOT;
    }
    if (json) {
        print_json(&lists);
    } else {
        print_members(&lists);
        print_windows(&lists);
        print_pairs(&lists);
    }
    free_lists(&lists);
    return STATUS_OK;
}

const struct command command_list = {
    .name = "list",
    .arguments = "",
    .summary = "members of the group, their windows, who reaches whom",
    .options = "  --json                Print JSON\n",
    .examples = "  p2p-bridge list\n"
                "  p2p-bridge list --json\n",
    .run = run,
};
