/*
 * What the commands of p2p-bridge share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_BRIDGE_COMMAND_H
#define P2P_BRIDGE_COMMAND_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "libp2p-bridge.h"

/* Exit statuses, those of qemu-p2p */
enum status {
    STATUS_OK = 0,
    STATUS_NO = 1,          /* refused, revoked, data differ */
    STATUS_CANNOT = 2,      /* could not run: usage, device, files */
};

struct command {
    const char *name;
    const char *arguments;      /* behind the options, for --help */
    const char *summary;        /* one line */
    const char *options;        /* lines, each with its end; for --help */
    const char *examples;       /* the same */
    /* @argv[0] is the command's name. */
    enum status (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_list;
extern const struct command command_share;
extern const struct command command_attach;
extern const struct command command_translate;
extern const struct command command_copy;
extern const struct command command_watch;

/* --- Options and messages ------------------------------------------------ */

/* --device NODE, of all commands; NULL: the first one */
extern const char *device_node;

/* The options that all commands have, for a table of struct option */
enum { OPTION_DEVICE = 256, OPTION_HELP, OPTION_OWN };
#define COMMON_OPTIONS \
    { "device", required_argument, NULL, OPTION_DEVICE }, \
    { "help", no_argument, NULL, OPTION_HELP }, \
    { NULL, 0, NULL, 0 }

/*
 * next_option: as getopt_long(3), with what all commands do done: --device is
 * taken, --help printed, which ends the program, and for what is no option
 * there is a message and '?'.  -1: no more; optind is of the first argument.
 */
int next_option(const struct command *command, int argc, char **argv,
                const struct option *options);

/*
 * "p2p-bridge: ..." on standard error, one line: what is wrong, with its name,
 * and the way out.  Control characters, which may be of a file's name, become
 * question marks.
 */
void message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Open the device; NULL: a message was printed. */
struct p2p_bridge *open_device(void);

/*
 * stop_on_signals: SIGINT, SIGTERM and SIGHUP set @stopped, interrupt system
 * calls that wait, and end nothing by themselves.
 */
extern volatile sig_atomic_t stopped;
void stop_on_signals(void);

/* --- Sizes and places ---------------------------------------------------- */

/* "4096", "0x1000", "64K", "1M", "2G", "1T"; false: it is no such number. */
bool parse_size(const char *text, uint64_t *size);

/* "16 MiB"; returns @text. */
#define SIZE_CHARS 32
char *size_str(uint64_t size, char text[SIZE_CHARS]);

/* BDF:barN[@OFFSET[-END]] */
struct place {
    uint32_t rid;
    unsigned bar;
    uint64_t offset;        /* in the BAR, bytes */
    uint64_t end;           /* behind the last byte; 0: not given */
};

/* Whether @text means a place in a BAR, well-formed or not */
bool looks_like_place(const char *text);

/* False: a message was printed. */
bool parse_place(const char *text, struct place *place);

/* A RID of an option or argument @what; false: a message was printed. */
bool parse_function(const char *what, const char *text, uint32_t *rid);

/* --- A window for the time of a command ---------------------------------- */

struct guest_window {
    struct p2p_bridge *bridge;
    const char *name;       /* as the user has called it */
    uint32_t number;
    uint32_t revoke_reason; /* set when an event has told; 0: not revoked */
    uint64_t start;         /* in the BAR, of the guest window */
    uint64_t length;        /* of the guest window, bytes */
    uint64_t skip;          /* from its start to what was asked for */
    uint64_t size;          /* of that, bytes */
    uint64_t aperture;      /* offset there, if attached */
    uint8_t *memory;        /* if mapped: of the guest window's start */
};

/*
 * window_share: share the pages that @place is on.  Without an end it goes to
 * the end of the host window.
 *
 * @name: for messages, must stay
 * @access: P2P_BRIDGE_ACCESS_*
 *
 * STATUS_OK: @window belongs to the caller, for window_end().  Else a message
 * was printed.
 */
enum status window_share(struct guest_window *window,
                         struct p2p_bridge *bridge, const char *name,
                         const struct place *place, uint32_t access);
enum status window_attach(struct guest_window *window);
/* @pages, @client: as of p2p_bridge_memory() */
enum status window_map(struct guest_window *window, uint32_t pages,
                       uint32_t client, bool write);

/* Take events that are there; whether the window was revoked. */
bool window_revoked(struct guest_window *window);

/* Undo what was done with it.  The device's handle stays. */
void window_end(struct guest_window *window);

#endif
