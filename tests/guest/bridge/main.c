/*
 * Process 1 of the guest that uses a p2p-bridge
 *
 * The kernel's command line has, behind "--", what to do:
 *
 *   parts=PART,PART... rounds=N
 *
 * Lines of results go to the virtio console; a line "host WORDS" is a question,
 * and the answer comes the same way. The last line is "end".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "bridge.h"

static unsigned rounds;

static void part_generic(void)
{
    try_data(2, P2P_BRIDGE_PAGES_GENERIC, "generic-bar2");
    try_uring(2, P2P_BRIDGE_PAGES_GENERIC, "generic-bar2");
    try_data(4, P2P_BRIDGE_PAGES_GENERIC, "generic-bar4");
    try_uring(4, P2P_BRIDGE_PAGES_GENERIC, "generic-bar4");
}

static void part_p2pdma(void)
{
    try_data(2, P2P_BRIDGE_PAGES_P2PDMA, "p2pdma-bar2");
    try_uring(2, P2P_BRIDGE_PAGES_P2PDMA, "p2pdma-bar2");
}

static void part_auto(void)
{
    try_data(2, P2P_BRIDGE_PAGES_AUTO, "auto-bar2");
}

static void part_revoke(void)
{
    try_revoke(rounds);
}

static void part_decode(void)
{
    try_decode(rounds);
}

static void part_bench(void)
{
    measure(rounds);
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {
    { "topology", try_topology },
    { "refusals", try_refusals },
    { "generic", part_generic },
    { "p2pdma", part_p2pdma },
    { "auto", part_auto },
    { "tool", try_tool },
    { "revoke", part_revoke },
    { "decode", part_decode },
    { "importer", try_importer },
    { "unbind", try_unbind },
    { "reload", try_reload },
    { "p2pmem", try_p2pmem },
    { "bench", part_bench },
};

static void run_part(const char *name)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (strcmp(parts[i].name, name) == 0) {
            parts[i].run();
            report(log_is_clean(), "%s/log", name);
            return;
        }
    }
    die("there is no part '%s'", name);
}

int main(int argc, char **argv)
{
    char *list = strdup(option(argc, argv, "parts"));

    rounds = atoi(option(argc, argv, "rounds"));
    begin();
    log_is_clean();
    set_up();
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        run_part(name);
    }
    close_bridge();
    if (umount(FOLDER) < 0) {
        complain("umount: %m");
        report(false, "umount");
    }
    report(log_is_clean(), "log");
    end(true);
}
