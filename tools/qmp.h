/*
 * Asking a running VM: QMP over its socket, or through libvirt
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_QMP_H
#define P2P_TOOL_QMP_H

#include "tool.h"

typedef enum ToolVmError {
    TOOL_VM_ERROR_FAILED,       /* no way to the VM, or not in time */
    TOOL_VM_ERROR_PROTOCOL,     /* what came is no QMP */
    TOOL_VM_ERROR_GONE,         /* it has ended, or is not running */
    TOOL_VM_ERROR_NO_COMMAND,   /* its QEMU does not know the command */
    TOOL_VM_ERROR_REFUSED,      /* the command failed, with QEMU's words */
} ToolVmError;

#define TOOL_VM_ERROR tool_vm_error_quark()
GQuark tool_vm_error_quark(void);

/* Which VM: either socket, or domain.  Strings are borrowed. */
typedef struct ToolVmAddress {
    char *socket;       /* path of a QMP monitor's UNIX socket, or NULL */
    char *uri;          /* of libvirt; NULL: its default */
    char *domain;       /* libvirt domain, by name or UUID, or NULL */
    int timeout;        /* seconds for each answer, 0: 10; not libvirt's */
} ToolVmAddress;

/* --qmp, --connect and --timeout; the domain is an argument. */
#define TOOL_VM_OPTIONS(address) \
    { "qmp", 0, 0, G_OPTION_ARG_FILENAME, &(address)->socket, \
      "Ask through the UNIX socket of a QMP monitor", "SOCKET" }, \
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &(address)->uri, \
      "Ask libvirt at URI for DOMAIN (default: libvirt's own)", "URI" }, \
    { "timeout", 0, 0, G_OPTION_ARG_INT, &(address)->timeout, \
      "Wait so long for each answer of the monitor (default: 10)", \
      "SECONDS" }

/* Free the strings that GOptionContext has put in. */
void tool_vm_address_clear(ToolVmAddress *address);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ToolVmAddress, tool_vm_address_clear)

typedef struct ToolVm ToolVm;

/*
 * tool_vm_open: a VM that answers commands, or NULL with @error (of
 * TOOL_VM_ERROR), whose message names socket or domain and the way out.
 * tool_vm_close() it.  To be used by one thread at a time.
 */
ToolVm *tool_vm_open(const ToolVmAddress *address, GError **error);
void tool_vm_close(ToolVm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ToolVm, tool_vm_close)

/*
 * tool_vm_execute: the return value of a QMP command, or NULL with @error.
 *
 * @arguments: an object, borrowed; or NULL
 *
 * What is returned is the caller's; it is sound JSON, at most 32 levels deep,
 * and nothing else is known of it: another program may have made it up.
 * After TOOL_VM_ERROR_NO_COMMAND and TOOL_VM_ERROR_REFUSED more commands may
 * follow, after other errors not.
 */
JsonNode *tool_vm_execute(ToolVm *vm, const char *command,
                          JsonNode *arguments, GError **error);

/* What to call it: domain, QEMU's -name, or the socket; owned by @vm. */
const char *tool_vm_name(ToolVm *vm);

/* --- For the ways to a VM --------------------------------------------- */

/* A way to a VM.  @opaque is its own. */
typedef struct ToolVmWay {
    /*
     * The reply to @command, a line of JSON, which the caller frees, or NULL.
     * @id is the command's, with numbered only: events and other replies are
     * left out.
     */
    char *(*ask)(void *opaque, const char *command, gint64 id,
                 GError **error);
    void (*close)(void *opaque);
    bool numbered;      /* commands carry an id; libvirt gives its own */
} ToolVmWay;

extern const ToolVmWay tool_vm_socket;
extern const ToolVmWay tool_vm_libvirt;

/* Opaques, or NULL with @error; @name: set to the VM's, if it is known. */
void *tool_vm_socket_open(const ToolVmAddress *address, GError **error);
void *tool_vm_libvirt_open(const ToolVmAddress *address, char **name,
                           GError **error);

/*
 * tool_vm_parse: an object of JSON text that may be anything, or NULL with
 * TOOL_VM_ERROR_PROTOCOL.
 */
JsonNode *tool_vm_parse(const char *text, gsize size, GError **error);

#endif /* P2P_TOOL_QMP_H */
