# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# How the initial file system of a guest is made; to be read with ".", by a
# script that has set $here, $folder (its own) and $kernel.
#
# shellcheck disable=SC2154 # that script sets them

compiler=${CC:-gcc}
made=$folder/initramfs

# Only one at a time works in the folder.
exec 9> "$folder/.lock"
flock 9

# Whether it is all there. The kernel's folder never changes, and another kernel
# has another folder.
is_made() {     # INPUT...
    [ "$(cat "$folder/kernel" 2>/dev/null)" = "$kernel" ] && [ -e "$made" ] &&
        [ -z "$(find "$@" -newer "$made")" ]
}

begin_root() {
    rm -f "$made"
    echo "$kernel" > "$folder/kernel"
    rm -rf "$folder/root" "$folder/module"
    # The kernel opens its console before it starts process 1.
    mkdir -p "$folder/root/dev" "$folder/module"
}

quietly() {
    "$@" > "$folder/log" 2>&1 9>&- || {
        echo "${0##*/}: this failed: $*" >&2
        tail -n 20 "$folder/log" >&2
        exit 1
    }
}

compile() {     # PROGRAM ARGUMENT...
    quietly "$compiler" -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror \
        -static -o "$folder/root/$1" "${@:2}"
}

end_root() {
    (cd "$folder/root" && find . | cpio -o -H newc -R 0:0 2> /dev/null) \
        > "$made.new" 9>&-
    mv "$made.new" "$made"
}
