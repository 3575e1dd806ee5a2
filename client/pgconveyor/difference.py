"""What an install would change: found by installing in a transaction that is rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psycopg

from pgconveyor.install import DB, advised, install, migrations

__all__ = ["Difference", "difference"]

LOCK = """
    set local lock_timeout = '2s';
    select pg_advisory_xact_lock(hashtextextended('conveyor.install', 0))
"""

# All that the repeatable part of an install writes: a name and what it is.
CATALOG = """
    select
        p.oid::regprocedure::text,
        concat_ws(
            e'\\n', pg_get_functiondef(p.oid), p.proowner, obj_description(p.oid, 'pg_proc'),
            (select array_agg(a::text order by a::text) from unnest(p.proacl) as a)
        )
    from pg_proc as p
    where p.pronamespace = 'conveyor'::regnamespace
    union all
    select 'rights on the schema', (select array_agg(a::text order by a::text) from unnest(n.nspacl) as a)::text
    from pg_namespace as n
    where n.nspname = 'conveyor'
    union all
    select 'error code ' || e.sqlstate, e::text
    from conveyor.error_code as e
    union all
    select 'role ' || r.rolname, ''
    from pg_roles as r
    where starts_with(r.rolname, 'conveyor_')
"""


class Difference(NamedTuple):
    """`pending` is what an install would do, in words; `unknown` are migrations of a newer version."""

    pending: list[str]
    unknown: list[str]


def difference(conn: psycopg.Connection, db: Path = DB) -> Difference:
    """
    Compare the database with this version; changes nothing.

    Needs the rights of an installer, for it installs functions and grants, and rolls back: while that lasts, some
    tenths of a second, nobody but another installer waits. Pending migrations are not tried. Raises `psycopg.Error`
    when the server refuses.
    """
    known = migrations(db)
    with advised(conn), conn.transaction(force_rollback=True):
        conn.execute(LOCK)
        applied = _applied(conn)
        pending = [f"migration {name}" for name in known if name not in applied]
        unknown = [name for name in applied if name not in known]
        if not pending:
            before = _catalog(conn)
            install(conn, db)
            after = _catalog(conn)
            pending = sorted(name for name, _ in before ^ after)
    return Difference(list(dict.fromkeys(pending)), unknown)


def _applied(conn: psycopg.Connection) -> list[str]:
    if conn.execute("select to_regclass('conveyor.migration') is null").fetchone() == (True,):
        return []
    return [name for (name,) in conn.execute("select m.name from conveyor.migration as m order by m.name")]


def _catalog(conn: psycopg.Connection) -> set[tuple[str, str]]:
    return {(name, what) for name, what in conn.execute(CATALOG)}
