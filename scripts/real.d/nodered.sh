# shellcheck shell=bash
# Node-RED: flows of a house. A device is a key of the global context; one GET /context/global reads all of them, with a
# token of a login that ends soon.

NODERED_VERSION=4.0.9     # runs on Node 20
NODERED_BEFORE=2026-06-01 # its dependencies as they were then
NODERED_RATE=5            # the quota of config/providers/node-red.toml, requests a second
NODERED_BURST=2
NODERED_SESSION_S=35      # a login is renewed when a fifth of it is left, and no sooner than 30 s after the last
NODERED_DEVICES_MIN=62

real_node-red() {
  local mode=$1 seconds=$2
  need_python
  need_node
  npm_server node-red "$NODERED_VERSION" "$NODERED_BEFORE"
  say "starting Node-RED $NODERED_VERSION, logins of $NODERED_SESSION_S s"
  nodered_start
  echo "$(wc -l <"$RUN/devices.ndjson") devices at http://127.0.0.1:$NODERED_PORT"
  [[ $mode != record ]] || die "nothing to record: fixtures/providers/node-red was written by hand"

  say "starting the referee: $NODERED_RATE requests a second, and a burst it must refuse"
  referee_start "$NODERED_PORT" "$NODERED_RATE" "$NODERED_BURST"
  referee_says_no "$REFEREE_URL/context/global" "$NODERED_RATE"
  if [[ $mode == serve ]]; then
    printf '\nserving %s, user reader, password in %s; Ctrl-C ends it\n' "$REFEREE_URL" "$RUN/password"
    wait
  fi
  echo reader >"$RUN/username"
  paceline_sync node-red "$REFEREE_URL" "$RUN/devices.ndjson" "$NODERED_RATE" "$seconds" \
    --secret-file "username=$RUN/username" --secret-file "password=$RUN/password"
  say 'what it asked for'
  nodered_asked "$seconds"
}

# Sets NODERED_PORT. Up means that the flows have run once.
nodered_start() {
  local home=$RUN/home log=$RUN/server.log modules=$RUN/server/node_modules
  rm -rf "$home" && mkdir -p "$home"
  cp "$PARTS/nodered_settings.js" "$home/settings.js"
  cp "$PARTS/nodered_flows.json" "$home/flows.json"
  (umask 077 && python3 -c 'import secrets; print(secrets.token_urlsafe(24))' >"$RUN/password")
  NODERED_PORT=$(free_port)
  PORT=$NODERED_PORT NODERED_MODULES=$modules NODERED_SESSION_S=$NODERED_SESSION_S \
    NODERED_PASSWORD=$(cat "$RUN/password") \
    start "$log" node "$modules/node-red/red.js" --userDir "$home" --settings "$home/settings.js"
  wait_until 60 'Node-RED' "$PID" "$log" nodered_devices
}

nodered_devices() {
  python3 "$PARTS/nodered_devices.py" "http://127.0.0.1:$NODERED_PORT" "$RUN/password" "$NODERED_DEVICES_MIN" \
    >"$RUN/devices.ndjson"
}

# One call for all devices, and as many logins as their lifetime asks for: counted by the referee.
nodered_asked() {
  local seconds=$1 logins least
  referee_saw_one_read_a_second /context/global
  logins=$(grep -c ' /auth/token$' "$REFEREE_LOG" || true)
  least=$((1 + seconds / NODERED_SESSION_S))
  printf 'logins  %s\n' "$logins"
  ((logins >= least && logins <= 1 + seconds / 30)) || die "at least $least logins, and one in 30 s at most, were expected"
}
