/*
 * qemu-p2p xml: a filter for libvirt domains
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"
#include "xml.h"

typedef struct XmlOptions {
    gboolean check, remove, pass_through;
    char *vmi;
} XmlOptions;

static void xml_options_clear(XmlOptions *options)
{
    g_free(options->vmi);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(XmlOptions, xml_options_clear)

/* --- Input and output ---------------------------------------------------- */

/* One byte more than is accepted tells that there is more. */
static GString *read_all(int fd, const char *name)
{
    g_autoptr(GString) text = g_string_new(NULL);
    static char buffer[65536];
    ssize_t n;

    do {
        n = read(fd, buffer, MIN(sizeof(buffer),
                                 XML_MAX_SIZE + 1 - text->len));
        if (n > 0) {
            g_string_append_len(text, buffer, n);
        } else if (n < 0 && errno != EINTR) {
            tool_error("%s: %s", name, g_strerror(errno));
            return NULL;
        }
    } while (n != 0 && text->len <= XML_MAX_SIZE);
    return g_steal_pointer(&text);
}

static GString *read_input(const char *name)
{
    GString *text;
    int fd;

    if (!name) {
        return read_all(STDIN_FILENO, "standard input");
    }
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        tool_error("%s: %s", name, g_strerror(errno));
        return NULL;
    }
    text = read_all(fd, name);
    close(fd);
    return text;
}

static bool has_declaration(const GString *text)
{
    return g_str_has_prefix(text->str, "<?xml") ||
           g_str_has_prefix(text->str, "\xef\xbb\xbf<?xml");
}

/* What is up to date stays as it was, to the byte. */
static void write_result(XmlDoc *doc, const GString *input, bool changed)
{
    g_autoptr(GString) text = NULL;

    if (changed) {
        text = xml_doc_text(doc, has_declaration(input));
        input = text;
    }
    fwrite(input->str, 1, input->len, stdout);
}

/* --- What is to be done -------------------------------------------------- */

static ToolStatus no_metadata(const XmlOptions *options, const GString *input,
                              const char *name)
{
    if (options->pass_through) {
        write_result(NULL, input, false);
        return TOOL_OK;
    }
    if (!options->check) {
        tool_error("%s: the domain has no metadata of the namespace "
                   P2P_DOMAIN_NAMESPACE "; nothing to do (--pass-through "
                   "prints it as it is)", name);
    }
    return TOOL_NOTHING;
}

static ToolStatus report_drift(const GPtrArray *changes, const char *name)
{
    for (guint i = 0; i < changes->len; i++) {
        tool_error("%s: %s", name, (char *)changes->pdata[i]);
    }
    return changes->len ? TOOL_NO : TOOL_OK;
}

static bool change(XmlDoc *doc, XmlMetadata *metadata,
                   const XmlOptions *options, GPtrArray *changes,
                   GError **error)
{
    if (options->remove) {
        xml_changed(changes, "the metadata are removed");
        return xml_ungenerate(doc, metadata, changes, error);
    }
    return xml_generate(doc, metadata, changes, error);
}

static ToolStatus filter(const XmlOptions *options, const GString *input,
                         const char *name)
{
    g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(XmlMetadata) metadata = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(XmlDoc) doc = xml_doc_parse(input->str, input->len, &error);

    if (doc && (!options->vmi ||
                xml_vmi_metadata(doc, options->vmi, changes, &error))) {
        metadata = xml_metadata_new(doc, changes, &error);
    }
    if (metadata && !metadata->node) {
        return no_metadata(options, input, name);
    }
    if (!metadata || !change(doc, metadata, options, changes, &error)) {
        tool_error("%s: %s", name, error->message);
        return TOOL_CANNOT;
    }
    if (options->check) {
        return report_drift(changes, name);
    }
    write_result(doc, input, changes->len > 0);
    return TOOL_OK;
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    g_auto(XmlOptions) options = { 0 };
    const GOptionEntry entries[] = {
        { "check", 0, 0, G_OPTION_ARG_NONE, &options.check,
          "Print no domain; exit status 1 if it is not up to date with its "
          "metadata, and what differs on standard error", NULL },
        { "remove", 0, 0, G_OPTION_ARG_NONE, &options.remove,
          "Take out what was generated, and the metadata", NULL },
        { "pass-through", 0, 0, G_OPTION_ARG_NONE, &options.pass_through,
          "Print a domain without metadata as it is, exit status 0", NULL },
        { "vmi", 0, 0, G_OPTION_ARG_STRING, &options.vmi,
          "Take the groups from the annotation " XML_VMI_ANNOTATION " of a "
          "KubeVirt VMI, if it has one", "JSON" },
        { NULL },
    };
    g_autoptr(GString) input = NULL;
    const char *name;

    if (!tool_parse(command, entries, &argc, &argv)) {
        return TOOL_CANNOT;
    }
    if (argc > 2 || options.check + options.remove > 1 ||
        options.check + options.pass_through > 1) {
        tool_error("%s; qemu-p2p xml --help tells how it is used",
                   argc > 2 ? "there is one domain at a time"
                            : "--check goes with neither --remove nor "
                              "--pass-through");
        return TOOL_CANNOT;
    }
    name = argc == 2 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    input = read_input(name);
    return input ? filter(&options, input, name ?: "standard input")
                 : TOOL_CANNOT;
}

const ToolCommand tool_xml = {
    .name = "xml",
    .arguments = "[DOMAIN.xml]",
    .summary = "put the p2p-groups of a libvirt domain into its XML",
    .examples =
        "  virsh dumpxml --inactive vm1 > vm1.xml\n"
        "  $EDITOR vm1.xml      # <p2p:group> in <metadata>\n"
        "  qemu-p2p xml vm1.xml | virsh define /dev/stdin\n"
        "  virsh dumpxml --inactive vm1 | qemu-p2p xml --check\n"
        "Exit status 3 if the domain has no metadata of ours.\n",
    .run = run,
};
