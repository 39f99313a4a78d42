# SPDX-License-Identifier: GPL-2.0-or-later
#
# TAP for tests in shell, to be read with ".": test_that, and a folder $dir that
# goes with the test.  At the end: tap_end.

dir=$(mktemp -d "${TMPDIR:-/tmp}/p2p-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
count=0
failed=0

# test_that DESCRIPTION COMMAND...
test_that() {
    description=$1
    shift
    count=$((count + 1))
    if "$@" > "$dir/said" 2>&1; then
        echo "ok $count - $description"
    else
        echo "not ok $count - $description"
        head -n 30 "$dir/said" | sed 's/^/# /'
        failed=1
    fi
}

tap_end() {
    echo "1..$count"
    exit $failed
}
