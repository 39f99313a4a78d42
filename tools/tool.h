/*
 * What the commands of qemu-p2p share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_H
#define P2P_TOOL_H

#include <stdbool.h>
#include <stdio.h>
#include <glib.h>
#include <json-glib/json-glib.h>
#include "hw/p2p/host.h"
#include "hw/p2p/topology.h"

/* Exit statuses, the same for all commands. */
typedef enum ToolStatus {
    TOOL_OK = 0,
    TOOL_NO = 1,        /* the answer is no: refused, data lost, drifted */
    TOOL_CANNOT = 2,    /* could not run: usage, permission, input, host */
    TOOL_NOTHING = 3,   /* nothing there to work on, such as no metadata */
} ToolStatus;

typedef struct ToolCommand {
    const char *name;
    const char *arguments;      /* behind the name, for --help */
    const char *summary;        /* one line */
    const char *examples;       /* lines, each with its end; for --help */
    /*
     * @argv[0] is the command's name.  Prints what it has to say; errors by
     * tool_error().
     */
    ToolStatus (*run)(const struct ToolCommand *command, int argc,
                      char **argv);
} ToolCommand;

extern const ToolCommand tool_topo;
extern const ToolCommand tool_why;
extern const ToolCommand tool_xml;
extern const ToolCommand tool_plan;
extern const ToolCommand tool_verify;
extern const ToolCommand tool_status;
extern const ToolCommand tool_inventory;
extern const ToolCommand tool_capture;

/* Of our elements in the metadata of a libvirt domain. */
#define P2P_DOMAIN_NAMESPACE "https://qemu-p2p.org/xmlns/domain/1.0"

/*
 * tool_parse: read @options (NULL-terminated, for GOptionContext) off
 * @argc/@argv, besides --help.  False, with the error printed: the command
 * ends with TOOL_CANNOT.  --help prints and ends the program.
 */
bool tool_parse(const ToolCommand *command, const GOptionEntry *options,
                int *argc, char ***argv);

/*
 * "qemu-p2p: ..." on standard error, one line: what is wrong, with its name,
 * and the way out.  The text, which may be somebody else's, goes through
 * tool_add_safe().
 */
void G_GNUC_PRINTF(1, 2) tool_error(const char *format, ...);
void G_GNUC_PRINTF(1, 2) tool_warn(const char *format, ...);

/* --- The host -------------------------------------------------------------- */

/* --sysroot DIR; a command lists it among its options. */
extern char *tool_sysroot;
#define TOOL_SYSROOT_OPTION \
    { "sysroot", 0, 0, G_OPTION_ARG_FILENAME, &tool_sysroot, \
      "Read a captured host below DIR instead of this one", "DIR" }

/* The host that --sysroot names; never NULL.  p2p_host_free() it. */
P2PHost *tool_host(void);

/*
 * tool_devices: the functions that a user named on the command line
 * ("0000:65:00.0", "65:00.0"), with details, or, with none named, all of the
 * host but bridges (@all: with bridges).  NULL: an error was printed.  The
 * caller frees the array.
 */
GPtrArray *tool_devices(P2PHost *host, char **names, int n, bool all);

/* The same without details, for those who need only paths. */
GPtrArray *tool_find_devices(P2PHost *host, char **names, int n, bool all);

/* One function, with details, or NULL. */
const P2PFunction *tool_device(P2PHost *host, const char *name);

/* Whether a function is neither a bridge nor a host bridge. */
bool tool_is_endpoint(const P2PFunction *function);

/*
 * "NVMe controller, Samsung ..." as far as Debian's pci.ids (or the one below
 * --sysroot) tells, else "class 0108, 144d:a80a"; the caller frees it.
 */
char *tool_class_name(const P2PFunction *function);
char *tool_device_name(const P2PFunction *function);

/*
 * tool_parse_size: "4096", "0x1000", "64K"; false: it is no size, or above @max.
 * @units: the letters for 2^10, 2^20 and so on, such as "KMG"
 */
bool tool_parse_size(const char *text, const char *units, uint64_t max,
                     uint64_t *size);

/* "16 MiB"; the caller frees it. */
char *tool_size_str(uint64_t size);

/* "32 GT/s x16", "unknown"; the caller frees it. */
char *tool_link_str(P2PLink link);

/* --- Output ------------------------------------------------------------------ */

/*
 * tool_add_safe: append somebody else's text to @out, with '?' for what would
 * begin a line, move a terminal's cursor or hide other text: control and
 * format characters, and bytes that are not UTF-8.
 */
void tool_add_safe(GString *out, const char *text);

/* Whether colours are welcome on standard output. */
bool tool_colours(void);

/* Print @node, indented, with a line end; takes it over. */
void tool_print_json(JsonNode *node);

/*
 * End of all output: TOOL_CANNOT with an error, if standard output could not
 * take it all, else @status.
 */
ToolStatus tool_finish(ToolStatus status);

#endif /* P2P_TOOL_H */
