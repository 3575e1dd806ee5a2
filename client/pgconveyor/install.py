"""Install or upgrade the queue: the files of `db/install.sql`, in its order, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

__all__ = ["advised", "install", "migrations", "refuse_newer", "set_search_path"]

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

# Any database may be asked, with the queue or without.
IS_CHECKED = """
    select
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = 'conveyor'
        and p.proname = 'check_client'
        and has_schema_privilege(n.oid, 'usage')
        and has_function_privilege(p.oid, 'execute')
"""

CHECK = "select conveyor.check_client(p_migrations => %s::text[])"

# Who holds what an installer waits for, the oldest transaction first.
HOLDER = """
    select a.pid, a.application_name, a.state, extract(epoch from clock_timestamp() - a.xact_start)::integer
    from pg_locks as l
    left join pg_class as c on c.oid = l.relation
    join pg_stat_activity as a on a.pid = l.pid
    where l.database = (select d.oid from pg_database as d where d.datname = current_database())
        and l.granted
        and l.pid <> pg_backend_pid()
        and (
            c.relnamespace = to_regnamespace('conveyor')
            or c.oid = to_regclass(%s)
            or l.locktype = 'advisory'
            and l.classid::bigint << 32 | l.objid::bigint = hashtextextended('conveyor.install', 0)
        )
    order by a.xact_start
    limit 1
"""

_MIGRATION = re.compile(r"^\\set migration (\w+)$", re.M)
_INCLUDE = re.compile(r"^\\ir (\S+\.sql)$")


def install(conn: psycopg.Connection, db: Path = DB, *, adopt: str | None = None, timezone: str = "UTC") -> list[str]:
    """
    Bring the database up to date; running it again changes nothing.

    Works on an idle connection, in one transaction: all of it, or nothing. `adopt` names a table whose records are
    moved over, its times read in `timezone` (see db/adopt.sql). Returns the names of the migrations that were
    pending. Raises `psycopg.Error` when the server refuses, with a note that says what to do where that is known;
    nothing is left behind.
    """
    applied: list[str] = []
    migration = ""
    with advised(conn, adopt), conn.transaction():
        _set(conn, "conveyor.adopt", adopt or "")
        _set(conn, "conveyor.adopt_timezone", timezone)
        for line in _manifest(db).splitlines():
            if found := _MIGRATION.match(line):
                migration = found[1]
            elif found := _INCLUDE.match(line):
                match found[1]:
                    case "apply_migration.sql":
                        applied += _apply(conn, db, migration)
                    case "check_known.sql":
                        conn.execute(CHECK, [migrations(db)])
                    case path:
                        conn.execute((db / path).read_bytes())
    return applied


def migrations(db: Path = DB) -> list[str]:
    """The names of the migrations that this version knows, in order."""
    return _MIGRATION.findall(_manifest(db))


def refuse_newer(conn: psycopg.Connection) -> None:
    """Raise `ClientOutdated` when the database has a breaking migration that this version does not know."""
    if conn.execute(IS_CHECKED).fetchone() is not None:
        conn.execute(CHECK, [migrations()])


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


def _manifest(db: Path) -> str:
    return (db / "install.sql").read_text(encoding="utf-8")


def _set(conn: psycopg.Connection, name: str, value: str) -> None:
    conn.execute("select set_config(%s, %s, true)", [name, value])


def _apply(conn: psycopg.Connection, db: Path, migration: str) -> list[str]:
    known = "select from conveyor.migration where name = %s"
    if conn.execute(known, [migration]).fetchone() is not None:
        return []
    conn.execute((db / "migrations" / f"{migration}.sql").read_bytes())
    conn.execute("insert into conveyor.migration (name) values (%s) on conflict do nothing", [migration])
    return [migration]


@contextmanager
def advised(conn: psycopg.Connection, adopt: str | None = None) -> Iterator[None]:
    """Add to an error what somebody has to do about it, where the server's own hint does not say."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        if exc.diag.message_hint is None and conn.info.transaction_status is TransactionStatus.IDLE:
            exc.add_note(_who_holds(conn, adopt))
        raise
    except psycopg.errors.InsufficientPrivilege as exc:
        if exc.diag.message_hint is None:
            exc.add_note("Install as the owner of the database and of the queue, or as a superuser.")
        raise


def _who_holds(conn: psycopg.Connection, adopt: str | None) -> str:
    with conn.transaction():
        holder = conn.execute(HOLDER, [adopt or "conveyor.processing_queue"]).fetchone()
    if holder is None:
        return "Another session held a lock that was needed: try again."
    pid, application, state, seconds = holder
    return (
        f"Session {pid} ({application or 'no name'}, {state}, in its transaction for {seconds} s) holds a lock:"
        f" try again when it has ended, or end it: select pg_terminate_backend({pid})"
    )
