# shellcheck shell=bash
# Finds PgBouncer, for the tests of poolers. Source this after postgres.sh, then call `ensure_pgbouncer`.
#
# It returns 0 if pgbouncer is where tests/it/runtime/pooler.rs looks for it. If it is missing, it installs it from the system's
# packages, if that needs no password and starts no service. Otherwise it prints one line on stderr that says how to install it, and
# returns 1: those tests are then skipped.

ensure_pgbouncer() { _ensure_package PgBouncer _find_pgbouncer pgbouncer pgbouncer pgbouncer pgbouncer; }

_find_pgbouncer() {
  command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer || -x /usr/local/bin/pgbouncer || -x /opt/homebrew/bin/pgbouncer ]]
}
