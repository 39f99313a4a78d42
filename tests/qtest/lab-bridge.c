/*
 * A virtual machine in the lab with a p2p-bridge and its driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-bridge.h"

#define BRIDGE_SLOT_NUMBER 8

const LabBackend lab_backends[] = {
    { "type1", "", "" },
    { "iommufd", "-object iommufd,id=i0", ",iommufd=i0" },
    { NULL }
};

static char *member_properties(const LabBackend *backend)
{
    return g_strconcat("p2p-group=g0", backend->properties, NULL);
}

LabBridge *lab_bridge_new(const LabBackend *backend, const char *group,
                          const char *more, unsigned drives)
{
    g_autofree char *member = member_properties(backend);
    g_autofree char *options = NULL;
    const char *properties[LAB_BRIDGE_DRIVES] = { NULL };
    LabBridge *lab = g_new0(LabBridge, 1);

    lab->backend = backend;
    options = g_strdup_printf(
        "-object p2p-group,id=g0%s %s -device p2p-bridge,id=%s,addr=%u.0,"
        "p2p-group=g0,aperture=%" PRIu64 ",revoke-timeout=%u %s", group,
        backend->options, LAB_BRIDGE_ID, BRIDGE_SLOT_NUMBER,
        (uint64_t)LAB_APERTURE_SIZE, LAB_BRIDGE_REVOKE_MS, more);
    for (unsigned i = 0; i < drives; i++) {
        properties[i] = member;
    }
    lab->m = lab_machine_new_with_ports(options, properties,
                                        LAB_BRIDGE_DRIVES);
    for (unsigned i = 0; i < drives; i++) {
        lab_drive_start(lab->m, i);
    }
    bridge_probe(&lab->b, lab->m->qts, BRIDGE_SLOT_NUMBER << 3,
                 LAB_BRIDGE_BARS, LAB_APERTURE, LAB_BRIDGE_MEMORY);
    return lab;
}

void lab_bridge_free(LabBridge *lab)
{
    if (lab) {
        lab_machine_free(lab->m);
        g_free(lab);
    }
}

void lab_bridge_start(LabBridge *lab, uint64_t features)
{
    Bridge *b = &lab->b;

    bridge_rings(b, BRIDGE_ENTRIES, BRIDGE_ENTRIES, BRIDGE_ENTRIES);
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES, features);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
}

uint32_t lab_bridge_rid(const LabBridge *lab, unsigned drive)
{
    const GuestPci *pci = &lab->m->drive[drive].pci;

    return pci->bus << 8 | pci->devfn;
}

GuestPci lab_bridge_pci(const LabBridge *lab)
{
    return lab->b.pci;
}

void lab_bridge_plug(LabBridge *lab, unsigned drive)
{
    g_autofree char *member = member_properties(lab->backend);

    lab_plug(lab->m, drive, member);
    lab_drive_start(lab->m, drive);
}

void lab_bridge_unplug(LabBridge *lab, unsigned drive)
{
    lab_unplug(lab->m, drive);
}

void lab_bridge_milliseconds(LabBridge *lab, unsigned ms)
{
    qtest_clock_step(lab->m->qts, (int64_t)ms * SCALE_MS);
}

/* --- What a guest does to a drive ---------------------------------------- */

void lab_decode(LabBridge *lab, unsigned drive, bool on)
{
    guest_pci_command(&lab->m->drive[drive].pci, on ? PCI_COMMAND_MEMORY : 0,
                      on ? 0 : PCI_COMMAND_MEMORY);
}

/* PCI Power Management 1.2, 3.2.4 */
void lab_power_state(LabBridge *lab, unsigned drive, unsigned state)
{
    const GuestPci *pci = &lab->m->drive[drive].pci;
    uint8_t at = guest_pci_capability(pci, PCI_CAP_ID_PM);

    g_assert_cmpuint(at, !=, 0);
    guest_pci_writew(pci, at + PCI_PM_CTRL, state);
    g_assert_cmpuint(guest_pci_readw(pci, at + PCI_PM_CTRL) &
                     PCI_PM_CTRL_STATE_MASK, ==, state);
}

/* PCIe 6.0, 7.5.3.4 */
void lab_flr(const GuestPci *pci)
{
    uint8_t at = guest_pci_capability(pci, PCI_CAP_ID_EXP);
    uint16_t control;

    g_assert_cmpuint(at, !=, 0);
    control = guest_pci_readw(pci, at + PCI_EXP_DEVCTL);
    guest_pci_writew(pci, at + PCI_EXP_DEVCTL,
                     control | PCI_EXP_DEVCTL_BCR_FLR);
}

void lab_place(LabBridge *lab, unsigned drive, uint64_t gpa)
{
    guest_pci_bar_map(&lab->m->drive[drive].pci, LAB_CMB_BAR,
                      (P2PGuestAddr) { gpa });
    lab->m->drive[drive].cmb.gpa = gpa;
}

void lab_place_home(LabBridge *lab, unsigned drive)
{
    lab_place(lab, drive, LAB_CMB + drive * GiB);
}

void lab_restart(LabBridge *lab, unsigned drive)
{
    lab_drive_stop(lab->m, drive);
    lab_drive_start(lab->m, drive);
}

/* --- What the lab does --------------------------------------------------- */

void lab_host_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_test_message("%s > %s", text, path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    close(fd);
}
