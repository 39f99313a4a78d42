/*
 * Threads that touch a BAR which may vanish
 *
 * A processor's access to a BAR whose memory decode is off, whose device is
 * being reset, sleeps or has left, ends in SIGBUS.  Data is moved by the
 * kernel, which gives EFAULT instead.  But a device model may also look at a
 * mapped buffer itself: at a virtio request's header, say, which a guest has
 * put into a window.  Then the handler here puts a page of ones into the
 * place of the one that is missing, marks the mapping as broken, which fails
 * the request, and the thread goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/p2p/internal.h"

/* Whoever handles the signals that are not ours: reports of bad RAM. */
static struct sigaction p2p_guard_next;

static void p2p_guard_handler(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    bool rescued = info->si_code == BUS_ADRERR &&
                   p2p_bar_mapping_rescue(info->si_addr);

    errno = saved;
    if (rescued) {
        return;
    }
    if (p2p_guard_next.sa_flags & SA_SIGINFO) {
        p2p_guard_next.sa_sigaction(signal, info, context);
    } else {
        /* The access is made again, and is the end. */
        sigaction(SIGBUS, &p2p_guard_next, NULL);
    }
}

bool p2p_guard_init(Error **errp)
{
    struct sigaction action = {
        .sa_sigaction = p2p_guard_handler,
        .sa_flags = SA_SIGINFO,
    };

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &p2p_guard_next)) {
        error_setg_errno(errp, errno, "cannot handle SIGBUS");
        return false;
    }
    return true;
}

/* QEMU's threads are born with the signal blocked, which would be fatal. */
void p2p_guard_thread(void)
{
    static __thread bool done;

    if (!done) {
        sigset_t set;   /* QEMU is compiled to clear it, which takes time */

        sigemptyset(&set);
        sigaddset(&set, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        done = true;
    }
}
