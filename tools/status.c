/*
 * qemu-p2p status: what a running VM says of its groups
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "qmp.h"
#include "status.h"

typedef struct Status {
    gboolean json, prometheus, watch;
    char *output;               /* NULL: standard output */
    int interval;               /* seconds; 0: look once */
    ToolVm *vm;
} Status;

/* --- One look --------------------------------------------------------- */

static bool all_installed(JsonArray *array, const char *const *lists)
{
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonObject *object = json_array_get_object_element(array, i);

        if (*lists ? !all_installed(json_object_get_array_member(object,
                                                                 *lists),
                                    lists + 1)
                   : !status_bool(object, "installed")) {
            return false;
        }
    }
    return true;
}

static bool any_stuck(JsonArray *groups)
{
    for (guint i = 0; i < json_array_get_length(groups); i++) {
        JsonObject *group = json_array_get_object_element(groups, i);

        if (json_array_get_length(status_stuck(group)) > 0) {
            return true;
        }
    }
    return false;
}

static ToolStatus judge(JsonArray *groups)
{
    static const char *const lists[] = {
        "members", "windows", "grants", NULL
    };

    if (json_array_get_length(groups) == 0) {
        return TOOL_NOTHING;
    }
    return all_installed(groups, lists) && !any_stuck(groups) ? TOOL_OK
                                                              : TOOL_NO;
}

static char *describe(const Status *status, JsonNode *node)
{
    JsonArray *groups = json_node_get_array(node);
    const char *vm = tool_vm_name(status->vm);

    if (status->json) {
        g_autofree char *text = json_to_string(node, true);

        return g_strdup_printf("%s\n", text);
    }
    return status->prometheus ? status_prometheus(vm, groups)
                              : status_text(vm, groups);
}

/* A new file takes the old one's place: a reader sees one of both. */
static bool write_output(const char *path, const char *text)
{
    g_autoptr(GError) error = NULL;
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        tool_error("--output %s: this is not a regular file, and would be "
                   "replaced", path);
        return false;
    }
    if (!g_file_set_contents_full(path, text, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT, 0644,
                                  &error)) {
        tool_error("--output: %s", error->message);
        return false;
    }
    return true;
}

static void draw(const Status *status, const char *text)
{
    /* Home, the text, and what is left of the one before away. */
    bool redraw = status->watch && isatty(STDOUT_FILENO);

    if (redraw) {
        fputs("\033[H\033[2J", stdout);
    }
    fputs(text, stdout);
    if (status->watch && !redraw && !status->json && !status->prometheus) {
        putchar('\n');
    }
    fflush(stdout);
}

static void explain(const GError *error)
{
    if (error->code == TOOL_VM_ERROR_NO_COMMAND) {
        tool_error("this QEMU has no p2p: %s; start the VM with a QEMU that "
                   "is built with qemu-p2p", error->message);
    } else {
        tool_error("%s", error->message);
    }
}

static ToolStatus show(const Status *status, JsonNode *node)
{
    ToolStatus result = judge(json_node_get_array(node));
    g_autofree char *text = describe(status, node);

    if (status->output) {
        if (!write_output(status->output, text)) {
            return TOOL_CANNOT;
        }
    } else {
        draw(status, text);
    }
    if (result == TOOL_NOTHING && !status->watch) {
        tool_error("%s has no p2p-group; -object p2p-group,id=g0 and the "
                   "devices' p2p-group=g0 make one",
                   tool_vm_name(status->vm));
    }
    return result;
}

static JsonNode *look(const Status *status, GError **error)
{
    g_autoptr(JsonNode) node = tool_vm_execute(status->vm, "query-p2p", NULL,
                                               error);

    return node && status_check(node, error) ? g_steal_pointer(&node) : NULL;
}

/* --- Watching --------------------------------------------------------- */

static volatile sig_atomic_t last_result;

/*
 * Ends at once, whatever the VM does: when signals get through nothing is
 * written that could be cut.
 */
static void leave(G_GNUC_UNUSED int number)
{
    _exit(last_result);
}

static void catch_signals(sigset_t *set)
{
    struct sigaction action = { .sa_handler = leave };

    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static ToolStatus watch(const Status *status)
{
    sigset_t set;

    last_result = TOOL_CANNOT;
    catch_signals(&set);
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonNode) node = look(status, &error);

        if (!node) {
            if (error->code == TOOL_VM_ERROR_GONE) {
                tool_error("%s is gone (%s)", tool_vm_name(status->vm),
                           error->message);
                return last_result;
            }
            explain(error);
            return TOOL_CANNOT;
        }
        sigprocmask(SIG_BLOCK, &set, NULL);
        last_result = show(status, node);
        if (last_result == TOOL_CANNOT || ferror(stdout)) {
            return TOOL_CANNOT;
        }
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        g_usleep(status->interval * G_USEC_PER_SEC);
    }
}

/* --- The command ------------------------------------------------------ */

#define DEFAULT_INTERVAL 2

static int watch_interval;      /* seconds; 0: --watch was not given */
static char *watch_word;        /* what followed --watch, if no number */

/* GLib hands over what follows, even if it is the domain. */
static gboolean parse_watch(G_GNUC_UNUSED const char *option,
                            const char *value, G_GNUC_UNUSED void *opaque,
                            GError **error)
{
    guint64 seconds = DEFAULT_INTERVAL;

    if (value && strspn(value, "0123456789") < strlen(value)) {
        g_free(watch_word);
        watch_word = g_strdup(value);
    } else if (value && !g_ascii_string_to_unsigned(value, 10, 1, 86400,
                                                    &seconds, NULL)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--watch takes seconds, 1 to 86400, not '%s'", value);
        return false;
    }
    watch_interval = seconds;
    return true;
}

static bool check_options(const Status *status, int arguments)
{
    if (arguments > 1) {
        tool_error("status takes one domain at a time");
    } else if (status->json && status->prometheus) {
        tool_error("--json and --prometheus cannot be had at a time");
    } else if (status->output && !status->prometheus) {
        tool_error("--output goes with --prometheus; > FILE does it else");
    } else {
        return true;
    }
    return false;
}

static ToolStatus look_once(const Status *status)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = look(status, &error);

    if (!node) {
        explain(error);
        return TOOL_CANNOT;
    }
    return show(status, node);
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    Status status = { 0 };
    g_auto(ToolVmAddress) address = { 0 };
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry options[] = {
        TOOL_VM_OPTIONS(&address),
        { "watch", 'w', G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK,
          parse_watch, "Look again every SECONDS (default: 2), until "
          "interrupted", "SECONDS" },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &status.json,
          "Print JSON, as query-p2p returns it", NULL },
        { "prometheus", 0, 0, G_OPTION_ARG_NONE, &status.prometheus,
          "Print metrics in Prometheus's text format", NULL },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
          "Put the metrics into FILE, all at once", "FILE" },
        { NULL },
    };
    g_autoptr(ToolVm) vm = NULL;
    int arguments;

    if (!tool_parse(command, options, &argc, &argv)) {
        return TOOL_CANNOT;
    }
    arguments = argc - 1 + (watch_word ? 1 : 0);
    address.domain = g_strdup(argc > 1 ? argv[1] : watch_word);
    status.output = output;
    status.watch = watch_interval > 0;
    status.interval = watch_interval;
    if (!check_options(&status, arguments)) {
        return TOOL_CANNOT;
    }
    vm = tool_vm_open(&address, &error);
    if (!vm) {
        explain(error);
        return TOOL_CANNOT;
    }
    status.vm = vm;
    return status.watch ? watch(&status) : look_once(&status);
}

const ToolCommand tool_status = {
    .name = "status",
    .arguments = "[DOMAIN]",
    .summary = "show which grants of a running VM are installed",
    .examples =
        "  qemu-p2p status vm1                          a libvirt domain\n"
        "  qemu-p2p status --connect qemu:///system vm1\n"
        "  qemu-p2p status --qmp /run/vm1.qmp --watch=5\n"
        "  qemu-p2p status vm1 --prometheus \\\n"
        "      --output /var/lib/prometheus/node-exporter/vm1.prom\n"
        "Exit status 0 if all grants are installed, 1 if one is not, 3 if the "
        "VM has no\np2p-group. --watch ends with that of its last look.\n",
    .run = run,
};
