# shellcheck shell=sh
# Runs one server, and stops it when its last user has ended, even by kill -9.
#
# Arguments: the users' lock file, the signal that stops the server, the server's command line.
#
# Every user process holds a shared lock on that file, and the kernel releases it when the process ends. So the
# watcher below gets its exclusive lock exactly when no user is left. A parent-death signal would not do: the server
# must survive the process that started it while another one uses it.

users=$1 signal=$2
shift 2

# Without flock(1), as on macOS, there is no watcher: the server outlives a killed user, and the next start reuses it.
command -v flock >/dev/null 2>&1 || exec "$@"

"$@" &
server=$!

# The lock is held until the server has exited, so that a new user waits instead of connecting to a server that is
# stopping. The signal is repeated because a server that just started may not handle it yet.
# shellcheck disable=SC2016 # the inner shell expands them
flock -x "$users" sh -c 'while kill -s "$0" "$1"; do sleep 0.2; done' "$signal" "$server" 2>/dev/null &
watcher=$!

wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
