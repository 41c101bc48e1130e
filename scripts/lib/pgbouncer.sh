# shellcheck shell=bash
# Finds PgBouncer, for the tests of poolers. Source this after postgres.sh, then call `ensure_pgbouncer`.
#
# It returns 0 if pgbouncer is where tests/it/runtime/pooler.rs looks for it. If it is missing, it installs it from the system's
# packages, if that needs no password and starts no service. Otherwise it prints one line on stderr that says how to install it, and
# returns 1: those tests are then skipped.

ensure_pgbouncer() {
  _find_pgbouncer && return 0
  local get log
  get=$(_install_command pgbouncer pgbouncer pgbouncer pgbouncer) || get='see https://www.pgbouncer.org'
  # Debian's package starts a PgBouncer for the whole machine, which is acceptable only in a container or on a CI machine.
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
