/*
 * p2p-bridge copy: between a file and a window, without going through RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "copy.h"

struct request {
    const char *place_name;
    struct place place;
    const char *file_name;
    bool to_window;
    bool buffered;
    bool verify;
    uint32_t pages;
    uint32_t client;
};

/* --- Sizes and places ---------------------------------------------------- */

static enum status check_size(const struct request *request,
                              const struct file *file,
                              const struct guest_window *window,
                              uint64_t *size)
{
    char have[SIZE_CHARS];
    char room[SIZE_CHARS];

    *size = request->to_window ? file->size : window->size;
    if (request->to_window && file->size > window->size) {
        message("%s has %s, and %s only %s: choose a larger window, or an "
                "END farther off", file->name, size_str(file->size, have),
                window->name, size_str(window->size, room));
        return STATUS_CANNOT;
    }
    if (!request->to_window && !file->regular && window->size > file->size) {
        message("%s has %s, and %s only %s: end the window earlier "
                "(@OFFSET-END)", window->name, size_str(window->size, have),
                file->name, size_str(file->size, room));
        return STATUS_CANNOT;
    }
    if (!*size) {
        message("%s is empty: there is nothing to copy", file->name);
        return STATUS_CANNOT;
    }
    return STATUS_OK;
}

static enum status check_alignment(const struct file *file,
                                   const struct guest_window *window)
{
    if (window->skip % file->alignment) {
        message("%s: OFFSET must be a multiple of %u for direct I/O with "
                "%s; --buffered takes any", window->name, file->alignment,
                file->name);
        return STATUS_CANNOT;
    }
    return STATUS_OK;
}

/* --- How it ended -------------------------------------------------------- */

static enum status explain_failure(const struct request *request, int error,
                                   uint64_t at)
{
    const char *way_out = "";

    switch (error) {
    case EREMOTEIO:
    case EINVAL:
        way_out = request->buffered ? "" :
                  "; its disk may not take these pages: --pages=generic, or "
                  "--client=BDF with the disk's function, may help, and "
                  "--buffered works with any";
        break;
    case EFAULT:
        way_out = "; the window has gone, or its pages cannot be used so";
        break;
    }
    message("%s %s stopped at byte %" PRIu64 ": %s%s",
            request->to_window ? "reading" : "writing", request->file_name,
            at, strerror(error), way_out);
    return STATUS_NO;
}

static enum status explain(const struct request *request,
                           struct guest_window *window,
                           const struct copy_result *result)
{
    if (result->end == COPY_DONE) {
        return STATUS_OK;
    }
    if (result->end == COPY_STOPPED) {
        message("interrupted at byte %" PRIu64, result->at);
        return STATUS_CANNOT;
    }
    if (window_revoked(window)) {
        message("%s was revoked at byte %" PRIu64 ": %s", window->name,
                result->at, p2p_bridge_revoke_str(window->revoke_reason));
        return STATUS_NO;
    }
    switch (result->end) {
    case COPY_GONE:
        message("%s has gone at byte %" PRIu64, window->name, result->at);
        return STATUS_NO;
    case COPY_SHORT:
        message("%s has ended at byte %" PRIu64 ", earlier than it was to: "
                "it became shorter, or its disk is full", request->file_name,
                result->at);
        return STATUS_NO;
    case COPY_DIFFERS:
        message("%s and %s differ from byte %" PRIu64 " on",
                request->file_name, window->name, result->at);
        return STATUS_NO;
    default:
        return explain_failure(request, result->error, result->at);
    }
}

/* --- Doing it ------------------------------------------------------------ */

static enum status copy_and_verify(const struct request *request,
                                   const struct copy *copy,
                                   struct guest_window *window)
{
    struct copy_result result = copy_run(copy);
    enum status status = STATUS_OK;

    end_progress();
    if (result.end == COPY_DONE && request->verify) {
        result = copy_verify(copy);
        end_progress();
    }
    status = explain(request, window, &result);
    /* A copy of a window that went meanwhile is one of who knows what. */
    if (status == STATUS_OK && window_revoked(window)) {
        message("%s was revoked: %s", window->name,
                p2p_bridge_revoke_str(window->revoke_reason));
        status = STATUS_NO;
    }
    if (status == STATUS_OK && !request->to_window) {
        status = file_keep(copy->file);
    }
    return status;
}

static enum status with_window(const struct request *request,
                               struct file *file, struct guest_window *window)
{
    struct copy copy = {
        .file = file,
        .to_window = request->to_window,
        .progress = show_progress,
    };
    char size[SIZE_CHARS];
    enum status status = check_size(request, file, window, &copy.size);

    if (status == STATUS_OK) {
        status = check_alignment(file, window);
    }
    if (status == STATUS_OK) {
        status = window_attach(window);
    }
    if (status == STATUS_OK) {
        status = window_map(window, request->pages, request->client,
                            request->to_window);
    }
    if (status != STATUS_OK) {
        return status;
    }
    copy.window = window->memory + window->skip;
    status = copy_and_verify(request, &copy, window);
    if (status == STATUS_OK) {
        printf("%s copied%s\n", size_str(copy.size, size),
               request->verify ? ", and read back the same" : "");
    }
    return status;
}

static enum status with_device(const struct request *request,
                               struct p2p_bridge *bridge, struct file *file)
{
    struct guest_window window;
    enum status status;

    status = window_share(&window, bridge, request->place_name,
                          &request->place,
                          request->to_window ? P2P_BRIDGE_ACCESS_RW
                                             : P2P_BRIDGE_ACCESS_RO);
    if (status == STATUS_OK) {
        status = with_window(request, file, &window);
    }
    window_end(&window);
    return status;
}

static enum status copy(const struct request *request)
{
    struct p2p_bridge *bridge = open_device();
    struct file file;
    enum status status;

    if (!bridge) {
        return STATUS_CANNOT;
    }
    stop_on_signals();
    status = (request->to_window ? file_open_source : file_open_target)
             (&file, request->file_name, !request->buffered);
    if (status == STATUS_OK) {
        status = with_device(request, bridge, &file);
    }
    file_close(&file);
    p2p_bridge_close(bridge);
    return status;
}

/* --- The command --------------------------------------------------------- */

enum {
    OPTION_VERIFY = OPTION_OWN, OPTION_BUFFERED, OPTION_PAGES, OPTION_CLIENT
};

static bool parse_pages(const char *text, uint32_t *pages)
{
    static const char *const words[] = {
        [P2P_BRIDGE_PAGES_AUTO] = "auto",
        [P2P_BRIDGE_PAGES_GENERIC] = "generic",
        [P2P_BRIDGE_PAGES_P2PDMA] = "p2pdma",
    };

    for (uint32_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(words[i], text) == 0) {
            *pages = i;
            return true;
        }
    }
    message("--pages '%s' must be auto, generic or p2pdma", text);
    return false;
}

static bool parse_ends(const char *from, const char *to,
                       struct request *request)
{
    bool from_window = looks_like_place(from);

    if (from_window == looks_like_place(to)) {
        message("copy goes between a file and a window; %s of '%s' and '%s' "
                "is BDF:barN[@OFFSET[-END]]%s",
                from_window ? "each" : "none", from, to,
                from_window ? " (a file of that name is ./NAME)" : "");
        return false;
    }
    request->to_window = !from_window;
    request->place_name = from_window ? from : to;
    request->file_name = from_window ? to : from;
    return parse_place(request->place_name, &request->place);
}

static bool take_option(int option, struct request *request)
{
    switch (option) {
    case OPTION_VERIFY:
        request->verify = true;
        return true;
    case OPTION_BUFFERED:
        request->buffered = true;
        return true;
    case OPTION_PAGES:
        return parse_pages(optarg, &request->pages);
    case OPTION_CLIENT:
        return parse_function("--client", optarg, &request->client);
    default:
        return false;
    }
}

static enum status run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "verify", no_argument, NULL, OPTION_VERIFY },
        { "buffered", no_argument, NULL, OPTION_BUFFERED },
        { "pages", required_argument, NULL, OPTION_PAGES },
        { "client", required_argument, NULL, OPTION_CLIENT },
        COMMON_OPTIONS
    };
    struct request request = { .pages = P2P_BRIDGE_PAGES_AUTO };
    int option;

    while ((option = next_option(command, argc, argv, options)) != -1) {
        if (!take_option(option, &request)) {
            return STATUS_CANNOT;
        }
    }
    if (argc - optind != 2) {
        message("copy takes a source and a destination; p2p-bridge copy "
                "--help shows how");
        return STATUS_CANNOT;
    }
    if (!parse_ends(argv[optind], argv[optind + 1], &request)) {
        return STATUS_CANNOT;
    }
    return copy(&request);
}

const struct command command_copy = {
    .name = "copy",
    .arguments = "FILE BDF:barN[@OFFSET[-END]] | "
                 "BDF:barN[@OFFSET[-END]] FILE",
    .summary = "move data between a file and a window",
    .options =
        "  --verify              Read the file again, and compare\n"
        "  --buffered            Through the page cache, not by direct I/O\n"
        "  --pages=KIND          Kind of pages: auto (default), generic, "
        "p2pdma\n"
        "  --client=BDF          The function of the file's disk, which "
        "--pages=auto\n"
        "                        looks at\n",
    .examples =
        "  p2p-bridge copy --verify weights.bin 65:00.0:bar2@16M\n"
        "  p2p-bridge copy 65:00.0:bar2@16M-32M result.bin\n",
    .run = run,
};
