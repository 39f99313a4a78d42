/*
 * A guest's PCI topology that mirrors the host's: ports and groups
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "plan-internal.h"

/* Of pcie.0; those below are of the machine's own devices, or the user's. */
#define FIRST_SLOT 0x10
#define LAST_SLOT  0x1e
#define FUNCTIONS  8

/* Device numbers on a switch's own bus. */
#define SWITCH_PORTS 32

/* Buses that are left free behind each host bridge, for hot-plug. */
#define SPARE_BUSES 8

#define CLIQUES 16
#define VENDOR_NVIDIA 0x10de
#define CLASS_DISPLAY 0x03

/* --- Nodes ---------------------------------------------------------------------- */

static void node_free(void *opaque)
{
    P2PPlanNode *node = opaque;

    g_free(node->id);
    g_free(node);
}

static unsigned count_kind(const P2PPlan *plan, P2PPlanKind kind)
{
    unsigned n = 0;

    for (guint i = 0; i < plan->nodes->len; i++) {
        n += ((P2PPlanNode *)plan->nodes->pdata[i])->kind == kind;
    }
    return n;
}

static P2PPlanNode *add_node(P2PPlan *plan, P2PPlanKind kind,
                             const P2PPlanNode *parent,
                             const P2PFunction *host)
{
    static const char *const names[] = {
        [P2P_PLAN_HOST_BRIDGE] = "p2p-pxb",
        [P2P_PLAN_ROOT_PORT] = "p2p-rp",
        [P2P_PLAN_UPSTREAM] = "p2p-up",
        [P2P_PLAN_DOWNSTREAM] = "p2p-down",
        [P2P_PLAN_DEVICE] = "dev",
    };
    P2PPlanNode *node = g_new0(P2PPlanNode, 1);

    node->kind = kind;
    node->number = count_kind(plan, kind);
    node->id = g_strdup_printf("%s%u", names[kind], node->number);
    node->parent = parent;
    node->host = host;
    node->numa_node = node->group = node->clique = -1;
    if (kind == P2P_PLAN_ROOT_PORT || kind == P2P_PLAN_DOWNSTREAM) {
        /* There are less than 256, as each has a bus. */
        node->chassis = 1 + count_kind(plan, P2P_PLAN_ROOT_PORT) +
                        count_kind(plan, P2P_PLAN_DOWNSTREAM);
    }
    g_ptr_array_add(plan->nodes, node);
    return node;
}

/* --- The tree --------------------------------------------------------------------- */

/* The ancestor of @function (or itself) that is right below @port. */
static const P2PFunction *child_of(const P2PFunction *function,
                                   const P2PFunction *port)
{
    while (function->parent != port) {
        function = function->parent;
    }
    return function;
}

/* Whether both are functions of one physical device. */
static bool one_device(const P2PFunction *a, const P2PFunction *b)
{
    size_t length = strlen(a->bdf) - 1;

    return a->parent == b->parent && strlen(b->bdf) == length + 1 &&
           strncmp(a->bdf, b->bdf, length) == 0 && !a->physical_function &&
           !b->physical_function;
}

static bool all_one_device(const GPtrArray *part)
{
    for (guint i = 1; i < part->len; i++) {
        if (!one_device(part->pdata[0], part->pdata[i])) {
            return false;
        }
    }
    return true;
}

static const P2PFunction *common_of(const GPtrArray *part)
{
    const P2PFunction *common = part->pdata[0];

    for (guint i = 1; common && i < part->len; i++) {
        common = p2p_topology_common(common, part->pdata[i]);
    }
    return common;
}

/*
 * @part by what is right below @port: an array of arrays.  The functions of one
 * device stay together, those of ports do not, which may be one device, too.
 */
static GPtrArray *split(const GPtrArray *part, const P2PFunction *port)
{
    GPtrArray *parts = g_ptr_array_new_with_free_func(
        (GDestroyNotify)g_ptr_array_unref);

    for (guint i = 0; i < part->len; i++) {
        const P2PFunction *child = child_of(part->pdata[i], port);
        GPtrArray *into = NULL;

        for (guint j = 0; j < parts->len && !into; j++) {
            GPtrArray *other = parts->pdata[j];
            const P2PFunction *its = child_of(other->pdata[0], port);

            if (its == child || (its == other->pdata[0] &&
                                 child == part->pdata[i] &&
                                 one_device(its, child))) {
                into = other;
            }
        }
        if (!into) {
            into = g_ptr_array_new();
            g_ptr_array_add(parts, into);
        }
        g_ptr_array_add(into, part->pdata[i]);
    }
    return parts;
}

static gint by_function(gconstpointer a, gconstpointer b)
{
    const P2PFunction *const *x = a;
    const P2PFunction *const *y = b;

    return strcmp((*x)->bdf, (*y)->bdf);
}

/* One device's functions; the first one has to be function 0. */
static void place_device(P2PPlan *plan, const P2PPlanNode *port,
                         GPtrArray *part)
{
    g_ptr_array_sort(part, by_function);
    for (guint i = 0; i < part->len; i++) {
        P2PPlanNode *node = add_node(plan, P2P_PLAN_DEVICE, port,
                                     part->pdata[i]);

        node->function = i;
        node->multifunction = i == 0 && part->len > 1;
    }
}

/* What is below @port, which is a root port or a downstream port. */
static bool place(P2PPlan *plan, P2PPlanNode *port, GPtrArray *part,
                  char **why)
{
    g_autoptr(GPtrArray) parts = NULL;
    const P2PFunction *common;
    P2PPlanNode *upstream;

    if (all_one_device(part)) {
        port->link = ((const P2PFunction *)part->pdata[0])->max_link;
        place_device(plan, port, part);
        return true;
    }
    common = common_of(part);
    port->link = common->max_link;
    upstream = add_node(plan, P2P_PLAN_UPSTREAM, port, common);
    parts = split(part, common);
    if (parts->len > SWITCH_PORTS) {
        *why = g_strdup_printf("%u devices below %s are more than the %d ports "
                               "of a guest's switch; give the VM fewer of "
                               "them", parts->len, common->bdf, SWITCH_PORTS);
        return false;
    }
    for (guint i = 0; i < parts->len; i++) {
        P2PPlanNode *down = add_node(plan, P2P_PLAN_DOWNSTREAM, upstream,
                                     NULL);

        down->slot = i;
        if (!place(plan, down, parts->pdata[i], why)) {
            return false;
        }
    }
    return true;
}

/* All of one host bridge; @bridge: NULL if they go to pcie.0 */
static bool place_root_bus(P2PPlan *plan, P2PPlanNode *bridge,
                           const GPtrArray *part, char **why)
{
    g_autoptr(GPtrArray) parts = split(part, NULL);

    for (guint i = 0; i < parts->len; i++) {
        P2PPlanNode *port = add_node(plan, P2P_PLAN_ROOT_PORT, bridge,
                                     NULL);

        port->slot = (bridge ? 0 : FIRST_SLOT) + i / FUNCTIONS;
        port->function = i % FUNCTIONS;
        port->multifunction = port->function == 0 && i + 1 < parts->len;
        if (!place(plan, port, parts->pdata[i], why)) {
            return false;
        }
    }
    return true;
}

/* Functions by host bridge, in the order of their first ones. */
static GPtrArray *by_root_bus(const GPtrArray *functions)
{
    GPtrArray *parts = g_ptr_array_new_with_free_func(
        (GDestroyNotify)g_ptr_array_unref);

    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *function = functions->pdata[i];
        GPtrArray *into = NULL;

        for (guint j = 0; j < parts->len && !into; j++) {
            GPtrArray *other = parts->pdata[j];
            const P2PFunction *its = other->pdata[0];

            into = strcmp(its->root_bus, function->root_bus) == 0 ? other
                                                                  : NULL;
        }
        if (!into) {
            into = g_ptr_array_new();
            g_ptr_array_add(parts, into);
        }
        g_ptr_array_add(into, (void *)function);
    }
    return parts;
}

/* The guest's node for the host's, which is made if need be. */
static int guest_node(P2PPlan *plan, int host_node)
{
    for (int i = 0; i < plan->numa_nodes; i++) {
        if (plan->host_nodes[i] == host_node) {
            return i;
        }
    }
    plan->host_nodes = g_renew(int, plan->host_nodes, plan->numa_nodes + 1);
    plan->host_nodes[plan->numa_nodes] = host_node;
    return plan->numa_nodes++;
}

static bool place_all(P2PPlan *plan, const GPtrArray *functions, char **why)
{
    g_autoptr(GPtrArray) parts = by_root_bus(functions);
    unsigned most = (LAST_SLOT - FIRST_SLOT + 1) * FUNCTIONS;

    for (guint i = 0; i < parts->len; i++) {
        const GPtrArray *part = parts->pdata[i];
        const P2PFunction *first = part->pdata[0];
        P2PPlanNode *bridge = NULL;

        if (part->len > most) {
            *why = g_strdup_printf("%u devices below one host bridge are more "
                                   "than the %u root ports of a guest",
                                   part->len, most);
            return false;
        }
        if (parts->len > 1) {
            bridge = add_node(plan, P2P_PLAN_HOST_BRIDGE, NULL, NULL);
            bridge->slot = LAST_SLOT - i;
            if (first->numa_node >= 0) {
                bridge->numa_node = guest_node(plan, first->numa_node);
            }
        }
        if (parts->len > LAST_SLOT - FIRST_SLOT) {
            *why = g_strdup_printf("the devices are below %u host bridges, a "
                                   "guest has %d; give it devices of fewer",
                                   parts->len, LAST_SLOT - FIRST_SLOT);
            return false;
        }
        if (!place_root_bus(plan, bridge, part, why)) {
            return false;
        }
    }
    return true;
}

/* --- Bus numbers --------------------------------------------------------------------- */

/* As firmware does: depth first, in the order of slots. */
static unsigned number_below(P2PPlan *plan, const P2PPlanNode *parent,
                             unsigned bus, unsigned next)
{
    for (guint i = 0; i < plan->nodes->len; i++) {
        P2PPlanNode *node = plan->nodes->pdata[i];

        if (node->parent != parent || node->kind == P2P_PLAN_HOST_BRIDGE) {
            continue;
        }
        node->bus = bus;
        if (node->kind != P2P_PLAN_DEVICE) {
            node->secondary = next;
            next = number_below(plan, node, next, next + 1);
            node->subordinate = next - 1;
        }
    }
    return next;
}

static bool number_buses(P2PPlan *plan, char **why)
{
    unsigned next = number_below(plan, NULL, 0, 1);
    unsigned end = 256;

    for (guint i = 0; i < plan->nodes->len; i++) {
        P2PPlanNode *node = plan->nodes->pdata[i];
        unsigned buses;

        if (node->kind != P2P_PLAN_HOST_BRIDGE) {
            continue;
        }
        buses = number_below(plan, node, 0, 1) + SPARE_BUSES;
        if (buses + next > end) {
            end = 0;
            break;
        }
        end -= buses;
        node->secondary = end;
        node->subordinate = number_below(plan, node, end, end + 1) - 1;
    }
    if (end < next) {
        *why = g_strdup("the devices need more than the 256 buses of a guest; "
                        "give it fewer");
        return false;
    }
    return true;
}

/* --- Groups and cliques ----------------------------------------------------------------- */

static bool reach_each_other(P2PPlan *plan, const P2PPlanNode *a,
                             const P2PPlanNode *b)
{
    return p2p_topology_verdict(plan->host, a->host, b->host)
               .routed_by_root_complex &&
           p2p_topology_verdict(plan->host, b->host, a->host)
               .routed_by_root_complex;
}

/* Whether @node and all members of @group reach each other. */
static bool fits_group(P2PPlan *plan, const P2PPlanNode *node, int group)
{
    for (guint i = 0; i < plan->devices->len; i++) {
        const P2PPlanNode *other = plan->devices->pdata[i];

        if (other != node && other->group == group &&
            !reach_each_other(plan, node, other)) {
            return false;
        }
    }
    return true;
}

static unsigned count_members(const P2PPlan *plan, int group)
{
    unsigned n = 0;

    for (guint i = 0; i < plan->devices->len; i++) {
        n += ((P2PPlanNode *)plan->devices->pdata[i])->group == group;
    }
    return n;
}

/* Give up groups of one, and number the others without gaps. */
static void close_groups(P2PPlan *plan, unsigned all)
{
    for (unsigned group = 0; group < all; group++) {
        int number = count_members(plan, group) > 1 ? (int)plan->groups++
                                                    : -1;

        for (guint i = 0; i < plan->devices->len; i++) {
            P2PPlanNode *node = plan->devices->pdata[i];

            if (node->group == (int)group) {
                node->group = number;
            }
        }
    }
}

static void make_groups(P2PPlan *plan)
{
    unsigned all = 0;

    for (guint i = 0; i < plan->devices->len; i++) {
        P2PPlanNode *node = plan->devices->pdata[i];
        unsigned group = 0;

        while (group < all && !fits_group(plan, node, group)) {
            group++;
        }
        node->group = group;
        all = MAX(all, group + 1);
    }
    close_groups(plan, all);
    for (guint i = 0; i < plan->devices->len; i++) {
        const P2PPlanNode *node = plan->devices->pdata[i];

        if (node->group < 0 && plan->devices->len > 1) {
            g_ptr_array_add(plan->notes, g_strdup_printf(
                "%s is in no p2p-group: no other device of this plan is known "
                "to reach it through the root complex (qemu-p2p why tells "
                "more)", node->host->bdf));
        }
    }
}

static bool is_nvidia_gpu(const P2PFunction *function)
{
    return function->vendor == VENDOR_NVIDIA &&
           function->class_code >> 16 == CLASS_DISPLAY;
}

static void make_cliques(P2PPlan *plan)
{
    for (guint i = 0; i < plan->devices->len; i++) {
        P2PPlanNode *node = plan->devices->pdata[i];

        if (!is_nvidia_gpu(node->host) || node->group < 0) {
            continue;
        }
        if (plan->physical_bits == 0) {
            g_ptr_array_add(plan->notes, g_strdup_printf(
                "%s gets no x-nv-gpudirect-clique: its BARs cannot all be "
                "mapped", node->host->bdf));
        } else if (node->group < CLIQUES) {
            node->clique = node->group;
        }
    }
}

/* --- The plan ------------------------------------------------------------------------------ */

/* In the order asked for. */
static void list_devices(P2PPlan *plan, const GPtrArray *functions)
{
    for (guint i = 0; i < functions->len; i++) {
        for (guint j = 0; j < plan->nodes->len; j++) {
            P2PPlanNode *node = plan->nodes->pdata[j];

            if (node->kind == P2P_PLAN_DEVICE &&
                node->host == functions->pdata[i]) {
                g_ptr_array_add(plan->devices, node);
            }
        }
    }
}

static void note_missing_functions(P2PPlan *plan)
{
    for (guint i = 0; i < plan->devices->len; i++) {
        const P2PPlanNode *node = plan->devices->pdata[i];

        if (node->function == 0 && !g_str_has_suffix(node->host->bdf, ".0") &&
            !node->host->physical_function) {
            g_ptr_array_add(plan->notes, g_strdup_printf(
                "%s becomes function 0 in the guest: function 0 of the device "
                "is not part of this plan", node->host->bdf));
        }
    }
}

/* What has others below it is a port, whatever its registers say. */
static bool check_places(const GPtrArray *functions, char **why)
{
    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *function = functions->pdata[i];
        const P2PFunction *port = function->parent;

        for (; port; port = port->parent) {
            if (g_ptr_array_find((GPtrArray *)functions, port, NULL)) {
                *why = g_strdup_printf("%s is above %s: it is a port, which "
                                       "cannot be given to a VM", port->bdf,
                                       function->bdf);
                return false;
            }
        }
    }
    return true;
}

P2PPlan *p2p_plan_new(P2PHost *host, const GPtrArray *functions,
                      const P2PPlanOptions *options, char **why)
{
    g_autoptr(P2PPlan) plan = g_new0(P2PPlan, 1);

    plan->host = host;
    plan->memory = options->memory;
    plan->nodes = g_ptr_array_new_with_free_func(node_free);
    plan->devices = g_ptr_array_new();
    plan->problems = g_ptr_array_new_with_free_func(g_free);
    plan->notes = g_ptr_array_new_with_free_func(g_free);
    if (!check_places(functions, why) || !place_all(plan, functions, why) ||
        !number_buses(plan, why)) {
        return NULL;
    }
    list_devices(plan, functions);
    note_missing_functions(plan);
    p2p_plan_place_memory(plan);
    make_groups(plan);
    make_cliques(plan);
    plan->guest = p2p_plan_guest(plan);
    return g_steal_pointer(&plan);
}

void p2p_plan_free(P2PPlan *plan)
{
    if (plan->guest) {
        p2p_host_free(plan->guest);
    }
    g_ptr_array_unref(plan->nodes);
    g_ptr_array_unref(plan->devices);
    g_ptr_array_unref(plan->problems);
    g_ptr_array_unref(plan->notes);
    g_free(plan->host_nodes);
    g_free(plan);
}
