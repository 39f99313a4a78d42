/*
 * When an untranslated bus address may be handed out, and which
 *
 * Each condition is a function that says what is in the way; a table has them
 * in the order of P2PBusObstacle. Whatever they need of the host is found by
 * the one that asks whether all can be known.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/bus-address.h"
#include "hw/p2p/topology.h"
#include "host-internal.h"

/* Of functions that are in the way: so many are named, others counted. */
#define MOST_NAMES 4

#define RANGE "0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x"

typedef struct Check {
    P2PHost *host;
    const P2PBusRequest *request;
    const P2PFunction *initiator, *target;
    const P2PFunction *common;  /* the last port above both; NULL: none */
    /*
     * Upstream port of the outermost switch that requests of the initiator
     * reach without a redirect; NULL: none is above both.
     */
    const P2PFunction *top;
    GPtrArray *way;             /* target, ports, initiator */
    guint down;                 /* of these from the target to the common */
    GPtrArray *below;           /* all functions of top's device, and below */
    char *why;
} Check;

/* Always true: something is in the way. */
static bool G_GNUC_PRINTF(2, 3) say(Check *c, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    c->why = g_strdup_vprintf(format, ap);
    va_end(ap);
    return true;
}

/* --- What needs no look at the host -------------------------------------- */

static bool is_disabled(Check *c)
{
    return !c->request->enabled &&
           say(c, "the p2p-group has bus-address=off (bus-address=on allows "
               "untranslated addresses)");
}

static bool is_behind_guest_iommu(Check *c)
{
    return c->request->guest_iommu &&
           say(c, "an IOMMU of the guest translates for the initiator, which "
               "untranslated addresses would go round; put the initiator on a "
               "guest's bus without one, or use translated addresses");
}

static bool is_bridge(Check *c, const P2PFunction *function)
{
    return function && !function->header_unreadable && function->bridge &&
           say(c, "%s is a bridge, which no virtual machine can have",
               function->bdf);
}

/* A function that is not there is another matter: it cannot be known. */
static const P2PFunction *find(Check *c, const char *bdf)
{
    g_autofree char *why = NULL;

    return p2p_host_function(c->host, bdf, &why);
}

static bool is_not_passthrough(Check *c)
{
    const P2PBusRequest *request = c->request;

    if (!request->initiator || !request->target) {
        return say(c, "the %s is a device model, which has no address on the "
                   "host's bus; pass a function of the host through",
                   request->initiator ? "target" : "initiator");
    }
    return is_bridge(c, find(c, request->initiator)) ||
           is_bridge(c, find(c, request->target));
}

/* --- What cannot be known ------------------------------------------------ */

static P2PPower power_of(const P2PFunction *function)
{
    /* Linux may not know yet what a register tells; deeper counts. */
    return MAX(function->power, function->pm_power);
}

/* The bridge types that are known to be on a way between two functions. */
static bool is_port(const P2PFunction *function)
{
    switch (function->type) {
    case P2P_PORT_UPSTREAM:
    case P2P_PORT_DOWNSTREAM:
    case P2P_PORT_TO_PCI:
    case P2P_PORT_FROM_PCI:
    case P2P_PORT_CONVENTIONAL:
        return function->bridge;
    default:
        return false;
    }
}

static bool is_end_unknown(Check *c)
{
    c->initiator = p2p_host_function(c->host, c->request->initiator, &c->why);
    c->target = c->initiator ? p2p_host_function(
        c->host, c->request->target, &c->why) : NULL;
    return !c->target;
}

static void find_way(Check *c)
{
    const P2PFunction *f;

    for (f = c->target; f != c->common; f = f->parent) {
        g_ptr_array_add(c->way, (void *)f);
    }
    g_ptr_array_add(c->way, (void *)c->common);
    c->down = c->way->len;
    for (f = c->initiator; f != c->common; f = f->parent) {
        g_ptr_array_insert(c->way, c->down, (void *)f);
    }
}

static bool is_way_unknown(Check *c)
{
    for (guint i = 0; i < c->way->len; i++) {
        const P2PFunction *f = c->way->pdata[i];
        bool end = f != c->common && (f == c->target || f == c->initiator);

        if (f->acs == P2P_ACS_UNREADABLE) {
            return say(c, "%s", f->why_no_acs);
        }
        if (!end && !is_port(f)) {
            return say(c, "%s is on the way, but is a %s, not a port of a "
                       "switch", f->bdf, p2p_port_type_str(f->type));
        }
        p2p_function_details(c->host, f);
        if (power_of(f) == P2P_POWER_UNKNOWN) {
            return say(c, "the power state of %s cannot be read (root may "
                       "read its configuration space)", f->bdf);
        }
    }
    return false;
}

/* The switch that the common port is of, or that is above its bus. */
static bool is_switch_unknown(Check *c)
{
    const P2PFunction *f = c->common;

    while (f && f->type != P2P_PORT_UPSTREAM) {
        if (f->type == P2P_PORT_UNKNOWN) {
            return say(c, "%s", f->why_no_acs);
        }
        f = f->parent;
    }
    c->top = f;
    return false;
}

/*
 * PCIe 6.0, table 6-10: request redirect alone sends all requests up; beside
 * it egress control lets those pass that its vector does not name.
 */
static bool sends_all_up(const P2PFunction *port)
{
    return (port->acs_control & P2P_ACS_REQUEST_REDIRECT) &&
           !(port->acs_control & P2P_ACS_EGRESS_CONTROL);
}

static bool is_outermost_unknown(Check *c, const P2PFunction *above)
{
    const P2PFunction *next = above->parent;

    if (above->acs == P2P_ACS_UNREADABLE) {
        return say(c, "%s", above->why_no_acs);
    }
    if (next && next->type == P2P_PORT_UNKNOWN) {
        return say(c, "%s", next->why_no_acs);
    }
    return (above->type != P2P_PORT_DOWNSTREAM || !next ||
            next->type != P2P_PORT_UPSTREAM) &&
           say(c, "%s above %s is a %s, not a port of a switch: what requests "
               "reach there is not known", above->bdf, c->top->bdf,
               p2p_port_type_str(above->type));
}

/*
 * A request that leaves a switch upwards gets to another one's downstream
 * port, which may send it on to its neighbours, past the root complex.
 */
static bool is_reach_unknown(Check *c)
{
    for (;;) {
        const P2PFunction *above = c->top->parent;

        if (!above) {
            return say(c, "%s has no root port above it: what its requests "
                       "reach upwards is not known", c->top->bdf);
        }
        if (above->type == P2P_PORT_ROOT ||
            (above->type == P2P_PORT_DOWNSTREAM && sends_all_up(above))) {
            return false;
        }
        if (is_outermost_unknown(c, above)) {
            return true;
        }
        c->top = above->parent;
    }
}

static bool has_unknown_size(Check *c, const P2PFunction *f)
{
    for (unsigned i = 0; i < P2P_BARS; i++) {
        if (f->bar_addresses[i] && !(f->bars[i].memory && f->bars[i].size)) {
            return say(c, "BAR %u of %s is at 0x%" G_GINT64_MODIFIER "x, but "
                       "Linux does not tell its size", i, f->bdf,
                       f->bar_addresses[i]);
        }
    }
    return false;
}

static bool is_below_unknown(Check *c)
{
    g_autoptr(GPtrArray) skipped = g_ptr_array_new_with_free_func(g_free);

    c->below = p2p_host_device(c->host, c->top, skipped, &c->why);
    if (!c->below) {
        return true;
    }
    if (skipped->len) {
        return say(c, "not all that is below %s is known: %s", c->top->bdf,
                   (char *)skipped->pdata[0]);
    }
    for (guint i = 0; i < c->below->len; i++) {
        const P2PFunction *f = c->below->pdata[i];

        if (f->header_unreadable) {
            return say(c, "what %s answers to is not known: %s", f->bdf,
                       f->why_no_acs);
        }
        p2p_function_details(c->host, f);
        if (has_unknown_size(c, f)) {
            return true;
        }
    }
    return false;
}

/* Its BARs are registers of the physical function, which nobody reads here. */
static bool is_target_virtual(Check *c)
{
    const char *physical = c->target->physical_function;

    return physical &&
           say(c, "where the BARs of %s, a virtual function of %s, are on the "
               "bus is not known; pass %s itself through", c->target->bdf,
               physical, physical);
}

static bool is_unknown(Check *c)
{
    if (is_end_unknown(c)) {
        return true;
    }
    c->common = p2p_topology_common(c->initiator, c->target);
    if (!c->common || c->common->type == P2P_PORT_ROOT ||
        c->initiator == c->target) {
        return false;           /* no switch, whatever else is not known */
    }
    find_way(c);
    if (is_way_unknown(c) || is_switch_unknown(c)) {
        return true;
    }
    return c->top && (is_reach_unknown(c) || is_below_unknown(c) ||
                      is_target_virtual(c));
}

/* --- The way ------------------------------------------------------------- */

static bool has_no_switch(Check *c)
{
    if (c->initiator == c->target) {
        return say(c, "%s is initiator and target: no switch routes its "
                   "requests to itself", c->target->bdf);
    }
    return !c->top &&
           say(c, "no PCIe switch is above both %s and %s: put both below one",
               c->initiator->bdf, c->target->bdf);
}

static bool is_conventional(Check *c)
{
    for (guint i = 0; i < c->way->len; i++) {
        const P2PFunction *f = c->way->pdata[i];

        if (f->bridge && f->type != P2P_PORT_UPSTREAM &&
            f->type != P2P_PORT_DOWNSTREAM) {
            return say(c, "%s on the way is a bridge to conventional PCI "
                       "(%s): put both functions into slots of a PCIe switch",
                       f->bdf, p2p_port_type_str(f->type));
        }
    }
    return false;
}

static bool is_redirected(Check *c)
{
    g_autoptr(GPtrArray) redirects = p2p_topology_redirects(c->initiator,
                                                            c->target);
    g_autofree char *names = p2p_function_names(redirects, "");

    return redirects->len > 0 &&
           say(c, "ACS redirects requests to the root complex at %s (boot the "
               "host with pci=disable_acs_redir=%s to let the switch route "
               "them)", names, names);
}

/* --- The range ----------------------------------------------------------- */

static uint64_t range_first(const Check *c)
{
    return c->target->bars[c->request->bar].start + c->request->offset;
}

static uint64_t range_last(const Check *c)
{
    return range_first(c) + (c->request->size - 1);
}

static bool is_outside_bar(Check *c)
{
    const P2PBusRequest *request = c->request;
    const char *bdf = c->target->bdf;
    const P2PHostBar *bar;

    bar = request->bar < P2P_BARS ? &c->target->bars[request->bar] : NULL;
    if (!bar || !bar->memory || !bar->size) {
        return say(c, "%s has no memory BAR %u", bdf, request->bar);
    }
    if (!bar->start) {
        return say(c, "the firmware gave no address to BAR %u of %s: enable "
                   "\"Above 4G decoding\", or boot with pci=realloc",
                   request->bar, bdf);
    }
    if (bar->size != request->bar_size) {
        return say(c, "BAR %u of %s has 0x%" G_GINT64_MODIFIER "x bytes, but "
                   "0x%" G_GINT64_MODIFIER "x for the virtual machine: it was "
                   "resized; unplug the device and plug it again",
                   request->bar, bdf, bar->size, request->bar_size);
    }
    if (!request->size || request->offset >= bar->size ||
        request->size > bar->size - request->offset) {
        return say(c, "0x%" G_GINT64_MODIFIER "x bytes from 0x%"
                   G_GINT64_MODIFIER "x on are not within BAR %u of %s, which "
                   "has 0x%" G_GINT64_MODIFIER "x", request->size,
                   request->offset, request->bar, bdf, bar->size);
    }
    return false;
}

static bool passes_down(const P2PFunction *port, uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < P2P_RANGES; i++) {
        const P2PPortWindow *window = &port->windows[i];

        if (window->open && window->first <= first && last <= window->last) {
            return true;
        }
    }
    return false;
}

static bool is_outside(Check *c)
{
    if (is_outside_bar(c)) {
        return true;
    }
    for (guint i = 1; i < c->down; i++) {
        const P2PFunction *port = c->way->pdata[i];

        if (!passes_down(port, range_first(c), range_last(c))) {
            return say(c, RANGE " in BAR %u of %s is in no window of port %s "
                       "above it: boot the host with pci=realloc",
                       range_first(c), range_last(c), c->request->bar,
                       c->target->bdf, port->bdf);
        }
    }
    return false;
}

/*
 * sysfs has the CPU's addresses and the register those of the bus. They are
 * equal on x86; behind a host bridge that adds an offset (arm64, Intel VMD)
 * they are not, and there is no other source to tell that from a BAR that was
 * moved.
 */
static bool has_moved(Check *c)
{
    const P2PHostBar *bar = &c->target->bars[c->request->bar];
    uint64_t address = c->target->bar_addresses[c->request->bar];

    return address != bar->start &&
           say(c, "BAR %u of %s moved: it is at 0x%" G_GINT64_MODIFIER "x on "
               "the bus, but at 0x%" G_GINT64_MODIFIER "x for Linux (a reset "
               "that has not ended, or a host bridge that translates "
               "addresses, which is not supported)", c->request->bar,
               c->target->bdf, address, bar->start);
}

static bool does_not_decode(Check *c)
{
    for (guint i = 0; i < c->way->len; i++) {
        const P2PFunction *f = c->way->pdata[i];

        if (f != c->initiator && !f->decodes_memory) {
            return say(c, "%s does not decode memory now: %s", f->bdf,
                       f == c->target
                       ? "its driver has to enable it, or a reset to end"
                       : "nothing passes this port until the host enables it");
        }
    }
    return has_moved(c);
}

static bool is_asleep(Check *c)
{
    for (guint i = 0; i < c->way->len; i++) {
        const P2PFunction *f = c->way->pdata[i];

        if (power_of(f) != P2P_POWER_D0) {
            return say(c, "%s is in %s, and answers in D0 only: \"echo on > "
                       "/sys/bus/pci/devices/%s/power/control\" wakes it",
                       f->bdf, p2p_power_str(power_of(f)), f->bdf);
        }
    }
    return false;
}

/* --- Who else there is --------------------------------------------------- */

/* The first address that @range and @first to @last have in common. */
static bool meets(const P2PBusRange *range, uint64_t first, uint64_t last,
                  uint64_t *where)
{
    uint64_t range_last = range->start + (range->size - 1);

    if (!range->size) {
        return false;
    }
    if (range_last < range->start) {
        range_last = UINT64_MAX;
    }
    *where = MAX(first, range->start);
    return range->start <= last && first <= range_last;
}

/* Whether the initiator reaches something else at @first to @last, @what. */
static bool is_reached(Check *c, const P2PFunction *f, const char *what,
                       uint64_t first, uint64_t last)
{
    for (size_t i = 0; i < c->request->n_reach; i++) {
        uint64_t where;

        if (meets(&c->request->reach[i], first, last, &where)) {
            return say(c, "what %s reaches in the guest at 0x%"
                       G_GINT64_MODIFIER "x would go to %s, which has " RANGE
                       " (%s): keep the guest's memory off it (less of it "
                       "below 4 GiB: max-ram-below-4g of its machine), or "
                       "have the host's firmware place BARs elsewhere",
                       c->initiator->bdf, where, f->bdf, first, last, what);
        }
    }
    return false;
}

/* BARs count where the registers have them, and where Linux does. */
static bool is_bar_reached(Check *c, const P2PFunction *f, unsigned bar)
{
    uint64_t places[] = { f->bar_addresses[bar], f->bars[bar].start };
    uint64_t size = f->bars[bar].size;

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        uint64_t last = places[i] + (size - 1);

        if (f->bars[bar].memory && size && places[i] &&
            is_reached(c, f, "a BAR", places[i],
                       last < places[i] ? UINT64_MAX : last)) {
            return true;
        }
    }
    return false;
}

static bool overlaps(Check *c)
{
    for (guint i = 0; i < c->below->len; i++) {
        const P2PFunction *f = c->below->pdata[i];

        for (unsigned j = 0; j < P2P_BARS; j++) {
            if (is_bar_reached(c, f, j)) {
                return true;
            }
        }
        for (unsigned j = 0; j < P2P_RANGES; j++) {
            const P2PPortWindow *window = &f->windows[j];

            if (window->open && is_reached(c, f, "a port's window",
                                           window->first, window->last)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_owned(const Check *c, const P2PFunction *f)
{
    for (size_t i = 0; i < c->request->n_owned; i++) {
        if (strcmp(c->request->owned[i], f->bdf) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_strangers(Check *c)
{
    g_autoptr(GString) names = g_string_new(NULL);
    unsigned n = 0;

    for (guint i = 0; i < c->below->len; i++) {
        const P2PFunction *f = c->below->pdata[i];

        if (!f->bridge && !is_owned(c, f) && n++ < MOST_NAMES) {
            g_string_append_printf(names, "%s%s", n > 1 ? ", " : "", f->bdf);
        }
    }
    if (n > MOST_NAMES) {
        g_string_append_printf(names, " and %u more", n - MOST_NAMES);
    }
    return n > 0 &&
           say(c, "below %s requests of %s reach %s, too, past the IOMMU: "
               "assign %s to this VM too, or take %s out of the switch",
               c->top->bdf, c->initiator->bdf, names->str,
               n > 1 ? "them" : names->str, n > 1 ? "them" : "it");
}

/* --- All of them --------------------------------------------------------- */

static bool (*const obstacles[P2P_BUS__MAX])(Check *) = {
    [P2P_BUS_DISABLED] = is_disabled,
    [P2P_BUS_GUEST_IOMMU] = is_behind_guest_iommu,
    [P2P_BUS_NOT_PASSTHROUGH] = is_not_passthrough,
    [P2P_BUS_UNKNOWN] = is_unknown,
    [P2P_BUS_NO_SWITCH] = has_no_switch,
    [P2P_BUS_CONVENTIONAL] = is_conventional,
    [P2P_BUS_REDIRECTED] = is_redirected,
    [P2P_BUS_OUTSIDE_PORT] = is_outside,
    [P2P_BUS_NO_DECODE] = does_not_decode,
    [P2P_BUS_ASLEEP] = is_asleep,
    [P2P_BUS_OVERLAP] = overlaps,
    [P2P_BUS_STRANGER] = has_strangers,
};

P2PBusObstacle p2p_bus_address(P2PHost *host, const P2PBusRequest *request,
                               P2PBusAddr *address, char **why)
{
    g_autoptr(GPtrArray) way = g_ptr_array_new();
    Check c = { .host = host, .request = request, .way = way };
    P2PBusObstacle obstacle = P2P_BUS_NONE + 1;

    while (obstacle < P2P_BUS__MAX && !obstacles[obstacle](&c)) {
        obstacle++;
    }
    if (obstacle == P2P_BUS__MAX) {
        obstacle = P2P_BUS_NONE;
        *address = (P2PBusAddr) { range_first(&c) };
    } else if (why) {
        *why = g_steal_pointer(&c.why);
    }
    g_clear_pointer(&c.below, g_ptr_array_unref);
    g_free(c.why);
    return obstacle;
}
