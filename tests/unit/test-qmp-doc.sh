#!/bin/sh
# docs/qmp.md is what docs/qmp-reference makes of the schema, and the schema
# has a comment for everything.
#
# usage: test-qmp-doc.sh SOURCE-DIR
#
# SPDX-License-Identifier: GPL-2.0-or-later

source=$1
. "$(dirname "$0")/tap.sh"

reference() { "$source/docs/qmp-reference" "$@"; }

up_to_date() {
    reference > "$dir/qmp.md" && diff -u "$source/docs/qmp.md" "$dir/qmp.md" &&
        return
    echo "run: docs/qmp-reference > docs/qmp.md"
    return 1
}

all_there() {
    for name in $(sed -n "s/^{ '\(command\|event\|struct\|enum\)': '\([^']*\)'.*/\2/p" \
                      "$source"/qapi/p2p*.json); do
        grep -qx "### $name" "$source/docs/qmp.md" || {
            echo "$name is missing"
            return 1
        }
    done
}

# refused SED-SCRIPT WORDS: what the script makes of the schema is refused
refused() {
    sed "$1" "$source/qapi/p2p.json" > "$dir/schema"
    ! cmp -s "$source/qapi/p2p.json" "$dir/schema" &&
        ! reference "$dir/schema" 2> "$dir/error" > /dev/null &&
        grep -F "$2" "$dir/error"
}

test_that 'docs/qmp.md is up to date' up_to_date
test_that 'no definition is left out' all_there
test_that 'a member without comment is refused' \
    refused 's/^# @host-bdf:/# host-bdf:/' '@host-bdf is not documented'
test_that 'a comment without member is refused' \
    refused "s/'qom-path': 'str',//" '@qom-path is documented, but not a member'
test_that 'a definition without comment is refused' \
    refused 's/^# @P2PMemory:/# @P2PRam:/' 'P2PMemory has no comment of its own'

tap_end
