# SPDX-License-Identifier: GPL-2.0-or-later
#
# Completion of qemu-p2p for bash: commands and options are those that --help
# lists, devices those of this host (or of --sysroot), domains libvirt's.

_qemu_p2p_words() {     # COMMAND KIND
    if [ "$2" = commands ]; then
        "$1" --help 2> /dev/null | sed -n '/^Commands:$/,/^$/s/^  \([a-z]*\) .*/\1/p'
    else
        "$1" "$3" --help 2> /dev/null |
            sed -n 's/^  \(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p'
    fi
}

_qemu_p2p() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} root='' words='' i

    # bash takes the colons of an address for ends of words
    local line=${COMP_LINE:0:COMP_POINT}
    local whole=${line##*[[:space:]]}

    if [ "$COMP_CWORD" -eq 1 ]; then
        words="$(_qemu_p2p_words "${COMP_WORDS[0]}" commands) --help --version"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    case $before in
    --sysroot|--output)
        compopt -o filenames 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return ;;
    esac
    if [[ $whole == -* ]]; then
        words=$(_qemu_p2p_words "${COMP_WORDS[0]}" options "$command")
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    case $command in
    topo|why|plan|verify)
        for ((i = 2; i < COMP_CWORD; i++)); do
            [ "${COMP_WORDS[i]}" != --sysroot ] || root=${COMP_WORDS[i + 1]}
        done
        words=$(ls "$root/sys/bus/pci/devices" 2> /dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$whole")
        # What is before the last colon is there already
        if [[ $whole == *:* && $COMP_WORDBREAKS == *:* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${whole%:*}:"}")
        fi ;;
    status)
        words=$(virsh list --name 2> /dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
    xml|capture)
        compopt -o filenames 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
}

complete -F _qemu_p2p qemu-p2p
