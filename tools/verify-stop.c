/*
 * qemu-p2p verify: whether the user wants an end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <stddef.h>
#include "verify-stop.h"

static volatile sig_atomic_t wanted;

static void note(int number)
{
    (void)number;
    wanted = 1;
}

void verify_stop_catch(void)
{
    const struct sigaction action = {
        .sa_handler = note,
        .sa_flags = SA_RESTART,
    };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool verify_stop_wanted(void)
{
    return wanted;
}
