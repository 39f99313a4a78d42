#!/bin/sh
# qemu-p2p xml: what it makes of the domains in xml/, and what it refuses.
#
# usage: test-xml.sh PROGRAM SOURCE-DIR SCRIPTS-DIR
#
# xml/NAME.golden is what xml/NAME.xml becomes.  Prints TAP.
#
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck disable=SC2317 # functions are run by test_that
# shellcheck disable=SC2015 # "a && b || c" is meant

program=$1
xml=$2/tests/unit/xml
rng=$2/tools/data/p2p-domain.rng
scripts=$3
libvirt_schema=/usr/share/libvirt/schemas/domain.rng
base=$xml/two-hostdevs.xml
. "$(dirname "$0")/tap.sh"

skip() {        # DESCRIPTION REASON
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

status_is() {   # STATUS COMMAND...
    expected=$1
    shift
    "$@"
    got=$?
    [ "$got" -eq "$expected" ] || {
        echo "exit status $got, not $expected: $*"
        return 1
    }
}

# --- Domains and what becomes of them

golden() {
    "$program" xml "$xml/$1.xml" > "$dir/out" &&
        diff -u "$xml/$1.golden" "$dir/out"
}

same_again() {
    "$program" xml < "$xml/$1.golden" > "$dir/out" &&
        cmp "$xml/$1.golden" "$dir/out" &&
        status_is 0 "$program" xml --check "$xml/$1.golden"
}

for name in two-hostdevs emulated nvme own-commandline i440fx; do
    test_that "$name: the golden file" golden $name
    test_that "$name: a second pass changes nothing" same_again $name
    # No schema of libvirt before 11 has emulated NVMe.
    if ! [ -r $libvirt_schema ] || ! command -v xmllint > /dev/null; then
        skip "$name: libvirt's schema" "no $libvirt_schema, or no xmllint"
    elif [ $name != nvme ] ||
            grep -q '<value>nvme</value>' /usr/share/libvirt/schemas/domaincommon.rng &&
            grep -q 'nvme-ns' /usr/share/libvirt/schemas/domaincommon.rng; then
        test_that "$name: libvirt's schema" xmllint --noout \
            --relaxng $libvirt_schema "$xml/$name.golden"
    fi
done

# What libvirt's daemon may do to white space and quotes is no drift.
relaid() {
    xmllint --format "$xml/two-hostdevs.golden" | sed "s/\"/'/g" > "$dir/in" &&
        status_is 0 "$program" xml --check "$dir/in" &&
        "$program" xml "$dir/in" | cmp - "$dir/in"
}
test_that 'another layout is up to date, and stays to the byte' relaid

removed() {
    "$program" xml --remove "$xml/$1.golden" > "$dir/out" &&
        ! grep -i 'p2p-\(group,\|share\|initiate\)' "$dir/out" | grep -v mine &&
        ! grep -F https://qemu-p2p.org "$dir/out" &&
        status_is 3 "$program" xml "$dir/out"
}
for name in two-hostdevs emulated own-commandline; do
    test_that "$name: --remove leaves nothing of ours" removed $name
done

# Without metadata in the one, nor our line of namespaces in the other.
remove_is_inverse() {
    "$program" xml --remove "$xml/two-hostdevs.golden" > "$dir/out" &&
        sed '/<p2p:groups/,/<.p2p:groups>/d' "$base" | sed "s/'/\"/g" \
            > "$dir/without" &&
        sed -i '3s/.*/  <!-- a comment of the user'"'"'s -->/' "$dir/without" &&
        sed 's/ xmlns:qemu="[^"]*"//' "$dir/out" > "$dir/out2" &&
        diff -u "$dir/without" "$dir/out2"
}
test_that '--remove brings back what there was' remove_is_inverse

# Own arguments are where they were, and in their order.
keeps_own() {
    "$program" xml "$xml/own-commandline.xml" |
        sed -n '/commandline>/,/commandline>/p' | sed "s/\"/'/g" > "$dir/out"
    sed -n '/commandline>/,/commandline>/p' "$xml/own-commandline.xml" \
        > "$dir/own"
    sed '$d' "$dir/own" > "$dir/own-head"
    head -n "$(wc -l < "$dir/own-head")" "$dir/out" | diff -u "$dir/own-head" -
}
test_that 'the command line of the user is kept' keeps_own

# --- Metadata that change

drifts() {      # SED-SCRIPT WORDS: told by --check, and mended
    sed "$1" "$xml/two-hostdevs.golden" > "$dir/in"
    ! cmp -s "$xml/two-hostdevs.golden" "$dir/in" || return 1
    status_is 1 "$program" xml --check "$dir/in" > "$dir/text" 2>&1 &&
        grep -F -e "$2" "$dir/text" || { cat "$dir/text"; return 1; }
    "$program" xml "$dir/in" > "$dir/out" &&
        status_is 0 "$program" xml --check "$dir/out"
}
mends() {       # SED-SCRIPT: of what was generated; comes back as it was
    sed "$1" "$xml/two-hostdevs.golden" > "$dir/in"
    ! cmp -s "$xml/two-hostdevs.golden" "$dir/in" || return 1
    status_is 1 "$program" xml --check "$dir/in" &&
        "$program" xml "$dir/in" | diff -u "$xml/two-hostdevs.golden" -
}
check_prints() {
    "$program" xml --help | grep -A 1 -e --check | tr -s ' \n' ' ' |
        grep -F 'what differs on standard error' &&
        sed '/<p2p:group /s/require/auto/' "$xml/two-hostdevs.golden" |
        status_is 1 "$program" xml --check > "$dir/out" 2> "$dir/text" &&
        [ ! -s "$dir/out" ] && [ -s "$dir/text" ]
}
test_that '--check prints what it says it does' check_prints
test_that 'another policy in the metadata' \
    drifts '/<p2p:group /s/require/auto/' 'lacks -object p2p-group,id=g0,policy=auto'
test_that 'another policy on the command line' \
    mends 's/id=g0,policy=require/id=g0,policy=auto/'
test_that 'another share' drifts 's/share="bar2"/share="bar0"/' 'lacks p2p-share=bar0'
test_that 'no share any more' drifts 's/ share="bar2"//' \
    'ua-gpu0 has p2p-share, which the metadata do not ask for'
test_that 'a property that was edited' \
    mends 's/type="bool" value="true"/type="bool" value="false"/'
test_that 'a property of another type' \
    mends 's/type="bool" value="true"/type="string" value="true"/'
test_that 'a group object that is twice' \
    mends '/id=g0,policy/{p;s/.*/    <qemu:arg value="-object"\/>/p;g;s/.*/    <qemu:arg value="p2p-group,id=g0"\/>/}'
test_that 'a group with another name' \
    drifts 's/group name="g0"/group name="g9"/' \
    'has -object p2p-group,id=g0,policy=require, which'
test_that 'a member that has left' \
    drifts '/member alias="ua-nvme0"/d' 'ua-nvme0 is no member, by the metadata'
test_that 'a device that the metadata do not name' \
    drifts 's,</qemu:override>,<qemu:device alias="ua-other"><qemu:frontend><qemu:property name="p2p-group" type="string" value="g0"/></qemu:frontend></qemu:device>&,' \
    'ua-other is no member, by the metadata'

left_clean() {
    sed '/member alias="ua-nvme0"/d' "$xml/two-hostdevs.golden" > "$dir/in"
    "$program" xml "$dir/in" > "$dir/out" &&
        [ "$(grep -c pcie-root-port "$dir/out")" = 1 ] &&
        ! grep 'override' "$dir/out" | grep nvme &&
        [ "$(grep -c 'ua-nvme0' "$dir/out")" = 1 ]
}
test_that 'what has left has nothing of a member any more' left_clean

no_groups_left() {
    sed '/<p2p:group /,/<.p2p:group>/d' "$xml/two-hostdevs.golden" > "$dir/in"
    "$program" xml "$dir/in" > "$dir/out" &&
        ! grep -e p2p-group -e pcie-root-port -e p2p:generated "$dir/out"
}
test_that 'without groups nothing generated is left' no_groups_left

# -object in QEMU's other ways of writing; of g0 only, and not twice.
other_object() {        # VALUE
    sed "s|p2p-group,id=g0,policy=require|$1|" "$xml/two-hostdevs.golden" |
        sed 's|value="\({.*}\)"/|value='"'\\1'"'/|' > "$dir/in"
    grep -F "$1" "$dir/in" && status_is 1 "$program" xml --check "$dir/in" &&
        "$program" xml "$dir/in" | diff -u "$xml/two-hostdevs.golden" - &&
        "$program" xml --remove "$dir/in" > "$dir/out" &&
        ! grep qom-type "$dir/out"
}
test_that 'a group object in JSON' \
    other_object '{"qom-type": "p2p-group", "id": "g0", "policy": "require"}'
test_that 'a group object with qom-type=' \
    other_object 'id=g0,qom-type=p2p-group,policy=require'
others_json() {
    sed 's|<qemu:commandline>|&<qemu:arg value="-object"/><qemu:arg value='"'$1'"'/>|' \
        "$xml/two-hostdevs.golden" > "$dir/in"
    ! cmp -s "$xml/two-hostdevs.golden" "$dir/in" &&
        "$program" xml "$dir/in" | cmp - "$dir/in"
}
for object in '{"qom-type":"p2p-group","id":"mine"}' '{"qom-type":7,"id":[]}' \
    '{"qom-type":"rng-random","id":"g0"}' '{"qom-type":"p2p-group"}' '{'; do
    test_that "an object of the user's: $object" others_json "$object"
done

# A port on which something else is now stays.
port_in_use() {
    sed -e '/member alias="ua-nvme0"/d' \
        -e 's|<emulator>|<interface type="user"><address type="pci" bus="2"/></interface>&|' \
        "$xml/two-hostdevs.golden" > "$dir/in"
    "$program" xml "$dir/in" > "$dir/out" &&
        [ "$(grep -c pcie-root-port "$dir/out")" = 2 ]
}
test_that 'a port that another device uses stays' port_in_use

# --- What is refused

write() {       # SED-SCRIPT: what becomes of two-hostdevs.xml, in $dir/in
    sed "$1" "$base" > "$dir/in"
}

refused() {     # LINE WORDS: $dir/in is refused so, and nothing is printed
    status_is 2 "$program" xml "$dir/in" > "$dir/out" 2> "$dir/text" || {
        cat "$dir/text"
        return 1
    }
    [ ! -s "$dir/out" ] || { echo "something was printed"; return 1; }
    grep -F "line $1: " "$dir/text" | grep -F -e "$2" || {
        cat "$dir/text"
        return 1
    }
}

edited() {      # SED-SCRIPT LINE WORDS
    write "$1"
    ! cmp -s "$base" "$dir/in" || return 1
    refused "$2" "$3"
}

test_that 'not well-formed' edited '10d' 10 'Opening and ending tag mismatch'
test_that 'an unknown attribute' edited 's/policy=/police=/' 7 police
test_that 'an unknown element' edited 's/<p2p:member alias=.ua-gpu0.*/<p2p:x\/>/' 8 x
test_that 'an unknown element of the metadata' \
    edited 's/p2p:groups/p2p:gruppen/' 6 gruppen
test_that 'text in a group' edited "s/<p2p:member alias='ua-gpu0'.*/text&/" 7 'group'
test_that 'a group without members' edited '/p2p:member/d' 7 'has no <member>'
test_that 'an unknown policy' edited 's/require/must/' 7 'auto or require'
test_that 'a name that is none' edited "s/name='g0'/name='g0,x=y'/" 7 'id of QEMU'
test_that 'an unknown share' edited 's/bar2/bar6/' 8 'barN[:ro|:rw][@OFFSET-END]'
test_that 'a share with an open range' edited 's/bar2/bar2@5/' 8 'barN[:ro|:rw]'
test_that 'initiate is yes or no' edited "s/'yes'\/>/'on'\/>/" 9 'yes or no'
test_that 'an alias that is not ua-' edited 's/ua-gpu0/gpu0/' 8 'ua-NAME'
test_that 'no device has the alias' \
    edited "s/member alias='ua-gpu0'/member alias='ua-gpu1'/" 8 "<alias name='ua-gpu1'/>"
test_that 'two devices have the alias' \
    edited "s/alias name='ua-nvme0'/alias name='ua-gpu0'/;/member alias='ua-nvme0'/d" 25 'twice'
test_that 'a member of two groups' \
    edited "/<.p2p:group>/s/.*/&<p2p:group name='g1'><p2p:member alias='ua-gpu0'\/><\/p2p:group>/" \
    10 'a member already, of g0, see line 8'
test_that 'a member twice' edited 's/ua-nvme0/ua-gpu0/' 9 'see line 8'
test_that 'two groups of a name' \
    edited "/<.p2p:group>/s/.*/&<p2p:group name='g0'><p2p:member alias='ua-nvme0'\/><\/p2p:group>/;9d" \
    9 'a group g0 already, see line 7'
test_that 'a second <groups>' \
    edited '/<.p2p:groups>/s/.*/&<p2p:groups xmlns:p2p="https:\/\/qemu-p2p.org\/xmlns\/domain\/1.0"\/>/' \
    11 'one <groups>'
test_that 'a hostdev of USB' edited "20,21s/type='pci'/type='usb'/" 20 "type 'usb'"
for n in 2147483647 2147483648 4294967296 256 -1 x ''; do
    test_that "a PCI controller of index '$n'" \
        edited "s|<emulator>|<controller type='pci' index='$n' model='pcie-root-port'/>&|" \
        19 "index='$n' is not a PCI bus; there are 0 to 255"
done
for n in 0x7fffffff 0x80000000 0x100; do
    test_that "a PCI address on bus '$n'" \
        edited "s|<emulator>|<interface type='user'><address type='pci' bus='$n'/></interface>&|" \
        19 "bus='$n' is not a PCI bus; there are 0 to 255"
done
test_that 'no bus is left' \
    edited "s|<emulator>|<controller type='pci' index='255' model='pcie-root-port'/>&|" \
    20 'no PCI bus is left'
odd_object() {
    sed "s|p2p-group,id=g0.*|{'qom-type': 'p2p-group', 'id': 'g0'}\"/>|" \
        "$xml/two-hostdevs.golden" > "$dir/in"
    refused 44 'write it as p2p-group,id=NAME' &&
        status_is 2 "$program" xml --remove "$dir/in" > "$dir/out" &&
        [ ! -s "$dir/out" ]
}
test_that "a group object in JSON with 'quotes'" odd_object
test_that 'no domain' edited 's/domain\( type=.kvm.\)*>/pool\1>/' 1 'not a libvirt domain'

cp "$xml/emulated.xml" "$dir/base2"
edited2() {
    sed "$1" "$dir/base2" > "$dir/in"
    refused "$2" "$3"
}
test_that 'virtio without iommu=on' \
    edited2 '/<driver name/s/iommu="on"//' 18 "iommu='on'"
test_that 'a disk of SATA' edited2 's/bus="virtio"/bus="sata"/' 18 "<controller type='sata'>"
test_that 'a PCI controller' \
    edited2 's|index="5" model="pcie-root-port"/>|index="5"><alias name="ua-vd1"/></controller>|;s/member alias="ua-vd0"/member alias="ua-vd1"/' \
    26 'is a bus'

# --- Attacks

no_entities() {
    printf '%s\n' '<!DOCTYPE domain [' \
        "<!ENTITY x SYSTEM \"file://$dir/secret\">]>" '<domain>&x;</domain>' \
        > "$dir/in"
    echo password > "$dir/secret"
    refused 1 'document type' && ! grep password "$dir/out" "$dir/text"
}
test_that 'external entities' no_entities

external_subset() {
    printf '%s\n' '<?xml version="1.0"?>' \
        "<!DOCTYPE domain SYSTEM \"file://$dir/dtd\">" '<domain/>' > "$dir/in"
    refused 2 'document type'
}
test_that 'an external document type' external_subset

laughs() {
    {
        echo '<!DOCTYPE domain [<!ENTITY a0 "ha">'
        for i in 1 2 3 4 5 6 7 8 9; do
            echo "<!ENTITY a$i \"&a$((i-1));&a$((i-1));&a$((i-1));&a$((i-1));&a$((i-1));&a$((i-1));&a$((i-1));&a$((i-1));\">"
        done
        echo ']><domain>&a9;</domain>'
    } > "$dir/in"
    refused 1 'document type'
}
test_that 'a billion laughs' laughs

deep() {
    { echo '<domain>'; yes '<a>' | head -n 100000; } > "$dir/in"
    refused 258 'depth'
}
test_that 'too deep' deep

huge() {
    { echo '<domain>'; yes '<!-- .............................. -->'; } |
        head -c 100000000 |
        status_is 2 "$program" xml > "$dir/out" 2> "$dir/text" &&
        [ ! -s "$dir/out" ] && grep -F '4 MiB' "$dir/text"
}
test_that '100 MB' huge

many() {
    {
        sed '/<p2p:group /,$d' "$base"
        echo "<p2p:group name='g0'>"
        yes "<p2p:member alias='ua-a'/>" | head -n 100000
        echo '</p2p:group>'
        sed '1,/<.p2p:group>/d' "$base"
    } > "$dir/in"
    refused 1030 'more than 1024 elements'
}
test_that 'a hundred thousand members' many

binary() {
    head -c 100000 "$program" > "$dir/in"
    refused 1 'not well-formed'
}
test_that 'a binary' binary

empty() { : > "$dir/in"; refused 1 'not well-formed'; }
test_that 'nothing' empty

truncated() {   # Not one length prints half of a domain.
    size=$(wc -c < "$base")
    for n in 1 10 100 500 900 $((size - 10)); do
        head -c "$n" "$base" > "$dir/in"
        status_is 2 "$program" xml "$dir/in" > "$dir/out" 2> /dev/null &&
            [ ! -s "$dir/out" ] || { echo "the first $n bytes"; return 1; }
    done
}
test_that 'truncated' truncated

no_file() {
    status_is 2 "$program" xml "$dir/none" 2> "$dir/text" &&
        grep -F "$dir/none: No such file" "$dir/text"
}
test_that 'no file' no_file

# Names of files are somebody else's, too, and may be any bytes.
odd_name() {
    name=$(printf 'a\nb\033[2J\302\233c\377d\303\244')
    status_is 2 "$program" xml "$name" 2> "$dir/text" &&
        printf 'qemu-p2p: a?b?[2J?c?d\303\244: No such file or directory\n' |
        cmp - "$dir/text"
}
test_that 'a name of a file that would move the cursor' odd_name

full() {
    status_is 2 "$program" xml "$base" > /dev/full 2> "$dir/text" &&
        grep -F 'standard output' "$dir/text"
}
test_that 'a disk that is full' full

options() {
    status_is 2 "$program" xml --check --remove "$base" &&
        status_is 2 "$program" xml --check --pass-through "$base" &&
        status_is 2 "$program" xml "$base" "$base"
}
test_that 'options that do not go together' options

# --- Domains without metadata

none() {
    printf '<domain  a="b" >\r\n<x/></domain>' > "$dir/in"
    status_is 3 "$program" xml "$dir/in" > "$dir/out" && [ ! -s "$dir/out" ] &&
        status_is 3 "$program" xml --check "$dir/in" &&
        status_is 3 "$program" xml --remove "$dir/in" &&
        status_is 0 "$program" xml --pass-through "$dir/in" > "$dir/out" &&
        cmp "$dir/in" "$dir/out"
}
test_that 'no metadata: status 3, or --pass-through to the byte' none

# --- The schema by itself

schema() {
    sed -n '/<p2p:groups/,/<.p2p:groups>/p' "$xml/two-hostdevs.golden" \
        > "$dir/groups"
    xmllint --noout --relaxng "$rng" "$dir/groups" &&
        sed -i 's/ua-gpu0/gpu0/' "$dir/groups" &&
        ! xmllint --noout --relaxng "$rng" "$dir/groups"
}
if command -v xmllint > /dev/null; then
    test_that 'the schema serves others' schema
else
    skip 'the schema serves others' 'no xmllint'
fi

# --- The hook of libvirt

hooked=         # another program than the one under test
hook() {        # STATUS FILE OPERATION SUB-OPERATION
    status_is "$1" env QEMU_P2P="${hooked:-$program}" sh "$scripts/libvirt-hook" vm1 \
        "$3" "$4" - < "$2" > "$dir/out" 2> "$dir/text" && [ ! -s "$dir/out" ]
}
hook_refuses() {
    sed 's/share="bar2"/share="bar0"/' "$xml/two-hostdevs.golden" > "$dir/in"
    hook 1 "$dir/in" prepare begin &&
        grep -F "virsh dumpxml --inactive vm1 | qemu-p2p xml | virsh" \
            "$dir/text" &&
        grep -F 'ua-gpu0 lacks p2p-share=bar0' "$dir/text"
}
hook_lets_go() {
    hook 0 "$dir/in" release end && hook 0 "$dir/in" start begin &&
        hook 0 "$xml/two-hostdevs.golden" prepare begin &&
        [ ! -s "$dir/text" ]
}
hook_without_metadata() {
    echo '<domain/>' > "$dir/in"
    hook 0 "$dir/in" prepare begin && [ ! -s "$dir/text" ]
}
hook_bad_metadata() {
    sed 's/ua-gpu0/gpu0/' "$base" > "$dir/in"
    hook 1 "$dir/in" prepare begin && grep -F 'virsh edit vm1' "$dir/text"
}
# The words are a shell's: whether it finds the program, and may run it.
hook_no_program() {
    : > "$dir/no-program"
    chmod 644 "$dir/no-program"
    echo '<domain><metadata/></domain>' > "$dir/in"
    for p in "$dir/none/qemu-p2p" "$dir/no-program"; do
        hooked=$p
        hook 0 "$dir/in" prepare begin && [ ! -s "$dir/text" ] &&
            hook 0 "$xml/two-hostdevs.golden" release end &&
            hook 1 "$xml/two-hostdevs.golden" prepare begin &&
            grep -F "domain vm1 cannot be checked: $p is missing" \
                "$dir/text" && ! grep -F 'virsh edit' "$dir/text" || return 1
    done
}
hook_own_objects() {
    sed '/<p2p:groups/,/<.p2p:groups>/d' "$xml/two-hostdevs.golden" > "$dir/in"
    grep -F 'p2p-group,id=g0' "$dir/in" && hook 0 "$dir/in" prepare begin
}
test_that 'the hook without qemu-p2p refuses domains of ours only' \
    hook_no_program
hooked=
test_that 'the hook lets groups go that have no metadata' hook_own_objects
test_that 'the hook refuses a domain that has drifted' hook_refuses
test_that 'the hook refuses nothing else' hook_lets_go
test_that 'the hook lets domains without metadata go' hook_without_metadata
test_that 'the hook refuses metadata that are wrong' hook_bad_metadata

# --- KubeVirt

sidecar() {
    QEMU_P2P=$program sh "$scripts/onDefineDomain" "$@"
}
groups="<groups xmlns='https://qemu-p2p.org/xmlns/domain/1.0'><group name='k'><member alias='ua-gpu0'/></group></groups>"
vmi="{\"metadata\":{\"name\":\"vm\",\"annotations\":{\"qemu-p2p.org/groups\":\"$groups\"}}}"

kubevirt_domain() {
    sidecar --vmi '{"metadata":{}}' --domain "$(cat "$base")" > "$dir/out" &&
        diff -u "$xml/two-hostdevs.golden" "$dir/out"
}
kubevirt_annotation() {
    sed '/<metadata>/,/<.metadata>/d' "$base" > "$dir/in"
    sidecar --vmi "$vmi" --domain "$(cat "$dir/in")" > "$dir/out" &&
        grep -F 'value="p2p-group,id=k"' "$dir/out" &&
        grep -F '<member alias="ua-gpu0"/>' "$dir/out" &&
        "$program" xml "$dir/out" | cmp - "$dir/out" &&
        sidecar --vmi "$vmi" --domain "$(cat "$dir/out")" > "$dir/again" &&
        status_is 0 "$program" xml --check "$dir/again"
}
kubevirt_instead() {
    sidecar --vmi "$vmi" --domain "$(cat "$xml/two-hostdevs.golden")" \
        > "$dir/out" &&
        ! grep 'id=g0' "$dir/out" && ! grep -c '"ua-nvme0" port' "$dir/out" &&
        status_is 0 "$program" xml --check "$dir/out"
}
# A bare <group>, with and without a prefix: who has left has nothing any more.
kubevirt_group() {
    for q in '' p: q:; do
        group="<${q}group xmlns${q:+:${q%:}}='https://qemu-p2p.org/xmlns/domain/1.0' name='k'><${q}member alias='ua-gpu0'/></${q}group>"
        v="{\"metadata\":{\"annotations\":{\"qemu-p2p.org/groups\":\"$group\"}}}"
        sidecar --vmi "$v" --domain "$(cat "$xml/two-hostdevs.golden")" \
            > "$dir/out" &&
            [ "$(grep -c pcie-root-port "$dir/out")" = 1 ] &&
            [ "$(grep -c 'ua-nvme0' "$dir/out")" = 1 ] &&
            ! grep 'id=g0' "$dir/out" &&
            status_is 0 "$program" xml --check "$dir/out" || return 1
    done
}
kubevirt_none() {
    sidecar --vmi '{}' --domain '<domain />' > "$dir/out" &&
        [ "$(cat "$dir/out")" = '<domain />' ]
}
kubevirt_wrong() {
    for v in '{' '{"metadata":{"annotations":{"qemu-p2p.org/groups":5}}}' \
        '{"metadata":{"annotations":{"qemu-p2p.org/groups":"<x/>"}}}' \
        '{"metadata":{"annotations":{"qemu-p2p.org/groups":""}}}'; do
        status_is 2 sidecar --vmi "$v" --domain "$(cat "$base")" > "$dir/out" &&
            [ ! -s "$dir/out" ] || return 1
    done
    status_is 2 sidecar --vmi '{}' > "$dir/out" &&
        status_is 2 sidecar --domain > "$dir/out" &&
        status_is 2 sidecar --version v1 > "$dir/out"
}
kubevirt_deep() {
    for start in '[' '{"a":'; do
        v=$(yes "$start" | head -n 20000 | tr -d '\n')
        status_is 2 "$program" xml --vmi "$v" "$base" > "$dir/out" \
            2> "$dir/text" && [ ! -s "$dir/out" ] &&
            grep -F -e '--vmi: this is JSON of more than 128 levels' \
                "$dir/text" || return 1
    done
    v=$(yes '[' | head -n 30 | tr -d '\n')5$(yes ']' | head -n 30 | tr -d '\n')
    status_is 0 "$program" xml --vmi "{\"a\": $v}" "$base"
}
test_that 'KubeVirt: groups of the domain' kubevirt_domain
test_that 'KubeVirt: groups of the annotation' kubevirt_annotation
test_that "KubeVirt: the annotation instead of the domain's" kubevirt_instead
test_that 'KubeVirt: an annotation of one <group>' kubevirt_group
test_that 'KubeVirt: no groups' kubevirt_none
test_that 'KubeVirt: what is wrong is refused' kubevirt_wrong
test_that 'KubeVirt: JSON that is too deep is refused' kubevirt_deep

tap_end
