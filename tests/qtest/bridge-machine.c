/*
 * A machine with a p2p-bridge, and p2p-testdevs as targets and initiators
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/memfd.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"

/* --- The machine ------------------------------------------------------- */

static void add_device(BridgeMachine *m, GString *args, unsigned n,
                       const char *properties, uint64_t size)
{
    m->size[n] = size ?: MiB;
    m->fd[n] = qemu_memfd_create("bar2", m->size[n], false, 0, 0,
                                 &error_abort);
    m->bar2[n] = mmap(NULL, m->size[n], PROT_READ | PROT_WRITE, MAP_SHARED,
                      m->fd[n], 0);
    g_assert_true(m->bar2[n] != MAP_FAILED);
    g_string_append_printf(args, "-device p2p-testdev,id=t%u,addr=%x.0,"
                           "size=%" PRIu64 ",file=/proc/%d/fd/%d%s%s ", n,
                           BM_SLOT(n), m->size[n], getpid(), m->fd[n],
                           strstr(properties, "p2p-group=") ? ""
                                                            : ",p2p-group=g0",
                           properties);
}

BridgeMachine *bm_new(const BridgeMachineOptions *options)
{
    BridgeMachine *m = g_new0(BridgeMachine, 1);
    const char *machine = options->machine ?: "q35";
    g_autoptr(GString) args = g_string_new("");

    m->express = g_str_equal(machine, "q35");
    g_string_append_printf(args, "-nodefaults -machine %s -m %u "
                           "-object p2p-group,id=g0%s "
                           "-device p2p-bridge,id=br0,addr=%x.0,p2p-group=g0"
                           "%s %s ", machine, (unsigned)(BM_RAM / MiB),
                           options->group ?: "", BM_BRIDGE_SLOT(0),
                           options->bridge ?: "", options->more ?: "");
    for (unsigned n = 0; n < BM_DEVICES; n++) {
        m->fd[n] = -1;
        if (options->t[n]) {
            add_device(m, args, n, options->t[n], options->size[n]);
        }
    }
    m->qts = qtest_init(args->str);
    if (!options->stopped) {
        for (unsigned n = 0; n < BM_DEVICES; n++) {
            if (m->size[n]) {
                bm_place(m, n);
            }
        }
        bridge_probe(&m->b, m->qts, BM_BRIDGE_RID(0), BM_BARS(0),
                     BM_APERTURE(0), BM_MEMORY(0));
        bridge_start(&m->b);
    }
    return m;
}

BridgeMachine *bm_default(void)
{
    const BridgeMachineOptions options = {
        .t = { ",p2p-share=bar2+bar4", ",p2p-share=bar2+bar4" },
    };

    return bm_new(&options);
}

void bm_end(BridgeMachine *m)
{
    qtest_quit(m->qts);
    for (unsigned n = 0; n < BM_DEVICES; n++) {
        if (m->size[n]) {
            munmap(m->bar2[n], m->size[n]);
            close(m->fd[n]);
        }
    }
    g_free(m);
}

void bm_place(BridgeMachine *m, unsigned n)
{
    m->t[n] = testdev_start(m->qts, BM_RID(n),
                            (P2PGuestAddr) { BM_REGISTERS(n) });
    guest_pci_bar_map(&m->t[n].pci, 2, (P2PGuestAddr) { BM_BAR2(n) });
    guest_pci_bar_map(&m->t[n].pci, 4, (P2PGuestAddr) { BM_BAR4(n) });
}

void bm_restart(BridgeMachine *m)
{
    for (unsigned n = 0; n < BM_DEVICES; n++) {
        if (m->size[n]) {
            bm_place(m, n);
        }
    }
    bridge_place(&m->b);
    bridge_start(&m->b);
}

void bm_plug(BridgeMachine *m, unsigned n, const char *share)
{
    g_autofree char *id = g_strdup_printf("t%u", n);
    g_autofree char *addr = g_strdup_printf("%x.0", BM_SLOT(n));
    g_autofree char *file = g_strdup_printf("/proc/%d/fd/%d", getpid(),
                                            m->fd[n]);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'p2p-testdev', 'id': %s, 'addr': %s, "
        "'size': %" PRIu64 ", 'file': %s, 'p2p-group': 'g0', "
        "'p2p-share': %s } }", id, addr, m->size[n], file, share);
    bm_place(m, n);
}

void bm_unplug(BridgeMachine *m, const char *id, unsigned slot)
{
    g_assert_false(m->express);
    qtest_qmp_device_del_send(m->qts, id);
    qtest_outl(m->qts, 0xae08, 1u << slot); /* PIIX4: the guest ejects it */
    qtest_qmp_eventwait(m->qts, "DEVICE_DELETED");
}

void bm_fill(uint8_t *data, size_t len)
{
    static uint8_t seed;

    seed += 7;
    for (size_t i = 0; i < len; i++) {
        data[i] = seed ^ i ^ (i >> 8) ^ (i >> 16);
    }
}

/* --- Guest windows ----------------------------------------------------- */

uint32_t bm_share(BridgeMachine *m, unsigned n, unsigned bar, uint64_t offset,
                  uint64_t size, uint32_t access)
{
    uint64_t window = bridge_ok(bridge_share(&m->b, BM_RID(n), bar, offset,
                                             size, access));

    g_assert_cmphex(window, !=, 0);
    g_assert_cmphex(window, <=, UINT32_MAX);
    return window;
}

uint32_t bm_show(BridgeMachine *m, unsigned n, uint64_t offset, uint64_t size,
                 uint32_t slot)
{
    uint32_t window = bm_share(m, n, 2, offset, size, P2P_BRIDGE_ACCESS_RW);
    uint64_t at = bridge_ok(bridge_attach(&m->b, window, slot));

    g_assert_cmphex(at, ==, slot * BRIDGE_SLOT);
    return window;
}

uint64_t bm_slot(BridgeMachine *m, uint32_t slot)
{
    return m->b.aperture + slot * BRIDGE_SLOT;
}

void bm_expect_data(BridgeMachine *m, unsigned i, uint64_t gpa, unsigned n,
                    uint64_t offset, size_t len)
{
    g_autofree uint8_t *sent = g_malloc(len);
    g_autofree uint8_t *received = g_malloc0(len);
    uint8_t *file = m->bar2[n] + offset;
    P2PBusAddr bus = { gpa };

    g_test_message("t%u reaches t%u + 0x%" PRIx64 " at 0x%" PRIx64, i, n,
                   offset, gpa);
    g_assert_cmpuint(offset + len, <=, m->size[n]);

    bm_fill(sent, len);
    memcpy(file, sent, len);
    qtest_memread(m->qts, gpa, received, len);
    g_assert_cmpmem(sent, len, received, len);
    memset(received, 0, len);
    g_assert_true(testdev_read(&m->t[i], bus, received, len));
    g_assert_cmpmem(sent, len, received, len);

    bm_fill(sent, len);
    qtest_memwrite(m->qts, gpa, sent, len);
    g_assert_cmpmem(sent, len, file, len);
    bm_fill(sent, len);
    g_assert_true(testdev_write(&m->t[i], bus, sent, len));
    g_assert_cmpmem(sent, len, file, len);
}

void bm_expect_nothing(BridgeMachine *m, unsigned i, uint64_t gpa, unsigned n)
{
    g_autofree uint8_t *before = g_memdup2(m->bar2[n], m->size[n]);
    P2PBusAddr bus = { gpa };
    uint64_t word = 0x1122334455667788;

    g_test_message("nothing is at 0x%" PRIx64, gpa);
    g_assert_cmphex(qtest_readq(m->qts, gpa), ==, UINT64_MAX);
    g_assert_cmphex(qtest_readb(m->qts, gpa + 3), ==, UINT8_MAX);
    qtest_writeq(m->qts, gpa, word);
    g_assert_cmphex(qtest_readq(m->qts, gpa), ==, UINT64_MAX);
    g_assert_false(testdev_write(&m->t[i], bus, &word, sizeof(word)));
    g_assert_false(testdev_read(&m->t[i], bus, &word, sizeof(word)));
    g_assert_cmpint(memcmp(before, m->bar2[n], m->size[n]), ==, 0);
}

/* --- Monitor ----------------------------------------------------------- */

void bm_host_share(BridgeMachine *m, unsigned n, uint64_t offset,
                   uint64_t size)
{
    g_autofree char *id = g_strdup_printf("t%u", n);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share', 'arguments': {"
                             " 'device': %s, 'bar': 2, 'offset': %" PRIu64
                             ", 'size': %" PRIu64 " } }", id, offset, size);
}

void bm_host_unshare(BridgeMachine *m, unsigned n)
{
    g_autofree char *id = g_strdup_printf("t%u", n);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare', "
                             "'arguments': { 'device': %s, 'bar': 2 } }", id);
}

void bm_host_unshare_begin(BridgeMachine *m, unsigned n)
{
    g_autofree char *id = g_strdup_printf("t%u", n);
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    BridgePage page;

    qtest_qmp_send(m->qts, "{ 'execute': 'p2p-unshare', "
                   "'arguments': { 'device': %s, 'bar': 2 } }", id);
    /* The monitor is a connection of its own. */
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        bridge_page(&m->b, &page);
    } while (!page.pending);
}

void bm_host_unshare_end(BridgeMachine *m)
{
    g_autoptr(QDict) reply = qtest_qmp_receive(m->qts);

    g_assert_true(qdict_haskey(reply, "return"));
}

void bm_host_unshare_fails(BridgeMachine *m)
{
    g_autoptr(QDict) reply = qtest_qmp_receive(m->qts);

    g_assert_true(qdict_haskey(reply, "error"));
}

void bm_milliseconds(BridgeMachine *m, unsigned ms)
{
    /* None at all is an error. */
    if (ms) {
        qtest_clock_step(m->qts, (int64_t)ms * SCALE_MS);
    }
}
