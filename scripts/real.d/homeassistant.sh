# shellcheck shell=bash
# Home Assistant with the devices of its integration `demo`. A device is an entity; one GET /api/states reads all of
# them, with a long-lived token. While it runs, devices are switched and one goes out of reach.

HOMEASSISTANT_PYTHON=3.11      # Debian 12 has it
HOMEASSISTANT_VERSION=2024.3.3 # the last that runs on it
HOMEASSISTANT_RATE=5           # the quota of config/providers/home-assistant.toml, requests a second
HOMEASSISTANT_BURST=2
HOMEASSISTANT_DEVICES_MIN=70

real_homeassistant() {
  local mode=$1 seconds=$2
  need_python
  need_homeassistant
  say "starting Home Assistant $HOMEASSISTANT_VERSION; the first time it installs what its integrations need"
  homeassistant_start
  echo "$(wc -l <"$RUN/devices.ndjson") devices at http://127.0.0.1:$HOMEASSISTANT_PORT"
  [[ $mode != record ]] || die "nothing to record: fixtures/providers/home-assistant was written by hand"

  say "starting the referee: $HOMEASSISTANT_RATE requests a second, and a burst it must refuse"
  referee_start "$HOMEASSISTANT_PORT" "$HOMEASSISTANT_RATE" "$HOMEASSISTANT_BURST"
  referee_says_no "$REFEREE_URL/api/onboarding" "$HOMEASSISTANT_RATE"
  if [[ $mode == serve ]]; then
    printf '\nserving %s, token in %s; Ctrl-C ends it\n' "$REFEREE_URL" "$RUN/token"
    wait
  fi
  CHECK_READINGS=homeassistant_compare paceline_sync home-assistant "$REFEREE_URL" "$RUN/devices.ndjson" \
    "$HOMEASSISTANT_RATE" "$seconds" --secret-file "access_token=$RUN/token"
  say 'what it asked for'
  referee_saw_one_read_a_second /api/states
}

# Into $RUN/server, once, with the versions that the release names. josepy: 2 no longer has what its `acme` imports.
need_homeassistant() {
  local python venv=$RUN/server installed="$HOMEASSISTANT_VERSION on Python $HOMEASSISTANT_PYTHON" pins
  [[ $(cat "$venv/.installed" 2>/dev/null) == "$installed" ]] && return
  python=$(homeassistant_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || install_package python3-venv
  say "installing Home Assistant $HOMEASSISTANT_VERSION"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  homeassistant_pip --no-deps "homeassistant==$HOMEASSISTANT_VERSION"
  pins=$(echo "$venv"/lib/python*/site-packages/homeassistant/package_constraints.txt)
  homeassistant_pip --constraint "$pins" "homeassistant==$HOMEASSISTANT_VERSION" 'josepy<2'
  echo "$installed" >"$venv/.installed"
}

homeassistant_pip() { "$RUN/server/bin/python" -m pip install -q --disable-pip-version-check "$@"; }

homeassistant_python() {
  local python is_it="import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$HOMEASSISTANT_PYTHON')"
  for python in "python$HOMEASSISTANT_PYTHON" python3; do
    "$python" -c "$is_it" 2>/dev/null && echo "$python" && return
  done
  die "Home Assistant $HOMEASSISTANT_VERSION needs Python $HOMEASSISTANT_PYTHON: install it and run this again"
}

# Sets HOMEASSISTANT_PORT. Up means that the integration has added its devices.
homeassistant_start() {
  local home=$RUN/home log=$RUN/server.log
  rm -rf "$home" "$RUN/token" && mkdir -p "$home"
  HOMEASSISTANT_PORT=$(free_port)
  sed "s/PORT/$HOMEASSISTANT_PORT/" "$PARTS/homeassistant.yaml" >"$home/configuration.yaml"
  start "$log" "$RUN/server/bin/python" -m homeassistant --config "$home"
  wait_until 600 'Home Assistant' "$PID" "$log" port_answers "$HOMEASSISTANT_PORT"
  wait_until 60 'Home Assistant' "$PID" "$log" homeassistant_token
  wait_until 60 'Home Assistant' "$PID" "$log" homeassistant_devices
}

homeassistant_token() { homeassistant token >"$RUN/token.new" && mv "$RUN/token.new" "$RUN/token"; }

homeassistant_devices() { homeassistant devices "$HOMEASSISTANT_DEVICES_MIN" >"$RUN/devices.ndjson"; }

# homeassistant COMMAND...  Asks the server itself, not through the referee. Its Python has a websocket client.
homeassistant() (
  umask 077
  "$RUN/server/bin/python" "$PARTS/homeassistant.py" "http://127.0.0.1:$HOMEASSISTANT_PORT" "$RUN/token" "$@"
)

homeassistant_compare() {
  say 'changing devices, and comparing all with what the house says'
  homeassistant compare "$PACELINE_URL"
}
