#!/bin/sh
# Sends a command on Redis or Valkey with nothing but redis-cli (or valkey-cli), and waits for its answer:
#
#     sh docs/examples/ask.sh redis://default:password@localhost:6379/0 /services/support gift-83 credit '{"customer_id": "C-1001", "points": 500}'
#
# Prints the answer; ends with 0 if the command was done, 1 if it was rejected, 2 without an answer. The same again, with
# the same time as a sixth argument, is done once. SECONDS_MAX says how long it waits, 10 by default.
set -eu
broker_url=$1 source=$2 id=$3 verb=$4 data=$5
time=${6:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}
cli=${REDIS_CLI:-redis-cli}
replies="loyalty.replies.$id.$$"

event=$(printf '{"id":"%s","source":"%s","type":"loyalty.command.%s","time":"%s","data":%s}' \
    "$id" "$source" "$verb" "$time" "$data")
"$cli" --no-auth-warning -u "$broker_url" XADD shop.events '*' event "$event" reply_to "$replies" correlation_id "$id" >/dev/null
answer=$("$cli" --no-auth-warning -u "$broker_url" --raw XREAD BLOCK "${SECONDS_MAX:-10}000" COUNT 1 STREAMS "$replies" 0 | grep '^{' || true)
[ -n "$answer" ] || { echo "no answer yet; ask again with the time $time" >&2; exit 2; }
printf '%s\n' "$answer"
case $answer in *'"type":"loyalty.command.accepted"'*) exit 0 ;; *) exit 1 ;; esac
