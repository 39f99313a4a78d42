/*
 * A host's PCI functions, ports and IOMMUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "host-bridge.h"
#include "host-internal.h"
#include "sysfs.h"

/* Ports between a host bridge and a function: buses have eight bits. */
#define MAX_DEPTH 255

P2PHost *p2p_host_new(const char *sysroot)
{
    P2PHost *host = g_new0(P2PHost, 1);

    host->sysroot = g_strdup(sysroot);
    host->functions = g_hash_table_new_full(
        g_str_hash, g_str_equal, NULL, (GDestroyNotify)p2p_function_free);
    host->iommus = g_hash_table_new_full(
        g_str_hash, g_str_equal, NULL, (GDestroyNotify)p2p_iommu_free);
    host->groups = g_hash_table_new_full(
        g_str_hash, g_str_equal, g_free,
        (GDestroyNotify)p2p_iommu_group_free);
    host->bridges = g_hash_table_new_full(
        g_str_hash, g_str_equal, NULL, (GDestroyNotify)p2p_host_bridge_free);
    return host;
}

void p2p_host_free(P2PHost *host)
{
    g_hash_table_unref(host->bridges);
    g_hash_table_unref(host->functions);
    g_clear_pointer(&host->names, g_ptr_array_unref);
    g_hash_table_unref(host->iommus);
    g_hash_table_unref(host->groups);
    g_free(host->cpu.vendor);
    g_free(host->sysroot);
    g_free(host);
}

const char *p2p_host_sysroot(const P2PHost *host)
{
    return host->sysroot;
}

/* --- Functions ----------------------------------------------------------- */

static P2PFunction *read_function(P2PHost *host, const char *bdf,
                                  const P2PFunction *parent, char *way)
{
    P2PFunction *function = p2p_function_read(host->sysroot, bdf, parent, way);

    g_hash_table_insert(host->functions, function->bdf, function);
    return function;
}

/* All functions of @way, from the top; the last one is returned. */
static const P2PFunction *read_chain(P2PHost *host, const char *way,
                                     char **why)
{
    g_auto(GStrv) parts = g_strsplit(way, "/", MAX_DEPTH + 3);
    g_autoptr(GString) so_far = g_string_new(parts[0]);
    const P2PFunction *parent = NULL;

    if (g_strv_length(parts) > MAX_DEPTH + 1) {
        *why = g_strdup_printf("there are more ports than buses above %s",
                               strrchr(way, '/') + 1);
        return NULL;
    }
    for (unsigned i = 1; parts[i]; i++) {
        const P2PFunction *known = g_hash_table_lookup(host->functions,
                                                       parts[i]);

        g_string_append_printf(so_far, "/%s", parts[i]);
        if (known && strcmp(known->host_path, so_far->str) != 0) {
            *why = g_strdup_printf("%s is in two places: %s and %s", parts[i],
                                   known->host_path, so_far->str);
            return NULL;
        }
        parent = known ?: read_function(host, parts[i], parent,
                                        g_strdup(so_far->str));
    }
    return parent;
}

const P2PFunction *p2p_host_function(P2PHost *host, const char *bdf,
                                     char **why)
{
    const P2PFunction *known = g_hash_table_lookup(host->functions, bdf);
    g_autofree char *way = NULL;

    if (known) {
        return known;
    }
    way = p2p_function_way(host->sysroot, bdf, why);
    return way ? read_chain(host, way, why) : NULL;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    size_t x_length = strlen(*x), y_length = strlen(*y);

    /* A longer domain is a larger one. */
    return x_length != y_length ? (x_length < y_length ? -1 : 1)
                                : strcmp(*x, *y);
}

/* The names of all functions, in the order of their addresses; read once. */
static const GPtrArray *list_names(P2PHost *host, char **why)
{
    g_autofree char *folder = p2p_function_folder(host->sysroot, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    if (host->names) {
        return host->names;
    }
    dir = g_dir_open(folder, 0, &error);
    if (!dir) {
        *why = p2p_sysfs_printable(g_strdup(error->message));
        return NULL;
    }
    while ((name = g_dir_read_name(dir))) {
        if (!p2p_is_bdf(name)) {
            continue;
        }
        if (names->len == P2P_HOST_MAX_FUNCTIONS) {
            *why = g_strdup_printf("%s holds more than %d functions", folder,
                                   P2P_HOST_MAX_FUNCTIONS);
            return NULL;
        }
        g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_names);
    host->names = g_steal_pointer(&names);
    return host->names;
}

void p2p_host_is_complete(P2PHost *host)
{
    GHashTableIter iter;
    void *bdf;

    host->names = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, host->functions);
    while (g_hash_table_iter_next(&iter, &bdf, NULL)) {
        g_ptr_array_add(host->names, g_strdup(bdf));
    }
    g_ptr_array_sort(host->names, compare_names);
}

/* Whether @bdf is elsewhere than below @prefix, which begins its way. */
static bool is_elsewhere(P2PHost *host, const char *bdf, const char *prefix)
{
    const P2PFunction *known = g_hash_table_lookup(host->functions, bdf);
    g_autofree char *why = NULL;
    g_autofree char *way = known ? g_strdup(known->host_path)
                           : p2p_function_way(host->sysroot, bdf, &why);

    return way && !g_str_has_prefix(way, prefix);
}

static GPtrArray *list_below(P2PHost *host, const char *prefix,
                             GPtrArray *skipped, char **why)
{
    const GPtrArray *names = list_names(host, why);
    GPtrArray *functions;

    if (!names) {
        return NULL;
    }
    functions = g_ptr_array_new();
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *cause = NULL;
        const P2PFunction *function;

        if (prefix && is_elsewhere(host, names->pdata[i], prefix)) {
            continue;
        }
        function = p2p_host_function(host, names->pdata[i], &cause);
        if (function) {
            g_ptr_array_add(functions, (void *)function);
        } else if (skipped) {
            g_ptr_array_add(skipped, g_steal_pointer(&cause));
        }
    }
    return functions;
}

GPtrArray *p2p_host_list(P2PHost *host, GPtrArray *skipped, char **why)
{
    return list_below(host, NULL, skipped, why);
}

GPtrArray *p2p_host_device(P2PHost *host, const P2PFunction *function,
                           GPtrArray *skipped, char **why)
{
    /* Without the last digit: all functions of the device begin like this. */
    g_autofree char *prefix = g_strndup(function->host_path,
                                        strlen(function->host_path) - 1);

    return list_below(host, prefix, skipped, why);
}

char *p2p_function_names(const GPtrArray *functions, const char *prefix)
{
    GString *list = g_string_new(NULL);

    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *function = functions->pdata[i];

        g_string_append_printf(list, "%s%s%s", i ? ";" : "", prefix,
                               function->bdf);
    }
    return g_string_free(list, FALSE);
}

/* Index of the first of @names that is not before @name; their number: none */
static guint find_name(const GPtrArray *names, const char *name)
{
    guint first = 0, behind = names->len;

    while (first < behind) {
        guint middle = first + (behind - first) / 2;

        if (compare_names(&names->pdata[middle], &name) < 0) {
            first = middle + 1;
        } else {
            behind = middle;
        }
    }
    return first;
}

const P2PFunction *p2p_host_first_on_bus(P2PHost *host, const char *bus,
                                         char **why)
{
    g_autofree char *prefix = g_strdup_printf("%s:", bus);
    g_autofree char *host_bridge = g_strdup_printf("%s00.0", prefix);
    const P2PFunction *known = g_hash_table_lookup(host->functions,
                                                   host_bridge);
    const GPtrArray *names;
    guint at;

    /* Most have a function 00.0, which comes before all others. */
    if (known) {
        return known;
    }
    names = list_names(host, why);
    if (!names) {
        return NULL;
    }
    at = find_name(names, host_bridge);
    if (at == names->len || !g_str_has_prefix(names->pdata[at], prefix)) {
        *why = g_strdup_printf("there is no function on root bus %s", bus);
        return NULL;
    }
    return p2p_host_function(host, names->pdata[at], why);
}

/* --- Details ------------------------------------------------------------- */

static const P2PIommu *find_iommu(P2PHost *host, const char *name)
{
    P2PIommu *iommu = g_hash_table_lookup(host->iommus, name);

    if (!iommu) {
        iommu = p2p_iommu_read(host->sysroot, name);
        g_hash_table_insert(host->iommus, iommu->name, iommu);
    }
    return iommu;
}

static const P2PIommuGroup *find_group(P2PHost *host, const char *number)
{
    P2PIommuGroup *group = g_hash_table_lookup(host->groups, number);
    uint64_t value;

    if (!group &&
        g_ascii_string_to_unsigned(number, 10, 0, INT32_MAX, &value, NULL)) {
        group = p2p_iommu_group_read(host->sysroot, number);
        g_hash_table_insert(host->groups, g_strdup(number), group);
    }
    return group;
}

static void take_decode(P2PHost *host, P2PFunction *function)
{
    g_autofree char *why = NULL;
    const P2PFunction *physical = function->physical_function
        ? p2p_host_function(host, function->physical_function, &why) : NULL;

    if (physical) {
        function->decodes_memory = physical->vf_decode;
    }
}

void p2p_function_details(P2PHost *host, const P2PFunction *constant)
{
    P2PFunction *function = g_hash_table_lookup(host->functions,
                                                constant->bdf);
    g_autofree char *folder = NULL;
    g_autofree char *iommu = NULL;
    g_autofree char *group = NULL;

    if (function->detailed) {
        return;
    }
    p2p_function_read_details(host->sysroot, function);
    folder = p2p_function_folder(host->sysroot, function->bdf);
    iommu = p2p_sysfs_link_name(folder, "iommu");
    group = p2p_sysfs_link_name(folder, "iommu_group");
    function->iommu = iommu ? find_iommu(host, iommu) : NULL;
    function->iommu_group = group ? find_group(host, group) : NULL;
    take_decode(host, function);
}

/* --- The processor ------------------------------------------------------- */

const char *const p2p_cpu_keys[] = {
    "vendor_id", "cpu family", "address sizes", NULL
};

/* One line of /proc/cpuinfo: "key<tab>: value". */
static void cpu_parse_line(P2PHostCpu *cpu, char *line)
{
    char *value = strchr(line, ':');

    if (!value) {
        return;
    }
    *value++ = '\0';
    g_strstrip(line);
    g_strstrip(value);
    if (strcmp(line, "vendor_id") == 0 && !cpu->vendor) {
        cpu->vendor = p2p_sysfs_printable(g_strdup(value));
    } else if (strcmp(line, "cpu family") == 0) {
        cpu->family = g_ascii_strtoull(value, NULL, 10);
    } else if (strcmp(line, "address sizes") == 0) {
        cpu->physical_bits = MIN(g_ascii_strtoull(value, NULL, 10), 64);
    }
}

/*
 * Of the first CPU, as Linux does. Not the whole file: the kernel makes it up
 * line by line, which takes long with hundreds of CPUs.
 */
static void cpu_read(P2PHost *host)
{
    g_autofree char *path = g_strdup_printf("%s/proc/cpuinfo", host->sysroot);
    char line[4096];
    FILE *file;

    file = g_file_test(path, G_FILE_TEST_IS_REGULAR) ? fopen(path, "r") : NULL;
    if (file) {
        while (fgets(line, sizeof(line), file) && *line != '\n') {
            cpu_parse_line(&host->cpu, line);
        }
        fclose(file);
    }
}

const P2PHostCpu *p2p_host_cpu(P2PHost *host)
{
    if (!host->cpu_read) {
        host->cpu_read = true;
        cpu_read(host);
    }
    return &host->cpu;
}
