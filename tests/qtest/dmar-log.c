/*
 * Faults of the (lab) host's Intel IOMMU, from the kernel's log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "dmar-log.h"

/* The longest record of /dev/kmsg: CONSOLE_EXT_LOG_MAX of the kernel */
#define RECORD_MAX 8192

struct DmarLog {
    int fd;
    GPtrArray *lines;   /* of faults, since the last flush */
};

DmarLog *dmar_log_open(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    DmarLog *log;

    if (fd < 0 || lseek(fd, 0, SEEK_END) < 0) {
        return NULL;
    }
    log = g_new0(DmarLog, 1);
    log->fd = fd;
    log->lines = g_ptr_array_new_with_free_func(g_free);
    return log;
}

void dmar_log_close(DmarLog *log)
{
    if (log) {
        close(log->fd);
        g_ptr_array_unref(log->lines);
        g_free(log);
    }
}

/* A record is "priority,number,time,flags;text\n" and more; a read is one. */
static void read_records(DmarLog *log)
{
    char record[RECORD_MAX + 1];

    while (true) {
        ssize_t len = read(log->fd, record, RECORD_MAX);
        char *text;

        if (len < 0 && errno == EPIPE) {
            continue;   /* records were lost; the next read goes on */
        }
        if (len <= 0) {
            return;
        }
        record[len] = '\0';
        text = strchr(record, ';');
        if (text && strstr(text, "fault addr")) {
            text[strcspn(text, "\n")] = '\0';
            g_ptr_array_add(log->lines, g_strdup(text + 1));
        }
    }
}

void dmar_log_flush(DmarLog *log)
{
    read_records(log);
    g_ptr_array_set_size(log->lines, 0);
}

/*
 * "DMAR: [DMA Write NO_PASID] Request device [0000:01:00.0] fault addr 0x1000
 * [fault reason 0x05] PTE Write access is not set"; older kernels leave the
 * domain out.
 */
static bool line_tells(const char *line, const DmarAccess *access)
{
    const char *device = strstr(line, "Request device [");
    const char *addr = strstr(line, "fault addr ");
    char bdf[16];
    uint64_t iova;

    return device && addr &&
           sscanf(device, "Request device [%15[^]]", bdf) == 1 &&
           sscanf(addr, "fault addr %" SCNx64, &iova) == 1 &&
           g_str_has_suffix(access->bdf, bdf) &&
           !strstr(line, "[DMA Write") == !access->write &&
           iova >= access->first.iova &&
           iova - access->first.iova < access->size;
}

char *dmar_log_find(DmarLog *log, const DmarAccess *access)
{
    read_records(log);
    for (unsigned i = 0; i < log->lines->len; i++) {
        const char *line = g_ptr_array_index(log->lines, i);

        if (line_tells(line, access)) {
            return g_strdup(line);
        }
    }
    return NULL;
}
