/*
 * drive.h for the emulated NVMe drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "drive.h"
#include "nvme-driver.h"

#define REGISTERS 0xd0000000

typedef struct NvmeDrive {
    Drive drive;
    QNvme *nvme;
    int command[QNVME_COMMANDS];    /* by tag: the driver's */
} NvmeDrive;

static Drive *nvme_start(const DriveKind *kind, QOSState *qos,
                         const SharedRam *ram)
{
    NvmeDrive *d = g_new0(NvmeDrive, 1);
    P2PGuestAddr own = { qmalloc(qos, QNVME_RAM_SIZE) };
    GuestPci pci = { .qts = qos->qts, .devfn = DRIVE_SLOT << 3 };
    g_autoptr(GError) error = NULL;

    d->drive = (Drive) { .kind = kind, .qos = qos, .ram = ram };
    d->nvme = qnvme_new(&pci, (P2PGuestAddr) { REGISTERS }, own, &error);
    g_assert_no_error(error);
    qnvme_map_ram(d->nvme, drive_ram(&d->drive, own.gpa));
    g_assert_cmpuint(qnvme_info(d->nvme)->block_size, ==, DRIVE_BLOCK);
    qnvme_use_sgl(d->nvme, kind == &drive_nvme_sgl);
    return &d->drive;
}

static void nvme_submit(Drive *drive, unsigned tag, DriveOp op,
                        uint64_t offset, const P2PBusVec *vec, size_t n)
{
    NvmeDrive *d = container_of(drive, NvmeDrive, drive);

    d->command[tag] = qnvme_submit(d->nvme, op == DRIVE_READ ? QNVME_READ
                                                             : QNVME_WRITE,
                                   offset / DRIVE_BLOCK, vec, n);
    g_assert_cmpint(d->command[tag], >=, 0);
}

static int nvme_poll(Drive *drive, unsigned tag)
{
    NvmeDrive *d = container_of(drive, NvmeDrive, drive);
    int status = qnvme_poll(d->nvme, d->command[tag]);

    g_assert(status >= 0 || status == -EAGAIN);
    return status > 0 ? -EIO : status;
}

static void nvme_end(Drive *drive)
{
    NvmeDrive *d = container_of(drive, NvmeDrive, drive);

    qnvme_free(d->nvme);
    g_free(d);
}

QNvme *drive_get_nvme(Drive *drive)
{
    return container_of(drive, NvmeDrive, drive)->nvme;
}

#define NVME "-device nvme,id=drive0,addr=7,serial=drive0,drive=disk,mdts=9," \
             "p2p-group=g0 "

const DriveKind drive_nvme = {
    .name = "nvme-prp",
    .options = NVME,
    .requests = QNVME_COMMANDS,
    .pages = true,
    .align = 4,
    .start = nvme_start,
    .submit = nvme_submit,
    .poll = nvme_poll,
    .end = nvme_end,
};

const DriveKind drive_nvme_sgl = {
    .name = "nvme-sgl",
    .options = NVME,
    .requests = QNVME_COMMANDS,
    .align = 1,
    .start = nvme_start,
    .submit = nvme_submit,
    .poll = nvme_poll,
    .end = nvme_end,
};
