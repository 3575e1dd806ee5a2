"""What operators see of a queue that is at work: why a record is not claimed, and pages of records."""

from __future__ import annotations

import psycopg
import pytest

import sql
from sql import Connect, add, claim, column, complete, fill, ids, value

QUEUE = "conveyor.processing_queue"
NEXT = "is next in line"
LOCKED = "is locked by a transaction that is still open"


def why(conn: psycopg.Connection, record_id: int) -> str:
    return value(conn, "select conveyor.why_not_claimed(%s)", record_id)


def page(conn: psycopg.Connection, flow: str, after: int, limit: int) -> list[int]:
    return column(conn, "select id from conveyor.list_records(%s, null, %s, %s)", flow, after, limit)


@pytest.mark.parametrize(
    "lock",
    [
        "select from conveyor.claim_records_batch('f', 1)",
        f"select from {QUEUE} for update",
        f"select from {QUEUE} for share",
        f"update {QUEUE} set priority = 5",
        f"update {QUEUE} set status = 'failed'",
        f"delete from {QUEUE}",
        "select conveyor.cancel_records(array(select id from conveyor.processing_queue))",
    ],
)
@pytest.mark.parametrize("end", ["rollback", "prepare"])
def test_a_record_that_another_session_has_locked_says_so(connect: Connect, lock: str, end: str) -> None:
    conn, other = connect(options="-c lock_timeout=500"), connect()
    [record_id] = add(conn, "f")
    other.execute("begin")
    other.execute(lock)
    if end == "prepare":
        other.execute(f"prepare transaction 'why-{other.info.dbname}'")
    try:
        assert claim(conn, "f") == [], "nor is it claimed"
        assert LOCKED in why(conn, record_id)
    finally:
        other.execute(f"rollback prepared 'why-{other.info.dbname}'" if end == "prepare" else "rollback")
    assert NEXT in why(conn, record_id)


def test_the_sentence_is_that_of_the_moment(connect: Connect) -> None:
    conn, other = connect(), connect()
    first, second = add(conn, "f", 2)
    assert NEXT in why(conn, first)
    assert "behind 1 " in why(conn, second)
    held = claim(other, "f", instance="worker-7")
    assert "worker-7" in why(conn, first)
    assert NEXT in why(conn, second)
    complete(other, held)
    assert "was completed" in why(conn, first)


def test_to_ask_why_keeps_nobody_from_claiming(connect: Connect) -> None:
    conn, other = connect(), connect()
    [record_id] = add(conn, "f")
    conn.execute("begin")
    assert NEXT in why(conn, record_id)
    assert ids(claim(other, "f")) == [record_id], "though the one who asked has not ended its transaction"
    conn.execute("commit")


def test_one_may_ask_why_in_a_transaction_that_only_reads(conn: psycopg.Connection) -> None:
    [record_id] = add(conn, "f")
    conn.execute("begin read only")
    assert NEXT in why(conn, record_id)
    conn.execute("commit")


def test_pages_show_each_record_once_while_others_are_added_answered_and_deleted(connect: Connect) -> None:
    reader, writer = connect(), connect()
    old = add(writer, "f", 100)
    add(writer, "g", 3)
    seen: list[int] = []
    while found := page(reader, "f", seen[-1] if seen else 0, 7):
        seen += found
        if len(seen) < 150:
            fill(writer, "f", 5, priority=9, due="'2000-01-01'")
            complete(writer, claim(writer, "f", 3))
            writer.execute(f"delete from {QUEUE} where id = %s", [seen[0]])
    assert seen == sorted(set(seen))
    assert set(old) <= set(seen)
    assert set(column(writer, f"select id from {QUEUE} where flow_name = 'f'")) <= set(seen)


def test_a_page_shows_what_is_committed(connect: Connect) -> None:
    reader, writer = connect(), connect()
    [first] = add(writer, "f")
    writer.execute("begin")
    [second] = add(writer, "f")
    assert page(reader, "f", 0, 10) == [first]
    writer.execute("commit")
    assert page(reader, "f", first, 10) == [second]
    assert sql.problems(reader) == []
