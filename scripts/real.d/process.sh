# shellcheck shell=bash
# Processes this run started: each is waited for by an event, and none outlives the script.

STARTED=()

say() { printf '\n== %s\n' "$*"; }

die() {
  printf 'scripts/real: %s\n' "$*" >&2
  exit 1
}

# start LOG COMMAND...  Runs it in the background; its id is in $PID.
start() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 </dev/null &
  PID=$!
  STARTED+=("$PID")
}

# wait_until SECONDS_MAX WHAT PID LOG COMMAND...  Polls COMMAND; gives up when the process died or the time is over.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2 pid=$3 log=$4
  shift 4
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
      tail -n 20 "$log" >&2
      die "$what did not come up; its log is $log"
    fi
    sleep 0.2
  done
}

stop() {
  local pid=$1 tries
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((tries = 0; tries < 150; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# Last started, first stopped: whoever calls a server goes before the server.
stop_all() {
  trap - EXIT INT TERM
  local i
  for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do stop "${STARTED[i]}"; done
}

# Nothing holds the port until its server binds it, so a start on it may have to be tried again.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port_answers() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
