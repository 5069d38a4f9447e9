#!/bin/sh
# Makes all that a new fleet of one coordinator and two workers needs: the log, the stack, and a home with a key for each.
# What is there already stays, so it may run again. From the environment:
#   HOMES                    a folder; who does what has a home of its own in there
#   ADMIN_LOG                the log's address for an administrator of the database, without a password
#   STACKLEDGER_LOG          the same for whoever may only append
#   STACKLEDGER_AMQP_URL     the broker
#   STORE, STORE_ENDPOINT    the bucket as s3://BUCKET/PREFIX, and the server that has it
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, PGPASSWORD and, for the administrator, ADMIN_PGPASSWORD
set -eu
umask 077
ORCHESTRATOR=${ORCHESTRATOR:-fleet}

# as HOME COMMAND...: a command of whoever has that home.
as() {
    home=$1
    shift
    STACKLEDGER_HOME="$HOMES/$home" stackledger "$@"
}

# key NAME ROLE: a key whose private half never leaves the home of that name, enrolled where the root key is.
key() {
    if [ ! -e "$HOMES/$1/key.pub" ]; then
        rm -f "$HOMES/$1/keys/"*.key # of a set-up that was broken off before anybody heard of it
        as "$1" key create "$1" --role "$2" > "$HOMES/$1/key.pub.new"
        mv "$HOMES/$1/key.pub.new" "$HOMES/$1/key.pub"
    fi
    if ! as admin key list --name "$1" --columns name --output tsv | grep -qx "$1"; then
        as admin key enroll "@$HOMES/$1/key.pub" --reason "a new fleet"
    fi
}

# is TYPE NAME: whether it is in the registry.
is() {
    as admin "$1" list --name "$2" --columns name --output tsv | grep -qx "$2"
}

for home in admin coordinator client worker-1 worker-2; do
    mkdir -p "$HOMES/$home"
done

as admin log stats > /dev/null 2>&1 || (
    export PGPASSWORD="${ADMIN_PGPASSWORD:-${PGPASSWORD:-}}"
    as admin log create "$ADMIN_LOG"
)

is artifact-store shared || as admin artifact-store register shared --flavor=s3 "--path=$STORE" \
    "--endpoint_url=$STORE_ENDPOINT" "--allow_http=${STORE_HTTP:-false}"
is orchestrator "$ORCHESTRATOR" || as admin orchestrator register "$ORCHESTRATOR" --flavor=rabbitmq \
    --url=env:STACKLEDGER_AMQP_URL
is stack "$ORCHESTRATOR" || as admin stack register "$ORCHESTRATOR" -o "$ORCHESTRATOR" -a shared

ls "$HOMES/admin/keys/"*.key > /dev/null 2>&1 || as admin key create root --role root > /dev/null
key coordinator coordinator
key client submitter
for worker in worker-1 worker-2; do
    key "$worker" worker
    [ -e "$HOMES/$worker/join.json" ] || as admin worker join-file "$ORCHESTRATOR" --file "$HOMES/$worker/join.json"
done
echo "The fleet is ready. The root key is in $HOMES/admin/keys: keep a copy of it in a safe place." >&2
