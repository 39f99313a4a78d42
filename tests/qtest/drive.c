/*
 * An emulated device with a disk, as a test uses it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "drive.h"

Drive *drive_start(const DriveKind *kind, QOSState *qos)
{
    Drive *drive = kind->start(kind, qos);

    drive->kind = kind;
    drive->qos = qos;
    return drive;
}

void drive_end(Drive *drive)
{
    drive->kind->end(drive);
}

void drive_submit(Drive *drive, unsigned tag, DriveOp op, uint64_t offset,
                  const P2PBusVec *vec, size_t n)
{
    g_assert_cmpuint(tag, <, drive->kind->requests);
    g_assert_cmpuint(offset % DRIVE_BLOCK, ==, 0);
    drive->kind->submit(drive, tag, op, offset, vec, n);
}

int drive_poll(Drive *drive, unsigned tag)
{
    return drive->kind->poll(drive, tag);
}

int drive_wait(Drive *drive, unsigned tag)
{
    gint64 end = g_get_monotonic_time() + DRIVE_TIMEOUT_S * G_USEC_PER_SEC;
    int ret;

    do {
        ret = drive_poll(drive, tag);
    } while (ret == -EAGAIN && g_get_monotonic_time() < end);
    return ret == -EAGAIN ? -ETIMEDOUT : ret;
}

int drive_io(Drive *drive, DriveOp op, uint64_t offset, const P2PBusVec *vec,
             size_t n)
{
    drive_submit(drive, 0, op, offset, vec, n);
    return drive_wait(drive, 0);
}

bool drive_needs_reset(Drive *drive)
{
    return drive->kind->needs_reset && drive->kind->needs_reset(drive);
}
