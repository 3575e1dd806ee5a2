"""Who may do what, as real logins: each calls every function and tries every table. ROLES is what is expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from test_conventions import FUNCTION_FILES, ROLES

# Arguments that do no harm.  A refusal that is the queue's own (no such record, a lost claim) is an answer too.
CALLS = {
    "add_record": "'f', '{}'",
    "add_records_to_queue": "'f', '[{}]'",
    "cancel_records": "array[0]::bigint[]",
    "check_client": "'{}'",
    "check_integrity": "",
    "claim_records_batch": "'f', 1",
    "cleanup_orphaned_records": "",
    "configure_flow": "'f', '{}'",
    "extend_leases": "array[0]::bigint[], array[0]::bigint[]",
    "forget_source": "'s', 'f'",
    "get_claim_summary": "array[0]::bigint[], array[0]::bigint[]",
    "get_queue_status": "",
    "get_record": "0",
    "health_check": "",
    "ingest_page": "'s', 'f', 1, 1, '[]', '{}'",
    "leave": "'{}', '{}', '{}'",
    "list_records": "'f'",
    "list_sleepers": "",
    "list_sources": "",
    "maintain": "",
    "mark_record_completed": "0, '{}', 0",
    "mark_record_failed": "0, 'error', 0",
    "mark_records_completed": "array[0]::bigint[], '[{}]', array[0]::bigint[]",
    "mark_records_failed": 'array[0]::bigint[], \'[{"error": "x"}]\', array[0]::bigint[]',
    "next_due_at": "'f'",
    "open_source": "'s', 'f', 'id', '{}'",
    "park": "'{}', '{}', '{}', '{}', null",
    "pause_flow": "'f'",
    "processing_diagnostics": "true, true",
    "processing_performance": "24, true",
    "purge_records": "'f', '1 day'",
    "queue_monitoring": "true",
    "release_records": "array[0]::bigint[], array[0]::bigint[]",
    "requeue_records": "array[0]::bigint[]",
    "reset_failed_records": "'f'",
    "reset_source": "'s', 'f'",
    "resume_flow": "'f'",
    "why_not_claimed": "0",
}

STRANGER = "nobody"  # a login that was granted none of the roles
FORBIDDEN = "42501"

# Sub-selects, because a strict function of a constant null is not called at all.
INTERNAL = """
    select p.proname, format(
        'select conveyor.%I(%s)', p.proname,
        (
            select string_agg(format('(select null::%s)', format_type(t.oid, null)), ', ')
            from unnest(p.proargtypes) as t (oid)
        )
    )
    from pg_proc as p
    where p.pronamespace = 'conveyor'::regnamespace and starts_with(p.proname, '_')
    order by p.proname
"""

# The last column, for the first of attempt is an identity that nobody may update.
TABLES = """
    select c.relname, (select max(a.attname) from pg_attribute as a where a.attrelid = c.oid and a.attnum = c.relnatts)
    from pg_class as c
    where c.relnamespace = 'conveyor'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    order by c.relname
"""
SEQUENCES = "select c.relname from pg_class as c where c.relnamespace = 'conveyor'::regnamespace and c.relkind = 'S'"


class Login(NamedTuple):
    role: str
    conn: psycopg.Connection

    def refusal(self, statement: str) -> psycopg.Error | None:
        """Of what the server said to a statement, the error. Nothing stays done."""
        try:
            with self.conn.transaction(force_rollback=True):
                self.conn.execute(statement.encode())
        except psycopg.Error as error:
            return error
        return None

    def code(self, statement: str) -> str:
        error = self.refusal(statement)
        return str(error.sqlstate) if error else ""

    def allowed(self, statements: list[str]) -> list[str]:
        return [statement for statement in statements if self.code(statement) != FORBIDDEN]


@pytest.fixture(params=[*ROLES, STRANGER])
def login(request: pytest.FixtureRequest, dsn: str, conn: psycopg.Connection) -> Iterator[Login]:
    """A session of a login role that has been granted one role of the queue, as the README advises."""
    user = f"{request.param}_{conn.info.dbname}"
    name = sql.Identifier(user)
    conn.execute(sql.SQL("create role {} login password 'secret'").format(name))
    if request.param != STRANGER:
        conn.execute(sql.SQL("grant {} to {}").format(sql.Identifier(request.param), name))
    with psycopg.connect(make_conninfo(dsn, user=user, password="secret"), autocommit=True) as own:
        assert own.execute("select session_user, current_user").fetchone() == (user, user)
        yield Login(request.param, own)
    conn.execute(sql.SQL("drop role {}").format(name))


def test_the_calls_are_of_every_public_function() -> None:
    assert set(CALLS) == {path.stem for path in FUNCTION_FILES if not path.stem.startswith("_")}


def test_it_may_call_what_is_declared_and_nothing_else(login: Login) -> None:
    said = {name: login.code(f"select * from conveyor.{name}({arguments})") for name, arguments in CALLS.items()}
    assert {name for name, code in said.items() if code != FORBIDDEN} == ROLES.get(login.role, set())
    # An allowed call does its work, or is refused by the queue itself.
    assert {name: code for name, code in said.items() if code not in ("", "WQ001", "WQ002", "22023", FORBIDDEN)} == {}


def test_it_may_call_no_internal_function(login: Login, conn: psycopg.Connection) -> None:
    calls = dict(conn.execute(INTERNAL).fetchall())
    assert len(calls) > 20
    said = {name: str(login.refusal(call)).splitlines()[0] for name, call in calls.items()}
    # Not what it reads: the function itself. A stranger does not get as far as that.
    what = "schema conveyor" if login.role == STRANGER else "function {}"
    assert said == {name: f"permission denied for {what.format(name)}" for name in calls}


def test_it_may_touch_no_table(login: Login, conn: psycopg.Connection) -> None:
    statements = []
    for table, column in conn.execute(TABLES):
        statements += [
            f"select from conveyor.{table}",
            f"insert into conveyor.{table} default values",
            f"update conveyor.{table} set {column} = null",
            f"delete from conveyor.{table}",
            f"truncate conveyor.{table}",
        ]
    for (sequence,) in conn.execute(SEQUENCES):
        statements += [f"select nextval('conveyor.{sequence}')", f"select last_value from conveyor.{sequence}"]
    assert len(statements) > 30
    assert login.allowed(statements) == []


def test_it_may_make_and_change_nothing_in_the_schema(login: Login) -> None:
    statements = [
        "create table conveyor.mine (n integer)",
        "create function conveyor.mine() returns integer language sql as 'select 1'",
        "create or replace function conveyor.maintain() returns jsonb language sql as 'select null::jsonb'",
        "create trigger mine after insert on conveyor.flow execute function suppress_redundant_updates_trigger()",
        "alter table conveyor.processing_queue add column mine integer",
        "drop function conveyor.maintain",
        "drop table conveyor.processing_queue cascade",
        "drop schema conveyor cascade",
        "set role conveyor_owner",
    ]
    assert login.allowed(statements) == []
