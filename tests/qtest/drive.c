/*
 * An emulated device with a disk, as a test uses it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "drive.h"

Drive *drive_start(const DriveKind *kind, QOSState *qos, const SharedRam *ram)
{
    return kind->start(kind, qos, ram);
}

void drive_end(Drive *drive)
{
    drive->kind->end(drive);
}

void drive_move(Drive *drive, QOSState *qos, const SharedRam *ram)
{
    drive->qos = qos;
    drive->ram = ram;
    drive->kind->move(drive);
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

    while ((ret = drive_poll(drive, tag)) == -EAGAIN &&
           g_get_monotonic_time() < end) {
        sched_yield();
    }
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

void *drive_ram(const Drive *drive, uint64_t gpa)
{
    g_assert_cmphex(gpa, <, drive->ram->size);
    return drive->ram->hva + gpa;
}

void drive_mem_write(const Drive *drive, uint64_t gpa, const void *data,
                     size_t len)
{
    if (gpa < drive->ram->size) {
        memcpy(drive_ram(drive, gpa), data, len);
    } else {
        qtest_bufwrite(drive->qos->qts, gpa, data, len);
    }
}

void drive_mem_read(const Drive *drive, uint64_t gpa, void *data, size_t len)
{
    if (gpa < drive->ram->size) {
        memcpy(data, drive_ram(drive, gpa), len);
    } else {
        qtest_bufread(drive->qos->qts, gpa, data, len);
    }
}
