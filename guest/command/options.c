/*
 * Options, messages, signals, and the device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

const char *device_node;
volatile sig_atomic_t stopped;

void message(const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    fflush(stdout);
    fprintf(stderr, "p2p-bridge: %s\n", text);
}

static void print_help(const struct command *command)
{
    printf("Usage:\n  p2p-bridge %s [OPTION…] %s - %s\n\n"
           "Help Options:\n"
           "  -h, --help            Show help options\n\n"
           "Application Options:\n%s"
           "  --device=NODE         The device (default: the first "
           "/dev/p2p-bridgeN)\n\nExamples:\n%s",
           command->name, command->arguments, command->summary,
           command->options, command->examples);
}

int next_option(const struct command *command, int argc, char **argv,
                const struct option *options)
{
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        switch (option) {
        case OPTION_DEVICE:
            device_node = optarg;
            break;
        case OPTION_HELP:
        case 'h':
            print_help(command);
            exit(fflush(stdout) ? STATUS_CANNOT : STATUS_OK);
        case '?':
            message("option '%s' is unknown, or lacks its value, or has one "
                    "that it does not take; p2p-bridge %s --help lists them",
                    argv[optind - 1], command->name);
            return '?';
        default:
            return option;
        }
    }
    return -1;
}

struct p2p_bridge *open_device(void)
{
    struct p2p_bridge *bridge = p2p_bridge_open(device_node);
    const char *node = device_node ? device_node : "/dev/p2p-bridgeN";

    if (bridge) {
        return bridge;
    }
    switch (errno) {
    case ENOENT:
        message("there is no %s: load the driver (modprobe p2p-bridge), and "
                "see whether this machine has such a device (lspci -d "
                "1b36:0015)", node);
        break;
    case EACCES:
    case EPERM:
        message("%s: %s; run this as root, or have udev give the node to "
                "your group", node, strerror(errno));
        break;
    case ENOTTY:
        message("%s is no p2p-bridge; --device names the right node", node);
        break;
    default:
        message("%s: %s", node, strerror(errno));
    }
    return NULL;
}

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

void stop_on_signals(void)
{
    struct sigaction action = { .sa_handler = stop };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}
