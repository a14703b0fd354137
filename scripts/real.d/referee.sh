# shellcheck shell=bash
# The referee of pacing: nginx in front of a server, with the quota the provider file declares. It counts for itself.

# referee_start UPSTREAM_PORT RATE BURST  Sets REFEREE_URL and REFEREE_LOG.
# RATE is requests a second for everybody together. BURST is how many may come early; the provider file's quota must
# not use it, it is the room for network jitter.
referee_start() {
  need_nginx
  local dir=$RUN/referee port tries
  REFEREE_LOG=$dir/access.log
  rm -rf "$dir" && mkdir -p "$dir/temp"
  for tries in 1 2 3; do
    port=$(free_port)
    referee_config "$port" "$@" >"$dir/nginx.conf"
    nginx -p "$dir" -e error.log -c nginx.conf -t >"$dir/test.log" 2>&1 && break
    ((tries < 3)) || { cat "$dir/test.log" >&2 && die 'nginx refuses its configuration'; }
  done
  start "$dir/nginx.log" nginx -p "$dir" -e error.log -c nginx.conf
  # shellcheck disable=SC2034 # read by the scripts that source this one
  REFEREE_URL=http://127.0.0.1:$port
  wait_until 20 'the referee' "$PID" "$dir/error.log" port_answers "$port"
}

# One process in the foreground, every path relative to its own prefix: it needs no privileges and no system files.
referee_config() {
  local port=$1 upstream_port=$2 rate=$3 burst=$4
  cat <<CONF
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;

  limit_req_zone \$server_name zone=quota:1m rate=${rate}r/s;
  limit_req_status 429;
  log_format referee '\$msec \$request_time \$status \$limit_req_status \$request_uri';

  server {
    listen 127.0.0.1:$port;
    server_name referee;
    access_log access.log referee;
    location / {
      limit_req zone=quota burst=$burst nodelay;
      proxy_pass http://127.0.0.1:$upstream_port;
      proxy_set_header Host \$http_host;
    }
  }
}
CONF
}

# referee_says_no URL RATE  A referee that never refuses proves nothing: a burst must meet its 429s.
referee_says_no() {
  local url=$1 rate=$2
  python3 "$PARTS/burst.py" "$url" 30
  python3 "$PARTS/referee.py" "$REFEREE_LOG" --rate "$rate" --refusals some ||
    die 'the referee let a burst through: it measures nothing'
  referee_forget
}

# nginx appends, so the file can be emptied under it.
referee_forget() { : >"$REFEREE_LOG"; }

# referee_saw_one_read_a_second PATH  Of PATH, which all devices share, over the time from the first read to the last.
referee_saw_one_read_a_second() {
  local reads span_s
  read -r reads span_s < <(awk -v path="$1" '
    $5 == path { reads++; if (!began) began = $1; ended = $1 }
    END { printf "%d %d\n", reads, ended - began }' "$REFEREE_LOG")
  printf 'reads   %s in %s s\n' "$reads" "$span_s"
  ((reads * 10 >= span_s * 8 && reads * 10 <= span_s * 11 + 20)) || die 'one read a second was expected'
}
