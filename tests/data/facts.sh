# What both scripts that run in a machine begin with.
say() { printf '%s\n' "$*"; }
# Looks until a command succeeds, for at most 30 seconds.
until_true() {
	for _ in $(seq 300); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	echo "never: $*" >&2
	return 1
}
