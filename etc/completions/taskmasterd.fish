# Completion of taskmasterd for fish.

complete --command taskmasterd --short-option c --long-option config --require-parameter --force-files --description 'The configuration'
complete --command taskmasterd --long-option no-shell --no-files --description 'No control shell, also on a terminal'
complete --command taskmasterd --long-option demo --no-files --description 'A demonstration that needs nothing'
complete --command taskmasterd --short-option h --long-option help --no-files --description 'What can be said here'
complete --command taskmasterd --short-option V --long-option version --no-files --description 'The version'
complete --command taskmasterd --condition __fish_use_subcommand --no-files --arguments check --description 'Check the configuration, start nothing'
