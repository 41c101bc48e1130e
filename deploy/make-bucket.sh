#!/bin/sh
# Creates renderhook's bucket and key in Garage, with its admin API. Running it again changes nothing.
#
# Garage could create both by itself (`server --default-bucket`), but only from a key in its environment, and its image has
# no shell that could read one from a file. That key would also own the bucket and could create others; this one can only
# read and write objects.
#
# $1 is the folder of the secrets; $2 the bucket; $3 the admin API's address.
set -eu

secrets=$1
bucket=$2
admin=$3

token=$(cat "$secrets/garage/admin_token")
key=$(cat "$secrets/renderhook/aws_access_key_id")
secret=$(cat "$secrets/renderhook/aws_secret_access_key")

# Calls the admin API. Fails unless the answer is a 2xx.
call() { # the call's name, and its JSON body if it has one
    if [ $# -gt 1 ]; then
        wget -q -O - --header "Authorization: Bearer $token" --post-data "$2" "$admin/v2/$1"
    else
        wget -q -O - --header "Authorization: Bearer $token" "$admin/v2/$1"
    fi
}

call "GetKeyInfo?id=$key" >/dev/null 2>&1 ||
    call ImportKey "{\"accessKeyId\":\"$key\",\"secretAccessKey\":\"$secret\",\"name\":\"renderhook\"}" >/dev/null
call "GetBucketInfo?globalAlias=$bucket" >/dev/null 2>&1 ||
    call CreateBucket "{\"globalAlias\":\"$bucket\"}" >/dev/null

info=$(call "GetBucketInfo?globalAlias=$bucket")
id=$(printf %s "$info" | grep -o '"id": *"[0-9a-f]\{64\}"' | head -n 1 | cut -d '"' -f 4)
[ -n "$id" ] || { echo "Garage's answer about the bucket $bucket has no id" >&2; exit 1; }

call AllowBucketKey "{\"bucketId\":\"$id\",\"accessKeyId\":\"$key\",\"permissions\":{\"read\":true,\"write\":true,\"owner\":false}}" >/dev/null

# A renderhook that is killed during the upload of a large file leaves parts that belong to no object. This rule deletes
# them after two days. No transfer takes that long, because a file's URL expires after one day. An existing rule is kept.
case $info in
*bortIncompleteMultipartUpload*) ;;
*)
    rule='{"ID":"unfinished uploads","Status":"Enabled","AbortIncompleteMultipartUpload":{"DaysAfterInitiation":2}}'
    call "UpdateBucket?id=$id" "{\"lifecycleRules\":[$rule]}" >/dev/null
    ;;
esac
echo "the bucket $bucket exists, and renderhook's key can read and write it"
