/*
 * A register-level NVMe driver for tests, as a libqtest client
 *
 * References are to the NVM Express Base Specification, revision 1.4.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/pci_regs.h"
#include "nvme-driver.h"

#define CLASS_NVME    0x010802  /* mass storage, NVM, NVMe I/O controller */
#define DOORBELLS     0x1000    /* 3.1.23 */
#define QUEUE_ENTRIES 16
#define NAMESPACE     1
#define ADMIN         0
#define IO            1

/* The pages of the driver's guest RAM, in order */
enum {
    RAM_QUEUES,        /* submission and completion of ADMIN, then of IO */
    RAM_DATA = 4,      /* of administration commands */
    RAM_LISTS,
    RAM_PAGES = RAM_LISTS + QNVME_COMMANDS,
};

QEMU_BUILD_BUG_ON(RAM_PAGES * QNVME_PAGE != QNVME_RAM_SIZE);
QEMU_BUILD_BUG_ON(QNVME_COMMANDS * QNVME_PAGE != QNVME_LISTS_SIZE);
QEMU_BUILD_BUG_ON((QNVME_MAX_PAGES - 1) * sizeof(uint64_t) > QNVME_PAGE);
QEMU_BUILD_BUG_ON(QNVME_MAX_SGL * sizeof(NvmeSglDescriptor) > QNVME_PAGE);
/* A queue with one entry less than it has room for is full. */
QEMU_BUILD_BUG_ON(QNVME_COMMANDS >= QUEUE_ENTRIES);

typedef struct Queue {
    uint16_t id;
    P2PGuestAddr submission;
    P2PGuestAddr completion;
    uint16_t submissions;   /* entries */
    uint16_t completions;
    uint16_t tail;
    uint16_t head;
    bool phase;       /* of the next completion */
    /* By tag: -ENOENT: free, -EAGAIN: under way, else how it has ended */
    int result[QNVME_COMMANDS];
} Queue;

struct QNvme {
    GuestPci pci;
    P2PGuestAddr registers;
    P2PGuestAddr ram;
    uint32_t doorbell_stride;  /* bytes */
    uint8_t *hva;              /* of @ram; NULL: not mapped here */
    P2PGuestAddr lists;        /* a page for each command */
    bool sgl;
    bool keep_lists;
    bool enabled;
    uint16_t next_queue;
    Queue queue[2];
    QNvmeInfo info;
};

G_DEFINE_QUARK(qnvme_error, qnvme_error)

static uint32_t reg_read(const QNvme *nvme, unsigned offset)
{
    return qtest_readl(nvme->pci.qts, nvme->registers.gpa + offset);
}

static void reg_write(const QNvme *nvme, unsigned offset, uint32_t value)
{
    qtest_writel(nvme->pci.qts, nvme->registers.gpa + offset, value);
}

/* 3.1: 64-bit registers may be read and written as two halves. */
static uint64_t reg_read64(const QNvme *nvme, unsigned offset)
{
    return reg_read(nvme, offset) | (uint64_t)reg_read(nvme, offset + 4) << 32;
}

/* The low half last: it holds the enable bits of CMBMSC. */
static void reg_write64(const QNvme *nvme, unsigned offset, uint64_t value)
{
    reg_write(nvme, offset + 4, value >> 32);
    reg_write(nvme, offset, value);
}

static P2PGuestAddr ram_page(const QNvme *nvme, unsigned page)
{
    return (P2PGuestAddr) { nvme->ram.gpa + page * QNVME_PAGE };
}

/* Where @gpa is mapped here; NULL: nowhere. */
static void *ram_hva(const QNvme *nvme, uint64_t gpa)
{
    uint64_t offset = gpa - nvme->ram.gpa;

    return nvme->hva && offset < QNVME_RAM_SIZE ? nvme->hva + offset : NULL;
}

static void ram_write(const QNvme *nvme, uint64_t gpa, const void *data,
                      size_t len)
{
    void *hva = ram_hva(nvme, gpa);

    if (hva) {
        memcpy(hva, data, len);
    } else {
        qtest_bufwrite(nvme->pci.qts, gpa, data, len);
    }
}

static void ram_read(const QNvme *nvme, uint64_t gpa, void *data, size_t len)
{
    const void *hva = ram_hva(nvme, gpa);

    if (hva) {
        memcpy(data, hva, len);
    } else {
        qtest_memread(nvme->pci.qts, gpa, data, len);
    }
}

static gint64 deadline(void)
{
    return g_get_monotonic_time() + QNVME_TIMEOUT_S * G_USEC_PER_SEC;
}

/* Each poll costs a round trip to QEMU, which is pause enough. */
static bool wait_ready(const QNvme *nvme, bool ready)
{
    gint64 end = deadline();

    while (NVME_CSTS_RDY(reg_read(nvme, NVME_REG_CSTS)) != ready) {
        if (g_get_monotonic_time() > end) {
            return false;
        }
    }
    return true;
}

static void ring(const QNvme *nvme, const Queue *queue, bool completion,
                 uint16_t value)
{
    unsigned index = 2 * queue->id + completion;

    reg_write(nvme, DOORBELLS + index * nvme->doorbell_stride, value);
}

static void next_submission(Queue *queue)
{
    queue->tail = (queue->tail + 1) % queue->submissions;
}

static void next_completion(Queue *queue)
{
    queue->head = (queue->head + 1) % queue->completions;
    if (!queue->head) {
        queue->phase = !queue->phase;
    }
}

/* 4.6.1: phase, status code, type, retry delay, more, do not retry */
static int cqe_status(uint16_t status)
{
    return status >> 1 & 0x7ff;
}

/* @tag: a free one, which is the command's identifier too; returned */
static int submit(QNvme *nvme, Queue *queue, unsigned tag, NvmeCmd *cmd)
{
    cmd->cid = cpu_to_le16(tag);
    qtest_memwrite(nvme->pci.qts,
                   queue->submission.gpa + queue->tail * sizeof(*cmd),
                   cmd, sizeof(*cmd));
    next_submission(queue);
    queue->result[tag] = -EAGAIN;
    ring(nvme, queue, false, queue->tail);
    return tag;
}

static int free_tag(const Queue *queue)
{
    for (unsigned tag = 0; tag < QNVME_COMMANDS; tag++) {
        if (queue->result[tag] == -ENOENT) {
            return tag;
        }
    }
    return -EBUSY;
}

/* Takes one completion; returns whether there was one, or -EPROTO. */
static int reap(QNvme *nvme, Queue *queue)
{
    uint64_t gpa = queue->completion.gpa + queue->head * sizeof(NvmeCqe);
    uint16_t status, tag;
    NvmeCqe cqe;

    ram_read(nvme, gpa + offsetof(NvmeCqe, status), &status, sizeof(status));
    if ((le16_to_cpu(status) & 1) != queue->phase) {
        return false;
    }
    smp_rmb();  /* the drive writes the phase last */
    ram_read(nvme, gpa, &cqe, sizeof(cqe));
    next_completion(queue);
    ring(nvme, queue, true, queue->head);

    tag = le16_to_cpu(cqe.cid);
    if (tag >= QNVME_COMMANDS || queue->result[tag] != -EAGAIN) {
        return -EPROTO;
    }
    queue->result[tag] = cqe_status(le16_to_cpu(cqe.status));
    return true;
}

static int poll_tag(QNvme *nvme, Queue *queue, unsigned tag)
{
    int result = queue->result[tag];

    g_assert_cmpint(result, !=, -ENOENT);
    if (result == -EAGAIN) {
        int ret = reap(nvme, queue);

        if (ret < 0) {
            return ret;
        }
        result = queue->result[tag];
    }
    if (result != -EAGAIN) {
        queue->result[tag] = -ENOENT;
    }
    return result;
}

static int wait_tag(QNvme *nvme, Queue *queue, unsigned tag)
{
    gint64 end = deadline();
    int result;

    do {
        result = poll_tag(nvme, queue, tag);
        if (result != -EAGAIN) {
            return result;
        }
    } while (g_get_monotonic_time() < end);
    return -ETIMEDOUT;
}

/* Fills in the command's id; returns as qnvme_io() does. */
static int execute(QNvme *nvme, unsigned which, NvmeCmd *cmd)
{
    Queue *queue = &nvme->queue[which];
    int tag = free_tag(queue);

    return tag < 0 ? tag : wait_tag(nvme, queue,
                                    submit(nvme, queue, tag, cmd));
}

static bool admin(QNvme *nvme, NvmeCmd *cmd, GError **error)
{
    int status = execute(nvme, ADMIN, cmd);

    if (status) {
        g_autofree char *why = qnvme_result_str(status);

        g_set_error(error, QNVME_ERROR, QNVME_ERROR_COMMAND,
                    "administration command 0x%02x: %s", cmd->opcode, why);
    }
    return !status;
}

static bool identify(QNvme *nvme, uint32_t nsid, uint8_t what, void *data,
                     GError **error)
{
    P2PGuestAddr page = ram_page(nvme, RAM_DATA);
    NvmeCmd cmd = {
        .opcode = NVME_ADM_CMD_IDENTIFY,
        .nsid = cpu_to_le32(nsid),
        .dptr.prp1 = cpu_to_le64(page.gpa),
        .cdw10 = cpu_to_le32(what),
    };

    if (!admin(nvme, &cmd, error)) {
        return false;
    }
    qtest_memread(nvme->pci.qts, page.gpa, data, QNVME_PAGE);
    return true;
}

static bool learn_limits(QNvme *nvme, GError **error)
{
    g_autofree NvmeIdCtrl *ctrl = g_malloc0(QNVME_PAGE);
    g_autofree NvmeIdNs *ns = g_malloc0(QNVME_PAGE);

    QEMU_BUILD_BUG_ON(sizeof(*ctrl) > QNVME_PAGE);
    QEMU_BUILD_BUG_ON(sizeof(*ns) > QNVME_PAGE);

    if (!identify(nvme, 0, NVME_ID_CNS_CTRL, ctrl, error) ||
        !identify(nvme, NAMESPACE, NVME_ID_CNS_NS, ns, error)) {
        return false;
    }
    nvme->info.block_size = 1u << ns->lbaf[NVME_ID_NS_FLBAS_INDEX(ns->flbas)]
                                     .ds;
    nvme->info.blocks = le64_to_cpu(ns->nsze);
    /* In units of the smallest page, which the driver requires to be its own */
    nvme->info.max_transfer = ctrl->mdts ? (uint64_t)QNVME_PAGE << ctrl->mdts
                                         : 0;
    return true;
}

/* @cq_flags: NVME_CQ_IEN for interrupts, on vector 0 */
static bool create_queues(QNvme *nvme, const Queue *queue, uint16_t cq_flags,
                          GError **error)
{
    NvmeCmd cq = {
        .opcode = NVME_ADM_CMD_CREATE_CQ,
        .dptr.prp1 = cpu_to_le64(queue->completion.gpa),
        .cdw10 = cpu_to_le32((queue->completions - 1) << 16 | queue->id),
        .cdw11 = cpu_to_le32(NVME_CQ_PC | cq_flags),
    };
    NvmeCmd sq = {
        .opcode = NVME_ADM_CMD_CREATE_SQ,
        .dptr.prp1 = cpu_to_le64(queue->submission.gpa),
        .cdw10 = cpu_to_le32((queue->submissions - 1) << 16 | queue->id),
        .cdw11 = cpu_to_le32(queue->id << 16 | NVME_SQ_PC),
    };

    return admin(nvme, &cq, error) && admin(nvme, &sq, error);
}

static bool not_ready(const QNvme *nvme, GError **error)
{
    g_set_error(error, QNVME_ERROR, QNVME_ERROR_NOT_READY,
                "the controller does not start or stop, its status is 0x%x",
                reg_read(nvme, NVME_REG_CSTS));
    return false;
}

/* 7.6.1: controller initialisation */
static bool start(QNvme *nvme, GError **error)
{
    uint64_t cap = reg_read64(nvme, NVME_REG_CAP);
    uint32_t cc = 0;

    if (cap == UINT64_MAX || NVME_CAP_MPSMIN(cap) ||
        NVME_CAP_MQES(cap) + 1 < QUEUE_ENTRIES) {
        g_set_error(error, QNVME_ERROR, QNVME_ERROR_NO_DRIVE,
                    "no usable controller, its capabilities are 0x%" PRIx64,
                    cap);
        return false;
    }
    nvme->doorbell_stride = 4u << NVME_CAP_DSTRD(cap);

    reg_write(nvme, NVME_REG_CC, 0);
    if (!wait_ready(nvme, false)) {
        return not_ready(nvme, error);
    }

    reg_write(nvme, NVME_REG_INTMS, UINT32_MAX);
    reg_write(nvme, NVME_REG_AQA, (QUEUE_ENTRIES - 1) << AQA_ACQS_SHIFT |
                                  (QUEUE_ENTRIES - 1) << AQA_ASQS_SHIFT);
    reg_write64(nvme, NVME_REG_ASQ, nvme->queue[ADMIN].submission.gpa);
    reg_write64(nvme, NVME_REG_ACQ, nvme->queue[ADMIN].completion.gpa);

    /* Entry sizes are powers of two */
    NVME_SET_CC_IOSQES(cc, ctz32(sizeof(NvmeCmd)));
    NVME_SET_CC_IOCQES(cc, ctz32(sizeof(NvmeCqe)));
    NVME_SET_CC_EN(cc, 1);
    reg_write(nvme, NVME_REG_CC, cc);
    nvme->enabled = true;
    return wait_ready(nvme, true) || not_ready(nvme, error);
}

static void init_queue(QNvme *nvme, unsigned which)
{
    nvme->queue[which] = (Queue) {
        .id = which,
        .submission = ram_page(nvme, RAM_QUEUES + 2 * which),
        .completion = ram_page(nvme, RAM_QUEUES + 2 * which + 1),
        .submissions = QUEUE_ENTRIES,
        .completions = QUEUE_ENTRIES,
        .phase = true,
    };
    for (unsigned tag = 0; tag < QNVME_COMMANDS; tag++) {
        nvme->queue[which].result[tag] = -ENOENT;
    }
}

QNvme *qnvme_new(const GuestPci *pci, P2PGuestAddr registers,
                 P2PGuestAddr ram, GError **error)
{
    g_autoptr(QNvme) nvme = g_new0(QNvme, 1);

    g_assert_cmphex(ram.gpa % QNVME_PAGE, ==, 0);
    nvme->pci = *pci;
    nvme->ram = ram;
    nvme->lists = ram_page(nvme, RAM_LISTS);
    if (!guest_pci_exists(pci) ||
        guest_pci_readl(pci, PCI_CLASS_REVISION) >> 8 != CLASS_NVME) {
        g_set_error(error, QNVME_ERROR, QNVME_ERROR_NO_DRIVE,
                    "no NVMe controller at %02x:%02x.%x", pci->bus,
                    pci->devfn >> 3, pci->devfn & 7);
        return NULL;
    }

    guest_pci_bar_map(pci, 0, registers);
    guest_pci_command(pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                           PCI_COMMAND_INTX_DISABLE, 0);
    nvme->registers = registers;

    /* Old completions must not have the phase that the driver waits for. */
    qtest_memset(pci->qts, ram.gpa, 0, QNVME_RAM_SIZE);
    init_queue(nvme, ADMIN);
    init_queue(nvme, IO);
    nvme->next_queue = IO + 1;

    if (!start(nvme, error) || !learn_limits(nvme, error) ||
        !create_queues(nvme, &nvme->queue[IO], NVME_CQ_IEN, error)) {
        return NULL;
    }
    return g_steal_pointer(&nvme);
}

void qnvme_free(QNvme *nvme)
{
    if (!nvme) {
        return;
    }
    /* A controller that does not stop could still write to the queues. */
    if (nvme->enabled) {
        reg_write(nvme, NVME_REG_CC, 0);
        g_warn_if_fail(wait_ready(nvme, false));
    }
    g_free(nvme);
}

void qnvme_forget(QNvme *nvme)
{
    g_free(nvme);
}

void qnvme_allow_intx(QNvme *nvme, bool allow)
{
    uint16_t disable = PCI_COMMAND_INTX_DISABLE;

    /* 3.1.3 and 3.1.4: one register sets bits of the mask, one clears them. */
    if (allow) {
        guest_pci_command(&nvme->pci, 0, disable);
        reg_write(nvme, NVME_REG_INTMC, UINT32_MAX);
    } else {
        reg_write(nvme, NVME_REG_INTMS, UINT32_MAX);
        guest_pci_command(&nvme->pci, disable, 0);
    }
}

const QNvmeInfo *qnvme_info(const QNvme *nvme)
{
    return &nvme->info;
}

int qnvme_cmb_enable(QNvme *nvme, P2PBusAddr base, QNvmeCmb *cmb)
{
    uint64_t cap = reg_read64(nvme, NVME_REG_CAP);
    uint64_t unit;
    uint32_t loc, sz;

    if (!NVME_CAP_CMBS(cap)) {
        return -ENODEV;
    }
    g_assert_cmphex(base.bus % QNVME_PAGE, ==, 0);

    /* 3.1.16: CMBLOC and CMBSZ are 0 until CRE is set. */
    reg_write64(nvme, NVME_REG_CMBMSC, 1 << CMBMSC_CRE_SHIFT);
    loc = reg_read(nvme, NVME_REG_CMBLOC);
    sz = reg_read(nvme, NVME_REG_CMBSZ);
    if (!NVME_CMBSZ_SZ(sz)) {
        return -ENODEV;
    }

    reg_write64(nvme, NVME_REG_CMBMSC, base.bus | 1 << CMBMSC_CRE_SHIFT |
                                       1 << CMBMSC_CMSE_SHIFT);
    if (NVME_CMBSTS_CBAI(reg_read(nvme, NVME_REG_CMBSTS))) {
        return -EINVAL;
    }

    /* 3.1.12: units are 4 KiB times a power of 16. */
    unit = UINT64_C(4096) << 4 * NVME_CMBSZ_SZU(sz);
    *cmb = (QNvmeCmb) {
        .bar = NVME_CMBLOC_BIR(loc),
        .offset = NVME_CMBLOC_OFST(loc) * unit,
        .size = NVME_CMBSZ_SZ(sz) * unit,
    };
    return 0;
}

char *qnvme_result_str(int result)
{
    return result < 0 ? g_strdup(g_strerror(-result))
                      : g_strdup_printf("NVMe status %x/%02x", result >> 8,
                                        result & 0xff);
}

int qnvme_prps(const P2PBusVec *vec, size_t n, uint64_t *prps, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t bus = vec[i].addr.bus;
        uint64_t end = bus + vec[i].len;

        if (!vec[i].len || end < bus || (i > 0 && bus % QNVME_PAGE) ||
            (i + 1 < n && end % QNVME_PAGE)) {
            return -EINVAL;
        }
        while (bus < end) {
            if (count == max) {
                return -ENOSPC;
            }
            prps[count++] = bus;
            bus = QEMU_ALIGN_DOWN(bus, QNVME_PAGE) + QNVME_PAGE;
        }
    }
    return count;
}

/* All of a command but its id and where the data is. */
static int init_command(const QNvme *nvme, QNvmeOp op, uint64_t lba,
                        const P2PBusVec *vec, size_t n, NvmeRwCmd *cmd)
{
    uint64_t len = 0;

    QEMU_BUILD_BUG_ON(sizeof(NvmeRwCmd) != sizeof(NvmeCmd));

    for (size_t i = 0; i < n; i++) {
        len += vec[i].len;
    }
    if (!len || len % nvme->info.block_size ||
        len / nvme->info.block_size > UINT16_MAX + 1) {
        return -EINVAL;
    }
    *cmd = (NvmeRwCmd) {
        .opcode = op == QNVME_READ ? NVME_CMD_READ : NVME_CMD_WRITE,
        .nsid = cpu_to_le32(NAMESPACE),
        .slba = cpu_to_le64(lba),
        .nlb = cpu_to_le16(len / nvme->info.block_size - 1),
    };
    return 0;
}

/*
 * All of a command but its id, with PRPs (4.3).
 *
 * @prps: QNVME_MAX_PAGES, written
 * @list: a page of guest RAM, to which the caller copies the PRPs but the
 *     first one if there are more than two
 *
 * Returns the number of PRPs, or as qnvme_io() does.
 */
static int io_command(const QNvme *nvme, QNvmeOp op, uint64_t lba,
                      const P2PBusVec *vec, size_t n, P2PGuestAddr list,
                      NvmeRwCmd *cmd, uint64_t *prps)
{
    int count = qnvme_prps(vec, n, prps, QNVME_MAX_PAGES);
    int ret = count < 0 ? count : init_command(nvme, op, lba, vec, n, cmd);

    if (ret < 0) {
        return ret;
    }
    for (int i = 0; i < count; i++) {
        prps[i] = cpu_to_le64(prps[i]);
    }
    cmd->dptr.prp1 = prps[0];
    if (count == 2) {
        cmd->dptr.prp2 = prps[1];
    } else if (count > 2) {
        cmd->dptr.prp2 = cpu_to_le64(list.gpa);
    }
    return count;
}

/* The same with SGL descriptors (4.4); returns 0, or as qnvme_io() does. */
static int sgl_command(const QNvme *nvme, QNvmeOp op, uint64_t lba,
                       const P2PBusVec *vec, size_t n, P2PGuestAddr list,
                       NvmeRwCmd *cmd, NvmeSglDescriptor *sgl)
{
    int ret = n > QNVME_MAX_SGL ? -ENOSPC
                                : init_command(nvme, op, lba, vec, n, cmd);

    if (ret < 0) {
        return ret;
    }
    for (size_t i = 0; i < n; i++) {
        sgl[i] = (NvmeSglDescriptor) {
            .addr = cpu_to_le64(vec[i].addr.bus),
            .len = cpu_to_le32(vec[i].len),
            .type = NVME_SGL_DESCR_TYPE_DATA_BLOCK << 4,
        };
    }
    cmd->flags = NVME_PSDT_SGL_MPTR_CONTIGUOUS << 6;
    cmd->dptr.sgl = sgl[0];
    if (n > 1) {
        cmd->dptr.sgl = (NvmeSglDescriptor) {
            .addr = cpu_to_le64(list.gpa),
            .len = cpu_to_le32(n * sizeof(*sgl)),
            .type = NVME_SGL_DESCR_TYPE_LAST_SEGMENT << 4,
        };
    }
    return 0;
}

void qnvme_map_ram(QNvme *nvme, void *hva)
{
    nvme->hva = hva;
}

void qnvme_use_sgl(QNvme *nvme, bool sgl)
{
    nvme->sgl = sgl;
}

void qnvme_keep_lists(QNvme *nvme, bool keep)
{
    nvme->keep_lists = keep;
}

void qnvme_place_lists(QNvme *nvme, P2PGuestAddr lists)
{
    nvme->lists = lists;
}

int qnvme_submit(QNvme *nvme, QNvmeOp op, uint64_t lba,
                 const P2PBusVec *vec, size_t n)
{
    g_autofree void *table = g_malloc(QNVME_MAX_PAGES * sizeof(uint64_t));
    Queue *queue = &nvme->queue[IO];
    int tag = free_tag(queue);
    P2PGuestAddr list;
    NvmeRwCmd cmd;
    int ret;

    if (tag < 0) {
        return tag;
    }
    list.gpa = nvme->lists.gpa + tag * QNVME_PAGE;
    if (nvme->sgl) {
        ret = sgl_command(nvme, op, lba, vec, n, list, &cmd, table);
        if (!ret && n > 1 && !nvme->keep_lists) {
            ram_write(nvme, list.gpa, table, n * sizeof(NvmeSglDescriptor));
        }
    } else {
        ret = io_command(nvme, op, lba, vec, n, list, &cmd, table);
        if (ret > 2 && !nvme->keep_lists) {
            ram_write(nvme, list.gpa, (uint64_t *)table + 1,
                      (ret - 1) * sizeof(uint64_t));
        }
    }
    return ret < 0 ? ret : submit(nvme, queue, tag, (NvmeCmd *)&cmd);
}

int qnvme_poll(QNvme *nvme, unsigned tag)
{
    return poll_tag(nvme, &nvme->queue[IO], tag);
}

int qnvme_io(QNvme *nvme, QNvmeOp op, uint64_t lba,
             const P2PBusVec *vec, size_t n)
{
    int tag = qnvme_submit(nvme, op, lba, vec, n);

    return tag < 0 ? tag : wait_tag(nvme, &nvme->queue[IO], tag);
}

int qnvme_admin(QNvme *nvme, NvmeCmd *cmd)
{
    return execute(nvme, ADMIN, cmd);
}

int qnvme_command(QNvme *nvme, NvmeCmd *cmd)
{
    return execute(nvme, IO, cmd);
}

/* --- Many commands at a time ------------------------------------------- */

/* The pages of a queue's guest RAM, in order */
enum {
    QUEUE_SUBMISSION,
    QUEUE_COMPLETION,
    QUEUE_LISTS,            /* of PRPs, by command id */
};

QEMU_BUILD_BUG_ON(QUEUE_LISTS != QNVME_QUEUE_PAGES);
QEMU_BUILD_BUG_ON((QNVME_MAX_DEPTH + 1) * sizeof(NvmeCmd) > QNVME_PAGE);

struct QNvmeQueue {
    QNvme *nvme;
    Queue queue;
    P2PGuestAddr ram;
    uint8_t *hva;               /* the same memory, as it is mapped here */
    unsigned n_free;
    uint16_t free[QNVME_MAX_DEPTH]; /* command ids */
};

static void *queue_page(const QNvmeQueue *q, unsigned page)
{
    return q->hva + page * QNVME_PAGE;
}

static P2PGuestAddr queue_page_gpa(const QNvmeQueue *q, unsigned page)
{
    return (P2PGuestAddr) { q->ram.gpa + page * QNVME_PAGE };
}

QNvmeQueue *qnvme_queue_new(QNvme *nvme, P2PGuestAddr ram, void *hva,
                            unsigned depth, GError **error)
{
    QNvmeQueue *q = g_new0(QNvmeQueue, 1);

    g_assert_cmpuint(depth, >, 0);
    g_assert_cmpuint(depth, <=, QNVME_MAX_DEPTH);
    g_assert_cmphex(ram.gpa % QNVME_PAGE, ==, 0);
    q->nvme = nvme;
    q->ram = ram;
    q->hva = hva;
    while (q->n_free < depth) {
        q->free[q->n_free] = q->n_free;
        q->n_free++;
    }
    memset(hva, 0, QNVME_QUEUE_RAM_SIZE(depth));
    q->queue = (Queue) {
        .id = nvme->next_queue++,
        .submission = queue_page_gpa(q, QUEUE_SUBMISSION),
        .completion = queue_page_gpa(q, QUEUE_COMPLETION),
        .submissions = depth + 1,
        .completions = depth + 1,
        .phase = true,
    };
    if (!create_queues(nvme, &q->queue, 0, error)) {
        g_free(q);
        return NULL;
    }
    return q;
}

int qnvme_queue_add(QNvmeQueue *q, QNvmeOp op, uint64_t lba,
                    const P2PBusVec *vec, size_t n)
{
    NvmeRwCmd *entries = queue_page(q, QUEUE_SUBMISSION);
    uint64_t prps[QNVME_MAX_PAGES];
    NvmeRwCmd cmd;
    uint16_t cid;
    int count;

    if (!q->n_free) {
        return -EAGAIN;
    }
    cid = q->free[q->n_free - 1];
    count = io_command(q->nvme, op, lba, vec, n,
                       queue_page_gpa(q, QUEUE_LISTS + cid), &cmd, prps);
    if (count < 0) {
        return count;
    }
    q->n_free--;
    memcpy(queue_page(q, QUEUE_LISTS + cid), prps + 1,
           (count - 1) * sizeof(prps[0]));
    cmd.cid = cpu_to_le16(cid);
    entries[q->queue.tail] = cmd;
    next_submission(&q->queue);
    return 0;
}

void qnvme_queue_ring(QNvmeQueue *q)
{
    /* There is room for all completions before there are more commands. */
    ring(q->nvme, &q->queue, true, q->queue.head);
    ring(q->nvme, &q->queue, false, q->queue.tail);
}

unsigned qnvme_queue_reap(QNvmeQueue *q, int *status)
{
    const NvmeCqe *entries = queue_page(q, QUEUE_COMPLETION);
    unsigned n = 0;

    for (;;) {
        const NvmeCqe *cqe = &entries[q->queue.head];
        uint16_t word = le16_to_cpu(qatomic_load_acquire(&cqe->status));

        if ((word & 1) != q->queue.phase) {
            return n;
        }
        if (cqe_status(word)) {
            *status = cqe_status(word);
        }
        q->free[q->n_free++] = le16_to_cpu(cqe->cid);
        next_completion(&q->queue);
        n++;
    }
}
