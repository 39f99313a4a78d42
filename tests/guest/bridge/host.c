/*
 * Questions to the host: a line there, a line back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "bridge.h"

bool host(const char *format, ...)
{
    char answer[256];
    va_list args;

    fputs("host ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    puts("");
    fflush(stdout);
    if (!fgets(answer, sizeof(answer), stdin)) {
        die("the host does not answer");
    }
    answer[strcspn(answer, "\r\n")] = '\0';
    if (strcmp(answer, "ok") != 0) {
        complain("the host says: %s", answer);
        return false;
    }
    return true;
}
