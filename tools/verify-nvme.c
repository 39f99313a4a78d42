/*
 * qemu-p2p verify: an NVMe controller that only reads
 *
 * References are to the NVM Express Base Specification, revision 1.4.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <linux/pci_regs.h>
#include "verify-nvme.h"
#include "verify-stop.h"

/* 3.1: registers, by their offsets in BAR 0 */
enum {
    REG_CAP    = 0x00,
    REG_INTMS  = 0x0c,
    REG_CC     = 0x14,
    REG_CSTS   = 0x1c,
    REG_AQA    = 0x24,
    REG_ASQ    = 0x28,
    REG_ACQ    = 0x30,
    REG_CMBLOC = 0x38,
    REG_CMBSZ  = 0x3c,
    REG_CMBMSC = 0x50,
    REG_CMBSTS = 0x58,
    REG_PMRCAP = 0xe00,
    DOORBELLS  = 0x1000,
};

#define REGISTERS 0     /* the BAR */

/* 3.1.1 */
#define CAP_MQES(cap)   ((unsigned)((cap) & 0xffff))
#define CAP_TO(cap)     ((unsigned)((cap) >> 24 & 0xff))    /* 500 ms */
#define CAP_DSTRD(cap)  ((unsigned)((cap) >> 32 & 0xf))
#define CAP_NVM(cap)    ((cap) >> 37 & 1)
#define CAP_MPSMIN(cap) ((unsigned)((cap) >> 48 & 0xf))
#define CAP_PMRS(cap)   ((cap) >> 56 & 1)
#define CAP_CMBS(cap)   ((cap) >> 57 & 1)

/* 3.1.5: entries of 64 and 16 bytes, pages of 4 KiB, the NVM command set */
#define CC_ENABLE (6u << 16 | 4u << 20 | 1)

#define CSTS_RDY 1u
#define CSTS_CFS 2u

/* 3.1.13, 3.1.12, 3.1.16, 3.1.17, 3.1.21 */
#define CMBLOC_BIR(loc)  ((loc) & 7)
#define CMBLOC_OFST(loc) ((uint64_t)((loc) >> 12))
#define CMBSZ_SZU(sz)    ((sz) >> 8 & 0xf)
#define CMBSZ_SZ(sz)     ((uint64_t)((sz) >> 12))
#define CMBMSC_CRE  1u
#define CMBMSC_CMSE 2u
#define CMBSTS_CBAI 1u
#define PMRCAP_BIR(cap)  ((cap) >> 5 & 7)

/* 5.3, 5.4, 5.15; NVM command set 6.9 */
enum {
    ADMIN_CREATE_SQ = 0x01,
    ADMIN_CREATE_CQ = 0x05,
    ADMIN_IDENTIFY  = 0x06,
    IO_READ         = 0x02,
};

/* 5.15.1 */
enum {
    IDENTIFY_NAMESPACE  = 0,
    IDENTIFY_CONTROLLER = 1,
    IDENTIFY_ACTIVE     = 2,
};

#define ENTRIES 16      /* of each queue */
#define SQE_SIZE 64
#define CQE_SIZE 16

G_STATIC_ASSERT(VERIFY_NVME_DEPTH < ENTRIES);

/* A command takes longer on no drive that works. */
#define COMMAND_LIMIT_US (10 * G_USEC_PER_SEC)
/* How long a user waits who wants an end: commands under way end meanwhile. */
#define STOP_LIMIT_US (2 * G_USEC_PER_SEC)

/* One page of PRPs (4.3) and the one in the command allow a little more. */
#define MAX_COMMAND (1u << 20)

enum {
    PAGE_ADMIN_SQ, PAGE_ADMIN_CQ, PAGE_IO_SQ, PAGE_IO_CQ, PAGE_DATA,
    PAGE_LISTS,
};

typedef struct Queue {
    unsigned id;
    uint8_t *submissions, *completions;
    unsigned tail, head;
    bool phase;                 /* of the next completion */
} Queue;

struct VerifyNvme {
    VerifyDevice *device;
    uint8_t *ram;
    uint64_t iova;              /* of @ram */
    uint64_t cap;
    Queue admin, io;
    VerifyNvmeInfo info;
};

/* --- Registers ----------------------------------------------------------- */

static bool get32(VerifyDevice *device, unsigned at, uint32_t *value,
                  GError **error)
{
    if (!verify_bar_read(device, REGISTERS, at, value, sizeof(*value),
                         error)) {
        return false;
    }
    *value = GUINT32_FROM_LE(*value);
    return true;
}

static bool set32(VerifyDevice *device, unsigned at, uint32_t value,
                  GError **error)
{
    value = GUINT32_TO_LE(value);
    return verify_bar_write(device, REGISTERS, at, &value, sizeof(value),
                            error);
}

/* 3.1: 64-bit registers may be accessed as two halves. */
static bool get64(VerifyDevice *device, unsigned at, uint64_t *value,
                  GError **error)
{
    uint32_t low, high;

    if (!get32(device, at, &low, error) ||
        !get32(device, at + 4, &high, error)) {
        return false;
    }
    *value = (uint64_t)high << 32 | low;
    return true;
}

/* The low half last: it holds the enable bits of CMBMSC. */
static bool set64(VerifyDevice *device, unsigned at, uint64_t value,
                  GError **error)
{
    return set32(device, at + 4, value >> 32, error) &&
           set32(device, at, value, error);
}

static bool get_capabilities(VerifyDevice *device, uint64_t *cap,
                             GError **error)
{
    if (!get64(device, REG_CAP, cap, error)) {
        return false;
    }
    if (*cap == UINT64_MAX) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_NO_ANSWER,
                    "%s does not answer: its registers read as ones",
                    verify_device_function(device)->bdf);
        return false;
    }
    return true;
}

static bool fail(const VerifyNvme *nvme, VerifyError code, const char *what,
                 GError **error)
{
    g_set_error(error, VERIFY_ERROR, code, "%s %s",
                verify_device_function(nvme->device)->bdf, what);
    return false;
}

/* --- Start and stop ------------------------------------------------------ */

/*
 * @heed: whether a signal ends the wait.  CAP.TO bounds both directions
 * (3.1.5); a second more, as drives are known to count generously.
 */
static bool wait_ready(VerifyNvme *nvme, bool ready, bool heed,
                       GError **error)
{
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC +
                 CAP_TO(nvme->cap) * (G_USEC_PER_SEC / 2);
    uint32_t status;

    for (;;) {
        if (!get32(nvme->device, REG_CSTS, &status, error)) {
            return false;
        }
        if (status == UINT32_MAX) {
            return fail(nvme, VERIFY_ERROR_NO_ANSWER,
                        "has vanished: its registers read as ones", error);
        }
        if ((status & CSTS_RDY) == ready) {
            return true;
        }
        if (ready && (status & CSTS_CFS)) {
            return fail(nvme, VERIFY_ERROR_NO_ANSWER,
                        "reports a fatal error and does not start", error);
        }
        if (heed && verify_stop_wanted()) {
            return fail(nvme, VERIFY_ERROR_STOPPED,
                        "was interrupted while it started", error);
        }
        if (g_get_monotonic_time() > end) {
            return fail(nvme, VERIFY_ERROR_NO_ANSWER, ready
                        ? "does not start within the time that it tells "
                          "itself (CAP.TO)"
                        : "does not stop within the time that it tells itself "
                          "(CAP.TO)", error);
        }
        g_usleep(1000);
    }
}

static bool disable(VerifyNvme *nvme, bool heed, GError **error)
{
    return set32(nvme->device, REG_CC, 0, error) &&
           wait_ready(nvme, false, heed, error);
}

static uint64_t page_iova(const VerifyNvme *nvme, unsigned page)
{
    return nvme->iova + page * VERIFY_NVME_PAGE;
}

static uint8_t *page_memory(const VerifyNvme *nvme, unsigned page)
{
    return nvme->ram + page * VERIFY_NVME_PAGE;
}

/* 7.6.1: controller initialisation */
static bool enable(VerifyNvme *nvme, GError **error)
{
    VerifyDevice *device = nvme->device;

    return disable(nvme, true, error) &&
           set32(device, REG_INTMS, UINT32_MAX, error) &&
           set32(device, REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1),
                 error) &&
           set64(device, REG_ASQ, page_iova(nvme, PAGE_ADMIN_SQ), error) &&
           set64(device, REG_ACQ, page_iova(nvme, PAGE_ADMIN_CQ), error) &&
           verify_command(device, PCI_COMMAND_MASTER, 0, error) &&
           set32(device, REG_CC, CC_ENABLE, error) &&
           wait_ready(nvme, true, true, error);
}

static bool check_capabilities(VerifyNvme *nvme, GError **error)
{
    if (!get_capabilities(nvme->device, &nvme->cap, error)) {
        return false;
    }
    if (!CAP_NVM(nvme->cap) || CAP_MPSMIN(nvme->cap) ||
        CAP_MQES(nvme->cap) + 1 < ENTRIES) {
        return fail(nvme, VERIFY_ERROR_FAILED, "cannot be driven: it does not "
                    "have the NVM command set, pages of 4 KiB and queues of "
                    "16 entries", error);
    }
    return true;
}

/* --- Queues -------------------------------------------------------------- */

static void init_queue(VerifyNvme *nvme, Queue *queue, unsigned id,
                       unsigned page)
{
    *queue = (Queue) {
        .id = id,
        .submissions = page_memory(nvme, page),
        .completions = page_memory(nvme, page + 1),
        .phase = true,
    };
}

/* 3.1.23, 3.1.24 */
static bool ring(VerifyNvme *nvme, const Queue *queue, bool completion,
                 unsigned value, GError **error)
{
    unsigned stride = 4u << CAP_DSTRD(nvme->cap);

    return set32(nvme->device,
                 DOORBELLS + (2 * queue->id + completion) * stride, value,
                 error);
}

/* @command: 16 words; the tag goes into the first one. */
static bool submit(VerifyNvme *nvme, Queue *queue, const uint32_t *command,
                   unsigned tag, GError **error)
{
    uint32_t *entry = (void *)(queue->submissions + queue->tail * SQE_SIZE);

    for (unsigned i = 0; i < SQE_SIZE / sizeof(*entry); i++) {
        entry[i] = GUINT32_TO_LE(command[i] | (i ? 0 : tag << 16));
    }
    queue->tail = (queue->tail + 1) % ENTRIES;
    /* The doorbell is a system call: the entry is in memory before. */
    return ring(nvme, queue, false, queue->tail, error);
}

/* Whether there was one: then its tag and status, 4.6. */
static bool poll_completion(Queue *queue, unsigned *tag, unsigned *status)
{
    uint32_t *entry = (void *)(queue->completions + queue->head * CQE_SIZE);
    uint32_t last = __atomic_load_n(&entry[3], __ATOMIC_ACQUIRE);

    last = GUINT32_FROM_LE(last);
    if ((last >> 16 & 1) != queue->phase) {
        return false;
    }
    *tag = last & 0xffff;
    *status = last >> 17 & 0x7ff;
    queue->head = (queue->head + 1) % ENTRIES;
    if (!queue->head) {
        queue->phase = !queue->phase;
    }
    return true;
}

/* Whether to go on waiting for a completion */
static bool may_wait(VerifyNvme *nvme, gint64 waited, GError **error)
{
    uint32_t csts;

    if (!get32(nvme->device, REG_CSTS, &csts, error)) {
        return false;
    }
    if (csts == UINT32_MAX) {
        return fail(nvme, VERIFY_ERROR_NO_ANSWER,
                    "has vanished: its registers read as ones", error);
    }
    if (csts & CSTS_CFS) {
        return fail(nvme, VERIFY_ERROR_NO_ANSWER, "reports a fatal error",
                    error);
    }
    if (waited > STOP_LIMIT_US && verify_stop_wanted()) {
        return fail(nvme, VERIFY_ERROR_STOPPED, "was interrupted", error);
    }
    return waited <= COMMAND_LIMIT_US ||
           fail(nvme, VERIFY_ERROR_NO_ANSWER,
                "does not end a command within 10 seconds", error);
}

/* Looks at the clock and the controller only now and then: it is measured. */
static bool wait_completion(VerifyNvme *nvme, Queue *queue, unsigned *tag,
                            unsigned *status, GError **error)
{
    gint64 begin = g_get_monotonic_time(), waited;

    for (unsigned turn = 1; !poll_completion(queue, tag, status); turn++) {
        if (turn % 256) {
            continue;
        }
        waited = g_get_monotonic_time() - begin;
        if (waited < 20 * 1000) {
            continue;
        }
        if (!may_wait(nvme, waited, error)) {
            return false;
        }
        g_usleep(100);
    }
    return ring(nvme, queue, true, queue->head, error);
}

/* --- Administration ------------------------------------------------------ */

static bool admin(VerifyNvme *nvme, const uint32_t *command, unsigned *status,
                  GError **error)
{
    unsigned tag;

    return submit(nvme, &nvme->admin, command, 0, error) &&
           wait_completion(nvme, &nvme->admin, &tag, status, error);
}

static bool admin_failed(const VerifyNvme *nvme, const char *what,
                         unsigned status, GError **error)
{
    g_autofree char *text = verify_nvme_status_str(status);

    g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED, "%s: %s: %s",
                verify_device_function(nvme->device)->bdf, what, text);
    return false;
}

/* What was identified is in PAGE_DATA. */
static bool identify(VerifyNvme *nvme, uint32_t nsid, unsigned what,
                     unsigned *status, GError **error)
{
    uint64_t data = page_iova(nvme, PAGE_DATA);
    const uint32_t command[16] = {
        [0] = ADMIN_IDENTIFY, [1] = nsid, [6] = data, [7] = data >> 32,
        [10] = what,
    };

    memset(page_memory(nvme, PAGE_DATA), 0, VERIFY_NVME_PAGE);
    return admin(nvme, command, status, error);
}

/* 5.15.2.2 */
static bool identify_controller(VerifyNvme *nvme, GError **error)
{
    const uint8_t *data = page_memory(nvme, PAGE_DATA);
    unsigned status, mdts;

    if (!identify(nvme, 0, IDENTIFY_CONTROLLER, &status, error)) {
        return false;
    }
    if (status) {
        return admin_failed(nvme, "Identify Controller", status, error);
    }
    for (unsigned i = 0; i < 40; i++) {
        char c = data[24 + i];

        nvme->info.model[i] = g_ascii_isprint(c) ? c : '?';
    }
    g_strchomp(nvme->info.model);
    mdts = data[77];
    nvme->info.max_transfer = mdts && mdts < 8 ? VERIFY_NVME_PAGE << mdts
                                               : MAX_COMMAND;
    return true;
}

/* 5.15.2.5; controllers of NVMe 1.0 have no list, and namespace 1. */
static bool find_namespace(VerifyNvme *nvme, GError **error)
{
    unsigned status;
    uint32_t first;

    if (!identify(nvme, 0, IDENTIFY_ACTIVE, &status, error)) {
        return false;
    }
    memcpy(&first, page_memory(nvme, PAGE_DATA), sizeof(first));
    nvme->info.nsid = status ? 1 : GUINT32_FROM_LE(first);
    return nvme->info.nsid ||
           fail(nvme, VERIFY_ERROR_FAILED,
                "has no namespace that could be read", error);
}

/* 5.15.2.1 */
static bool identify_namespace(VerifyNvme *nvme, GError **error)
{
    const uint8_t *data = page_memory(nvme, PAGE_DATA), *format;
    VerifyNvmeInfo *info = &nvme->info;
    unsigned status;

    if (!identify(nvme, info->nsid, IDENTIFY_NAMESPACE, &status, error)) {
        return false;
    }
    if (status) {
        return admin_failed(nvme, "Identify Namespace", status, error);
    }
    memcpy(&info->blocks, data, sizeof(info->blocks));
    info->blocks = GUINT64_FROM_LE(info->blocks);
    /* FLBAS: bits 5 and 6 are 0 with up to 16 formats. */
    format = data + 128 + 4 * ((data[26] & 0xf) | (data[26] >> 1 & 0x30));
    if (format[0] || format[1]) {
        return fail(nvme, VERIFY_ERROR_FAILED, "has a namespace formatted "
                    "with metadata, which cannot be read here", error);
    }
    if (format[2] < 9 || format[2] > 20 || !info->blocks ||
        info->blocks > UINT64_MAX >> format[2]) {
        return fail(nvme, VERIFY_ERROR_FAILED,
                    "has a namespace without blocks", error);
    }
    info->block_size = 1u << format[2];
    if (info->block_size > info->max_transfer) {
        return fail(nvme, VERIFY_ERROR_FAILED,
                    "transfers less than a block at a time", error);
    }
    return true;
}

static bool create_queues(VerifyNvme *nvme, GError **error)
{
    uint64_t cq_iova = page_iova(nvme, PAGE_IO_CQ);
    uint64_t sq_iova = page_iova(nvme, PAGE_IO_SQ);
    unsigned id = nvme->io.id, status;
    /* CDW11: contiguous; no interrupts; the completion queue */
    const uint32_t cq[16] = {
        [0] = ADMIN_CREATE_CQ, [6] = cq_iova, [7] = cq_iova >> 32,
        [10] = (ENTRIES - 1) << 16 | id, [11] = 1,
    };
    const uint32_t sq[16] = {
        [0] = ADMIN_CREATE_SQ, [6] = sq_iova, [7] = sq_iova >> 32,
        [10] = (ENTRIES - 1) << 16 | id, [11] = id << 16 | 1,
    };

    if (!admin(nvme, cq, &status, error)) {
        return false;
    }
    if (status) {
        return admin_failed(nvme, "Create I/O Completion Queue", status,
                            error);
    }
    if (!admin(nvme, sq, &status, error)) {
        return false;
    }
    return !status || admin_failed(nvme, "Create I/O Submission Queue",
                                   status, error);
}

VerifyNvme *verify_nvme_start(VerifyDevice *device, void *ram, uint64_t iova,
                              GError **error)
{
    VerifyNvme *nvme = g_new0(VerifyNvme, 1);

    nvme->device = device;
    nvme->ram = ram;
    nvme->iova = iova;
    /* Old completions must not have the phase that is waited for. */
    memset(ram, 0, VERIFY_NVME_RAM);
    init_queue(nvme, &nvme->admin, 0, PAGE_ADMIN_SQ);
    init_queue(nvme, &nvme->io, 1, PAGE_IO_SQ);
    if (!verify_command(device, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE,
                        PCI_COMMAND_MASTER, error) ||
        !check_capabilities(nvme, error)) {
        g_free(nvme);
        return NULL;
    }
    if (!enable(nvme, error) || !identify_controller(nvme, error) ||
        !find_namespace(nvme, error) || !identify_namespace(nvme, error) ||
        !create_queues(nvme, error)) {
        verify_nvme_stop(nvme, NULL);
        return NULL;
    }
    return nvme;
}

bool verify_nvme_stop(VerifyNvme *nvme, GError **error)
{
    bool disabled, quiet;

    if (!nvme) {
        return true;
    }
    disabled = disable(nvme, false, error);
    /* For one that does not stop, too: then this is what stops it. */
    quiet = verify_command(nvme->device, 0, PCI_COMMAND_MASTER,
                           disabled ? error : NULL);
    g_free(nvme);
    return disabled && quiet;
}

const VerifyNvmeInfo *verify_nvme_info(const VerifyNvme *nvme)
{
    return &nvme->info;
}

/* --- Read ---------------------------------------------------------------- */

/* 4.3: a second page stands in the command, more of them in a list. */
static void set_prps(VerifyNvme *nvme, uint32_t *command, unsigned tag,
                     uint64_t iova, uint32_t size)
{
    unsigned pages = (size + VERIFY_NVME_PAGE - 1) / VERIFY_NVME_PAGE;
    uint64_t *list = (void *)page_memory(nvme, PAGE_LISTS + tag);
    uint64_t second = iova + VERIFY_NVME_PAGE;

    G_STATIC_ASSERT(MAX_COMMAND / VERIFY_NVME_PAGE <=
                    VERIFY_NVME_PAGE / sizeof(uint64_t));
    if (pages > 2) {
        for (unsigned i = 1; i < pages; i++) {
            list[i - 1] = GUINT64_TO_LE(iova + i * VERIFY_NVME_PAGE);
        }
        second = page_iova(nvme, PAGE_LISTS + tag);
    }
    command[6] = iova;
    command[7] = iova >> 32;
    command[8] = pages > 1 ? second : 0;
    command[9] = pages > 1 ? second >> 32 : 0;
}

static bool submit_read(VerifyNvme *nvme, unsigned tag, uint64_t lba,
                        uint64_t iova, uint32_t size, GError **error)
{
    uint32_t command[16] = {
        [0] = IO_READ, [1] = nvme->info.nsid, [10] = lba, [11] = lba >> 32,
        [12] = size / nvme->info.block_size - 1,
    };

    set_prps(nvme, command, tag, iova, size);
    return submit(nvme, &nvme->io, command, tag, error);
}

/* Takes one completion; its tag is free again. */
static bool reap(VerifyNvme *nvme, unsigned *busy, unsigned *status,
                 GError **error)
{
    unsigned tag, ended;

    if (!wait_completion(nvme, &nvme->io, &tag, &ended, error)) {
        return false;
    }
    if (tag >= VERIFY_NVME_DEPTH || !(*busy & 1u << tag)) {
        return fail(nvme, VERIFY_ERROR_NO_ANSWER,
                    "answers to what it was not asked", error);
    }
    *busy &= ~(1u << tag);
    *status = *status ?: ended;
    return true;
}

/*
 * What is under way when the user wants an end still ends: a controller that
 * is disabled in the middle of a transfer is in for trouble.
 */
bool verify_nvme_read(VerifyNvme *nvme, uint64_t lba, uint64_t iova,
                      uint64_t size, unsigned *status, GError **error)
{
    const unsigned all = (1u << VERIFY_NVME_DEPTH) - 1;
    unsigned busy = 0;
    uint64_t done = 0;

    *status = 0;
    for (;;) {
        bool more = done < size && !*status && !verify_stop_wanted();

        if (more && busy != all) {
            uint32_t n = MIN(size - done, nvme->info.max_transfer);
            unsigned tag = __builtin_ctz(~busy);

            if (!submit_read(nvme, tag, lba + done / nvme->info.block_size,
                             iova + done, n, error)) {
                return false;
            }
            busy |= 1u << tag;
            done += n;
        } else if (!busy) {
            break;
        } else if (!reap(nvme, &busy, status, error)) {
            return false;
        }
    }
    return done == size || *status ||
           fail(nvme, VERIFY_ERROR_STOPPED, "was interrupted", error);
}

char *verify_nvme_status_str(unsigned status)
{
    switch (status) {
    case 0x000:
        return g_strdup("success");
    case 0x004:
        return g_strdup("data transfer error");
    case 0x006:
        return g_strdup("internal error");
    case 0x281:
        return g_strdup("unrecovered read error of the medium");
    default:
        return g_strdup_printf("NVMe status %x/%02x", status >> 8,
                               status & 0xff);
    }
}

/* --- Memory of a controller ---------------------------------------------- */

static bool refuse_persistent(VerifyDevice *device, uint64_t cap, unsigned bar,
                              GError **error)
{
    uint32_t pmr;

    if (!CAP_PMRS(cap)) {
        return true;
    }
    if (!get32(device, REG_PMRCAP, &pmr, error)) {
        return false;
    }
    if (PMRCAP_BIR(pmr) == bar) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: BAR %u is persistent memory, which is not written to",
                    verify_device_function(device)->bdf, bar);
        return false;
    }
    return true;
}

/*
 * 3.1.16: base address, and that the controller claims it.  As Linux does, it
 * is where the BAR is, so that it collides with nothing that the controller
 * needs.
 */
static bool claim_cmb(VerifyDevice *device, VerifyCmb *cmb, GError **error)
{
    const P2PFunction *function = verify_device_function(device);
    uint64_t base = function->bars[cmb->bar].start + cmb->offset;
    uint32_t status;

    if (!set64(device, REG_CMBMSC, base | CMBMSC_CRE | CMBMSC_CMSE, error) ||
        !get32(device, REG_CMBSTS, &status, error)) {
        return false;
    }
    if (status & CMBSTS_CBAI) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s does not enable its controller memory buffer",
                    function->bdf);
        return false;
    }
    return true;
}

bool verify_cmb_enable(VerifyDevice *device, unsigned bar, VerifyCmb *cmb,
                       GError **error)
{
    uint32_t loc, sz;
    uint64_t cap, unit;

    *cmb = (VerifyCmb) { 0 };
    if (!get_capabilities(device, &cap, error) ||
        !refuse_persistent(device, cap, bar, error)) {
        return false;
    }
    /*
     * Since 1.4 CMBLOC and CMBSZ have to be enabled.  Before, CAP.CMBS and
     * CMBMSC were reserved, and the CMB was always on.
     */
    cmb->controlled = CAP_CMBS(cap);
    if ((cmb->controlled &&
         !set64(device, REG_CMBMSC, CMBMSC_CRE, error)) ||
        !get32(device, REG_CMBLOC, &loc, error) ||
        !get32(device, REG_CMBSZ, &sz, error)) {
        return false;
    }
    unit = UINT64_C(4096) << 4 * MIN(CMBSZ_SZU(sz), 6);
    cmb->enabled = CMBSZ_SZ(sz) && CMBLOC_BIR(loc) == bar;
    cmb->bar = CMBLOC_BIR(loc);
    cmb->offset = CMBLOC_OFST(loc) * unit;
    cmb->size = CMBSZ_SZ(sz) * unit;
    if (!cmb->controlled) {
        return true;
    }
    return cmb->enabled ? claim_cmb(device, cmb, error)
                        : set64(device, REG_CMBMSC, 0, error);
}

void verify_cmb_disable(VerifyDevice *device, VerifyCmb *cmb)
{
    if (cmb->enabled && cmb->controlled) {
        set64(device, REG_CMBMSC, 0, NULL);
    }
    *cmb = (VerifyCmb) { 0 };
}
