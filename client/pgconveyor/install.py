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
    row = conn.execute("select current_database(), reset_val from pg_settings where name = 'search_path'").fetchone()
    assert row is not None  # noqa: S101
    database, path = row
    if schema not in [part.strip(' "') for part in path.split(",")]:
        alter = sql.SQL("alter database {} set search_path = {}, {}")
        conn.execute(alter.format(sql.Identifier(database), sql.SQL(path), sql.Identifier(schema)))


def _apply(conn: psycopg.Connection, db: Path, migration: str) -> list[str]:
    known = "select from conveyor.migration where name = %s"
    if conn.execute(known, [migration]).fetchone() is not None:
        return []
    _run(conn, db / "migrations" / f"{migration}.sql")
    conn.execute("insert into conveyor.migration (name) values (%s)", [migration])
    return [migration]


def _run(conn: psycopg.Connection, path: Path) -> None:
    conn.execute(path.read_bytes())
