/*
 * What a p2p-bridge costs its guest, and what a guest can cost QEMU by it
 *
 * The guest is a program of some instructions, below, in place of the firmware:
 * under TCG it gives commands, rings the doorbell, and waits or does not wait.
 * Commands and rings are in memory that this program shares with it, where the
 * results can be counted.
 *
 * Prints one line of JSON for each figure (see bench.h). An argument (batch,
 * attach, storm): only these.
 * Environment: QTEST_QEMU_BINARY
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "bench.h"
#include "../qtest/bridge-driver.h"
#include "../qtest/p2p-testdev.h"
#include "../qtest/shared-ram.h"

#define RAM_SIZE (64 * MiB)

/* Guest physical addresses; the first three are known to the program below. */
#define PARAMETERS 0x1000
#define MEMORY     0x1000000    /* of the driver: the index block is first */
#define BARS       0xd0000000   /* of the bridge; the doorbell is in there */
#define APERTURE   (128 * GiB)

/* Devices: targets and initiators */
#define DEVICES       4
#define SLOT(n)       (4 + (n))
#define RID(n)        (SLOT(n) << 3)
#define REGISTERS(n)  (0xc0000000 + (n) * 0x10000)
#define BAR2(n)       (64 * GiB + (n) * 64 * MiB)
#define BAR4(n)       (65 * GiB + (n) * 64 * MiB)
#define BRIDGE_SLOT_NUMBER 8

#define ROUNDS 9
#define TURN_SECONDS 0.2

/* --- The guest --------------------------------------------------------- */

/* What the word at PARAMETERS has it do */
enum {
    GUEST_WAIT,
    GUEST_ONE_BY_ONE,   /* one command for each doorbell, and its completion */
    GUEST_STORM,        /* the ring half full, and the doorbell without end */
};

/*
 * At the end of the first 4 GiB, where a processor begins: 16-bit code that
 * switches to flat 32-bit segments, and a loop.  EDI: index block, EBX:
 * doorbell, ESI: parameters.
 */
extern const uint8_t guest_begin[], guest_end[];

asm(".pushsection .rodata\n"
    "guest_begin:\n"
    ".code16\n"
    "    cli\n"
    "    lgdtl %cs:(guest_gdtr - guest_begin)\n"
    "    movl %cr0, %eax\n"
    "    orb $1, %al\n"
    "    movl %eax, %cr0\n"
    "    ljmpl $8, $(0xffff0000 + guest_flat - guest_begin)\n"
    ".code32\n"
    "guest_flat:\n"
    "    movl $16, %eax\n"
    "    movl %eax, %ds\n"
    "    movl %eax, %es\n"
    "    movl %eax, %ss\n"
    "    movl $0x1000, %esi\n"
    "    movl $0x1000000, %edi\n"
    "    movl 4(%esi), %ebx\n"
    "guest_next:\n"
    "    movl 4(%esi), %ebx\n"
    "    cmpl $1, (%esi)\n"
    "    je guest_one\n"
    "    ja guest_storm\n"
    "    jmp guest_next\n"
    "guest_one:\n"
    "    movl 0x24(%edi), %edx\n"
    "    incl (%edi)\n"
    "    movl $1, (%ebx)\n"
    "guest_one_wait:\n"
    "    movl 0x24(%edi), %ecx\n"
    "    cmpl %ecx, %edx\n"
    "    je guest_one_wait\n"
    "    movl %ecx, 4(%edi)\n"
    "    jmp guest_next\n"
    "guest_storm:\n"
    "    movl 0x24(%edi), %ecx\n"
    "    movl %ecx, 4(%edi)\n"
    "    movl (%edi), %eax\n"
    "    subl 0x20(%edi), %eax\n"
    "    cmpl $32, %eax\n"
    "    jae guest_storm_ring\n"
    "    incl (%edi)\n"
    "guest_storm_ring:\n"
    "    movl $1, (%ebx)\n"
    "    jmp guest_next\n"
    ".balign 8\n"
    "guest_gdt:\n"
    "    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
    "guest_gdtr:\n"
    "    .short 23\n"
    "    .long 0xffff0000 + guest_gdt - guest_begin\n"
    "guest_end:\n"
    ".code64\n"
    ".popsection\n");

#define FIRMWARE_SIZE (64 * KiB)

/* Returns its name, which the caller frees. */
static char *write_firmware(void)
{
    /* At the reset vector: a jump to the image's first byte. */
    static const uint8_t jump[] = { 0xe9, 0x0d, 0x00 };
    g_autofree uint8_t *image = g_malloc0(FIRMWARE_SIZE);
    g_autoptr(GError) error = NULL;
    char *name = NULL;
    int fd = g_file_open_tmp("p2p-bench-XXXXXX", &name, &error);

    g_assert_no_error(error);
    close(fd);
    memcpy(image, guest_begin, guest_end - guest_begin);
    memcpy(image + FIRMWARE_SIZE - 16, jump, sizeof(jump));
    g_file_set_contents(name, (char *)image, FIRMWARE_SIZE, &error);
    g_assert_no_error(error);
    return name;
}

/* --- The machine ------------------------------------------------------- */

typedef struct Machine {
    SharedRam ram;
    QTestState *qts;
    Bridge b;
    uint32_t window;        /* of device 0, not attached */
} Machine;

static uint32_t *word(Machine *m, uint64_t gpa)
{
    return (uint32_t *)(m->ram.hva + gpa);
}

static void set_mode(Machine *m, uint32_t mode)
{
    qatomic_set(word(m, PARAMETERS), mode);
}

static uint32_t completions(Machine *m)
{
    return qatomic_read(word(m, MEMORY + P2P_BRIDGE_COMPLETION_TAIL));
}

/* Until nothing is in flight; the driver of qtests knows what was given. */
static void stop_guest(Machine *m)
{
    uint32_t tail;

    set_mode(m, GUEST_WAIT);
    g_usleep(20000);
    tail = qatomic_read(word(m, MEMORY + P2P_BRIDGE_COMMAND_TAIL));
    while (completions(m) != tail) {
        g_usleep(1000);
    }
    qatomic_set(word(m, MEMORY + P2P_BRIDGE_COMPLETION_HEAD), tail);
    m->b.given = tail;
    m->b.taken = tail;
}

static void machine_new(Machine *m)
{
    g_autoptr(GString) args = g_string_new("");
    g_autofree char *firmware = write_firmware();
    g_autofree char *ram = NULL;

    shared_ram_new(&m->ram, RAM_SIZE);
    ram = shared_ram_options(&m->ram);
    g_string_append_printf(args, "-accel tcg,thread=multi -nodefaults "
                           "-machine q35,memory-backend=ram -m %u %s "
                           "-bios %s -object p2p-group,id=g0 "
                           "-device p2p-bridge,addr=%u.0,p2p-group=g0 ",
                           (unsigned)(RAM_SIZE / MiB), ram, firmware,
                           BRIDGE_SLOT_NUMBER);
    for (unsigned n = 0; n < DEVICES; n++) {
        g_string_append_printf(args, "-device p2p-testdev,addr=%u.0,"
                               "p2p-group=g0 ", SLOT(n));
    }
    m->qts = qtest_init(args->str);
    unlink(firmware);
    for (unsigned n = 0; n < DEVICES; n++) {
        TestDev t = testdev_start(m->qts, RID(n),
                                  (P2PGuestAddr) { REGISTERS(n) });

        guest_pci_bar_map(&t.pci, 2, (P2PGuestAddr) { BAR2(n) });
        guest_pci_bar_map(&t.pci, 4, (P2PGuestAddr) { BAR4(n) });
    }
    bridge_probe(&m->b, m->qts, BRIDGE_SLOT_NUMBER << 3, BARS, APERTURE,
                 MEMORY);
    bridge_start(&m->b);
    *word(m, PARAMETERS + 4) = m->b.registers + P2P_BRIDGE_DOORBELL;
    m->window = bridge_ok(bridge_share(&m->b, RID(0), 2, 0, MiB,
                                       P2P_BRIDGE_ACCESS_RW));
}

static void machine_end(Machine *m)
{
    qtest_quit(m->qts);
    shared_ram_free(&m->ram);
}

/* --- Commands ---------------------------------------------------------- */

/* All entries of the ring, @a and @b in turns; the next one is an @a. */
static void fill_ring(Machine *m, const BridgeCommand *a,
                      const BridgeCommand *b)
{
    for (uint32_t i = 0; i < BRIDGE_ENTRIES; i++) {
        bridge_write_command(&m->b, (m->b.given + i) % BRIDGE_ENTRIES,
                             i % 2 ? b : a);
    }
}

/* @n entries that go to the BARs of all others, back and forth */
static BridgeCommand translate_cmd(Machine *m, unsigned n)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_TRANSLATE);
    BridgeVec *in = (BridgeVec *)(m->ram.hva + MEMORY + BRIDGE_INPUT);

    for (unsigned i = 0; i < n; i++) {
        in[i] = (BridgeVec) {
            .addr = BAR2(1 + i % (DEVICES - 1)) + i * 8191 % (MiB - 4096),
            .len = 4096, .flags = P2P_BRIDGE_VEC_READ,
        };
    }
    c.in_addr = MEMORY + BRIDGE_INPUT;
    c.in_len = n * P2P_BRIDGE_VEC_BYTES;
    c.out_addr = MEMORY + BRIDGE_OUTPUT;
    c.out_len = n * P2P_BRIDGE_VEC_BYTES;
    bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, RID(0));
    return c;
}

static BridgeCommand identify_cmd(void)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_IDENTIFY);

    c.out_addr = MEMORY + BRIDGE_OUTPUT;
    c.out_len = P2P_BRIDGE_IDENTIFY_BYTES;
    return c;
}

/* What was done meanwhile must have succeeded. */
static void expect_success(Machine *m)
{
    for (uint32_t i = 1; i <= BRIDGE_ENTRIES; i++) {
        uint32_t at = (m->b.given - i) % BRIDGE_ENTRIES;

        g_assert_cmphex(lduw_le_p(m->ram.hva + MEMORY + BRIDGE_COMPLETIONS +
                                  at * P2P_BRIDGE_COMPLETION_BYTES +
                                  P2P_BRIDGE_CPL_STATUS), ==, P2P_BRIDGE_OK);
    }
}

/* The next one is the first of a pair, as @first was. */
static void finish_pair(Machine *m, uint32_t first, const BridgeCommand *b)
{
    if ((m->b.given - first) % 2) {
        bridge_give(&m->b, b);
        bridge_doorbell(&m->b);
        bridge_ok(bridge_wait(&m->b));
    }
}

/* Nanoseconds for one of the commands, each with a doorbell of its own */
static double time_one_by_one(Machine *m, const BridgeCommand *a,
                              const BridgeCommand *b)
{
    uint32_t first = m->b.given;
    uint32_t before, done;
    double start, seconds;

    fill_ring(m, a, b);
    set_mode(m, GUEST_ONE_BY_ONE);
    g_usleep(20000);
    start = bench_now();
    before = completions(m);
    g_usleep(TURN_SECONDS * 1e6);
    done = completions(m) - before;
    seconds = bench_now() - start;
    stop_guest(m);
    finish_pair(m, first, b);
    expect_success(m);
    g_assert_cmpuint(done, >, 16);
    return seconds * 1e9 / done;
}

/* --- Figures of the guest ---------------------------------------------- */

#define BATCH 256

static void bench_batch(Machine *m)
{
    BenchSide one = { .rounds = ROUNDS }, many = { .rounds = ROUNDS };
    g_autofree char *note = NULL;

    for (unsigned i = 0; i < ROUNDS; i++) {
        BridgeCommand c = translate_cmd(m, 1);

        one.ns[i] = time_one_by_one(m, &c, &c);
        c = translate_cmd(m, BATCH);
        many.ns[i] = time_one_by_one(m, &c, &c) / BATCH;
    }
    note = bench_ratio_note(&one, &many, "translate: 256 entries for a "
                            "doorbell, over one; a guest that polls, TCG");
    bench_report(bench_ratio(&one, &many), "times faster",
                 "one entry for a doorbell", note,
                 "bridge/translate-batch-gain");
    bench_report(bench_ns(&many), "ns/entry", NULL, "context",
                 "bridge/translate/256-for-a-doorbell");
}

static void bench_attach(Machine *m)
{
    BenchSide attach = { .rounds = ROUNDS }, identify = { .rounds = ROUNDS };
    BridgeCommand a = bridge_attach_cmd(m->window, 0);
    BridgeCommand d = bridge_window_cmd(P2P_BRIDGE_OP_DETACH, m->window);
    BridgeCommand i = identify_cmd();
    g_autofree char *note = NULL;

    for (unsigned n = 0; n < ROUNDS; n++) {
        attach.ns[n] = 2 * time_one_by_one(m, &a, &d);
        identify.ns[n] = time_one_by_one(m, &i, &i);
    }
    note = bench_ratio_note(&attach, &identify, "attach and detach, over "
                            "identify; four emulated initiators, a doorbell "
                            "for each command");
    bench_report(bench_ratio(&attach, &identify), "times", "identify", note,
                 "bridge/attach-detach-over-identify");
    bench_report(bench_ns(&attach), "ns", NULL, "context",
                 "bridge/attach-detach/ns");
}

/* --- Figures of the main loop ------------------------------------------ */

#define SAMPLES 500
#define STORM_ROUNDS 7

static int compare_doubles(const void *a, const void *b)
{
    const double *da = a;
    const double *db = b;

    return (*da > *db) - (*da < *db);
}

/* The 99th percentile of how long a command takes, in nanoseconds */
static double latency(Machine *m)
{
    double ns[SAMPLES];

    for (unsigned i = 0; i < SAMPLES; i++) {
        double start = bench_now();
        QDict *response = qtest_qmp(m->qts, "{ 'execute': 'query-name' }");

        ns[i] = (bench_now() - start) * 1e9;
        g_assert_true(qdict_haskey(response, "return"));
        qobject_unref(response);
        /* Not in step with anything */
        g_usleep(i * 37 % 500);
    }
    qsort(ns, SAMPLES, sizeof(ns[0]), compare_doubles);
    return ns[SAMPLES * 99 / 100];
}

static void bench_storm(Machine *m, const char *name, const char *what,
                        const BridgeCommand *a, const BridgeCommand *b)
{
    BenchSide storm = { .rounds = STORM_ROUNDS };
    BenchSide idle = { .rounds = STORM_ROUNDS };
    g_autofree char *note = NULL;

    for (unsigned i = 0; i < STORM_ROUNDS; i++) {
        uint32_t first = m->b.given;
        uint32_t before;

        qtest_qmp_assert_success(m->qts, "{ 'execute': 'stop' }");
        idle.ns[i] = latency(m);
        qtest_qmp_assert_success(m->qts, "{ 'execute': 'cont' }");
        fill_ring(m, a, b);
        before = completions(m);
        set_mode(m, GUEST_STORM);
        storm.ns[i] = latency(m);
        /* There was one. */
        g_assert_cmpuint(completions(m) - before, >, SAMPLES / 10);
        stop_guest(m);
        finish_pair(m, first, b);
        expect_success(m);
    }
    note = bench_ratio_note(&storm, &idle, what);
    bench_report(bench_ratio(&storm, &idle), "times", "idle machine", note,
                 "bridge/%s-storm-main-loop-delay", name);
    bench_report(bench_ns(&storm) / 1000, "us", NULL, "context: 99th "
                 "percentile of a QMP command", "bridge/%s-storm/p99", name);
}

static void bench_storms(Machine *m)
{
    BridgeCommand t = translate_cmd(m, P2P_BRIDGE_MAX_VECTOR_VALUE);
    BridgeCommand a = bridge_attach_cmd(m->window, 0);
    BridgeCommand d = bridge_window_cmd(P2P_BRIDGE_OP_DETACH, m->window);

    bench_storm(m, "doorbell", "vectors of 4096 entries and a doorbell that "
                "rings without end; 99th percentile of a QMP command", &t, &t);
    bench_storm(m, "attach", "attach and detach without end; 99th percentile "
                "of a QMP command", &a, &d);
}

typedef struct Figure {
    const char *name;
    void (*run)(Machine *m);
} Figure;

static const Figure figures[] = {
    { "batch", bench_batch },
    { "attach", bench_attach },
    { "storm", bench_storms },
};

int main(int argc, char **argv)
{
    Machine m = {};

    machine_new(&m);
    for (unsigned i = 0; i < G_N_ELEMENTS(figures); i++) {
        if (argc < 2 || g_str_equal(argv[1], figures[i].name)) {
            figures[i].run(&m);
        }
    }
    machine_end(&m);
    return 0;
}
