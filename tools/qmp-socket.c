/*
 * QMP over the UNIX socket of a monitor
 *
 * Who is at the other end is not known before it has spoken: lines have a
 * limit, and answers a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <sys/un.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include "qmp.h"

#define LINE_MAX_SIZE (64 * 1024 * 1024)
#define CHUNK 65536
#define DEFAULT_TIMEOUT 10
#define PATH_LIMIT sizeof(((struct sockaddr_un *)NULL)->sun_path)

typedef struct Monitor {
    char *path;
    int timeout;                    /* seconds */
    GSocketConnection *connection;
    GByteArray *pending;            /* received, not taken yet */
    guint searched;                 /* bytes of it that hold no line end */
    gint64 deadline;                /* of g_get_monotonic_time() */
} Monitor;

static void socket_close(void *opaque)
{
    Monitor *monitor = opaque;

    g_clear_object(&monitor->connection);
    g_byte_array_unref(monitor->pending);
    g_free(monitor->path);
    g_free(monitor);
}

static void G_GNUC_PRINTF(4, 5) say(const Monitor *monitor, GError **error,
                                    ToolVmError code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_set_error(error, TOOL_VM_ERROR, code, "%s: %s", monitor->path, text);
}

/* --- Lines ------------------------------------------------------------ */

static void start_clock(Monitor *monitor)
{
    monitor->deadline = g_get_monotonic_time() +
                        monitor->timeout * G_TIME_SPAN_SECOND;
}

static void say_late(const Monitor *monitor, GError **error)
{
    say(monitor, error, TOOL_VM_ERROR_FAILED,
        "no answer within %d s; a monitor serves one client at a time (is it "
        "libvirt's? then name the domain instead), and a QEMU that hangs "
        "serves none", monitor->timeout);
}

static void say_broken(const Monitor *monitor, const GError *cause,
                       GError **error)
{
    bool gone = g_error_matches(cause, G_IO_ERROR,
                                G_IO_ERROR_CONNECTION_CLOSED) ||
                g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);

    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        say_late(monitor, error);
    } else {
        say(monitor, error, gone ? TOOL_VM_ERROR_GONE : TOOL_VM_ERROR_FAILED,
            "%s", cause->message);
    }
}

/* The time-out of a socket is for one read; this is for all of an answer. */
static bool set_time_left(Monitor *monitor, GError **error)
{
    gint64 left = monitor->deadline - g_get_monotonic_time();

    if (left <= 0) {
        say_late(monitor, error);
        return false;
    }
    g_socket_set_timeout(g_socket_connection_get_socket(monitor->connection),
                         (left + G_TIME_SPAN_SECOND - 1) / G_TIME_SPAN_SECOND);
    return true;
}

static bool receive(Monitor *monitor, GError **error)
{
    GInputStream *in = g_io_stream_get_input_stream(
        G_IO_STREAM(monitor->connection));
    g_autoptr(GError) cause = NULL;
    guint before = monitor->pending->len;
    gssize n;

    if (before > LINE_MAX_SIZE) {
        say(monitor, error, TOOL_VM_ERROR_PROTOCOL,
            "it sends a line of more than %d MiB, so it is no QMP monitor",
            LINE_MAX_SIZE >> 20);
        return false;
    }
    if (!set_time_left(monitor, error)) {
        return false;
    }
    g_byte_array_set_size(monitor->pending, before + CHUNK);
    n = g_input_stream_read(in, monitor->pending->data + before, CHUNK, NULL,
                            &cause);
    g_byte_array_set_size(monitor->pending, before + MAX(n, 0));
    if (n < 0) {
        say_broken(monitor, cause, error);
    } else if (n == 0) {
        say(monitor, error, TOOL_VM_ERROR_GONE,
            "the other end has closed the connection%s",
            before ? " in the middle of a line" : "");
    }
    return n > 0;
}

/* The next line, which the caller frees. */
static char *read_line(Monitor *monitor, gsize *size, GError **error)
{
    for (;;) {
        GByteArray *pending = monitor->pending;
        const guint8 *end = pending->len == monitor->searched ? NULL
            : memchr(pending->data + monitor->searched, '\n',
                     pending->len - monitor->searched);

        if (end) {
            char *line;

            *size = end - pending->data;
            line = g_strndup((char *)pending->data, *size);
            g_byte_array_remove_range(pending, 0, *size + 1);
            monitor->searched = 0;
            return line;
        }
        monitor->searched = pending->len;
        if (!receive(monitor, error)) {
            return NULL;
        }
    }
}

static bool write_line(Monitor *monitor, const char *text, GError **error)
{
    GOutputStream *out = g_io_stream_get_output_stream(
        G_IO_STREAM(monitor->connection));
    g_autofree char *line = g_strdup_printf("%s\n", text);
    g_autoptr(GError) cause = NULL;

    if (!set_time_left(monitor, error)) {
        return false;
    }
    if (!g_output_stream_write_all(out, line, strlen(line), NULL, NULL,
                                   &cause)) {
        say_broken(monitor, cause, error);
        return false;
    }
    return true;
}

/* --- Messages --------------------------------------------------------- */

/* The next message, with its text in *@text; both are the caller's. */
static JsonNode *read_message(Monitor *monitor, char **text, GError **error)
{
    gsize size;
    g_autofree char *line = read_line(monitor, &size, error);
    g_autoptr(GError) cause = NULL;
    JsonNode *node;

    if (!line) {
        return NULL;
    }
    node = tool_vm_parse(line, size, &cause);
    if (!node) {
        say(monitor, error, TOOL_VM_ERROR_PROTOCOL,
            "%s; is it the socket of a QMP monitor (-qmp unix:PATH,server=on,"
            "wait=off)?", cause->message);
        return NULL;
    }
    *text = g_steal_pointer(&line);
    return node;
}

/* Whether it answers command @id; an error may come without its id. */
static bool is_reply(JsonObject *message, gint64 id)
{
    JsonNode *node = json_object_get_member(message, "id");

    if (!node) {
        return json_object_has_member(message, "error");
    }
    return json_node_get_value_type(node) == G_TYPE_INT64 &&
           json_node_get_int(node) == id;
}

static char *socket_ask(void *opaque, const char *command, gint64 id,
                        GError **error)
{
    Monitor *monitor = opaque;

    start_clock(monitor);
    if (!write_line(monitor, command, error)) {
        return NULL;
    }
    for (;;) {
        g_autofree char *text = NULL;
        g_autoptr(JsonNode) node = read_message(monitor, &text, error);
        JsonObject *message;

        if (!node) {
            return NULL;
        }
        message = json_node_get_object(node);
        if (is_reply(message, id)) {
            return g_steal_pointer(&text);
        }
        if (!json_object_has_member(message, "event")) {
            say(monitor, error, TOOL_VM_ERROR_PROTOCOL,
                "it sends what is neither an event nor an answer to the "
                "command");
            return NULL;
        }
    }
}

/* --- Opening ---------------------------------------------------------- */

static bool connect_to(Monitor *monitor, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address =
        g_unix_socket_address_new(monitor->path);
    g_autoptr(GError) cause = NULL;
    const char *way_out = "";

    g_socket_client_set_timeout(client, monitor->timeout);
    monitor->connection = g_socket_client_connect(
        client, G_SOCKET_CONNECTABLE(address), NULL, &cause);
    if (monitor->connection) {
        return true;
    }
    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
        way_out = "; start the VM with -qmp unix:PATH,server=on,wait=off, or "
                  "name its libvirt domain";
    } else if (g_error_matches(cause, G_IO_ERROR,
                               G_IO_ERROR_CONNECTION_REFUSED)) {
        way_out = "; the VM that had this socket has ended";
    } else if (g_error_matches(cause, G_IO_ERROR,
                               G_IO_ERROR_PERMISSION_DENIED)) {
        way_out = "; be root, or the user that QEMU runs as";
    }
    say(monitor, error, TOOL_VM_ERROR_FAILED, "%s%s", cause->message, way_out);
    return false;
}

static bool greet(Monitor *monitor, GError **error)
{
    g_autofree char *text = NULL;
    g_autofree char *reply = NULL;
    g_autoptr(JsonNode) node = NULL;

    start_clock(monitor);
    node = read_message(monitor, &text, error);
    if (!node) {
        return false;
    }
    if (!json_object_has_member(json_node_get_object(node), "QMP")) {
        say(monitor, error, TOOL_VM_ERROR_PROTOCOL,
            "it does not greet as a QMP monitor does");
        return false;
    }
    reply = socket_ask(monitor, "{\"execute\":\"qmp_capabilities\",\"id\":0}",
                       0, error);
    if (reply && !strstr(reply, "\"return\"")) {
        say(monitor, error, TOOL_VM_ERROR_PROTOCOL,
            "it refuses qmp_capabilities");
        return false;
    }
    return reply;
}

void *tool_vm_socket_open(const ToolVmAddress *address, GError **error)
{
    Monitor *monitor = g_new0(Monitor, 1);

    monitor->path = g_strdup(address->socket);
    monitor->timeout = address->timeout ?: DEFAULT_TIMEOUT;
    monitor->pending = g_byte_array_new();
    if (strlen(monitor->path) >= PATH_LIMIT) {
        say(monitor, error, TOOL_VM_ERROR_FAILED,
            "the path of a UNIX socket cannot be so long");
    } else if (connect_to(monitor, error) && greet(monitor, error)) {
        return monitor;
    }
    socket_close(monitor);
    return NULL;
}

const ToolVmWay tool_vm_socket = {
    .ask = socket_ask,
    .close = socket_close,
    .numbered = true,
};
