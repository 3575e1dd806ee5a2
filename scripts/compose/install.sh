#!/bin/sh
# Run once by the postgres image when its data directory is new: installs the queue into POSTGRES_DB.
set -eu
psql -X -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /pgconveyor/db/install.sql
psql -X -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -c "alter database \"$POSTGRES_DB\" set search_path = \"\$user\", public, conveyor"
