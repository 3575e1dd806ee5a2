#!/bin/sh
# Run by the postgres image when its data directory is new: installs the queue into POSTGRES_DB, and makes the worker's
# login role. May be run again, to upgrade or for a new WORKER_PASSWORD:
#   docker compose exec postgres /docker-entrypoint-initdb.d/install.sh
set -eu
: "${WORKER_PASSWORD:?}"

run() {
    psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"
}

run -f /pgconveyor/db/install.sql
run <<'SQL'
\getenv password WORKER_PASSWORD
set client_min_messages = warning;

select current_database() as database, to_regrole('worker') is null as is_new \gset
alter database :"database" set search_path = "$user", public, conveyor;

\if :is_new
    create role worker login;
\endif
set log_statement = none;
alter role worker password :'password';
grant conveyor_worker to worker;
SQL
