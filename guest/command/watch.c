/*
 * p2p-bridge watch: events, a line each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "command.h"

static const char *reason_str(const struct p2p_bridge_event *event)
{
    switch (event->type) {
    case P2P_BRIDGE_EVENT_REVOKE:
    case P2P_BRIDGE_EVENT_REVOKED:
        return p2p_bridge_revoke_str(event->reason);
    case P2P_BRIDGE_EVENT_BUS_REVOKED:
        return p2p_bridge_bus_str(event->reason);
    default:
        return NULL;
    }
}

static void print_event(const struct p2p_bridge_event *event)
{
    const char *reason = reason_str(event);
    char bdf[P2P_BRIDGE_RID_CHARS];

    printf("%s generation %" PRIu32, p2p_bridge_event_str(event->type),
           event->generation);
    if (event->window) {
        printf(", window %" PRIu32, event->window);
    }
    if (event->initiator) {
        printf(", initiator %s", p2p_bridge_rid_str(event->initiator, bdf));
    }
    if (event->target) {
        printf(", target %s", p2p_bridge_rid_str(event->target, bdf));
    }
    if (reason) {
        printf(": %s", reason);
    }
    putchar('\n');
}

static void print_json(const struct p2p_bridge_event *event)
{
    const char *reason = reason_str(event);
    char bdf[P2P_BRIDGE_RID_CHARS];

    printf("{ \"event\": \"%s\", \"generation\": %" PRIu32,
           p2p_bridge_event_str(event->type), event->generation);
    if (event->window) {
        printf(", \"window\": %" PRIu32, event->window);
    }
    if (event->initiator) {
        printf(", \"initiator\": \"%s\"",
               p2p_bridge_rid_str(event->initiator, bdf));
    }
    if (event->target) {
        printf(", \"target\": \"%s\"", p2p_bridge_rid_str(event->target, bdf));
    }
    if (reason) {
        printf(", \"reason\": \"%s\"", reason);
    }
    puts(" }");
}

static enum status watch(struct p2p_bridge *bridge, uint64_t count, bool json)
{
    struct p2p_bridge_event event;

    while (count && !stopped) {
        int got = p2p_bridge_event(bridge, &event, -1);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            message("no more events: %s", strerror(errno));
            return STATUS_CANNOT;
        }
        (json ? print_json : print_event)(&event);
        if (fflush(stdout) != 0) {
            /* Nobody reads them: main() tells. */
            return STATUS_CANNOT;
        }
        count--;
    }
    return STATUS_OK;
}

enum { OPTION_JSON = OPTION_OWN, OPTION_COUNT };

static enum status run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, OPTION_JSON },
        { "count", required_argument, NULL, OPTION_COUNT },
        COMMON_OPTIONS
    };
    struct p2p_bridge *bridge;
    uint64_t count = UINT64_MAX;
    bool json = false;
    enum status status;
    int option;

    while ((option = next_option(command, argc, argv, options)) != -1) {
        if (option == OPTION_JSON) {
            json = true;
        } else if (option != OPTION_COUNT) {
            return STATUS_CANNOT;
        } else if (!parse_size(optarg, &count) || !count) {
            message("--count '%s' is not a number from 1 on", optarg);
            return STATUS_CANNOT;
        }
    }
    if (optind < argc) {
        message("watch takes no argument, not '%s'", argv[optind]);
        return STATUS_CANNOT;
    }
    stop_on_signals();
    bridge = open_device();
    if (!bridge) {
        return STATUS_CANNOT;
    }
    status = watch(bridge, count, json);
    p2p_bridge_close(bridge);
    return status;
}

const struct command command_watch = {
    .name = "watch",
    .arguments = "",
    .summary = "what happens: changes, windows that are revoked",
    .options = "  --json                Print JSON, an object on each line\n"
               "  --count=N             End after N events\n",
    .examples = "  p2p-bridge watch\n"
                "  p2p-bridge watch --count=1 && p2p-bridge list\n",
    .run = run,
};
