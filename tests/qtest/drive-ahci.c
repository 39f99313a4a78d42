/*
 * drive.h for a SATA disk behind AHCI
 *
 * libqos brings the controller up; commands are written here, because their
 * data is scattered.  References are to AHCI 1.3.1.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "hw/pci/pci_ids.h"
#include "tests/qtest/libqos/ahci.h"
#include "drive.h"

#define PORT       0
#define TABLE_PRDS 0x80     /* where the regions are in a command table */
#define MAX_PRDS   1024
#define HEADER_WRITE (1 << 6)

#define TABLE_SIZE (TABLE_PRDS + MAX_PRDS * sizeof(PRD))

typedef struct AhciDrive {
    Drive drive;
    AHCIQState ahci;
    uint64_t table;     /* one for each slot that is used */
} AhciDrive;

static Drive *ahci_start(const DriveKind *kind, QOSState *qos,
                         const SharedRam *ram)
{
    AhciDrive *d = g_new0(AhciDrive, 1);

    d->drive = (Drive) { .kind = kind, .qos = qos, .ram = ram };
    d->ahci.parent = qos;
    d->ahci.dev = qpci_device_find(qos->pcibus, QPCI_DEVFN(DRIVE_SLOT, 0));
    g_assert_nonnull(d->ahci.dev);
    d->ahci.fingerprint = AHCI_INTEL_ICH9;
    ahci_pci_enable(&d->ahci);
    ahci_hba_enable(&d->ahci);
    ahci_port_clear(&d->ahci, PORT);
    d->table = qmalloc(qos, DRIVE_AHCI_SLOTS * TABLE_SIZE);
    return &d->drive;
}

/* 4.2.3: a register FIS, then where the data is */
static void ahci_prepare(AhciDrive *d, unsigned slot, uint8_t command,
                         bool write, uint64_t lba, uint16_t blocks,
                         const P2PBusVec *vec, size_t n)
{
    uint64_t table = d->table + slot * TABLE_SIZE;
    g_autofree PRD *prds = g_new0(PRD, n);
    RegH2DFIS fis = {
        .fis_type = REG_H2D_FIS,
        .flags = REG_H2D_FIS_CMD,
        .command = command,
        .device = 1 << 6,       /* ATA8-ACS: LBA */
        .count = cpu_to_le16(blocks),
    };
    AHCICommandHeader header = {
        .flags = cpu_to_le16(sizeof(fis) / 4 | (write ? HEADER_WRITE : 0)),
        .prdtl = cpu_to_le16(n),
        .ctba = cpu_to_le64(table),
    };

    g_assert_cmpuint(n, <=, MAX_PRDS);
    for (unsigned i = 0; i < 3; i++) {
        fis.lba_lo[i] = lba >> 8 * i;
        fis.lba_hi[i] = lba >> 8 * (i + 3);
    }
    for (size_t i = 0; i < n; i++) {
        prds[i].dba = cpu_to_le64(vec[i].addr.bus);
        prds[i].dbc = cpu_to_le32(vec[i].len - 1);
    }
    drive_mem_write(&d->drive, table, &fis, sizeof(fis));
    drive_mem_write(&d->drive, table + TABLE_PRDS, prds, n * sizeof(*prds));
    drive_mem_write(&d->drive,
                    d->ahci.port[PORT].clb + slot * sizeof(header), &header,
                    sizeof(header));
}

static void ahci_issue(AhciDrive *d, uint32_t slots)
{
    ahci_px_wreg(&d->ahci, PORT, AHCI_PX_CI, slots);
}

static void ahci_submit(Drive *drive, unsigned tag, DriveOp op,
                        uint64_t offset, const P2PBusVec *vec, size_t n)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);
    uint64_t len = 0;

    for (size_t i = 0; i < n; i++) {
        len += vec[i].len;
    }
    ahci_prepare(d, 0, op == DRIVE_READ ? CMD_READ_DMA_EXT : CMD_WRITE_DMA_EXT,
                 op == DRIVE_WRITE, offset / DRIVE_BLOCK, len / DRIVE_BLOCK,
                 vec, n);
    ahci_issue(d, 1);
}

void drive_ahci_read_slots(Drive *drive, uint64_t offset, const P2PBusVec *vec)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    for (unsigned slot = 0; slot < DRIVE_AHCI_SLOTS; slot++) {
        ahci_prepare(d, slot, CMD_READ_DMA_EXT, false, offset / DRIVE_BLOCK,
                     vec[slot].len / DRIVE_BLOCK, &vec[slot], 1);
        offset += vec[slot].len;
    }
    ahci_issue(d, (1 << DRIVE_AHCI_SLOTS) - 1);
}

unsigned drive_ahci_slots(Drive *drive)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    return ctpop32(ahci_px_rreg(&d->ahci, PORT, AHCI_PX_CI));
}

/* 6.2.2: an error stops the port, and software starts it again. */
static void ahci_restart(AhciDrive *d)
{
    ahci_px_clr(&d->ahci, PORT, AHCI_PX_CMD, AHCI_PX_CMD_ST);
    ahci_px_wreg(&d->ahci, PORT, AHCI_PX_SERR, UINT32_MAX);
    ahci_px_wreg(&d->ahci, PORT, AHCI_PX_IS, UINT32_MAX);
    ahci_px_set(&d->ahci, PORT, AHCI_PX_CMD, AHCI_PX_CMD_ST);
}

static int ahci_poll(Drive *drive, unsigned tag)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    if (ahci_px_rreg(&d->ahci, PORT, AHCI_PX_IS) & AHCI_PX_IS_TFES) {
        ahci_restart(d);
        return -EIO;
    }
    return ahci_px_rreg(&d->ahci, PORT, AHCI_PX_CI) & 1 ? -EAGAIN : 0;
}

int drive_ahci_command(Drive *drive, uint8_t command, bool write,
                       uint64_t offset, const P2PBusVec *vec)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    ahci_prepare(d, 0, command, write, offset / DRIVE_BLOCK,
                 vec->len / DRIVE_BLOCK, vec, 1);
    ahci_issue(d, 1);
    return drive_wait(drive, 0);
}

static void ahci_move(Drive *drive)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    d->ahci.parent = drive->qos;
    d->ahci.dev->bus = drive->qos->pcibus;
}

static void ahci_end(Drive *drive)
{
    AhciDrive *d = container_of(drive, AhciDrive, drive);

    g_free(d->ahci.dev);
    g_free(d);
}

const DriveKind drive_ahci = {
    .name = "ahci",
    .options = "-device ich9-ahci,id=drive0,addr=7,p2p-group=g0 "
               "-device ide-hd,bus=drive0.0,drive=disk ",
    .requests = 1,
    .align = 2,
    .start = ahci_start,
    .submit = ahci_submit,
    .poll = ahci_poll,
    .move = ahci_move,
    .end = ahci_end,
};
