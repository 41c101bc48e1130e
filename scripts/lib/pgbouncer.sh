# shellcheck shell=bash
# PgBouncer, for the tests of poolers. Source this after postgres.sh, then call `ensure_pgbouncer`.
#
# It returns 0 when pgbouncer can be found where tests/it/runtime/pooler.rs looks for it, and installs it from the system's packages
# where it is missing, that needs no password, and the package starts no service of its own. Otherwise it returns 1, after one line on
# stderr that says how to get it: those tests are then skipped.

ensure_pgbouncer() {
  _find_pgbouncer && return 0
  local get log
  if command -v apt-get >/dev/null; then
    get='apt-get install pgbouncer'
  elif command -v apk >/dev/null; then
    get='apk add pgbouncer'
  elif command -v dnf >/dev/null; then
    get='dnf install pgbouncer'
  elif command -v brew >/dev/null; then
    get='brew install pgbouncer'
  else
    get='see https://www.pgbouncer.org'
  fi
  # Debian's package starts a PgBouncer for the whole machine: welcome in a container or on a CI machine, and nowhere else.
  if [[ $get == apt-get* ]] && { [[ ! -d /run/systemd/system ]] || [[ -n ${CI:-} ]]; } && _as_root true 2>/dev/null; then
    echo "PgBouncer is missing: $get" >&2
    log=$(mktemp)
    if _install_pgbouncer >"$log" 2>&1 && _find_pgbouncer; then
      rm -f "$log"
      return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
  fi
  echo "PgBouncer is missing, and the tests that need it are skipped: $get" >&2
  return 1
}

_find_pgbouncer() {
  command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer || -x /usr/local/bin/pgbouncer || -x /opt/homebrew/bin/pgbouncer ]]
}

_install_pgbouncer() {
  _apt_install pgbouncer || { _as_root apt-get -q update && _apt_install pgbouncer; }
}
