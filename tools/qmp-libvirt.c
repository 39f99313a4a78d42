/*
 * QMP through libvirt: it owns the monitor of its VMs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <gmodule.h>
#include <libvirt/libvirt.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include "qmp.h"

/* --- The library -------------------------------------------------------- */

/*
 * Loaded when it is needed: with all that it brings along it takes longer than
 * other commands do in all, and those work where there is none.
 */
static struct {
    __typeof__(virConnectClose) *ConnectClose;
    __typeof__(virConnectOpen) *ConnectOpen;
    __typeof__(virDomainFree) *DomainFree;
    __typeof__(virDomainGetName) *DomainGetName;
    __typeof__(virDomainIsActive) *DomainIsActive;
    __typeof__(virDomainLookupByName) *DomainLookupByName;
    __typeof__(virDomainLookupByUUIDString) *DomainLookupByUUIDString;
    __typeof__(virDomainQemuMonitorCommand) *DomainQemuMonitorCommand;
    __typeof__(virGetLastErrorCode) *GetLastErrorCode;
    __typeof__(virGetLastErrorMessage) *GetLastErrorMessage;
    __typeof__(virSetErrorFunc) *SetErrorFunc;
} libvirt;

static const struct {
    const char *library, *name;
    void *function;             /* where it goes */
} functions[] = {
#define FUNCTION(library, name) \
    { "lib" library ".so.0", "vir" #name, &libvirt.name }
    FUNCTION("virt", ConnectClose),
    FUNCTION("virt", ConnectOpen),
    FUNCTION("virt", DomainFree),
    FUNCTION("virt", DomainGetName),
    FUNCTION("virt", DomainIsActive),
    FUNCTION("virt", DomainLookupByName),
    FUNCTION("virt", DomainLookupByUUIDString),
    FUNCTION("virt-qemu", DomainQemuMonitorCommand),
    FUNCTION("virt", GetLastErrorCode),
    FUNCTION("virt", GetLastErrorMessage),
    FUNCTION("virt", SetErrorFunc),
#undef FUNCTION
};

static bool load(GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
        /* Kept open: it has threads of its own. */
        GModule *module = g_module_open(functions[i].library,
                                        G_MODULE_BIND_LAZY);

        if (!module || !g_module_symbol(module, functions[i].name,
                                        functions[i].function)) {
            g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                        "libvirt cannot be loaded: %s; install it (Debian: "
                        "libvirt0), or ask QEMU itself with --qmp SOCKET",
                        g_module_error());
            return false;
        }
    }
    return true;
}

/* --- A domain ----------------------------------------------------------- */

typedef struct Domain {
    virConnectPtr connection;
    virDomainPtr domain;
} Domain;

/* Errors are told by their caller; libvirt would print them, too. */
static void say_nothing(G_GNUC_UNUSED void *opaque,
                        G_GNUC_UNUSED virErrorPtr error)
{
}

static const char *last_message(void)
{
    const char *message = libvirt.GetLastErrorMessage();

    return message ? message : "unknown error";
}

static void libvirt_close(void *opaque)
{
    Domain *domain = opaque;

    if (domain->domain) {
        libvirt.DomainFree(domain->domain);
    }
    if (domain->connection) {
        libvirt.ConnectClose(domain->connection);
    }
    g_free(domain);
}

static const char *uri_or_default(const ToolVmAddress *address)
{
    return address->uri ? address->uri : "its default URI";
}

static bool connect_to(Domain *domain, const ToolVmAddress *address,
                       GError **error)
{
    domain->connection = libvirt.ConnectOpen(address->uri);
    if (!domain->connection) {
        int code = libvirt.GetLastErrorCode();
        const char *way_out =
            code == VIR_ERR_AUTH_FAILED || code == VIR_ERR_OPERATION_DENIED ||
            code == VIR_ERR_ACCESS_DENIED || strstr(last_message(),
                                                    "Permission denied")
            ? "be root, or in the group libvirt"
            : "is libvirtd (or virtqemud) running, and the URI right? "
              "--connect takes qemu:///system, for one";

        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                    "libvirt cannot be reached at %s: %s; %s",
                    uri_or_default(address), last_message(), way_out);
        return false;
    }
    return true;
}

static bool find_domain(Domain *domain, const ToolVmAddress *address,
                        GError **error)
{
    domain->domain = libvirt.DomainLookupByName(domain->connection,
                                                address->domain);
    if (!domain->domain) {
        g_autofree char *message = g_strdup(last_message());
        bool unknown = libvirt.GetLastErrorCode() == VIR_ERR_NO_DOMAIN;

        if (unknown) {
            domain->domain = libvirt.DomainLookupByUUIDString(
                domain->connection, address->domain);
        }
        if (!domain->domain) {
            g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                        "libvirt at %s: no domain '%s': %s; virsh list --all "
                        "shows those that there are", uri_or_default(address),
                        address->domain, message);
            return false;
        }
    }
    return true;
}

static bool check_running(Domain *domain, GError **error)
{
    int active = libvirt.DomainIsActive(domain->domain);
    const char *name = libvirt.DomainGetName(domain->domain);

    if (active < 0) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_GONE,
                    "domain '%s': %s", name, last_message());
    } else if (active == 0) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_GONE,
                    "domain '%s' is not running; virsh start %s starts it",
                    name, name);
    }
    return active > 0;
}

void *tool_vm_libvirt_open(const ToolVmAddress *address, char **name,
                           GError **error)
{
    Domain *domain;

    if (!load(error)) {
        return NULL;
    }
    domain = g_new0(Domain, 1);
    libvirt.SetErrorFunc(NULL, say_nothing);
    if (!connect_to(domain, address, error) ||
        !find_domain(domain, address, error) ||
        !check_running(domain, error)) {
        libvirt_close(domain);
        return NULL;
    }
    *name = g_strdup(libvirt.DomainGetName(domain->domain));
    return domain;
}

/* libvirt gives commands an id of its own, and leaves out events. */
static char *libvirt_ask(void *opaque, const char *command,
                         G_GNUC_UNUSED gint64 id, GError **error)
{
    Domain *domain = opaque;
    char *result = NULL;
    char *reply;

    if (!check_running(domain, error)) {
        return NULL;
    }
    if (libvirt.DomainQemuMonitorCommand(
            domain->domain, command, &result,
            VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT) < 0) {
        g_autofree char *message = g_strdup(last_message());
        int code = libvirt.GetLastErrorCode();

        if (code == VIR_ERR_NO_SUPPORT) {
            g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                        "domain '%s' is not one of QEMU: %s",
                        libvirt.DomainGetName(domain->domain), message);
        } else if (libvirt.DomainIsActive(domain->domain) == 0) {
            g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_GONE,
                        "domain '%s' has ended",
                        libvirt.DomainGetName(domain->domain));
        } else {
            g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                        "libvirt could not ask domain '%s': %s",
                        libvirt.DomainGetName(domain->domain), message);
        }
        return NULL;
    }
    reply = g_strdup(result);
    free(result);
    return reply;
}

const ToolVmWay tool_vm_libvirt = {
    .ask = libvirt_ask,
    .close = libvirt_close,
};
