# shellcheck shell=bash
# Finds Postgres' server programs, for scripts that run a private server. Source this, then call `ensure_postgres`.
#
# It exports `PG_BIN_DIR`, the folder of initdb and postgres. Only this script has the list of folders where packages put them: the
# crate private-postgres looks in PG_BIN_DIR and on PATH. If they are missing, it installs them from the system's packages, if that
# needs no password. Otherwise it prints one line on stderr that says how to install them, and returns 1. It starts no server.

ensure_postgres() {
  if find_postgres; then return 0; fi
  if [[ -n ${PG_BIN_DIR:-} ]]; then
    echo "PG_BIN_DIR is $PG_BIN_DIR, which does not have initdb and postgres: correct it, or unset it to use the installed ones" >&2
    return 1
  fi

  local get log
  get=$(_install_command postgresql 'postgresql postgresql-client' postgresql-server postgresql@17) || {
    echo "No Postgres server found (initdb and postgres): install it, or set PG_BIN_DIR to the folder of its programs" >&2
    return 1
  }
  if [[ $get != brew* ]] && ! _as_root true 2>/dev/null; then
    echo "No Postgres server found (initdb and postgres): run \`sudo $get\`, or set PG_BIN_DIR to the folder of its programs" >&2
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
  echo "Could not install Postgres: run \`$get\` yourself, or set PG_BIN_DIR to the folder of a server's programs" >&2
  return 1
}

# Runs a command with `PRIVATE_POSTGRES` set to the URL of an empty, temporary server on its own socket. Call `ensure_postgres` or
# `find_postgres` first. The settings are those of a temporary `Cluster` (crash safety off, 200 connections).
with_private_postgres() (
  folder=$(mktemp -d)
  as_server=()
  # Where the system supports it, the server ends with this shell, however the shell ends.
  if setpriv --pdeathsig INT true 2>/dev/null; then as_server=(setpriv --pdeathsig INT); fi
  if [[ $(id -u) == 0 ]]; then
    # Postgres does not run as root.
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

# Both programs must be in one folder, so that they have the same version.
_holds_postgres() {
  [[ -f $1/initdb && -x $1/initdb && -f $1/postgres && -x $1/postgres ]] && export PG_BIN_DIR=$1
}

# Sets `PG_BIN_DIR`, or returns 1. Prints nothing and installs nothing.
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
  # Where packages put them, the highest version first. A pattern that matches nothing is not expanded, and is no folder.
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

# Prints the command that installs a package here, or returns 1 if no known package manager is installed.
_install_command() { # the package's name for apt, apk, dnf, brew
  if command -v apt-get >/dev/null; then
    echo "apt-get install $1"
  elif command -v apk >/dev/null; then
    echo "apk add $2"
  elif command -v dnf >/dev/null; then
    echo "dnf install $3"
  elif command -v brew >/dev/null; then
    echo "brew install $4"
  else
    return 1
  fi
}

_as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null && sudo -n "$@"
  fi
}

_apt_install() { _as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install "$@"; }

# Installs a program that some tests need: what it is, the function that finds it, then its names as for `_install_command`.
_ensure_package() {
  local what=$1 find=$2 get log
  shift 2
  "$find" && return 0
  get=$(_install_command "$@") || get="install ${*: -1}"
  # Debian's packages start services for the whole machine, which is acceptable only in a container or on a CI machine.
  if [[ $get == apt-get* ]] && { [[ ! -d /run/systemd/system ]] || [[ -n ${CI:-} ]]; } && _as_root true 2>/dev/null; then
    echo "missing: $what ($get)" >&2
    log=$(mktemp)
    if { _apt_install "$1" || { _as_root apt-get -q update && _apt_install "$1"; }; } >"$log" 2>&1 && "$find"; then
      rm -f "$log"
      return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
  fi
  echo "missing: $what; the tests that need it are skipped: $get" >&2
  return 1
}

_install_postgres() {
  case $1 in
  apt-get) _install_postgres_by_apt ;;
  apk) _as_root apk add --no-cache postgresql postgresql-client ;;
  dnf) _as_root dnf install -y postgresql-server ;;
  brew) brew install --quiet postgresql@17 ;;
  esac
}

# Debian's package creates and starts a cluster on port 5432 unless this setting exists before the installation. The setting is
# removed afterwards, so that later installations on this machine are not affected.
_install_postgres_by_apt() {
  local settings=/etc/postgresql-common/createcluster.d/renderhook.conf installed=0
  _as_root mkdir -p "${settings%/*}"
  _as_root sh -c "echo 'create_main_cluster = false' >'$settings'"
  _apt_install postgresql || { _as_root apt-get -q update && _apt_install postgresql; } || installed=$?
  _as_root rm -f "$settings"
  return "$installed"
}
