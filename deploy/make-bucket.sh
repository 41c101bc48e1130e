#!/bin/sh
# Makes renderhook's bucket and key in Garage, over its admin API. Running it again changes nothing.
#
# Garage could make both by itself (`server --default-bucket`), but only from a key in its environment, which its image
# has no shell to read from a file; that key would own the bucket and could make others. This one reads and writes.
#
# $1 is the folder of the secrets; $2 the bucket; $3 the admin API's address.
set -eu

secrets=$1
bucket=$2
admin=$3

token=$(cat "$secrets/garage/admin_token")
key=$(cat "$secrets/renderhook/aws_access_key_id")
secret=$(cat "$secrets/renderhook/aws_secret_access_key")

# Fails unless the answer is a 2xx.
ask() { # call, and a JSON body where the call takes one
    if [ $# -gt 1 ]; then
        wget -q -O - --header "Authorization: Bearer $token" --post-data "$2" "$admin/v2/$1"
    else
        wget -q -O - --header "Authorization: Bearer $token" "$admin/v2/$1"
    fi
}

ask "GetKeyInfo?id=$key" >/dev/null 2>&1 ||
    ask ImportKey "{\"accessKeyId\":\"$key\",\"secretAccessKey\":\"$secret\",\"name\":\"renderhook\"}" >/dev/null
ask "GetBucketInfo?globalAlias=$bucket" >/dev/null 2>&1 ||
    ask CreateBucket "{\"globalAlias\":\"$bucket\"}" >/dev/null

info=$(ask "GetBucketInfo?globalAlias=$bucket")
id=$(printf %s "$info" | grep -o '"id": *"[0-9a-f]\{64\}"' | head -n 1 | cut -d '"' -f 4)
[ -n "$id" ] || { echo "Garage's answer about the bucket $bucket has no id" >&2; exit 1; }

ask AllowBucketKey "{\"bucketId\":\"$id\",\"accessKeyId\":\"$key\",\"permissions\":{\"read\":true,\"write\":true,\"owner\":false}}" >/dev/null

# A renderhook that is killed in the middle of a large file leaves parts that belong to no object. They go after two
# days: no transfer takes that long, since a file's URL expires after one. A rule that is there already stays as it is.
case $info in
*bortIncompleteMultipartUpload*) ;;
*)
    rule='{"ID":"unfinished uploads","Status":"Enabled","AbortIncompleteMultipartUpload":{"DaysAfterInitiation":2}}'
    ask "UpdateBucket?id=$id" "{\"lifecycleRules\":[$rule]}" >/dev/null
    ;;
esac
echo "the bucket $bucket is there, and renderhook's key may read and write it"
