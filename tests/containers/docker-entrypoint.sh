#!/bin/sh
# What testcontainers relies on in the official image's entry point.
set -eu

socket=/var/run/postgresql

case "${1:-}" in -*) set -- postgres "$@" ;; esac
[ "${1:-}" = postgres ] || exec "$@"
shift

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    install -d -o postgres -g postgres -m 3777 "$socket"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" postgres "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_USER:=postgres}" "${POSTGRES_PASSWORD:?}" "${POSTGRES_DB:=$POSTGRES_USER}"
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    initdb -U "$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Without TCP: testcontainers waits for TCP, and must not take this start for the real one.
    pg_ctl -w -o "-c listen_addresses='' -k $socket" start
    if [ "$POSTGRES_DB" != postgres ]; then
        createdb -h "$socket" -U "$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    fi
    pg_ctl -w -m fast stop
fi

exec postgres -c listen_addresses='*' -k "$socket" "$@"
