"""How the embedded server is reached: by its own address and password, whatever PG* variables say."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgconveyor.embedded_process import HOST

# What libpq would take from PG* variables, or from the service that PGSERVICE names, unless it is said.
# require_auth: else whoever took the port could ask for the password in clear text.
OWN = {
    "hostaddr": HOST,
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "sslcertmode": "disable",
    "ssl_min_protocol_version": "",
    "ssl_max_protocol_version": "",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "client_encoding": "utf8",
    "options": "",
    "connect_timeout": "5",
}

# And what it takes from nowhere else: nothing that is said to it is stronger.
CANNOT_BE_OVERRULED = ("PGSERVICE", "PGTZ", "PGDATESTYLE", "PGGEQO")


def url(password: str, port: int | None, database: str) -> str:
    return f"postgresql://postgres:{quote(password, safe='')}@{HOST}:{port}/{quote(database, safe='')}"


def overruling(dsn: str) -> str:
    """The same, with all said that this process's libpq knows."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return make_conninfo(dsn, **{name: value for name, value in OWN.items() if name in known})


def pgpass(password: str, port: int | None) -> str:
    """A line of a password file, of this server alone."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"{HOST}:{port}:*:postgres:{escaped}\n"


def without_password(port: int | None, database: str, passfile: Path) -> str:
    """For psql and others; they find the password in the file."""
    return make_conninfo(host=HOST, port=port, user="postgres", dbname=database, passfile=str(passfile))


def is_final(error: psycopg.OperationalError) -> bool:
    """No waiting helps: libpq did not even try, or the server answered after it had asked who we are."""
    attempt = error.pgconn
    return attempt is not None and (not attempt.user or attempt.used_password)


def advice() -> str:
    """What to do about a refusal that is none of the server's own."""
    found = [name for name in CANNOT_BE_OVERRULED if name in os.environ]
    return f"; unset {', '.join(found)}" if found else ""
