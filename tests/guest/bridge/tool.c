/*
 * The command p2p-bridge
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge.h"

#define SAID "/said"
#define WORDS 16

static pid_t start(char *const *words)
{
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(SAID, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        close(STDIN_FILENO);
        execv("/p2p-bridge", words);
        _exit(127);
    }
    if (pid < 0) {
        die("fork: %m");
    }
    return pid;
}

static int finish(pid_t pid, char *said, size_t size)
{
    int status;
    int fd;
    ssize_t n;

    waitpid(pid, &status, 0);
    fd = open(SAID, O_RDONLY | O_CLOEXEC);
    n = read(fd, said, size - 1);
    said[n < 0 ? 0 : n] = '\0';
    close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whether it ends with @wanted and says @text; then its words, and NULL. */
static bool run(int wanted, const char *text, ...)
{
    char *words[WORDS + 1] = { "p2p-bridge" };
    char said[2048];
    unsigned n = 1;
    va_list args;
    int status;

    va_start(args, text);
    while (n < WORDS && (words[n] = va_arg(args, char *))) {
        n++;
    }
    va_end(args);
    status = finish(start(words), said, sizeof(said));
    if (status != wanted || !strstr(said, text)) {
        complain("%s: status %d, '%.160s'", words[1], status, said);
        return false;
    }
    return true;
}

/* What the host sees of a window, or finds on the disk */
static bool check_copies(void)
{
    char to[64];
    char from[64];
    char client[64];
    uint32_t tag = new_tag();

    snprintf(to, sizeof(to), "%s:bar2@4M", machine.target_name);
    /* An end that is no multiple of a disk's block */
    snprintf(from, sizeof(from), "%s:bar2@1M-4000001", machine.target_name);
    snprintf(client, sizeof(client), "--client=%s", machine.disk_name);
    report(run(0, "8 MiB copied, and read back the same", "copy", "--verify",
               client, PATTERN, to, NULL) &&
           host("bar %u %u %u 0", 4 * MIB, PATTERN_SIZE, TAG_PATTERN),
           "tool/copy-to-window");
    report(host("fill %u %u %u 0", MIB, 4 * MIB, tag) &&
           run(0, "read back the same", "copy", "--verify", from,
               FOLDER "/copied", NULL) &&
           host("keep copied %u %u", 4000001 - MIB, tag),
           "tool/copy-to-file");
    report(run(0, "8 MiB copied", "copy", "--buffered", "--verify", PATTERN,
               to, NULL), "tool/copy-buffered");
    snprintf(to, sizeof(to), "%s:bar2@9M", machine.target_name);
    return run(2, "a larger window", "copy", PATTERN, to, NULL);
}

/* attach keeps a window until it is revoked, and says so. */
static bool check_attach(void)
{
    char place[64];
    char said[1024] = "";
    char *words[] = { "p2p-bridge", "attach", place, NULL };
    pid_t pid;
    int status;

    snprintf(place, sizeof(place), "%s:bar2@0-3M", machine.target_name);
    pid = start(words);
    /* It says that it has it when it has. */
    while (!strstr(said, "of the aperture")) {
        int fd = open(SAID, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, said, sizeof(said) - 1);

        said[n < 0 ? 0 : n] = '\0';
        close(fd);
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            complain("attach has ended: %s", said);
            return false;
        }
        usleep(1000);
    }
    if (!host("unshare target 2")) {
        return false;
    }
    status = finish(pid, said, sizeof(said));
    if (status != 1 || !strstr(said, "was revoked")) {
        complain("attach: status %d, '%.160s'", status, said);
        return false;
    }
    return host("share target 2");
}

void try_tool(void)
{
    char place[64];

    report(run(0, machine.target_name, "list", NULL) &&
           run(0, "\"map-type\": \"cpu\", \"granted\": true", "list", "--json",
               NULL), "tool/list");
    snprintf(place, sizeof(place), "%s:bar2@0-2M", machine.target_name);
    report(run(0, "BAR, revocable, cpu", "translate", machine.disk_name, place,
               NULL), "tool/translate");
    report(check_copies(), "tool/copy-refused");
    snprintf(place, sizeof(place), "%s:bar0", machine.target_name);
    report(run(1, "shares nothing of BAR 0", "share", place, NULL),
           "tool/share-refused");
    report(check_attach(), "tool/attach-revoked");
}
