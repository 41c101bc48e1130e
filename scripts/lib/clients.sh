# shellcheck shell=bash
# Installs what applications use, for the tests of the examples, of streams, and of Magic Hour's SDKs. Source this, then call
# `ensure_clients`.
#
# It returns 0 if target/clients has a Python environment and Node modules with the packages that tests/it/clients needs, and
# installs them there once, and again if the lists below change. Otherwise it prints one line on stderr that says what is missing, and returns 1: those tests are then
# skipped.

npm_packages=(express@5 eventsource@4 standardwebhooks@1 magic-hour@0.43.1)
python_packages=(fastapi uvicorn httpx httpx-sse standardwebhooks magic-hour==0.90.0)

ensure_clients() {
  local folder=$PWD/target/clients packages="${npm_packages[*]} ${python_packages[*]}" program log
  if [[ -e $folder/complete && $(cat "$folder/complete") == "$packages" ]]; then return 0; fi
  for program in python3 node npm; do
    command -v "$program" >/dev/null || {
      echo "$program is missing, and the tests of the examples are skipped: install it, then run this again" >&2
      return 1
    }
  done
  echo "Installing the packages of the examples into target/clients" >&2
  mkdir -p "$folder"
  rm -f "$folder/complete"
  log=$(mktemp)
  if _install_clients "$folder" >"$log" 2>&1; then
    printf '%s\n' "$packages" >"$folder/complete"
    rm -f "$log"
    return 0
  fi
  tail -n 5 "$log" >&2
  rm -f "$log"
  echo "The packages of the examples cannot be installed (is there a network?), and their tests are skipped" >&2
  return 1
}

# Without a network, npm and pip give up after a minute or two.
_install_clients() {
  npm install --silent --no-package-lock --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=30000 --prefix "$1" \
    ${npm_packages[@]+"${npm_packages[@]}"} &&
    python3 -m venv "$1/python" &&
    "$1/python/bin/pip" install --quiet --retries 1 --timeout 20 ${python_packages[@]+"${python_packages[@]}"}
}

# Finds nginx, through which streams are tested, as `ensure_pgbouncer` finds PgBouncer. Source postgres.sh before.
ensure_nginx() { _ensure_package nginx _find_nginx nginx-light nginx nginx nginx; }

# Finds promtool, which checks the metrics and the alerts, in the same way.
ensure_promtool() { _ensure_package promtool _find_promtool prometheus golang-github-prometheus prometheus prometheus; }

# Finds a browser in the same way.
ensure_browser() { _ensure_package 'a browser' _find_browser chromium chromium chromium chromium; }

# Finds the program that drives the browser, for the tests of the operator pages, in the same way. Elsewhere it comes with the
# browser.
ensure_driver() {
  _ensure_package "a browser's driver" _find_driver chromium-driver chromium-chromedriver chromedriver chromedriver
}

_find_promtool() { command -v promtool >/dev/null; }

_find_nginx() {
  command -v nginx >/dev/null || [[ -x /usr/sbin/nginx || -x /usr/local/bin/nginx || -x /opt/homebrew/bin/nginx ]]
}

_find_driver() { command -v chromedriver >/dev/null; }

_find_browser() {
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}
