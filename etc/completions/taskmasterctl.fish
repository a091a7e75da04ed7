# Completion of taskmasterctl for fish: commands, options, and the names of running programs.

function __taskmasterctl_suggest
    set --local words (commandline --tokenize --current-process --cut-at-cursor)
    set --local word (commandline --current-token --cut-at-cursor)
    command $words[1] __complete $words[2..-1] "$word" 2>/dev/null
end
complete --command taskmasterctl --no-files --arguments '(__taskmasterctl_suggest)'
complete --command taskmasterctl --short-option s --long-option socket --require-parameter --force-files
