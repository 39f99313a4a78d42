/*
 * Where a guest's RAM and 64-bit BARs go, and whether the IOMMUs reach there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "plan-internal.h"

#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)

/* QEMU's q35: RAM below 4 GiB if there is more than fits, and the 64-bit
 * window that it gives without being asked. */
#define LOW_RAM_LIMIT (2816 * MiB)
#define LOW_RAM       (2 * GiB)
#define DEFAULT_HOLE  (32 * GiB)

/* What is left for 32-bit BARs below the chip set's registers. */
#define LOW_WINDOW    (512 * MiB)

#define BITS_MIN 36
#define BITS_MAX 52

/* Sums stay below this, whatever a tree says of BARs: no overflow. */
#define SIZE_MAX_SANE ((uint64_t)1 << 60)

/*
 * QEMU moves RAM above 4 GiB to 1 TiB, if it or the 64-bit window would reach
 * the range that AMD's IOMMUs do not translate.
 */
#define AMD_HT_START  UINT64_C(0xfd00000000)
#define AMD_HIGH_RAM  UINT64_C(0x10000000000)

/* A range that some IOMMU does not translate. */
typedef struct Taken {
    uint64_t first, last;
    const P2PFunction *function;
    const char *type;
} Taken;

typedef struct Needs {
    uint64_t total;             /* bytes of 64-bit BARs */
    uint64_t largest;           /* one of them, which is its alignment too */
    uint64_t low;               /* bytes of 32-bit BARs */
    unsigned bits;              /* all IOMMUs translate and the CPU has */
    const P2PFunction *narrow;  /* who has the narrowest IOMMU; NULL: CPU */
    GArray *taken;              /* of Taken */
} Needs;

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return to ? (value + to - 1) / to * to : value;
}

static uint64_t power_of_two(uint64_t value)
{
    uint64_t power = 1;

    while (power < value && power < (uint64_t)1 << 62) {
        power <<= 1;
    }
    return power;
}

static void add_bars(Needs *needs, const P2PFunction *function)
{
    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];
        uint64_t size = MIN(bar->size, SIZE_MAX_SANE);

        if (!bar->memory || !size) {
            continue;
        }
        if (bar->is_64bit && bar->prefetchable) {
            needs->total = MIN(needs->total + size, SIZE_MAX_SANE);
            needs->largest = MAX(needs->largest, size);
        } else {
            needs->low = MIN(needs->low + size, SIZE_MAX_SANE);
        }
    }
}

static void add_iommu(Needs *needs, const P2PFunction *function)
{
    const P2PIommuGroup *group = function->iommu_group;

    if (function->iommu && function->iommu->width &&
        function->iommu->width < needs->bits) {
        needs->bits = function->iommu->width;
        needs->narrow = function;
    }
    for (guint i = 0; group && i < group->reserved->len; i++) {
        const P2PReservedRange *range = &g_array_index(group->reserved,
                                                       P2PReservedRange, i);
        Taken taken = { range->first, range->last, function, range->type };

        if (range->last >= 4 * GiB) {
            g_array_append_val(needs->taken, taken);
        }
    }
}

static void G_GNUC_PRINTF(2, 3) add_problem(P2PPlan *plan,
                                            const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    g_ptr_array_add(plan->problems, g_strdup_vprintf(format, ap));
    va_end(ap);
}

static const Taken *find_taken(const Needs *needs, uint64_t first,
                               uint64_t size)
{
    for (guint i = 0; i < needs->taken->len; i++) {
        const Taken *taken = &g_array_index(needs->taken, Taken, i);

        if (taken->first <= first + (size - 1) && first <= taken->last) {
            return taken;
        }
    }
    return NULL;
}

/* SeaBIOS places 64-bit BARs right above RAM, aligned to their size. */
static uint64_t seabios_start(const P2PPlan *plan, const Needs *needs)
{
    return round_up(plan->hole64_start, MAX(needs->largest, GiB));
}

static bool seabios_does(const P2PPlan *plan, const Needs *needs,
                         unsigned bits)
{
    uint64_t all = (uint64_t)1 << bits;
    uint64_t start = seabios_start(plan, needs);

    return start < all && plan->hole64_size <= all - start &&
           !find_taken(needs, start, MAX(needs->total, 1));
}

/*
 * OVMF takes the uppermost eighth of the address space, if it trusts the
 * guest's number of physical bits.
 */
static bool ovmf_does(const P2PPlan *plan, const Needs *needs, unsigned bits)
{
    uint64_t window = (uint64_t)1 << (bits - 3);

    return needs->total <= window && plan->hole64_start <= 7 * window &&
           !find_taken(needs, 7 * window, window);
}

/* The most that all firmwares can do with; else SeaBIOS. */
static unsigned choose_bits(P2PPlan *plan, const Needs *needs)
{
    unsigned most = needs->bits;

    for (unsigned bits = most; bits >= BITS_MIN; bits--) {
        if (seabios_does(plan, needs, bits) && ovmf_does(plan, needs, bits)) {
            return bits;
        }
    }
    for (unsigned bits = most; bits >= BITS_MIN; bits--) {
        if (seabios_does(plan, needs, bits)) {
            g_ptr_array_add(plan->notes, g_strdup_printf(
                "OVMF places 64-bit BARs in the uppermost eighth of %u bits, "
                "where the %" G_GUINT64_FORMAT " MiB of these devices do not "
                "fit or the IOMMU does not translate; use SeaBIOS, or tell "
                "OVMF: -fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=%"
                G_GUINT64_FORMAT, bits, needs->total / MiB,
                plan->hole64_size / MiB));
            return bits;
        }
    }
    return 0;
}

static void explain_no_bits(P2PPlan *plan, const Needs *needs)
{
    uint64_t start = seabios_start(plan, needs);
    const Taken *taken = find_taken(needs, start, MAX(needs->total, 1));

    if (taken) {
        add_problem(plan, "the 64-bit BARs (%" G_GUINT64_FORMAT " MiB from 0x%"
                    G_GINT64_MODIFIER "x on) would lie on 0x%"
                    G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x (%s), "
                    "which the IOMMU of %s does not translate; give the guest "
                    "less RAM, or devices with smaller BARs (resizable BAR)",
                    needs->total / MiB, start, taken->first, taken->last,
                    taken->type, taken->function->bdf);
        return;
    }
    add_problem(plan, "the 64-bit BARs need %" G_GUINT64_FORMAT " MiB above "
                "0x%" G_GINT64_MODIFIER "x, but %s%s has %u bits, which end at "
                "0x%" G_GINT64_MODIFIER "x; make the BARs smaller (resizable BAR, sysfs "
                "resourceN_resize), or use a host with a wider IOMMU",
                needs->total / MiB, start,
                needs->narrow ? "the IOMMU of " : "the processor",
                needs->narrow ? needs->narrow->bdf : "", needs->bits,
                ((uint64_t)1 << needs->bits) - 1);
}

/* Where RAM ends, and 64-bit BARs may begin, as QEMU's q35 has it. */
static void place_ram(P2PPlan *plan, const Needs *needs)
{
    const P2PHostCpu *cpu = p2p_host_cpu(plan->host);
    uint64_t high = plan->memory >= LOW_RAM_LIMIT ? plan->memory - LOW_RAM
                                                  : 0;

    plan->hole64_size = MAX(DEFAULT_HOLE,
                            power_of_two(needs->total + needs->largest));
    plan->hole64_start = round_up(4 * GiB + high, GiB);
    if (g_strcmp0(cpu->vendor, "AuthenticAMD") == 0 &&
        plan->hole64_start + plan->hole64_size > AMD_HT_START) {
        plan->hole64_start = round_up(AMD_HIGH_RAM + high, GiB);
    }
}

void p2p_plan_place_memory(P2PPlan *plan)
{
    unsigned cpu_bits = p2p_host_cpu(plan->host)->physical_bits;
    g_autoptr(GArray) taken = g_array_new(false, false, sizeof(Taken));
    Needs needs = {
        .bits = MIN(cpu_bits ?: BITS_MAX, BITS_MAX), .taken = taken,
    };

    for (guint i = 0; i < plan->devices->len; i++) {
        const P2PPlanNode *node = plan->devices->pdata[i];

        add_bars(&needs, node->host);
        add_iommu(&needs, node->host);
    }
    place_ram(plan, &needs);
    plan->physical_bits = choose_bits(plan, &needs);
    if (!plan->physical_bits) {
        explain_no_bits(plan, &needs);
    }
    if (needs.low > LOW_WINDOW) {
        add_problem(plan, "the 32-bit BARs need %" G_GUINT64_FORMAT " MiB, but "
                    "there are about %" G_GUINT64_FORMAT " MiB below 4 GiB; "
                    "give the guest fewer of these devices",
                    needs.low / MiB, LOW_WINDOW / MiB);
    }
}
