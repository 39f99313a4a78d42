/*
 * Network devices send from a peer's BARs, and receive into them
 *
 * The other end of the device's network is a socket of the test.  Packets are
 * in BAR 2, which is a file, in BAR 4, which is RAM, in an NVMe drive's CMB,
 * which is neither, or cut into pieces here and there.  When memory decode of
 * the peers is off, nothing of a packet gets
 * out, and the device is of use again as soon as the BAR, or RAM, is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "hw/net/e1000_regs.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "tests/qtest/libqos/e1000e.h"
#include "tests/qtest/libqos/virtio.h"
#include "tests/qtest/libqos/virtio-pci.h"
#include "p2p-monitor.h"
#include "peer-machine.h"

#define MAX_PACKET 9000u
#define MAX_PIECES 3

/* The drive with a CMB */
#define CMB_SLOT 5
#define CMB_BAR  2
#define CMB      (66 * GiB)

/*
 * Each piece has an area of its own in each of the places, and is put where
 * all but the smallest cross a page.  Around it, and where the packet is to
 * be, are bytes that must be left alone.
 */
#define AREA    (32 * KiB)
#define OFFSET  0xfe1
#define MARGIN  64
#define NOTHING 0xee

/* How long to wait for a packet or a device */
#define TIMEOUT_S 60

/* Bounce buffers for a packet in the CMB: by default they are but a page. */
#define OPTIONS "id=" DRIVE_ID ",addr=7,netdev=n0,p2p-group=g0," \
                "x-max-bounce-buffer-size=65536"

typedef struct Nic Nic;

typedef struct NicKind {
    DriveKind drive;            /* without a disk */
    size_t header;              /* bytes in front of a packet */
    bool fixed_buffers;         /* to receive: all of them of the same size */

    void (*reset)(Nic *nic);    /* and get ready again */

    /* The device gets pieces to send, or to receive into. */
    void (*send)(Nic *nic, const P2PBusVec *vec, size_t n);
    void (*post)(Nic *nic, const P2PBusVec *vec, size_t n);

    /*
     * 0: it is done, -EAGAIN: not yet, -EIO: it wants to be reset.  received:
     * how many bytes, with the header.
     */
    int (*sent)(Nic *nic);
    int (*received)(Nic *nic);
} NicKind;

struct Nic {
    Drive drive;
    const NicKind *kind;
};

/* --- virtio-net -------------------------------------------------------- */

enum { VIRTIO_RX, VIRTIO_TX, VIRTIO_QUEUES };

typedef struct VirtioNic {
    Nic nic;
    QVirtioPCIDevice *device;
    QVirtQueue *queue[VIRTIO_QUEUES];
    uint32_t head[VIRTIO_QUEUES];       /* of what was queued last */
} VirtioNic;

static VirtioNic *virtio_of(Nic *nic)
{
    return container_of(nic, VirtioNic, nic);
}

static void virtio_queues_free(VirtioNic *v)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        if (v->queue[i]) {
            qvirtqueue_cleanup(v->device->vdev.bus, v->queue[i],
                               &v->nic.drive.qos->alloc);
        }
    }
}

static void virtio_reset(Nic *nic)
{
    VirtioNic *v = virtio_of(nic);
    QVirtioDevice *vdev = &v->device->vdev;

    qvirtio_start_device(vdev);
    virtio_queues_free(v);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                               (1ull << VIRTIO_F_VERSION_1 |
                                1ull << VIRTIO_F_ACCESS_PLATFORM));
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        v->queue[i] = qvirtqueue_setup(vdev, &nic->drive.qos->alloc, i);
    }
    qvirtio_set_driver_ok(vdev);
}

static void virtio_queue(Nic *nic, unsigned queue, const P2PBusVec *vec,
                         size_t n)
{
    VirtioNic *v = virtio_of(nic);
    QTestState *qts = nic->drive.qos->qts;
    QVirtQueue *vq = v->queue[queue];

    for (size_t i = 0; i < n; i++) {
        uint32_t index = qvirtqueue_add(qts, vq, vec[i].addr.bus, vec[i].len,
                                        queue == VIRTIO_RX, i < n - 1);

        if (i == 0) {
            v->head[queue] = index;
        }
    }
    qvirtqueue_kick(qts, &v->device->vdev, vq, v->head[queue]);
}

static int virtio_done(Nic *nic, unsigned queue)
{
    VirtioNic *v = virtio_of(nic);
    QVirtioDevice *vdev = &v->device->vdev;
    uint32_t head, len;

    if (qvirtqueue_get_buf(nic->drive.qos->qts, v->queue[queue], &head, &len)) {
        g_assert_cmpuint(head, ==, v->head[queue]);
        return len;
    }
    return vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET
           ? -EIO : -EAGAIN;
}

static void virtio_send(Nic *nic, const P2PBusVec *vec, size_t n)
{
    virtio_queue(nic, VIRTIO_TX, vec, n);
}

static void virtio_post(Nic *nic, const P2PBusVec *vec, size_t n)
{
    virtio_queue(nic, VIRTIO_RX, vec, n);
}

static int virtio_sent(Nic *nic)
{
    return virtio_done(nic, VIRTIO_TX);
}

static int virtio_received(Nic *nic)
{
    return virtio_done(nic, VIRTIO_RX);
}

static Drive *virtio_start(const DriveKind *kind, QOSState *qos,
                           const SharedRam *ram)
{
    VirtioNic *v = g_new0(VirtioNic, 1);
    QPCIAddress address = { .devfn = QPCI_DEVFN(DRIVE_SLOT, 0) };

    v->nic = (Nic) {
        .drive = { .kind = kind, .qos = qos, .ram = ram },
        .kind = container_of(kind, NicKind, drive),
    };
    v->device = virtio_pci_new(qos->pcibus, &address);
    g_assert_nonnull(v->device);
    qvirtio_pci_device_enable(v->device);
    virtio_reset(&v->nic);
    return &v->nic.drive;
}

static void virtio_end(Drive *drive)
{
    VirtioNic *v = virtio_of(container_of(drive, Nic, drive));

    virtio_queues_free(v);
    qvirtio_pci_device_disable(v->device);
    g_free(v->device->pdev);
    g_free(v->device);
    g_free(v);
}

static const NicKind nic_virtio = {
    .drive = {
        .name = "virtio-net",
        .options = "-device virtio-net-pci,iommu_platform=on,disable-legacy=on,"
                   OPTIONS,
        .start = virtio_start,
        .end = virtio_end,
    },
    .header = sizeof(struct virtio_net_hdr_v1),
    .reset = virtio_reset,
    .send = virtio_send,
    .post = virtio_post,
    .sent = virtio_sent,
    .received = virtio_received,
};

/* --- e1000e ------------------------------------------------------------ */

#define E1000E_RING (4 * KiB)
#define E1000E_DESCRIPTORS (E1000E_RING / E1000_RING_DESC_LEN)

enum { E1000E_RX, E1000E_TX, E1000E_RINGS };

typedef struct E1000ENic {
    Nic nic;
    QE1000E_PCI pci;
    uint32_t first[E1000E_RINGS];       /* of the packet queued last */
    unsigned n[E1000E_RINGS];
} E1000ENic;

static E1000ENic *e1000e_of(Nic *nic)
{
    return container_of(nic, E1000ENic, nic);
}

static void e1000e_place_ring(QE1000E *d, uint64_t ring, uint32_t low,
                              uint32_t high, uint32_t len)
{
    e1000e_macreg_write(d, low, ring);
    e1000e_macreg_write(d, high, ring >> 32);
    e1000e_macreg_write(d, len, E1000E_RING);
}

static void e1000e_reset(Nic *nic)
{
    QE1000E *d = &e1000e_of(nic)->pci.e1000e;
    uint32_t ctrl = e1000e_macreg_read(d, E1000_CTRL);

    e1000e_macreg_write(d, E1000_CTRL, ctrl | E1000_CTRL_RST | E1000_CTRL_SLU);
    e1000e_place_ring(d, d->tx_ring, E1000_TDBAL, E1000_TDBAH, E1000_TDLEN);
    e1000e_place_ring(d, d->rx_ring, E1000_RDBAL, E1000_RDBAH, E1000_RDLEN);
    e1000e_macreg_write(d, E1000_RFCTL, E1000_RFCTL_EXTEN);
    e1000e_macreg_write(d, E1000_TCTL, E1000_TCTL_EN);
}

/* Descriptor @index, of all that there ever were, in a ring */
static void *e1000e_slot(Nic *nic, uint64_t ring, uint32_t index)
{
    return drive_ram(&nic->drive, ring + index % E1000E_DESCRIPTORS *
                                         E1000_RING_DESC_LEN);
}

/*
 * libqos pushes one at a time, but QEMU forgets the beginning of a packet whose
 * end is not there yet.
 */
static void e1000e_send(Nic *nic, const P2PBusVec *vec, size_t n)
{
    E1000ENic *e = e1000e_of(nic);
    QE1000E *d = &e->pci.e1000e;

    e->first[E1000E_TX] = e1000e_macreg_read(d, E1000_TDT);
    e->n[E1000E_TX] = n;
    for (size_t i = 0; i < n; i++) {
        struct e1000_tx_desc *desc = e1000e_slot(nic, d->tx_ring,
                                                 e->first[E1000E_TX] + i);
        uint32_t eop = i == n - 1 ? E1000_TXD_CMD_EOP : 0;

        *desc = (struct e1000_tx_desc) {
            .buffer_addr = cpu_to_le64(vec[i].addr.bus),
            .lower.data = cpu_to_le32(E1000_TXD_CMD_RS | E1000_TXD_CMD_DEXT |
                                      E1000_TXD_DTYP_D | eop | vec[i].len),
        };
    }
    e1000e_macreg_write(d, E1000_TDT,
                        (e->first[E1000E_TX] + n) % E1000E_DESCRIPTORS);
}

static int e1000e_sent(Nic *nic)
{
    E1000ENic *e = e1000e_of(nic);

    for (unsigned i = 0; i < e->n[E1000E_TX]; i++) {
        const struct e1000_tx_desc *desc =
            e1000e_slot(nic, e->pci.e1000e.tx_ring, e->first[E1000E_TX] + i);

        if (!(le32_to_cpu(qatomic_load_acquire(&desc->upper.data)) &
              E1000_TXD_STAT_DD)) {
            return -EAGAIN;
        }
    }
    return 0;
}

static uint32_t e1000e_buffer_size(uint32_t size)
{
    switch (size) {
    case 256:
        return E1000_RCTL_SZ_256;
    case 512:
        return E1000_RCTL_SZ_512;
    case 1024:
        return E1000_RCTL_SZ_1024;
    case 2048:
        return E1000_RCTL_SZ_2048;
    case 4096:
        return E1000_RCTL_SZ_4096 | E1000_RCTL_BSEX;
    case 8192:
        return E1000_RCTL_SZ_8192 | E1000_RCTL_BSEX;
    case 16384:
        return E1000_RCTL_SZ_16384 | E1000_RCTL_BSEX;
    default:
        g_assert_not_reached();
    }
}

static void e1000e_post(Nic *nic, const P2PBusVec *vec, size_t n)
{
    E1000ENic *e = e1000e_of(nic);
    QE1000E *d = &e->pci.e1000e;

    e1000e_macreg_write(d, E1000_RCTL, E1000_RCTL_EN | E1000_RCTL_UPE |
                        E1000_RCTL_MPE | E1000_RCTL_BAM | E1000_RCTL_LPE |
                        E1000_RCTL_SECRC | e1000e_buffer_size(vec[0].len));
    e->first[E1000E_RX] = e1000e_macreg_read(d, E1000_RDT);
    e->n[E1000E_RX] = n;
    for (size_t i = 0; i < n; i++) {
        union e1000_rx_desc_extended desc = {
            .read.buffer_addr = cpu_to_le64(vec[i].addr.bus),
        };

        e1000e_rx_ring_push(d, &desc);
    }
}

static int e1000e_received(Nic *nic)
{
    E1000ENic *e = e1000e_of(nic);
    unsigned n = e->n[E1000E_RX];
    int len = 0;

    for (unsigned i = 0; i < n; i++) {
        const union e1000_rx_desc_extended *desc =
            e1000e_slot(nic, e->pci.e1000e.rx_ring, e->first[E1000E_RX] + i);
        uint32_t status = le32_to_cpu(qatomic_load_acquire(
                                          &desc->wb.upper.status_error));

        if (!(status & E1000_RXD_STAT_DD)) {
            return -EAGAIN;
        }
        g_assert_cmphex(status & E1000_RXD_STAT_EOP, ==,
                        i == n - 1 ? E1000_RXD_STAT_EOP : 0);
        len += le16_to_cpu(desc->wb.upper.length);
    }
    return len;
}

static Drive *e1000e_start(const DriveKind *kind, QOSState *qos,
                           const SharedRam *ram)
{
    E1000ENic *e = g_new0(E1000ENic, 1);
    QPCIAddress address = { .devfn = QPCI_DEVFN(DRIVE_SLOT, 0) };

    e->nic = (Nic) {
        .drive = { .kind = kind, .qos = qos, .ram = ram },
        .kind = container_of(kind, NicKind, drive),
    };
    qpci_device_init(&e->pci.pci_dev, qos->pcibus, &address);
    qpci_device_enable(&e->pci.pci_dev);
    e->pci.mac_regs = qpci_iomap(&e->pci.pci_dev, 0, NULL);
    e->pci.e1000e.tx_ring = qmalloc(qos, E1000E_RING);
    e->pci.e1000e.rx_ring = qmalloc(qos, E1000E_RING);
    e1000e_reset(&e->nic);
    return &e->nic.drive;
}

static void e1000e_end(Drive *drive)
{
    E1000ENic *e = e1000e_of(container_of(drive, Nic, drive));

    qpci_iounmap(&e->pci.pci_dev, e->pci.mac_regs);
    g_free(e);
}

static const NicKind nic_e1000e = {
    .drive = {
        .name = "e1000e",
        .options = "-device e1000e," OPTIONS,
        .start = e1000e_start,
        .end = e1000e_end,
    },
    .fixed_buffers = true,
    .reset = e1000e_reset,
    .send = e1000e_send,
    .post = e1000e_post,
    .sent = e1000e_sent,
    .received = e1000e_received,
};

/* --- A machine with such a device -------------------------------------- */

typedef enum Place {
    IN_RAM,
    IN_BAR2,
    IN_BAR4,
    IN_CMB,
    PLACES
} Place;

/* Where the pieces of a packet are */
typedef struct Layout {
    unsigned n;
    Place place[MAX_PIECES];
} Layout;

static const Layout in_ram = { 1, { IN_RAM } };
static const Layout in_bars[] = {
    { 1, { IN_BAR2 } },
    { 1, { IN_BAR4 } },
    { 1, { IN_CMB } },
    { 2, { IN_RAM, IN_BAR2 } },
    { 2, { IN_BAR2, IN_RAM } },
    { 2, { IN_RAM, IN_BAR4 } },
    { 2, { IN_BAR4, IN_RAM } },
    { 2, { IN_RAM, IN_CMB } },
    { 2, { IN_CMB, IN_RAM } },
    { 2, { IN_BAR2, IN_BAR4 } },
    { 2, { IN_CMB, IN_CMB } },
    { 3, { IN_RAM, IN_BAR2, IN_RAM } },
    { 3, { IN_BAR4, IN_RAM, IN_BAR2 } },
    { 3, { IN_CMB, IN_BAR2, IN_BAR4 } },
};

static const size_t sizes[] = { 64, 1500, MAX_PACKET };

typedef struct Bench {
    PeerMachine *m;
    GuestPci cmb;
    Nic *nic;
    int socket;                 /* the other end of the network */
    uint64_t base[PLACES];
    uint32_t packets;           /* made so far */
} Bench;

static void switch_decode(Bench *b, bool on)
{
    const GuestPci *peers[] = { &b->m->target, &b->cmb };

    for (unsigned i = 0; i < ARRAY_SIZE(peers); i++) {
        guest_pci_command(peers[i], on ? PCI_COMMAND_MEMORY : 0,
                          on ? 0 : PCI_COMMAND_MEMORY);
    }
}

static void bench_start(Bench *b, const NicKind *kind)
{
    const struct timeval timeout = { .tv_sec = TIMEOUT_S };
    g_autofree char *options = NULL;
    int sockets[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), ==, 0);
    b->socket = sockets[0];
    g_assert_cmpint(setsockopt(b->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
    options = g_strdup_printf("-netdev dgram,id=n0,local.type=fd,"
                              "local.str=%d -device nvme,addr=%u,serial=c0,"
                              "cmb_size_mb=1,legacy-cmb=on,p2p-group=g0,"
                              "p2p-share=bar%u", sockets[1], CMB_SLOT, CMB_BAR);
    b->m = peer_machine_new("q35", &kind->drive, "", options);
    close(sockets[1]);
    b->cmb = (GuestPci) { .qts = b->m->qts, .devfn = CMB_SLOT << 3 };
    guest_pci_bar_map(&b->cmb, CMB_BAR, (P2PGuestAddr) { CMB });
    switch_decode(b, true);
    b->nic = container_of(b->m->drive, Nic, drive);
    b->base[IN_RAM] = qmalloc(b->m->qos, MAX_PIECES * AREA);
    b->base[IN_BAR2] = PEER_BAR2;
    b->base[IN_BAR4] = PEER_BAR4;
    b->base[IN_CMB] = CMB;
    b->packets = 0;
}

/* No packet is left over. */
static void bench_end(Bench *b)
{
    uint8_t byte;

    g_assert_cmpint(recv(b->socket, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    peer_machine_end(b->m);
    close(b->socket);
}

/* A broadcast of a protocol for experiments; no two are the same. */
static uint8_t *packet_new(Bench *b, size_t len)
{
    uint8_t *packet = g_malloc(len);
    g_autoptr(GRand) rand = g_rand_new_with_seed(++b->packets);

    for (size_t i = 0; i < len; i++) {
        packet[i] = g_rand_int(rand);
    }
    memset(packet, 0xff, 6);
    packet[6] = 0x02;           /* from a local address */
    stw_be_p(&packet[12], 0x88b5);
    stl_be_p(&packet[14], b->packets);
    return packet;
}

/*
 * Pieces of a packet of @len bytes; the device's header goes in front of the
 * first, but does not count here.
 */
static size_t cut(const Bench *b, const Layout *layout, size_t len,
                  P2PBusVec *vec)
{
    size_t size = DIV_ROUND_UP(len, layout->n);

    for (unsigned i = 0; i < layout->n; i++) {
        vec[i] = (P2PBusVec) {
            .addr = { b->base[layout->place[i]] + i * AREA + OFFSET },
            .len = MIN(size, len),
        };
        len -= vec[i].len;
    }
    return layout->n;
}

/* What the device is told; @size: of each buffer, 0: as they are. */
static void with_header(const Bench *b, const P2PBusVec *pieces, size_t n,
                        uint32_t size, P2PBusVec *vec)
{
    for (size_t i = 0; i < n; i++) {
        vec[i] = pieces[i];
        vec[i].len = size ? size : pieces[i].len;
    }
    vec[0].addr.bus -= b->nic->kind->header;
    vec[0].len += b->nic->kind->header;
}

static int wait_for(Nic *nic, int (*done)(Nic *nic))
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;
    int ret;

    while ((ret = done(nic)) == -EAGAIN) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        sched_yield();
    }
    return ret;
}

/* --- To send ----------------------------------------------------------- */

/* Write a packet to its pieces, which are all there. */
static void fill(Bench *b, const P2PBusVec *pieces, size_t n,
                 const uint8_t *packet)
{
    static const uint8_t zeros[MARGIN];
    size_t header = b->nic->kind->header;

    if (header) {
        g_assert_cmpuint(header, <=, sizeof(zeros));
        drive_mem_write(b->m->drive, pieces[0].addr.bus - header, zeros,
                        header);
    }
    for (size_t i = 0; i < n; i++) {
        drive_mem_write(b->m->drive, pieces[i].addr.bus, packet, pieces[i].len);
        packet += pieces[i].len;
    }
}

static int transmit(Bench *b, const P2PBusVec *pieces, size_t n)
{
    P2PBusVec vec[MAX_PIECES];

    with_header(b, pieces, n, 0, vec);
    b->nic->kind->send(b->nic, vec, n);
    return wait_for(b->nic, b->nic->kind->sent);
}

static void expect_packet(Bench *b, const uint8_t *packet, size_t len)
{
    uint8_t got[MAX_PACKET + 1];

    g_assert_cmpint(recv(b->socket, got, sizeof(got), 0), ==, len);
    g_assert_true(!memcmp(got, packet, len));
}

/* The bytes in BAR 2 that the device has read and written so far */
static uint64_t moved(const Bench *b)
{
    g_autoptr(QDict) window = p2p_monitor_window(b->m->qts, "t0", 2, 0);

    return p2p_monitor_uint(p2p_monitor_grant(window, DRIVE_ID), "bytes");
}

static void expect_moved(const Bench *b, uint64_t before, const Layout *layout,
                         const P2PBusVec *pieces)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < layout->n; i++) {
        if (layout->place[i] == IN_BAR2) {
            bytes += pieces[i].len + (i ? 0 : b->nic->kind->header);
        }
    }
    g_assert_cmpuint(moved(b) - before, ==, bytes);
}

/* It is the next packet, whatever was to be sent before. */
static void expect_tx(Bench *b, const Layout *layout, size_t len)
{
    g_autofree uint8_t *packet = packet_new(b, len);
    P2PBusVec pieces[MAX_PIECES];
    size_t n = cut(b, layout, len, pieces);
    uint64_t before = moved(b);

    fill(b, pieces, n, packet);
    g_assert_cmpint(transmit(b, pieces, n), ==, 0);
    expect_packet(b, packet, len);
    expect_moved(b, before, layout, pieces);
}

static void test_tx(const void *kind)
{
    Bench b;

    bench_start(&b, kind);
    expect_tx(&b, &in_ram, sizes[0]);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(in_bars); j++) {
            expect_tx(&b, &in_bars[j], sizes[i]);
        }
    }
    bench_end(&b);
}

/* --- To receive -------------------------------------------------------- */

/* How large buffers have to be if all are; 0: there is no such size. */
static uint32_t fixed_size(size_t len, unsigned n)
{
    uint32_t size = MAX(pow2ceil(DIV_ROUND_UP(len, n)), 256);

    return (n - 1) * size < len ? size : 0;
}

/*
 * Pieces to receive a packet into; false: it cannot be cut that way.  @size:
 * for with_header().
 */
static bool cut_rx(const Bench *b, const Layout *layout, size_t len,
                   P2PBusVec *pieces, uint32_t *size)
{
    cut(b, layout, len, pieces);
    *size = 0;
    if (b->nic->kind->fixed_buffers) {
        *size = fixed_size(len, layout->n);
        if (!*size) {
            return false;
        }
        for (unsigned i = 0; i < layout->n; i++) {
            pieces[i].len = MIN(*size, len);
            len -= pieces[i].len;
        }
    }
    return true;
}

/* Buffers with nothing in them */
static void post(Bench *b, const P2PBusVec *pieces, size_t n, uint32_t size)
{
    g_autofree uint8_t *nothing = g_malloc(AREA);
    P2PBusVec vec[MAX_PIECES];

    memset(nothing, NOTHING, AREA);
    for (size_t i = 0; i < n; i++) {
        drive_mem_write(b->m->drive, pieces[i].addr.bus - MARGIN, nothing,
                        pieces[i].len + 2 * MARGIN);
    }
    with_header(b, pieces, n, size, vec);
    b->nic->kind->post(b->nic, vec, n);
}

static void expect_nothing(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        g_assert_cmphex(bytes[i], ==, NOTHING);
    }
}

/*
 * @header: bytes in front of it that may be anything
 * @packet: what it is to hold; NULL: it was left alone
 */
static void expect_piece(Bench *b, const P2PBusVec *piece, size_t header,
                         const uint8_t *packet)
{
    size_t len = piece->len;
    g_autofree uint8_t *got = g_malloc(len + 2 * MARGIN);

    drive_mem_read(b->m->drive, piece->addr.bus - MARGIN, got,
                   len + 2 * MARGIN);
    if (!packet) {
        expect_nothing(got, len + 2 * MARGIN);
        return;
    }
    g_assert_cmpuint(header, <=, MARGIN);
    expect_nothing(got, MARGIN - header);
    g_assert_true(!memcmp(got + MARGIN, packet, len));
    expect_nothing(got + MARGIN + len, MARGIN);
}

static void send_to_nic(Bench *b, const uint8_t *packet, size_t len)
{
    g_assert_cmpint(send(b->socket, packet, len, 0), ==, len);
}

static void expect_rx(Bench *b, const Layout *layout, size_t len)
{
    const NicKind *kind = b->nic->kind;
    g_autofree uint8_t *packet = packet_new(b, len);
    P2PBusVec pieces[MAX_PIECES];
    const uint8_t *p = packet;
    uint64_t before = moved(b);
    uint32_t size;

    if (!cut_rx(b, layout, len, pieces, &size)) {
        return;
    }
    post(b, pieces, layout->n, size);
    send_to_nic(b, packet, len);
    g_assert_cmpint(wait_for(b->nic, kind->received), ==, kind->header + len);
    for (unsigned i = 0; i < layout->n; i++) {
        expect_piece(b, &pieces[i], i ? 0 : kind->header, p);
        p += pieces[i].len;
    }
    expect_moved(b, before, layout, pieces);
}

static void test_rx(const void *kind)
{
    Bench b;

    bench_start(&b, kind);
    expect_rx(&b, &in_ram, sizes[0]);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(in_bars); j++) {
            expect_rx(&b, &in_bars[j], sizes[i]);
        }
    }
    bench_end(&b);
}

/* --- The window is gone ------------------------------------------------ */

/* virtio has a way to say that it wants to be reset, e1000e just goes on. */
static void expect_gone(Bench *b, int ret)
{
    if (b->nic->kind == &nic_virtio) {
        g_assert_cmpint(ret, ==, -EIO);
        b->nic->kind->reset(b->nic);
    } else {
        g_assert_cmpint(ret, >=, 0);
    }
}

/* The next packet that arrives is one from RAM, with the window still gone. */
static void tx_gone(Bench *b, const Layout *layout, size_t len)
{
    g_autofree uint8_t *packet = packet_new(b, len);
    P2PBusVec pieces[MAX_PIECES];
    size_t n = cut(b, layout, len, pieces);

    fill(b, pieces, n, packet);
    switch_decode(b, false);
    expect_gone(b, transmit(b, pieces, n));
    expect_tx(b, &in_ram, len);
    switch_decode(b, true);
    expect_tx(b, layout, len);
}

/* The buffers are posted in time, and then go. */
static void rx_gone(Bench *b, const Layout *layout, size_t len)
{
    const NicKind *kind = b->nic->kind;
    g_autofree uint8_t *packet = packet_new(b, len);
    P2PBusVec pieces[MAX_PIECES];
    uint32_t size;

    if (!cut_rx(b, layout, len, pieces, &size)) {
        return;
    }
    post(b, pieces, layout->n, size);
    switch_decode(b, false);
    send_to_nic(b, packet, len);
    expect_gone(b, wait_for(b->nic, kind->received));
    expect_rx(b, &in_ram, len);
    switch_decode(b, true);
    for (unsigned i = 0; i < layout->n; i++) {
        if (layout->place[i] != IN_RAM) {
            expect_piece(b, &pieces[i], 0, NULL);
        }
    }
    expect_rx(b, layout, len);
}

static void test_gone(const void *kind)
{
    Bench b;

    bench_start(&b, kind);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(in_bars); j++) {
            tx_gone(&b, &in_bars[j], sizes[i]);
            rx_gone(&b, &in_bars[j], sizes[i]);
        }
    }
    bench_end(&b);
}

int main(int argc, char **argv)
{
    static const NicKind *const kinds[] = { &nic_virtio, &nic_e1000e };
    static const struct {
        const char *name;
        void (*run)(const void *kind);
    } tests[] = { { "tx", test_tx }, { "rx", test_rx }, { "gone", test_gone } };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(tests); j++) {
            g_autofree char *path = g_strdup_printf("p2p/net/%s/%s",
                                                    kinds[i]->drive.name,
                                                    tests[j].name);

            qtest_add_data_func(path, kinds[i], tests[j].run);
        }
    }
    return g_test_run();
}
