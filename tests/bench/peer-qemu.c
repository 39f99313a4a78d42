/*
 * Peer: QEMU's address_space_translate(), in a QEMU that does nothing else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "tests/qtest/libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "peer.h"

#define VECTOR_ADDR 0x1000000
#define RAM_MB 128

static QTestState *qts;

static void open_qemu(const Workload *w)
{
    size_t total = (size_t)w->n_vectors * w->n;

    qts = qtest_initf("-machine q35 -nodefaults -m %d "
                      "-device p2p-benchdev,id=bench,sections=%u,base=%" PRIu64
                      ",stride=%" PRIu64 ",size=%" PRIu64
                      ",vector=%d,entries=%zu,times=1",
                      RAM_MB, w->n_windows, WORKLOAD_BASE, WORKLOAD_STRIDE,
                      w->windows[0].size, VECTOR_ADDR, total);
    qtest_bufwrite(qts, VECTOR_ADDR, w->entries,
                   total * sizeof(w->entries[0]));
}

/* One time is long enough: the vectors are. */
static double run(void *opaque, unsigned times)
{
    const Workload *w = opaque;
    double ns = 0;

    for (unsigned i = 0; i < times; i++) {
        g_autoptr(QDict) reply = qtest_qmp(
            qts, "{ 'execute': 'qom-get', 'arguments': {"
            " 'path': '/machine/peripheral/bench', 'property': 'ns' } }");

        if (!qdict_haskey(reply, "return")) {
            g_error("p2p-benchdev: %s", qdict_get_str(
                        qdict_get_qdict(reply, "error"), "desc"));
        }
        ns += qnum_get_double(qobject_to(QNum, qdict_get(reply, "return")));
    }
    return ns * w->n_vectors * w->n * 1e-9;
}

static void close_qemu(void)
{
    qtest_quit(qts);
}

const Peer peer_qemu = {
    .name = "qemu-address_space_translate",
    .function = "address_space_translate",
    .max_windows = 4094,    /* of 4096 sections two are its own */
    .open = open_qemu,
    .run = run,
    .close = close_qemu,
};
