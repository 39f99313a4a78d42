/*
 * qemu-p2p why: the path between two functions, hop by hop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/bus-address.h"
#include "show.h"

/* All that there is to say of a pair. */
typedef struct Explanation {
    P2PHost *host;
    const P2PFunction *initiator, *target;
    const P2PFunction *common;      /* NULL: the root complex */
    P2PVerdict verdict;
    char *reason;
    char *root_complex;
    GPtrArray *remedies;            /* of char * */
    GPtrArray *notes;               /* of char *: passing states */
    bool bus_asked;                 /* the rest is of --bus-address */
    P2PBusObstacle bus_obstacle;
    P2PBusAddr bus_address;         /* if there is no obstacle */
    unsigned bus_bar;
    char *bus_why;
} Explanation;

/* --- Finding it out ------------------------------------------------------ */

static void G_GNUC_PRINTF(2, 3) add_note(Explanation *e, const char *format,
                                         ...)
{
    va_list ap;

    va_start(ap, format);
    g_ptr_array_add(e->notes, g_strdup_vprintf(format, ap));
    va_end(ap);
}

static void note_state(Explanation *e, const P2PFunction *function)
{
    if (function->power == P2P_POWER_D3COLD) {
        add_note(e, "%s is in D3cold, without power: its registers cannot be "
                 "read; \"echo on > /sys/bus/pci/devices/%s/power/control\" "
                 "wakes it", function->bdf, function->bdf);
    } else if (function->power > P2P_POWER_D0) {
        add_note(e, "%s is in %s and does not answer at its BARs now; a "
                 "driver (vfio-pci, too) wakes it, or \"echo on > "
                 "/sys/bus/pci/devices/%s/power/control\"", function->bdf,
                 p2p_power_str(function->power), function->bdf);
    }
}

/* Ports on the way that sleep, which let no request pass. */
static void note_ports(Explanation *e, const P2PFunction *function)
{
    for (; function != e->common; function = function->parent) {
        const P2PFunction *port = function->parent;

        if (port && port->power > P2P_POWER_D0) {
            add_note(e, "port %s is in %s: nothing passes it until what is "
                     "below wakes up", port->bdf, p2p_power_str(port->power));
        }
    }
}

static void note_decode(Explanation *e)
{
    const P2PFunction *target = e->target;

    if (target->decodes_memory || target->power > P2P_POWER_D0) {
        return;
    }
    if (target->physical_function) {
        add_note(e, "%s does not decode memory now: until the driver of %s, "
                 "its physical function, enables it for all virtual "
                 "functions, nothing reaches its BARs", target->bdf,
                 target->physical_function);
    } else {
        add_note(e, "%s does not decode memory now: until a driver (vfio-pci, "
                 "too) enables it, nothing reaches its BARs", target->bdf);
    }
}

static void note_bars(Explanation *e)
{
    const P2PFunction *target = e->target;
    bool any = false;

    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &target->bars[i];

        if (!bar->size || !bar->memory) {
            continue;
        }
        any = true;
        if (!bar->start) {
            add_note(e, "the firmware gave no address to BAR %u of %s: enable "
                     "\"Above 4G decoding\", or boot with pci=realloc", i,
                     target->bdf);
        }
    }
    if (!any) {
        add_note(e, "%s has no memory BAR that could be reached",
                 target->bdf);
    }
}

/* What firmware of guests takes for granted when it places BARs. */
#define USUAL_WIDTH 46

/* A VM's addresses of BARs are what the initiator's IOMMU translates. */
static void note_width(Explanation *e)
{
    const P2PIommu *iommu = e->initiator->iommu;
    uint64_t largest = 0;

    for (unsigned i = 0; i < P2P_BARS; i++) {
        if (e->target->bars[i].memory) {
            largest = MAX(largest, e->target->bars[i].size);
        }
    }
    if (iommu && iommu->width && iommu->width < USUAL_WIDTH && largest) {
        g_autofree char *room = tool_size_str(UINT64_C(1) << iommu->width);
        g_autofree char *size = tool_size_str(largest);

        if (largest >> iommu->width) {
            add_note(e, "%s translates %u bits: no VM can have the BAR of %s "
                     "of %s below %s, where %s would reach it", iommu->name,
                     iommu->width, size, e->target->bdf, room,
                     e->initiator->bdf);
        } else {
            add_note(e, "%s translates %u bits: in a VM the BARs of %s (the "
                     "largest has %s) must be below %s", iommu->name,
                     iommu->width, e->target->bdf, size, room);
        }
    }
}

/*
 * What holds for a VM: its requests carry addresses that only the IOMMU
 * understands, so the root complex has to route them.
 */
static void note_vm(Explanation *e)
{
    if (!e->initiator->iommu_group) {
        add_note(e, "%s is in no IOMMU group: without an IOMMU (intel_iommu=on "
                 "or the firmware's setting) it cannot be given to a VM",
                 e->initiator->bdf);
    }
    if (e->verdict.map_type == P2P_MAP_BUS_ADDR &&
        e->initiator != e->target && !e->verdict.routed_by_root_complex) {
        add_note(e, "in a VM the addresses of requests are translated by the "
                 "IOMMU, so they go up to the root complex and come back: %s",
                 e->root_complex);
    }
    if (e->verdict.map_type != P2P_MAP_BUS_ADDR &&
        p2p_topology_direct_translated(e->initiator, e->target)) {
        add_note(e, "the ports let requests pass that %s had translated by "
                 "ATS (Direct Translated): these take the direct way, all "
                 "others are redirected", e->initiator->bdf);
    }
    if (e->initiator->iommu_group && e->target->iommu_group &&
        e->initiator->iommu_group == e->target->iommu_group) {
        add_note(e, "both are in IOMMU group %d: only one VM can have them",
                 e->initiator->iommu_group->number);
    }
}

static void read_ports(P2PHost *host, const P2PFunction *function)
{
    for (; function; function = function->parent) {
        p2p_function_details(host, function);
    }
}

static void explain(Explanation *e)
{
    read_ports(e->host, e->initiator);
    read_ports(e->host, e->target);
    e->common = p2p_topology_common(e->initiator, e->target);
    e->verdict = p2p_topology_verdict(e->host, e->initiator, e->target);
    e->reason = p2p_topology_reason(e->host, e->initiator, e->target);
    e->root_complex = p2p_topology_root_complex(e->host, e->initiator,
                                                e->target);
    e->remedies = p2p_topology_remedies(e->host, e->initiator, e->target);
    e->notes = g_ptr_array_new_with_free_func(g_free);
    note_state(e, e->initiator);
    if (e->target != e->initiator) {
        note_state(e, e->target);
    }
    note_ports(e, e->initiator);
    note_ports(e, e->target);
    note_decode(e);
    note_bars(e);
    note_width(e);
    note_vm(e);
}

/* --- Untranslated addresses ----------------------------------------------- */

static unsigned largest_bar(const P2PFunction *function)
{
    unsigned largest = 0;

    for (unsigned i = 1; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];

        if (bar->memory && (!function->bars[largest].memory ||
                            bar->size > function->bars[largest].size)) {
            largest = i;
        }
    }
    return largest;
}

/* For a VM that has both functions, and no memory where it could matter. */
static void explain_bus_address(Explanation *e)
{
    const char *owned[] = { e->initiator->bdf, e->target->bdf };
    unsigned bar = largest_bar(e->target);
    uint64_t size = e->target->bars[bar].size;
    P2PBusRequest request = {
        .enabled = true, .initiator = owned[0], .target = owned[1],
        .bar = bar, .bar_size = size, .size = size,
        .owned = owned, .n_owned = G_N_ELEMENTS(owned),
    };

    e->bus_bar = bar;
    e->bus_obstacle = p2p_bus_address(e->host, &request, &e->bus_address,
                                      &e->bus_why);
}

static void print_bus_address(const Explanation *e)
{
    if (e->bus_obstacle != P2P_BUS_NONE) {
        printf("Bus        no, %s: %s\n",
               p2p_bus_obstacle_str(e->bus_obstacle), e->bus_why);
        return;
    }
    printf("Bus        yes: a VM that has both, and nothing at an address that "
           "is taken below the switch, can have BAR %u by its bus address "
           "0x%" G_GINT64_MODIFIER "x\n", e->bus_bar, e->bus_address.bus);
}

static void bus_address_json(JsonBuilder *builder, const Explanation *e)
{
    json_builder_set_member_name(builder, "bus-address");
    json_builder_begin_object(builder);
    tool_json_bool(builder, "possible", e->bus_obstacle == P2P_BUS_NONE);
    if (e->bus_obstacle == P2P_BUS_NONE) {
        json_builder_set_member_name(builder, "bar");
        json_builder_add_int_value(builder, e->bus_bar);
    } else {
        tool_json_string(builder, "obstacle",
                         p2p_bus_obstacle_str(e->bus_obstacle));
        tool_json_string(builder, "reason", e->bus_why);
    }
    json_builder_end_object(builder);
}

static void explanation_clear(Explanation *e)
{
    g_free(e->reason);
    g_free(e->root_complex);
    g_free(e->bus_why);
    g_clear_pointer(&e->remedies, g_ptr_array_unref);
    g_clear_pointer(&e->notes, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Explanation, explanation_clear)

/* --- Hops ---------------------------------------------------------------- */

typedef struct Hop {
    const char *role;
    const P2PFunction *function;
} Hop;

/* From the initiator up to the common port and down to the target. */
static GArray *find_hops(const Explanation *e)
{
    GArray *hops = g_array_new(false, false, sizeof(Hop));
    guint down;
    Hop hop;

    for (const P2PFunction *f = e->initiator; f != e->common; f = f->parent) {
        hop = (Hop) { f == e->initiator ? "initiator" : "up", f };
        g_array_append_val(hops, hop);
    }
    if (e->common) {
        hop = (Hop) { e->initiator == e->target ? "both" : "common",
                      e->common };
        g_array_append_val(hops, hop);
    }
    down = hops->len;
    for (const P2PFunction *f = e->target; f != e->common; f = f->parent) {
        hop = (Hop) { f == e->target ? "target" : "down", f };
        g_array_insert_val(hops, down, hop);
    }
    return hops;
}

static void print_hop(const Hop *hop)
{
    const P2PFunction *f = hop->function;
    g_autofree char *link = tool_link_str(f->link);
    g_autofree char *max = tool_link_str(f->max_link);
    g_autofree char *control = p2p_acs_str(f->acs_control);
    g_autofree char *capability = p2p_acs_str(f->acs_capability);

    printf("  %-9s  %s  %s\n", hop->role, f->bdf, p2p_port_type_str(f->type));
    if (f->acs == P2P_ACS_UNREADABLE) {
        printf("             ACS: %s\n", f->why_no_acs);
    } else if (!f->has_acs) {
        puts("             ACS: none (requests take the shortest way)");
    } else {
        printf("             ACS can: %s\n             ACS is:  %s%s\n",
               capability, control, f->acs == P2P_ACS_REDIRECT
               ? "  <- redirects to the root complex" : "");
    }
    if (f->max_link.speed) {
        bool slow = f->link.speed != f->max_link.speed ||
                    f->link.width != f->max_link.width;

        printf("             link: %s%s%s%s\n", link, slow ? " (of " : "",
               slow ? max : "", slow ? ")" : "");
    }
}

/* --- Printing ------------------------------------------------------------ */

static void print_end(const char *role, const P2PFunction *f)
{
    g_autofree char *class_name = tool_class_name(f);
    g_autofree char *name = tool_device_name(f);

    printf("%-10s %s  %s: %s\n", role, f->bdf, class_name, name);
    printf("           power %s, memory decode %s", p2p_power_str(f->power),
           f->decodes_memory ? "on" : "off");
    if (f->iommu_group) {
        printf(", IOMMU group %d (%s)", f->iommu_group->number,
               f->iommu_group->type ?: "type unknown");
    } else {
        printf(", no IOMMU group");
    }
    if (f->iommu && f->iommu->width) {
        printf(", %s %s: %u bits", f->iommu->kind, f->iommu->name,
               f->iommu->width);
    }
    putchar('\n');
}

static void print_list(const char *title, const GPtrArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        printf("%-10s %s%s\n", i ? "" : title, i ? "or: " : "",
               (char *)list->pdata[i]);
    }
}

static void print_text(const Explanation *e)
{
    g_autoptr(GArray) hops = find_hops(e);
    const ToolVerdictWord *word = tool_verdict_word(&e->verdict);
    bool top = false;

    print_end("Initiator", e->initiator);
    print_end("Target", e->target);
    printf("\nPath %s\n", p2p_path_class_str(e->verdict.path_class));
    for (guint i = 0; i < hops->len; i++) {
        print_hop(&g_array_index(hops, Hop, i));
        if (!e->common && !top) {
            top = !g_array_index(hops, Hop, i).function->parent;
            fputs(top ? "  (root complex)\n" : "", stdout);
        }
    }
    printf("\nRoot       %s\n", e->root_complex);
    printf("Verdict    %s: %s\n", p2p_verdict_str(&e->verdict),
           word->meaning);
    printf("Because    %s\n", e->reason);
    if (e->remedies->len) {
        print_list(word->yes ? "Shorter" : "Remedy", e->remedies);
    } else if (!word->yes) {
        puts("Remedy     no remedy");
    }
    if (e->bus_asked) {
        print_bus_address(e);
    }
    for (guint i = 0; i < e->notes->len; i++) {
        printf("Note       %s\n", (char *)e->notes->pdata[i]);
    }
}

static void print_json(const Explanation *e)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(GArray) hops = find_hops(e);

    json_builder_begin_object(builder);
    tool_json_string(builder, "initiator", e->initiator->bdf);
    tool_json_string(builder, "target", e->target->bdf);
    tool_json_verdict(builder, &e->verdict);
    tool_json_string(builder, "reason", e->reason);
    tool_json_string(builder, "root-complex", e->root_complex);
    tool_json_strings(builder, "remedies", e->remedies);
    tool_json_strings(builder, "notes", e->notes);
    if (e->bus_asked) {
        bus_address_json(builder, e);
    }
    json_builder_set_member_name(builder, "hops");
    json_builder_begin_array(builder);
    for (guint i = 0; i < hops->len; i++) {
        const Hop *hop = &g_array_index(hops, Hop, i);

        json_builder_begin_object(builder);
        tool_json_string(builder, "role", hop->role);
        json_builder_set_member_name(builder, "function");
        tool_json_function(builder, hop->function);
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    tool_print_json(json_builder_get_root(builder));
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    gboolean json = false, bus_address = false;
    const GOptionEntry options[] = {
        TOOL_SYSROOT_OPTION,
        { "bus-address", 'b', 0, G_OPTION_ARG_NONE, &bus_address,
          "Say whether a VM can have an untranslated bus address", NULL },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL },
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_auto(Explanation) e = { 0 };

    if (!tool_parse(command, options, &argc, &argv)) {
        return TOOL_CANNOT;
    }
    if (argc != 3) {
        tool_error("two devices are needed: an initiator and a target");
        return TOOL_CANNOT;
    }
    host = tool_host();
    e.host = host;
    e.initiator = tool_device(host, argv[1]);
    e.target = e.initiator ? tool_device(host, argv[2]) : NULL;
    if (!e.target) {
        return TOOL_CANNOT;
    }
    explain(&e);
    e.bus_asked = bus_address;
    if (bus_address) {
        explain_bus_address(&e);
    }
    if (json) {
        print_json(&e);
    } else {
        print_text(&e);
    }
    return tool_verdict_word(&e.verdict)->yes ? TOOL_OK : TOOL_NO;
}

const ToolCommand tool_why = {
    .name = "why",
    .arguments = "INITIATOR TARGET",
    .summary = "explain whether a device reaches another, and what to change",
    .examples =
        "  qemu-p2p why 65:00.0 66:00.0\n"
        "  sudo qemu-p2p why --bus-address 65:00.0 66:00.0\n"
        "  qemu-p2p why --json --sysroot DIR 0000:65:00.0 0000:66:00.0\n"
        "Exit status 1 if the verdict is not-supported or unknown.\n",
    .run = run,
};
