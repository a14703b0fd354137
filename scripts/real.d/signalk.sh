# shellcheck shell=bash
# Signal K: the open data server of boats. A device is a path of the vessel's tree (navigation/position), read with
# GET /signalk/v1/api/vessels/self/{path}.

SIGNALK_VERSION=2.23.0     # runs on Node 20; later releases ask for 22
SIGNALK_BEFORE=2026-06-01  # its dependencies as they were then
SIGNALK_RATE=10            # the quota of config/providers/signalk.toml, requests a second
SIGNALK_BURST=5
SIGNALK_DEVICES_MIN=25     # at 1 s each they ask for more than twice the quota

real_signalk() {
  local mode=$1 seconds=$2 api
  need_python
  need_node
  # Its optional dependencies are apps and serial ports, its install scripts build CAN bus access: none is needed here.
  npm_server signalk-server "$SIGNALK_VERSION" "$SIGNALK_BEFORE"
  say "starting Signal K $SIGNALK_VERSION on its sample NMEA data"
  signalk_start
  echo "$(wc -l <"$RUN/devices.ndjson") devices at http://127.0.0.1:$SIGNALK_PORT"
  if [[ $mode == record ]]; then
    python3 "$PARTS/signalk_record.py" "http://127.0.0.1:$SIGNALK_PORT" "$REPO/fixtures/providers/signalk"
    return
  fi

  say "starting the referee: $SIGNALK_RATE requests a second, and a burst it must refuse"
  referee_start "$SIGNALK_PORT" "$SIGNALK_RATE" "$SIGNALK_BURST"
  api=$REFEREE_URL/signalk/v1/api/vessels/self
  referee_says_no "$api/navigation/position" "$SIGNALK_RATE"
  if [[ $mode == serve ]]; then
    printf '\nserving %s, log in %s; Ctrl-C ends it\n' "$api" "$REFEREE_LOG"
    wait
  fi
  paceline_sync signalk "$REFEREE_URL" "$RUN/devices.ndjson" "$SIGNALK_RATE" "$seconds"
}

# Sets SIGNALK_PORT. Up means that the tree has grown its devices, not that the port answers.
signalk_start() {
  local home=$RUN/home log=$RUN/server.log
  rm -rf "$home" "$RUN/port" && mkdir -p "$home"
  cp "$PARTS/signalk_settings.json" "$home/settings.json"
  cp "$PARTS/signalk_vessel.json" "$home/baseDeltas.json"
  # The samples were logged in 2014 and carry a time of day at most: readings are stamped as they are replayed.
  SIGNALK_NODE_CONFIG_DIR=$home SIGNALK_DISABLE_SERVER_UPDATES=1 \
    start "$log" python3 "$PARTS/activate.py" "$RUN/port" \
    node "$RUN/server/node_modules/signalk-server/bin/signalk-server" \
    --sample-nmea0183-data --sample-n2k-data --override-timestamps
  wait_until 30 'Signal K' "$PID" "$log" test -s "$RUN/port"
  SIGNALK_PORT=$(cat "$RUN/port")
  wait_until 90 'Signal K' "$PID" "$log" signalk_devices
}

signalk_devices() {
  python3 "$PARTS/signalk_devices.py" "http://127.0.0.1:$SIGNALK_PORT" "$SIGNALK_DEVICES_MIN" >"$RUN/devices.ndjson"
}
