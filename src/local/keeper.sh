# shellcheck shell=sh
# Runs one server, and ends it when its last user is gone, however it went: kill -9 included.
#
# Arguments: the users' lock file, the signal that ends the server, the server's command line.
#
# Every user holds a shared lock on that file, which the kernel drops with the process. The exclusive lock
# therefore comes to the watcher below exactly when nobody is left. A parent-death signal would not do: the
# servers must survive the process that started them when another one has adopted them.

users=$1 signal=$2
shift 2

# Without flock(1), as on macOS, nobody watches: the server outlives a killed user, and the next start adopts it.
command -v flock >/dev/null 2>&1 || exec "$@"

"$@" &
server=$!

# The lock is kept until the server is gone, so that a newcomer waits for its seat instead of meeting a server
# that is closing. The signal is repeated because a server just launched may not listen to it yet.
# shellcheck disable=SC2016 # the inner shell expands them
flock -x "$users" sh -c 'while kill -s "$0" "$1"; do sleep 0.2; done' "$signal" "$server" 2>/dev/null &
watcher=$!

wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
