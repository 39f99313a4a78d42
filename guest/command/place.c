/*
 * Sizes, and places in BARs, as users write them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

/* NULL: no size; else behind it */
static const char *read_size(const char *text, uint64_t *size)
{
    static const char units[] = "KMGT";
    const char *unit;
    char *end;

    if (!isdigit((unsigned char)*text)) {
        return NULL;
    }
    errno = 0;
    *size = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    if (errno) {
        return NULL;
    }
    unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        unsigned shift = 10 * (unit - units + 1);

        if (*size > UINT64_MAX >> shift) {
            return NULL;
        }
        *size <<= shift;
        end++;
    }
    return end;
}

bool parse_size(const char *text, uint64_t *size)
{
    const char *end = read_size(text, size);

    return end && !*end;
}

char *size_str(uint64_t size, char text[SIZE_CHARS])
{
    static const char *const units[] = {
        "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
    };
    unsigned unit = 0;

    while (size >= 1024 && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    snprintf(text, SIZE_CHARS, "%" PRIu64 " %s", size, units[unit]);
    return text;
}

/* The text before ":bar", into @bdf; returns what is behind, or NULL. */
static const char *split_bar(const char *text, char bdf[P2P_BRIDGE_RID_CHARS])
{
    const char *bar = strstr(text, ":bar");

    if (!bar || bar - text >= P2P_BRIDGE_RID_CHARS) {
        return NULL;
    }
    memcpy(bdf, text, bar - text);
    bdf[bar - text] = '\0';
    return bar + strlen(":bar");
}

bool looks_like_place(const char *text)
{
    char bdf[P2P_BRIDGE_RID_CHARS];
    uint32_t rid;

    return split_bar(text, bdf) && p2p_bridge_rid_parse(bdf, &rid);
}

/* What is behind ":bar" */
static bool parse_range(const char *text, struct place *place)
{
    if (*text < '0' || *text > '5') {
        return false;
    }
    place->bar = *text++ - '0';
    if (!*text) {
        return true;
    }
    if (*text++ != '@') {
        return false;
    }
    text = read_size(text, &place->offset);
    if (!text || !*text) {
        return text;
    }
    return *text == '-' && parse_size(text + 1, &place->end) &&
           place->end > place->offset;
}

bool parse_place(const char *text, struct place *place)
{
    char bdf[P2P_BRIDGE_RID_CHARS];
    const char *range = split_bar(text, bdf);

    *place = (struct place) { 0 };
    if (!range || !p2p_bridge_rid_parse(bdf, &place->rid) ||
        !parse_range(range, place)) {
        message("'%s' is no place in a BAR; write it as BDF:barN, "
                "BDF:barN@OFFSET or BDF:barN@OFFSET-END, such as "
                "0000:65:00.0:bar2@1M-5M, where END is behind the last byte",
                text);
        return false;
    }
    return true;
}

bool parse_function(const char *what, const char *text, uint32_t *rid)
{
    if (!p2p_bridge_rid_parse(text, rid)) {
        message("%s '%s' is not the address of a PCI function; write it as "
                "dddd:bb:dd.f (p2p-bridge list shows them)", what, text);
        return false;
    }
    return true;
}
