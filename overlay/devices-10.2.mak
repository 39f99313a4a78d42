# SPDX-License-Identifier: GPL-2.0-or-later
#
# Devices of QEMU 10.2 on top of devices.mak

CONFIG_VFIO_USER=y
