/*
 * A library to preload: VFIO as in kernels before Linux 6.19, which cannot
 * export a BAR as a dma-buf
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

/* Linux 6.19, include/uapi/linux/vfio.h */
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
#endif

typedef int Ioctl(int fd, unsigned long request, void *argument);

int ioctl(int fd, unsigned long request, ...)
{
    static Ioctl *next;
    void *argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);

    if (request == VFIO_DEVICE_FEATURE &&
        (((struct vfio_device_feature *)argument)->flags &
         VFIO_DEVICE_FEATURE_MASK) == VFIO_DEVICE_FEATURE_DMA_BUF) {
        errno = ENOTTY;
        return -1;
    }
    if (!next) {
        next = (Ioctl *)dlsym(RTLD_NEXT, "ioctl");
    }
    return next(fd, request, argument);
}
