/*
 * qemu-p2p: see, explain, plan and verify peer-to-peer DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <locale.h>
#include <string.h>
#include "tool.h"

static const ToolCommand *const commands[] = {
    &tool_topo,
    &tool_why,
    &tool_xml,
    &tool_plan,
    &tool_verify,
    &tool_status,
    &tool_inventory,
    &tool_capture,
};

static void print_help(FILE *to)
{
    fputs("Usage: qemu-p2p COMMAND [OPTION...]\n\n"
          "Which PCI devices of this host reach each other, how, and if not: "
          "why, and what\nto change.\n\nCommands:\n", to);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\nqemu-p2p COMMAND --help tells more of a command.\n\n"
          "Exit status: 0 yes, 1 no (refused, data lost), 2 could not run, "
          "3 nothing to do.\n", to);
}

static const ToolCommand *find_command(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const ToolCommand *command;

    setlocale(LC_ALL, "");
    g_set_prgname("qemu-p2p");
    if (argc < 2) {
        print_help(stderr);
        return TOOL_CANNOT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return tool_finish(TOOL_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("qemu-p2p " P2P_VERSION);
        return tool_finish(TOOL_OK);
    }
    command = find_command(argv[1]);
    if (!command) {
        tool_error("there is no command '%s'; qemu-p2p --help lists them",
                   argv[1]);
        return TOOL_CANNOT;
    }
    return tool_finish(command->run(command, argc - 1, argv + 1));
}
