"""Install or upgrade the queue: the files of `db/install.sql`, in its order, in one transaction."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
from psycopg import sql

__all__ = ["install", "set_search_path"]

_HERE = Path(__file__).parent
# A wheel carries db/ inside the package; an editable install reads the checkout's.
DB = _HERE / "db" if (_HERE / "db").is_dir() else _HERE.parents[1] / "db"

# What new sessions of this database get, whatever this session was told to use.
SEARCH_PATH = """
    select
        current_database(),
        coalesce(
            (
                select substr(c.setting, length('search_path=') + 1)
                from pg_db_role_setting as s
                cross join unnest(s.setconfig) as c (setting)
                where s.setdatabase = d.oid
                    and s.setrole = 0
                    and starts_with(c.setting, 'search_path=')
            ),
            '"$user", public'
        )
    from pg_database as d
    where d.datname = current_database()
"""

_MIGRATION = re.compile(r"^\\set migration (\w+)$")
_INCLUDE = re.compile(r"^\\ir (\S+\.sql)$")


def install(conn: psycopg.Connection, db: Path = DB) -> list[str]:
    """
    Bring the database up to date; running it again changes nothing.

    Works on an idle connection, in one transaction: all of it, or nothing. Returns the names of the
    migrations that were pending. Raises `psycopg.Error` when the server refuses; nothing is left behind.
    """
    applied: list[str] = []
    migration = ""
    with conn.transaction():
        for line in (db / "install.sql").read_text().splitlines():
            if found := _MIGRATION.match(line):
                migration = found[1]
            elif line == r"\ir apply_migration.sql":
                applied += _apply(conn, db, migration)
            elif found := _INCLUDE.match(line):
                _run(conn, db / found[1])
    return applied


def set_search_path(conn: psycopg.Connection, schema: str = "conveyor") -> None:
    """
    Append the schema to the `search_path` of the database, for new sessions, unless it is there.

    For a database that is dedicated to the queue: `select … from processing_queue` then works in psql,
    and nobody's `create table` lands in the schema. Needs the owner of the database.
    """
    row = conn.execute(SEARCH_PATH).fetchone()
    database, path = row if row is not None else ("", "")
    parts = [part for part in (part.strip() for part in path.split(",")) if part.strip('"')]
    if schema not in [part.strip('"') for part in parts]:
        wanted = sql.SQL(", ".join([*parts, schema]))
        conn.execute(sql.SQL("alter database {} set search_path = {}").format(sql.Identifier(database), wanted))


def _apply(conn: psycopg.Connection, db: Path, migration: str) -> list[str]:
    known = "select from conveyor.migration where name = %s"
    if conn.execute(known, [migration]).fetchone() is not None:
        return []
    _run(conn, db / "migrations" / f"{migration}.sql")
    conn.execute("insert into conveyor.migration (name) values (%s)", [migration])
    return [migration]


def _run(conn: psycopg.Connection, path: Path) -> None:
    conn.execute(path.read_bytes())
