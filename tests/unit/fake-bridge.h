/*
 * A p2p-bridge driver, and files, that a test plays
 *
 * Linked with --wrap: open, ioctl, and what a copy does with files come here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef FAKE_BRIDGE_H
#define FAKE_BRIDGE_H

#include <glib.h>
#include "libp2p-bridge.h"

#define FAKE_NODE "/dev/p2p-bridge2"
#define FAKE_TARGET P2P_BRIDGE_RID(0, 0x65, 0, 0)
#define FAKE_INITIATOR P2P_BRIDGE_RID(0, 0x66, 0, 1)
#define FAKE_BAR 2
#define FAKE_WINDOW_SIZE (4 * 1024 * 1024)     /* of the host's window, at 0 */
#define FAKE_NUMBER 65                          /* of the guest window */

typedef struct Fake {
    /* --- The driver, as a test wants it */
    unsigned node;              /* N of the only node that there is */
    int other_nodes;            /* errno of the others */
    unsigned n_members;         /* RIDs from 0 on */
    unsigned per_call;          /* entries that a call gives at most */
    unsigned changes;           /* calls of lists between which all changes */
    uint32_t access;            /* of the host's window */
    unsigned long fail;         /* this request fails */
    int error;                  /* with this errno */
    bool too_many;              /* lists tell more than there was room for */
    struct p2p_bridge_translate answer;     /* what it writes */
    struct p2p_bridge_vec answer_vec;

    /* --- What was done */
    int opened;                 /* nodes; another thread may look (atomic) */
    unsigned lists;             /* calls */
    struct p2p_bridge_share share;
    struct p2p_bridge_window unshare;
    struct p2p_bridge_attach attach;
    struct p2p_bridge_window detach;
    struct p2p_bridge_export export;
    unsigned long export_request;
    struct p2p_bridge_translate translate;
    struct p2p_bridge_vec translate_in;
    struct p2p_bridge_bus_release release;
    bool shared;
    int attached;               /* the same */

    /* --- Files */
    unsigned transfers;         /* preads and pwrites so far */
    unsigned break_at;          /* the one, from 1, that is broken: 0: none */
    int break_error;            /* its errno; 0: it is short */
    size_t break_size;          /* bytes of a short one */
    int raise;                  /* a signal that comes before it; 0: none */
    bool revoke;                /* the window goes before it */
    bool revoke_other;          /* another window goes */
    bool spoil;                 /* what it reads is wrong in its last byte */
    unsigned block;             /* bytes, of direct I/O */
    unsigned direct;            /* transfers with O_DIRECT */

    int device;                 /* descriptor of the node */
    int events;                 /* where they are written */
    int memory;                 /* of the window's memory, a memfd */
} Fake;

extern Fake fake;

/* A driver with one initiator, one target and one window; no node is open. */
void fake_begin(void);
void fake_end(void);

void fake_event(uint16_t type, uint16_t reason, uint32_t window);

#endif
