/*
 * make-host HOST DIR: write the machine that the text HOST describes as a tree
 * for --sysroot DIR.  tests/hosts/README.md describes the text.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "machine.h"

typedef struct Entry {
    unsigned indent;
    char *bdf;
    char *way;
    MachineFunction function;
    GPtrArray *words;           /* which it borrows from, of char * */
} Entry;

typedef struct Reader {
    Machine machine;
    const char *file;
    unsigned line;
    char *bus;                  /* "pci0000:00" */
    GPtrArray *entries;         /* of Entry, in the order of the file */
    GHashTable *groups;         /* numbers that a function is in */
    char *group_type;
    GString *reserved;
} Reader;

static G_NORETURN void G_GNUC_PRINTF(2, 3) die(const Reader *r,
                                               const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "%s:%u: ", r->file, r->line);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

/* --- Words --------------------------------------------------------------- */

static uint64_t number(const Reader *r, const char *text, unsigned base)
{
    char *end;
    uint64_t value = g_ascii_strtoull(text, &end, base);

    if (end == text || *end) {
        die(r, "'%s' is no number", text);
    }
    return value;
}

/* "4K", "128G" */
static uint64_t size(const Reader *r, const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    uint64_t value = g_ascii_strtoull(text, &end, 0);
    const char *unit = *end ? strchr(units, *end) : NULL;

    if (end == text || (*end && (!unit || end[1]))) {
        die(r, "'%s' is no size", text);
    }
    return unit ? value << 10 * (unit - units + 1) : value;
}

/* "32x16" */
static MachineLink parse_link(const Reader *r, const char *text)
{
    MachineLink link;
    char *end;

    link.speed = g_ascii_strtod(text, &end);
    if (end == text || *end != 'x') {
        die(r, "'%s' is no link (SPEEDxLANES)", text);
    }
    link.width = number(r, end + 1, 10);
    return link;
}

/* "128G@0x6000000000,64,pref", "256@0x3000,io"; no address: not placed */
static MachineBar bar(const Reader *r, const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    char *at = strchr(parts[0], '@');
    MachineBar result = { 0 };

    if (at) {
        *at = '\0';
        result.start = number(r, at + 1, 0);
    }
    result.size = size(r, parts[0]);
    for (unsigned i = 1; parts[i]; i++) {
        if (strcmp(parts[i], "64") == 0) {
            result.is_64bit = true;
        } else if (strcmp(parts[i], "pref") == 0) {
            result.prefetchable = true;
        } else if (strcmp(parts[i], "io") == 0) {
            result.io = true;
        } else {
            die(r, "'%s' is nothing that a BAR is", parts[i]);
        }
    }
    return result;
}

/* --- Functions ----------------------------------------------------------- */

static const struct {
    const char *name;
    int type;
    uint32_t class_code;
} types[] = {
    { "endpoint", TYPE_ENDPOINT, 0 },
    { "legacy-endpoint", TYPE_LEGACY_ENDPOINT, 0 },
    { "root-port", TYPE_ROOT_PORT, 0x060400 },
    { "upstream", TYPE_UPSTREAM, 0x060400 },
    { "downstream", TYPE_DOWNSTREAM, 0x060400 },
    { "pcie-to-pci", TYPE_TO_PCI, 0x060400 },
    { "integrated", TYPE_INTEGRATED, 0 },
    { "conventional", TYPE_CONVENTIONAL, 0 },
    { "pci-bridge", TYPE_PCI_BRIDGE, 0x060400 },
    { "host-bridge", TYPE_CONVENTIONAL, 0x060000 },
};

static void set_type(const Reader *r, MachineFunction *f, const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (strcmp(name, types[i].name) == 0) {
            f->type = types[i].type;
            f->class_code = types[i].class_code;
            f->config_size = f->type < 0 ? CONVENTIONAL_SIZE : CONFIG_SIZE;
            return;
        }
    }
    die(r, "'%s' is no type", name);
}

static void set_ids(const Reader *r, MachineFunction *f, const char *text)
{
    unsigned vendor, device;

    if (sscanf(text, "%4x:%4x", &vendor, &device) != 2) {
        die(r, "'%s' is not VENDOR:DEVICE", text);
    }
    f->vendor = vendor;
    f->device = device;
}

/* "5f/1d": capability and control */
static void set_acs(const Reader *r, MachineFunction *f, const char *text)
{
    unsigned capability, control;

    if (sscanf(text, "%2x/%2x", &capability, &control) != 2) {
        die(r, "'%s' is not CAPABILITY/CONTROL", text);
    }
    f->acs_capability = capability;
    f->acs = control;
}

/* "32x16", or "8x8/32x16": of what it could have */
static void set_link(const Reader *r, MachineFunction *f, char *text)
{
    char *max = strchr(text, '/');

    if (max) {
        *max++ = '\0';
    }
    f->link = parse_link(r, text);
    f->max_link = parse_link(r, max ?: text);
}

static void set_p2pmem(const Reader *r, MachineFunction *f, char *text)
{
    char *free = strchr(text, '/');

    if (free) {
        *free++ = '\0';
    }
    f->p2pmem_size = size(r, text);
    f->p2pmem_available = free ? size(r, free) : f->p2pmem_size;
}

/* "0x90000000-0x9fffffff" */
static MachineWindow window(const Reader *r, const char *text)
{
    MachineWindow result;

    if (sscanf(text, "%" G_GINT64_MODIFIER "i-%" G_GINT64_MODIFIER "i",
               (gint64 *)&result.first, (gint64 *)&result.last) != 2) {
        die(r, "'%s' is not FIRST-LAST", text);
    }
    return result;
}

static void set_flag(const Reader *r, MachineFunction *f, const char *word)
{
    if (strcmp(word, "ats") == 0) {
        f->ats = true;
    } else if (strcmp(word, "sriov") == 0) {
        f->sriov = f->vf_decode = true;
    } else if (strcmp(word, "sriov-no-decode") == 0) {
        f->sriov = true;
    } else if (strcmp(word, "no-decode") == 0) {
        f->decode = false;
    } else if (strcmp(word, "vga") == 0) {
        f->vga = true;
    } else {
        die(r, "'%s' is no word of this language", word);
    }
}

static void set_word(const Reader *r, MachineFunction *f, char *word)
{
    char *value = strchr(word, '=');

    if (!value) {
        set_flag(r, f, word);
        return;
    }
    *value++ = '\0';
    if (strcmp(word, "class") == 0) {
        f->class_code = number(r, value, 16);
    } else if (strcmp(word, "acs") == 0) {
        set_acs(r, f, value);
    } else if (strcmp(word, "link") == 0) {
        set_link(r, f, value);
    } else if (strcmp(word, "node") == 0) {
        f->numa_node = number(r, value, 10);
    } else if (strcmp(word, "group") == 0) {
        f->group = number(r, value, 10);
    } else if (strcmp(word, "iommu") == 0) {
        f->iommu = value;
    } else if (strcmp(word, "driver") == 0) {
        f->driver = value;
    } else if (strcmp(word, "physfn") == 0) {
        f->physical_function = value;
    } else if (strcmp(word, "power") == 0) {
        f->power = value;
    } else if (strcmp(word, "p2pmem") == 0) {
        set_p2pmem(r, f, value);
    } else if (strcmp(word, "memory") == 0) {
        f->memory = window(r, value);
    } else if (strcmp(word, "prefetchable") == 0) {
        f->prefetchable = window(r, value);
    } else if (strcmp(word, "config") == 0) {
        f->config_size = MIN(number(r, value, 10), CONFIG_SIZE);
    } else if (g_str_has_prefix(word, "bar") && word[3] >= '0' &&
               word[3] < '0' + MACHINE_BARS && !word[4]) {
        f->bars[word[3] - '0'] = bar(r, value);
    } else {
        die(r, "'%s=' is no word of this language", word);
    }
}

/* The function above: the last one that stands further to the left. */
static const Entry *find_parent(const Reader *r, unsigned indent)
{
    for (guint i = r->entries->len; i-- > 0; ) {
        const Entry *entry = r->entries->pdata[i];

        if (!entry) {
            return NULL;        /* another bus begins */
        }
        if (entry->indent < indent) {
            return entry;
        }
    }
    return NULL;
}

static void read_function(Reader *r, unsigned indent, GPtrArray *words)
{
    Entry *entry = g_new0(Entry, 1);
    const Entry *parent = find_parent(r, indent);
    const char *bdf = words->pdata[0];

    if (words->len < 3 || !r->bus) {
        die(r, r->bus ? "a function is BDF TYPE VENDOR:DEVICE ..."
                      : "functions come below \"bus DDDD:BB\"");
    }
    entry->indent = indent;
    entry->words = g_ptr_array_ref(words);
    entry->bdf = strlen(bdf) > strlen("bb:dd.f") ? g_strdup(bdf)
                                                 : g_strdup_printf("0000:%s",
                                                                   bdf);
    entry->way = g_strdup_printf("%s/%s", parent ? parent->way : r->bus,
                                 entry->bdf);
    entry->function = (MachineFunction) {
        .way = entry->way, .acs = NO_ACS, .numa_node = -1, .group = -1,
        .decode = true, .power = "D0",
    };
    set_type(r, &entry->function, words->pdata[1]);
    set_ids(r, &entry->function, words->pdata[2]);
    for (guint i = 3; i < words->len; i++) {
        set_word(r, &entry->function, words->pdata[i]);
    }
    if (entry->function.group >= 0) {
        g_hash_table_add(r->groups,
                         GINT_TO_POINTER(entry->function.group));
    }
    g_ptr_array_add(r->entries, entry);
}

static unsigned bus_of(const char *bdf)
{
    return strtoul(strrchr(bdf, ':') - 2, NULL, 16);
}

/* Make @window reach from @first to @last, in whole MiB. */
static void widen(MachineWindow *window, uint64_t first, uint64_t last)
{
    const uint64_t mask = 0xfffff;

    window->first = window->last ? MIN(window->first, first & ~mask)
                                 : first & ~mask;
    window->last = MAX(window->last, last | mask);
}

/* The windows of a port that says nothing of its own hold all BARs below. */
static void widen_windows(MachineFunction *port, bool memory,
                          bool prefetchable, const MachineFunction *below)
{
    for (unsigned i = 0; i < MACHINE_BARS; i++) {
        const MachineBar *bar = &below->bars[i];
        bool high = bar->prefetchable && bar->is_64bit;

        if (!bar->size || !bar->start || bar->io) {
            continue;
        }
        if (high && prefetchable) {
            widen(&port->prefetchable, bar->start,
                  bar->start + bar->size - 1);
        } else if (!high && memory) {
            widen(&port->memory, bar->start, bar->start + bar->size - 1);
        }
    }
}

/*
 * A bridge's buses are those of the functions below it, and so are its
 * windows.
 */
static void number_buses(const Reader *r)
{
    for (guint i = 0; i < r->entries->len; i++) {
        Entry *port = r->entries->pdata[i];
        bool memory = port && !port->function.memory.last;
        bool prefetchable = port && !port->function.prefetchable.last;

        for (guint j = i + 1; port && j < r->entries->len; j++) {
            const Entry *below = r->entries->pdata[j];

            if (!below || below->indent <= port->indent) {
                break;
            }
            if (!port->function.secondary) {
                port->function.secondary = bus_of(below->bdf);
            }
            port->function.subordinate = MAX(port->function.subordinate,
                                             bus_of(below->bdf));
            widen_windows(&port->function, memory, prefetchable,
                          &below->function);
        }
    }
}

/* --- Lines --------------------------------------------------------------- */

static void read_bus(Reader *r, const GPtrArray *words)
{
    if (words->len != 2) {
        die(r, "a root bus is \"bus DDDD:BB\"");
    }
    g_free(r->bus);
    r->bus = g_strdup_printf("pci%s", (char *)words->pdata[1]);
    g_ptr_array_add(r->entries, NULL);
}

static void read_cpu(Reader *r, const GPtrArray *words)
{
    if (words->len != 4) {
        die(r, "a processor is \"cpu VENDOR FAMILY BITS\"");
    }
    machine_cpu_bits(&r->machine, words->pdata[1],
                     number(r, words->pdata[2], 0),
                     number(r, words->pdata[3], 10));
}

static void read_iommu(Reader *r, const GPtrArray *words)
{
    if (words->len != 3) {
        die(r, "an IOMMU is \"iommu NAME BITS\"");
    }
    machine_iommu(&r->machine, words->pdata[1],
                  number(r, words->pdata[2], 10));
}

/* "groups DMA FIRST-LAST:TYPE..." */
static void read_groups(Reader *r, const GPtrArray *words)
{
    if (words->len < 2) {
        die(r, "groups are \"groups TYPE [FIRST-LAST:WHAT...]\"");
    }
    r->group_type = g_strdup(words->pdata[1]);
    for (guint i = 2; i < words->len; i++) {
        uint64_t first, last;
        char what[16];

        if (sscanf(words->pdata[i], "%" G_GINT64_MODIFIER "x-%"
                   G_GINT64_MODIFIER "x:%15s", &first, &last, what) != 3) {
            die(r, "'%s' is not FIRST-LAST:WHAT", (char *)words->pdata[i]);
        }
        g_string_append_printf(
            r->reserved, "0x%016" G_GINT64_MODIFIER "x 0x%016"
            G_GINT64_MODIFIER "x %s\n", first, last, what);
    }
}

static void read_line(Reader *r, char *line)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    unsigned indent = strspn(line, " ");
    g_auto(GStrv) parts = NULL;
    const char *first;

    line[strcspn(line, "#")] = '\0';
    parts = g_strsplit_set(line, " ", -1);
    for (char **part = parts; *part; part++) {
        if (**part) {
            g_ptr_array_add(words, g_strdup(*part));
        }
    }
    if (!words->len) {
        return;
    }
    first = words->pdata[0];
    if (indent) {
        read_function(r, indent, words);
    } else if (strcmp(first, "bus") == 0) {
        read_bus(r, words);
    } else if (strcmp(first, "cpu") == 0) {
        read_cpu(r, words);
    } else if (strcmp(first, "iommu") == 0) {
        read_iommu(r, words);
    } else if (strcmp(first, "groups") == 0) {
        read_groups(r, words);
    } else {
        die(r, "'%s' begins no line", first);
    }
}

static void write_all(const Reader *r)
{
    GHashTableIter iter;
    void *group;

    number_buses(r);
    for (guint i = 0; i < r->entries->len; i++) {
        const Entry *entry = r->entries->pdata[i];

        if (entry) {
            machine_function(&r->machine, &entry->function);
        }
    }
    g_hash_table_iter_init(&iter, r->groups);
    while (g_hash_table_iter_next(&iter, &group, NULL)) {
        machine_group(&r->machine, GPOINTER_TO_INT(group),
                      r->group_type ?: "DMA", r->reserved->str);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) lines = NULL;
    Reader r = { .reserved = g_string_new(NULL) };

    if (argc != 3) {
        fputs("usage: make-host HOST DIR\n", stderr);
        return 1;
    }
    if (!g_file_get_contents(argv[1], &text, NULL, &error)) {
        fprintf(stderr, "make-host: %s\n", error->message);
        return 1;
    }
    r.file = argv[1];
    r.machine = machine_new_in(argv[2]);
    r.entries = g_ptr_array_new();
    r.groups = g_hash_table_new(NULL, NULL);
    lines = g_strsplit(text, "\n", -1);
    for (r.line = 1; lines[r.line - 1]; r.line++) {
        read_line(&r, lines[r.line - 1]);
    }
    write_all(&r);
    /* What is left ends with the program. */
    return 0;
}
