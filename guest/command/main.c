/*
 * p2p-bridge: peer-to-peer DMA, as seen from within a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "command.h"

static const struct command *const commands[] = {
    &command_list,
    &command_share,
    &command_attach,
    &command_translate,
    &command_copy,
    &command_watch,
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_help(FILE *to)
{
    fputs("Usage: p2p-bridge COMMAND [OPTION...]\n\n"
          "Which functions of this virtual machine reach each other's BARs, "
          "and what is in them.\n\nCommands:\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\np2p-bridge COMMAND --help tells more of a command.\n\n"
          "Exit status: 0 yes, 1 no (refused, revoked, data differ), 2 could "
          "not run.\n", to);
}

static enum status finish(enum status status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        message("standard output: %s", strerror(errno));
        return STATUS_CANNOT;
    }
    return status;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        print_help(stderr);
        return STATUS_CANNOT;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_help(stdout);
        return finish(STATUS_OK);
    }
    if (strcmp(name, "--version") == 0) {
        puts("p2p-bridge " P2P_VERSION);
        return finish(STATUS_OK);
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return finish(commands[i]->run(commands[i], argc - 1, argv + 1));
        }
    }
    message("there is no command '%s'; p2p-bridge --help lists them", name);
    return STATUS_CANNOT;
}
