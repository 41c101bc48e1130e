#!/bin/sh
# Creates the secrets of docker-compose.yml: files in a volume, each readable only by the user that needs it. The repository
# contains no secret, and no file has to be created by hand. Running it again changes only what has changed in .env.
#
#   API_TOKENS, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
#                              if one is not set, a random one is generated once and used. An earlier value becomes invalid.
#   MAGIC_HOUR_API_KEY         if it is not set, there is none: an earlier key is removed.
#   NOTIFY_SECRET, READ_TOKENS, METRICS_TOKENS
#                              if one is not set, there is none: an earlier one is removed.
#   MAGIC_HOUR_WEBHOOK_SECRET  if it is not set, an earlier value is kept, because without it events would be lost. If there
#                              never was one, a random one is generated.
#
# $1 is the volume's folder; $2 is the user id of renderhook, $3 of Postgres.
set -eu
umask 077

folder=$1
renderhook=$2
postgres=$3
root=$(id -u)
group=$(id -g)

random() { # bytes
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# A file is complete or missing, so that an interrupted start cannot leave half a password. Folders and groups belong to this
# user, so that it needs no capability but CAP_CHOWN.
write() { # name, value, owner
    printf %s "$2" >"$folder/$1.new"
    if [ "$3" = "$root" ]; then chmod 0400 "$folder/$1.new"; else chmod 0440 "$folder/$1.new"; fi
    chown "$3:$group" "$folder/$1.new"
    mv -f "$folder/$1.new" "$folder/$1"
}

once() { # name, value, owner
    [ -s "$folder/$1" ] || write "$1" "$2" "$3"
}

is_in() { # name, value
    [ -s "$folder/$1" ] && [ "$(cat "$folder/$1")" = "$2" ]
}

# Writes the given value, or a random one that is generated once.
given_or_made() { # name of the variable, its value, bytes, prefix
    file=$(printf %s "$1" | tr '[:upper:]' '[:lower:]')
    once "made/$file" "$4$(random "$3")" "$root"
    made=$(cat "$folder/made/$file")
    if [ -n "$2" ]; then
        write "renderhook/$file" "$2" "$renderhook"
        return
    fi
    if [ -s "$folder/renderhook/$file" ] && ! is_in "renderhook/$file" "$made"; then
        echo "$1 is not set: the value before is not valid any more, and a random one is used"
    fi
    write "renderhook/$file" "$made" "$renderhook"
}

# Every user may enter the folders; each file's mode and owner protect it.
mkdir -p "$folder/made" "$folder/postgres" "$folder/garage" "$folder/renderhook"
chmod 0711 "$folder" "$folder/made" "$folder/postgres" "$folder/garage" "$folder/renderhook"

once postgres/password "$(random 24)" "$postgres"
once garage/rpc_secret "$(random 32)" "$root"
once garage/admin_token "$(random 32)" "$root"
write garage/garage.toml "$(cat "$(dirname "$0")/garage.toml")" "$root"
write postgres/make-database.sql "$(cat "$(dirname "$0")/make-database.sql")" "$postgres"

once renderhook/database_password "$(random 24)" "$renderhook"
database_password=$(cat "$folder/renderhook/database_password")
write renderhook/database_url "postgres://renderhook:$database_password@postgres:5432/renderhook" "$renderhook"

given_or_made API_TOKENS "${API_TOKENS:-}" 24 ''
given_or_made AWS_ACCESS_KEY_ID "${AWS_ACCESS_KEY_ID:-}" 12 GK
given_or_made AWS_SECRET_ACCESS_KEY "${AWS_SECRET_ACCESS_KEY:-}" 32 ''

if [ -z "${MAGIC_HOUR_API_KEY:-}" ] && [ -s "$folder/renderhook/magic_hour_api_key" ]; then
    echo "MAGIC_HOUR_API_KEY is not set any more: the key is removed, and nothing is polled"
fi
# An empty file counts as not set.
write renderhook/magic_hour_api_key "${MAGIC_HOUR_API_KEY:-}" "$renderhook"
write renderhook/notify_secret "${NOTIFY_SECRET:-}" "$renderhook"
write renderhook/read_tokens "${READ_TOKENS:-}" "$renderhook"
write renderhook/metrics_tokens "${METRICS_TOKENS:-}" "$renderhook"

once made/webhook_secret "made-$(random 24)" "$root"
made=$(cat "$folder/made/webhook_secret")
webhook_secret=renderhook/magic_hour_webhook_secret
if [ -n "${MAGIC_HOUR_WEBHOOK_SECRET:-}" ]; then
    write "$webhook_secret" "$MAGIC_HOUR_WEBHOOK_SECRET" "$renderhook"
elif [ -s "$folder/$webhook_secret" ] && ! is_in "$webhook_secret" "$made"; then
    echo "MAGIC_HOUR_WEBHOOK_SECRET is not set: the one set before is kept. To remove it:"
    echo "    docker compose run --rm secrets rm /run/secrets/$webhook_secret"
    echo "    docker compose up -d --force-recreate secrets renderhook"
else
    write "$webhook_secret" "$made" "$renderhook"
    cat <<'NOTE'
MAGIC_HOUR_WEBHOOK_SECRET is not set: a random one was made, to try renderhook out. Events signed with it:
    docker compose exec renderhook renderhook send video.started
Magic Hour's own events are refused until its secret is there: put
    MAGIC_HOUR_WEBHOOK_SECRET='the secret that Developer Hub shows'
into a file .env beside docker-compose.yml, and run docker compose up -d
NOTE
fi
