# shellcheck shell=bash
# Paceline's own part of a run, the same for every server: the command line is all it knows of Paceline.

# paceline_sync PROVIDER BASE_URL DEVICES RATE SECONDS [OPTION...]
# Syncs DEVICES (NDJSON for `device import`) of one new connection, made with the OPTIONs, then prints both sides. Fails
# if the referee refused a request, or if a device has no reading. CHECK_READINGS may name a function that checks more;
# it has the key of a reader in PACELINE_KEY.
paceline_sync() {
  local provider=$1 base_url=$2 devices=$3 rate=$4 seconds=$5 key
  shift 5
  paceline_build
  say 'starting Paceline with private servers'
  paceline_serve
  key=$(paceline key create --tenant real --role reader --json | json_field key)
  paceline connection add --tenant real --provider "$provider" --label "$provider" --param "base_url=$base_url" "$@"

  say "syncing $(wc -l <"$devices") devices every second for $seconds s"
  paceline device import --tenant real --connection "$provider" --file "$devices"
  sleep "$seconds"

  say 'readings'
  PACELINE_KEY=$key python3 "$PARTS/readings.py" "$PACELINE_URL"
  [[ -z ${CHECK_READINGS:-} ]] || PACELINE_KEY=$key "$CHECK_READINGS"
  say 'lag'
  paceline lag --json
  say 'check'
  paceline check --json
  stop "$PACELINE_PID"
  say 'what the referee saw'
  python3 "$PARTS/referee.py" "$REFEREE_LOG" --rate "$rate" --seconds "$seconds" --refusals none ||
    die 'the referee refused requests: the quota was exceeded'
}

# PACELINE may name a binary that is built already, by its full path.
paceline_build() {
  [[ -n ${PACELINE:-} ]] && return
  local need
  for need in need_build_tools need_rust need_postgres need_redis; do
    if declare -F "$need" >/dev/null; then "$need"; fi
  done
  say 'building Paceline'
  cargo build --locked
  PACELINE=${CARGO_TARGET_DIR:-$REPO/target}/debug/paceline
}

# In a directory of its own, so that .paceline/ there is new each time and a developer's is left alone.
paceline() { (paceline_exec "$@"); }
paceline_exec() { cd "$RUN/paceline" && exec "$PACELINE" "$@"; }

# Sets PACELINE_URL and PACELINE_PID.
paceline_serve() {
  local home=$RUN/paceline port
  port=$(free_port)
  rm -rf "$home" && mkdir -p "$home"
  cat >"$home/paceline.toml" <<TOML
[http]
listen = "127.0.0.1:$port"

[providers]
dir = "$REPO/config/providers"
TOML
  paceline migrate
  start "$home/serve.log" paceline_exec serve --config paceline.toml
  PACELINE_PID=$PID
  PACELINE_URL=http://127.0.0.1:$port
  wait_until 60 'Paceline' "$PID" "$home/serve.log" port_answers "$port"
}

json_field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
