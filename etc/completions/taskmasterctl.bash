# Completion of taskmasterctl for bash: commands, options, and the names of running programs.

_taskmasterctl() {
    local line=${COMP_LINE:0:COMP_POINT} words word suggestion
    read -ra words <<<"$line"
    # A space before the cursor begins a new word.
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    # bash takes `web:0` for several words and replaces the last one only.
    local kept=""
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && kept=${word%:*}:
    COMPREPLY=()
    while IFS=$'\t' read -r suggestion _; do
        COMPREPLY+=("${suggestion#"$kept"}")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _taskmasterctl taskmasterctl
