#!/bin/sh
# The four address types do not mix: code that does must not compile.
#
# usage: test-address-types.sh INCLUDE-DIR COMPILER...
#
# SPDX-License-Identifier: GPL-2.0-or-later

include=$1
shift
count=0
failed=0

# compiles COMPILER...: whether $statement does, with one of each type at hand
compiles() {
    "$@" -std=gnu11 -fsyntax-only -Werror=incompatible-pointer-types \
        -Werror=int-conversion -I"$include" $(pkg-config --cflags glib-2.0) \
        -x c - 2>/dev/null <<EOF
#include <string.h>
#include "hw/p2p/map.h"
void f(P2PGuestAddr guest, P2PIova iova, P2PBusAddr bus, P2PHostAddr host,
       const P2PMap *map, P2PGuestVec *guest_vec, P2PBusVec *bus_vec,
       size_t *m, char *bytes, P2PWindow *window);
void f(P2PGuestAddr guest, P2PIova iova, P2PBusAddr bus, P2PHostAddr host,
       const P2PMap *map, P2PGuestVec *guest_vec, P2PBusVec *bus_vec,
       size_t *m, char *bytes, P2PWindow *window)
{
    $statement;
}
EOF
}

# expect yes|no DESCRIPTION STATEMENT COMPILER...
expect() {
    wanted=$1
    description=$2
    statement=$3
    shift 3
    count=$((count + 1))
    if compiles "$@"; then got=yes; else got=no; fi
    if [ "$got" = "$wanted" ]; then
        echo "ok $count - $description"
    else
        echo "not ok $count - $description (compiles: $got)"
        failed=1
    fi
}

# Without these, a broken compiler call would pass for a refusal.
expect yes 'a guest address finds a window' 'p2p_map_find(map, guest, window)' "$@"
expect yes 'a guest vector is translated' \
    'p2p_translate(map, 0, guest_vec, 1, bus_vec, m, NULL)' "$@"
expect yes 'a host address is for the CPU' 'memcpy(bytes, host.hva, 1)' "$@"

expect no 'a bus address finds no window' 'p2p_map_find(map, bus, window)' "$@"
expect no 'an IOVA finds no window' 'p2p_map_find(map, iova, window)' "$@"
expect no 'a number finds no window' 'p2p_map_find(map, 0x1000, window)' "$@"
expect no 'a bus vector is not translated again' \
    'p2p_translate(map, 0, bus_vec, 1, bus_vec, m, NULL)' "$@"
expect no 'a guest vector is no result' \
    'p2p_translate(map, 0, guest_vec, 1, guest_vec, m, NULL)' "$@"
expect no 'a guest address is no bus address' 'bus = guest' "$@"
expect no 'an IOVA is no bus address' 'bus = iova' "$@"
expect no 'a bus address is not for the CPU' 'memcpy(bytes, bus, 1)' "$@"
expect no 'a bus address is no number' 'bytes += bus' "$@"
expect no 'a bus address does not cast' 'memcpy(bytes, (void *)bus, 1)' "$@"

echo "1..$count"
exit $failed
