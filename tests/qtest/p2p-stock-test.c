/*
 * Without a p2p-group nothing changes
 *
 * With P2P_STOCK_QEMU, the path of a QEMU of the same version without the
 * overlay, the memory layout of both is compared word by word.  What does not
 * need one: no device has another DMA address space than stock QEMU's, and a
 * group that nobody belongs to leaves everything as it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "guest-pci.h"

#define BINARY "QTEST_QEMU_BINARY"
#define STOCK  "P2P_STOCK_QEMU"

#define GROUP " -object p2p-group,id=g0"
#define BLOCKDEV "-blockdev null-co,node-name=n0,read-zeroes=on "

/* Devices that issue DMA, and BARs of every kind, in a few machines. */
static const char *const machines[] = {
    "-machine q35 -m 128",
    "-machine pc -m 128",
    "-machine q35 -m 3G " BLOCKDEV
    "-device nvme,drive=n0,serial=s,addr=4.0,cmb_size_mb=2 "
    "-device edu,addr=5.0 -device e1000e,addr=6.0,romfile=",
    "-machine pc -m 128 " BLOCKDEV
    "-device virtio-blk-pci,drive=n0,addr=4.0 "
    "-device pci-testdev,addr=5.0,membar=2M",
    "-machine q35 -m 128 " BLOCKDEV
    "-device virtio-blk-pci,drive=n0,addr=4.0,iommu_platform=on,"
    "disable-legacy=on "
    "-object memory-backend-ram,id=m0,size=1M,share=on "
    "-device ivshmem-plain,memdev=m0,addr=5.0",
    "-machine q35,kernel-irqchip=off -m 128 -device intel-iommu " BLOCKDEV
    "-device nvme,drive=n0,serial=s,addr=4.0 -device edu,addr=5.0",
    "-machine q35 -m 128,slots=1,maxmem=1G "
    "-object memory-backend-ram,id=r0,size=128M -device pc-dimm,memdev=r0 "
    "-device pcie-root-port,id=rp,addr=3.0 "
    "-device pci-testdev,addr=5.0,membar=2M",
};

/* --- A machine whose BARs all have an address -------------------------- */

static uint64_t place_function(const GuestPci *pci, uint64_t at)
{
    bool bridge = (guest_pci_readw(pci, PCI_HEADER_TYPE) & 0x7f) ==
                  PCI_HEADER_TYPE_BRIDGE;

    for (unsigned bar = 0; bar < (bridge ? 2 : PCI_STD_NUM_BARS); bar++) {
        uint8_t reg = PCI_BASE_ADDRESS_0 + 4 * bar;
        uint32_t low = guest_pci_readl(pci, reg);
        uint64_t size = guest_pci_bar_size(pci, bar);

        if (size) {
            at = QEMU_ALIGN_UP(at, size);
            guest_pci_bar_map(pci, bar, (P2PGuestAddr) { at });
            at += size;
        }
        if (!(low & PCI_BASE_ADDRESS_SPACE_IO) &&
            (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
            PCI_BASE_ADDRESS_MEM_TYPE_64) {
            bar++; /* its upper half */
        }
    }
    guest_pci_command(pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
    return at;
}

static QTestState *machine_new(const char *machine, const char *group)
{
    QTestState *qts = qtest_initf("-nodefaults %s%s", machine, group);
    uint64_t at = 0xc0000000;

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        GuestPci pci = { .qts = qts, .devfn = devfn };

        if (guest_pci_exists(&pci)) {
            at = place_function(&pci, at);
        }
    }
    g_assert_cmphex(at, <, 0xf0000000);
    return qts;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * "info mtree -f" lists FlatViews, and in each its address spaces, in the
 * order of pointers in a hash table: sort both, and drop the numbers.
 */
static char *sorted_views(const char *flat)
{
    g_auto(GStrv) views = g_strsplit(flat, "FlatView #", -1);

    for (unsigned i = 0; views[i]; i++) {
        g_auto(GStrv) lines = g_strsplit(views[i], "\n", -1);
        unsigned spaces = 1;

        if (!lines[0]) {
            continue;
        }
        while (lines[spaces] && g_str_has_prefix(lines[spaces], " AS ")) {
            spaces++;
        }
        qsort(lines + 1, spaces - 1, sizeof(*lines), compare_lines);
        g_free(views[i]);
        views[i] = g_strjoinv("\n", lines + 1);
    }
    qsort(views, g_strv_length(views), sizeof(*views), compare_lines);
    return g_strjoinv("\n", views);
}

static char *layout(const char *machine, const char *group)
{
    QTestState *qts = machine_new(machine, group);
    g_autofree char *flat = qtest_hmp(qts, "info mtree -f");

    qtest_quit(qts);
    return sorted_views(flat);
}

/* --- Checks ------------------------------------------------------------ */

/* Says where two texts part, which a message with both would not show. */
static void expect_same(const char *machine, const char *a, const char *b)
{
    g_auto(GStrv) old = g_strsplit(a, "\n", -1);
    g_auto(GStrv) new = g_strsplit(b, "\n", -1);

    for (unsigned i = 0; old[i] || new[i]; i++) {
        if (g_strcmp0(old[i], new[i])) {
            g_test_message("%s: line %u: '%s' is '%s'", machine, i, old[i],
                           new[i]);
            g_test_fail();
            return;
        }
    }
}

static void test_stock(void)
{
    g_autofree char *ours = g_strdup(g_getenv(BINARY));
    const char *stock = g_getenv(STOCK);

    if (!stock) {
        g_test_skip(STOCK " does not name a stock QEMU to compare with");
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        g_autofree char *new = layout(machines[i], "");
        g_autofree char *old = NULL;

        g_setenv(BINARY, stock, true);
        old = layout(machines[i], "");
        g_setenv(BINARY, ours, true);
        expect_same(machines[i], old, new);
    }
}

/*
 * In "info mtree -f" a FlatView names its address spaces, then its root:
 *
 *   FlatView #2
 *    AS "nvme", root: bus master container
 *    Root memory region: system
 */
static unsigned count_bus_masters(const char *flat, const char *root)
{
    g_auto(GStrv) views = g_strsplit(flat, "FlatView #", -1);
    g_autofree char *words = g_strdup_printf("Root memory region: %s\r\n",
                                             root);
    unsigned n = 0;

    for (unsigned i = 0; views[i]; i++) {
        const char *p = views[i];

        if (!strstr(views[i], words)) {
            continue;
        }
        while ((p = strstr(p, "root: bus master container"))) {
            p++;
            n++;
        }
    }
    return n;
}

static unsigned count(const char *text, const char *words)
{
    unsigned n = 0;

    while ((text = strstr(text, words))) {
        text++;
        n++;
    }
    return n;
}

static void test_no_group(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        QTestState *qts = machine_new(machines[i], "");
        g_autofree char *tree = qtest_hmp(qts, "info mtree");
        g_autofree char *flat = qtest_hmp(qts, "info mtree -f");
        g_autofree char *blocks = qtest_hmp(qts, "info ramblock");
        g_autofree char *p2p = qtest_hmp(qts, "info p2p");
        unsigned masters = count(flat, "root: bus master container");

        g_test_message("%s", machines[i]);
        g_assert_cmpuint(masters, >, 0);
        if (!strstr(machines[i], "intel-iommu")) {
            g_assert_cmpuint(count_bus_masters(flat, "system"), ==, masters);
        }
        g_assert_null(strstr(tree, "p2p"));
        g_assert_null(strstr(flat, "p2p"));
        g_assert_null(strstr(blocks, "p2p"));
        g_assert_cmpstr(p2p, ==, "No p2p-group\r\n");
        qtest_quit(qts);
    }
}

/* The properties are there, and say that there is nothing. */
static void test_properties(void)
{
    QTestState *qts = qtest_init("-machine q35 -m 16 -nodefaults "
                                 "-device edu,id=e0");
    static const struct {
        const char *name;
        const char *value; /* NULL: the boolean true */
    } property[] = {
        { "p2p-group", "" }, { "p2p-share", "" }, { "p2p-initiate", NULL },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(property); i++) {
        QDict *reply = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': "
                                 "{ 'path': 'e0', 'property': %s } }",
                                 property[i].name);

        if (property[i].value) {
            g_assert_cmpstr(qdict_get_try_str(reply, "return"), ==,
                            property[i].value);
        } else {
            g_assert_true(qdict_get_bool(reply, "return"));
        }
        qobject_unref(reply);
    }
    qtest_quit(qts);
}

/* Emulated devices that name no group keep theirs when there is one. */
static void test_group_without_members(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        g_autofree char *without = NULL;
        g_autofree char *with = NULL;

        /* To tell memory devices, a group looks at them in a space of its own */
        if (strstr(machines[i], "slots=")) {
            continue;
        }
        without = layout(machines[i], "");
        with = layout(machines[i], GROUP);
        expect_same(machines[i], without, with);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/stock/compare", test_stock);
    qtest_add_func("p2p/stock/no-group", test_no_group);
    qtest_add_func("p2p/stock/properties", test_properties);
    qtest_add_func("p2p/stock/group-without-members",
                   test_group_without_members);
    return g_test_run();
}
