#!/bin/sh
# Makes the secrets of docker-compose.yml, once: files in a volume, each readable by the one user that needs it. Nothing
# that is secret stands in the repository, and no file has to be made by hand.
#
# MAGIC_HOUR_WEBHOOK_SECRET, API_TOKENS and MAGIC_HOUR_API_KEY are taken from the environment where they are set. What was given or made stays
# until something else is given: a shell that lacks the variable must not turn a working webhook off.
#
# $1 is the volume's folder; $2 the user, as uid:gid, that renderhook runs as.
set -eu
umask 077

folder=$1
service=$2

random() { # bytes
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# A file appears whole or not at all, so that an interrupted start cannot leave half a password.
write() { # name, value
    printf %s "$2" >"$folder/$1.new"
    chmod 0400 "$folder/$1.new"
    mv -f "$folder/$1.new" "$folder/$1"
}

once() { # name, value
    [ -s "$folder/$1" ] || write "$1" "$2"
}

# Others may enter the folder, so that they reach their own; the files' modes keep them from the rest.
chmod 0711 "$folder"
mkdir -p "$folder/postgres" "$folder/garage" "$folder/renderhook"

once postgres/password "$(random 24)"
once garage/rpc_secret "$(random 32)"
once garage/admin_token "$(random 32)"

once renderhook/database_url "postgres://renderhook:$(cat "$folder/postgres/password")@postgres:5432/renderhook"
once renderhook/aws_access_key_id "GK$(random 12)"
once renderhook/aws_secret_access_key "$(random 32)"
[ -z "${API_TOKENS:-}" ] || write renderhook/api_tokens "$API_TOKENS"
once renderhook/api_tokens "$(random 24)"
[ -z "${MAGIC_HOUR_WEBHOOK_SECRET:-}" ] || write renderhook/webhook_secret "$MAGIC_HOUR_WEBHOOK_SECRET"
once renderhook/webhook_secret "made-$(random 24)"

# Empty counts as not set: without a key nothing is asked for.
[ -z "${MAGIC_HOUR_API_KEY:-}" ] || write renderhook/api_key "$MAGIC_HOUR_API_KEY"
once renderhook/api_key ""

chown -R "$service" "$folder/renderhook"

case $(cat "$folder/renderhook/webhook_secret") in
made-*)
    cat <<'NOTE'
MAGIC_HOUR_WEBHOOK_SECRET is not set: a random one was made, to try renderhook out. Events signed with it:
    docker compose exec renderhook renderhook send video.started
Magic Hour's own events are refused until its secret is there: put
    MAGIC_HOUR_WEBHOOK_SECRET='the secret that Developer Hub shows'
into a file .env beside docker-compose.yml, and run docker compose up -d
NOTE
    ;;
esac
