"""ANY_LANGUAGE.md is true: its snippets run as they stand, its signatures are the catalog's, its role is enough."""

from __future__ import annotations

import re
import textwrap

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
from documents import ROOT, blocks, filled
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

PAGE = "ANY_LANGUAGE.md"
PRODUCE, GRANT = blocks(PAGE, "sql")
SIGNATURES, WORK = blocks(PAGE, "plaintext")

CALLABLE = """
    select format('%s(%s) → %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid))
    from pg_proc as p
    where p.pronamespace = 'conveyor'::regnamespace and has_function_privilege('conveyor_worker', p.oid, 'execute')
"""


def plain(signature: str) -> str:
    """As the page writes it."""
    for pattern, written in [
        (r"timestamp with time zone", "timestamptz"),
        (r" DEFAULT NULL::\w+(\[\])?", " = null"),
        (r" DEFAULT ", " = "),
        (r"TABLE\(", "table ("),
        (r"\s+", " "),
        (r"(?<=\() | (?=\))", ""),
    ]:
        signature = re.sub(pattern, written, signature)
    return signature.strip()


def test_its_signatures_are_all_that_a_worker_may_call(conn: psycopg.Connection) -> None:
    shown = re.split(r"\n(?=\w)", SIGNATURES.strip())
    assert sorted(map(plain, shown)) == sorted(map(plain, sql.column(conn, CALLABLE)))


def test_what_it_shows_of_adding_is_accepted(conn: psycopg.Connection) -> None:
    conn.execute(PRODUCE)
    conn.execute(PRODUCE)
    keys = "select dedup_key from conveyor.processing_queue order by id"
    assert sql.column(conn, keys) == ["ada", "alan", None, None], "what has a key is added once"


@pytest.mark.parametrize(
    ("block", "status"),
    list(zip(blocks(PAGE, "text"), ["completed", "completed", "failed", "processing"], strict=True)),
    ids=lambda value: value.split("(")[0][-30:],
)
def test_the_calls_it_shows_are_accepted(conn: psycopg.Connection, block: str, status: str) -> None:
    conn.execute("create table booking (record_id bigint, name text)")
    sql.add(conn, "greetings")
    [record] = sql.claim(conn, "greetings")
    block = block.replace("BACKEND", str(conn.info.backend_pid))
    conn.execute(filled(block, record.id, record.claim_token))
    assert sql.row(conn, record.id)["status"] == status


def test_a_lost_claim_undoes_what_was_written_with_the_answer(conn: psycopg.Connection) -> None:
    conn.execute("create table booking (record_id bigint, name text)")
    sql.add(conn, "greetings")
    [record] = sql.claim(conn, "greetings")
    conn.execute("select conveyor.cancel_records(%s)", [[record.id]])
    [block] = [block for block in blocks(PAGE, "text") if "insert" in block]
    with pytest.raises(psycopg.DatabaseError) as raised:
        conn.execute(filled(block, record.id, record.claim_token))
    conn.execute("rollback")
    assert raised.value.sqlstate == "WQ001"
    assert sql.column(conn, "select name from booking") == []


@pytest.mark.parametrize(
    ("end", "outcome", "status"), [("commit", "lost", "completed"), ("rollback", "done", "pending")]
)
def test_a_release_settles_whether_an_answer_was_committed(
    connect: sql.Connect, end: str, outcome: str, status: str
) -> None:
    before, after = connect(), connect()
    record = sql.one(before)
    before.execute("begin")
    sql.answer_one(before, "complete", record)
    before.execute(end)
    assert sql.release(after, [record]) == [outcome]
    assert sql.row(after, record.id)["status"] == status


def test_its_login_role_may_work_and_nothing_else(embedded: EmbeddedServer) -> None:
    dsn = embedded.ensure_database("rpa_db")
    with psycopg.connect(dsn) as owner:
        install(owner)
        owner.execute(GRANT)
    given = re.search(r"role (\w+) login password '(.*)'", GRANT)
    assert given
    with psycopg.connect(make_conninfo(dsn, user=given[1], password=given[2]), autocommit=True) as app:
        sql.add(app, "greetings", 2)
        done, back = sql.claim(app, "greetings", 2)
        assert all(sql.extend(app, [done, back]).values())
        assert (sql.complete(app, [done]), sql.release(app, [back]), sql.maintain(app)["worked"]) == (
            ["done"],
            ["done"],
            True,
        )
        for refused in [
            "select from conveyor.processing_queue",
            "delete from conveyor.attempt",
            "select conveyor.requeue_records('{1}')",
            "select conveyor.cancel_records('{1}')",
            "create table conveyor.mine ()",
            "select nextval('conveyor.claim_token')",
            "set role conveyor_owner",
        ]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(refused)


def test_the_work_it_shows_is_that_of_the_script() -> None:
    script = (ROOT / "scripts/psql_worker/greetings.sql").read_text()
    assert textwrap.indent(WORK, "    ") in script
