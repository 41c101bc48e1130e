# shellcheck shell=bash
# Postgres' server programs, for scripts that run a private server. Source this, then call `ensure_postgres`.
#
# It exports `PG_BIN_DIR`, the folder of initdb and postgres. Only this script knows where packages put them: the crate
# private-postgres looks in PG_BIN_DIR and on PATH. Where they are missing it installs them from the system's packages, if that needs
# no password. Otherwise it returns 1, after one line on stderr that says what is missing and how to get it. It starts no server.

ensure_postgres() {
  if find_postgres; then return 0; fi
  if [[ -n ${PG_BIN_DIR:-} ]]; then
    echo "PG_BIN_DIR is $PG_BIN_DIR, which does not hold initdb and postgres: correct it, or unset it to use what is installed" >&2
    return 1
  fi

  local get log
  if command -v apt-get >/dev/null; then
    get='apt-get install postgresql'
  elif command -v apk >/dev/null; then
    get='apk add postgresql postgresql-client'
  elif command -v dnf >/dev/null; then
    get='dnf install postgresql-server'
  elif command -v brew >/dev/null; then
    get='brew install postgresql@17'
  else
    echo "No Postgres server found (initdb and postgres): install it, or name the folder of its programs in PG_BIN_DIR" >&2
    return 1
  fi
  if [[ $get != brew* ]] && ! _as_root true 2>/dev/null; then
    echo "No Postgres server found (initdb and postgres): run \`sudo $get\`, or name the folder of its programs in PG_BIN_DIR" >&2
    return 1
  fi

  echo "Postgres is missing: $get" >&2
  log=$(mktemp)
  if _install_postgres "${get%% *}" >"$log" 2>&1 && find_postgres; then
    rm -f "$log"
    return 0
  fi
  tail -n 5 "$log" >&2
  rm -f "$log"
  echo "Could not install Postgres: run \`$get\` by hand, or name the folder of a server's programs in PG_BIN_DIR" >&2
  return 1
}

# Runs a command with `PRIVATE_POSTGRES` set to the URL of an empty, throwaway server on a socket of its own. Call `ensure_postgres`
# or `find_postgres` first. The settings are those of a `Cluster` that is thrown away (crash safety off, room for many tests).
with_private_postgres() (
  folder=$(mktemp -d)
  as_server=()
  # The server ends with this shell, however that ends, where the system can arrange it.
  if setpriv --pdeathsig INT true 2>/dev/null; then as_server=(setpriv --pdeathsig INT); fi
  if [[ $(id -u) == 0 ]]; then
    # The server refuses root.
    account=postgres
    id "$account" >/dev/null 2>&1 || account=nobody
    chown "$account" "$folder"
    [[ ${#as_server[@]} -gt 0 ]] || as_server=(setpriv)
    as_server+=("--reuid=$account" "--regid=$(id -g "$account")" --clear-groups)
  fi
  server=
  trap '[[ -z $server ]] || { kill -INT "$server" && wait "$server"; } || true; rm -rf "$folder"' EXIT
  (cd / && ${as_server[@]+"${as_server[@]}"} "$PG_BIN_DIR/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C \
    --no-sync >/dev/null)
  (cd / && exec ${as_server[@]+"${as_server[@]}"} "$PG_BIN_DIR/postgres" -D "$folder/data" -c listen_addresses= \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 \
    -c "unix_socket_directories=$folder" >"$folder/log" 2>&1) &
  server=$!
  until [[ $(tail -n 1 "$folder/data/postmaster.pid" 2>/dev/null) == ready* ]]; do
    kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
  done
  PRIVATE_POSTGRES="postgres://postgres@localhost/postgres?host=$folder" "$@"
)

# Both programs in one folder, so that they are of one version.
_holds_postgres() {
  [[ -f $1/initdb && -x $1/initdb && -f $1/postgres && -x $1/postgres ]] && export PG_BIN_DIR=$1
}

# Sets `PG_BIN_DIR`, or returns 1. Says nothing and installs nothing.
find_postgres() {
  local folder folders
  if [[ -n ${PG_BIN_DIR:-} ]]; then
    _holds_postgres "$PG_BIN_DIR"
    return
  fi
  IFS=: read -r -a folders <<<"${PATH:-}"
  for folder in ${folders[@]+"${folders[@]}"}; do
    if [[ $folder == /* ]] && _holds_postgres "$folder"; then return 0; fi
  done
  # Where packages put them, the highest version first. A pattern that matches nothing stays as it is, and holds nothing.
  while IFS= read -r folder; do
    if _holds_postgres "$folder"; then return 0; fi
  done < <(printf '%s\n' \
    /usr/lib/postgresql/*/bin \
    /usr/pgsql-*/bin \
    /usr/libexec/postgresql* \
    /usr/lib/postgresql*/bin \
    /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin \
    /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
    /Applications/Postgres.app/Contents/Versions/*/bin \
    /usr/local/pgsql/bin | sort -rV)
  return 1
}

_as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null && sudo -n "$@"
  fi
}

_apt_install() { _as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install "$@"; }

_install_postgres() {
  case $1 in
  apt-get) _install_postgres_by_apt ;;
  apk) _as_root apk add --no-cache postgresql postgresql-client ;;
  dnf) _as_root dnf install -y postgresql-server ;;
  brew) brew install --quiet postgresql@17 ;;
  esac
}

# Debian's package makes and starts a cluster of its own on port 5432, unless it is told not to before it is installed. The setting
# is taken back afterwards: it is ours to make for this installation, not for the machine.
_install_postgres_by_apt() {
  local settings=/etc/postgresql-common/createcluster.d/renderhook.conf installed=0
  _as_root mkdir -p "${settings%/*}"
  _as_root sh -c "echo 'create_main_cluster = false' >'$settings'"
  _apt_install postgresql || { _as_root apt-get -q update && _apt_install postgresql; } || installed=$?
  _as_root rm -f "$settings"
  return "$installed"
}
