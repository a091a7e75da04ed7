# Completion of taskmasterd for bash.

_taskmasterd() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    -c | --config) return ;; # a file
    esac
    mapfile -t COMPREPLY < <(compgen -W "check --config --no-shell --demo --help --version" -- "$word")
}
complete -o default -F _taskmasterd taskmasterd
