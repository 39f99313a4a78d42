/*
 * p2p-bridge share, attach: windows that stay as long as the command runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "command.h"

static void print_window(const struct guest_window *window, bool attached)
{
    char size[SIZE_CHARS];

    printf("window %" PRIu32 ": %s, %s", window->number, window->name,
           size_str(window->length, size));
    if (attached) {
        printf(", at 0x%" PRIx64 " of the aperture", window->aperture);
    }
    putchar('\n');
    fflush(stdout);
}

/* Until a signal comes, or the window has gone */
static enum status hold(struct guest_window *window)
{
    struct p2p_bridge_event event;

    while (!stopped) {
        int got = p2p_bridge_event(window->bridge, &event, -1);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            message("%s: %s", window->name, strerror(errno));
            return STATUS_CANNOT;
        }
        if (event.type == P2P_BRIDGE_EVENT_REVOKED &&
            event.window == window->number) {
            message("%s: window %" PRIu32 " was revoked: %s", window->name,
                    window->number, p2p_bridge_revoke_str(event.reason));
            return STATUS_NO;
        }
    }
    return STATUS_OK;
}

static enum status share_and_hold(const char *name, uint32_t access,
                                  bool attach)
{
    struct p2p_bridge *bridge;
    struct guest_window window;
    struct place place;
    enum status status;

    if (!parse_place(name, &place)) {
        return STATUS_CANNOT;
    }
    stop_on_signals();
    bridge = open_device();
    if (!bridge) {
        return STATUS_CANNOT;
    }
    status = window_share(&window, bridge, name, &place, access);
    if (status == STATUS_OK && attach) {
        status = window_attach(&window);
    }
    if (status == STATUS_OK) {
        print_window(&window, attach);
        status = hold(&window);
    }
    window_end(&window);
    p2p_bridge_close(bridge);
    return status;
}

enum { OPTION_READ_ONLY = OPTION_OWN };

static enum status run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "read-only", no_argument, NULL, OPTION_READ_ONLY },
        COMMON_OPTIONS
    };
    uint32_t access = P2P_BRIDGE_ACCESS_RW;
    int option;

    while ((option = next_option(command, argc, argv, options)) != -1) {
        if (option != OPTION_READ_ONLY) {
            return STATUS_CANNOT;
        }
        access = P2P_BRIDGE_ACCESS_RO;
    }
    if (argc - optind != 1) {
        message("%s takes one window, as BDF:barN[@OFFSET[-END]] "
                "(p2p-bridge list shows them)", command->name);
        return STATUS_CANNOT;
    }
    return share_and_hold(argv[optind], access, command == &command_attach);
}

const struct command command_share = {
    .name = "share",
    .arguments = "BDF:barN[@OFFSET[-END]]",
    .summary = "make a guest window, until this command is interrupted",
    .options = "  --read-only           For reading only\n",
    .examples = "  p2p-bridge share 0000:65:00.0:bar2@16M-32M\n",
    .run = run,
};

const struct command command_attach = {
    .name = "attach",
    .arguments = "BDF:barN[@OFFSET[-END]]",
    .summary = "the same, and show it in the aperture",
    .options = "  --read-only           For reading only\n",
    .examples = "  p2p-bridge attach 0000:65:00.0:bar2\n"
                "  p2p-bridge attach --read-only 65:00.0:bar2@0x200000\n",
    .run = run,
};
