"""Who gets which record, and in which order."""

from __future__ import annotations

import random
from datetime import timedelta

import psycopg
import pytest

import sql
from sql import Connect, Record, add, claim, cost, fill, ids, insert, value


def test_claimers_that_hammer_a_flow_never_hold_the_same_record(connect: Connect) -> None:
    """If two held one record, the token of the first would be dead, and its answer lost."""
    total, completed = 1500, []
    fill(connect(), "f", total)

    def work(conn: psycopg.Connection, seed: int) -> None:
        dice = random.Random(seed)
        while len(completed) < total:
            verb = dice.choice(["complete", "complete", "complete", "release", "roll back"])
            conn.execute("begin")
            records = claim(conn, "f", dice.choice([1, 2, 7, 30]))
            conn.execute("rollback" if verb == "roll back" else "commit")
            if verb != "roll back":
                assert sql.answer(conn, verb, records) == ["done"] * len(records)
            completed.extend(ids(records) if verb == "complete" else [])

    sessions = [connect() for _ in range(8)]
    sql.together(*(lambda c=c, s=s: work(c, s) for s, c in enumerate(sessions)))
    assert len(completed) == len(set(completed)) == total
    assert (sql.counts(sessions[0]), sql.problems(sessions[0])) == ({"completed": total}, [])


def test_an_open_claim_is_passed_over_not_waited_for(connect: Connect) -> None:
    first, second, third = connect(), connect(), connect(options="-c lock_timeout=500")
    expected = add(first, "f", 8)
    first.execute("begin")
    second.execute("begin")
    assert ids(claim(first, "f", 3)) == expected[:3]
    assert ids(claim(second, "f", 3)) == expected[3:6]
    assert ids(claim(third, "f", 10)) == expected[6:]
    assert claim(third, "f", 10) == []
    second.execute("rollback")
    assert ids(claim(third, "f", 10)) == expected[3:6]


@pytest.mark.parametrize("off", ["hashjoin material hashagg sort", "hashjoin mergejoin material", "nestloop indexscan"])
def test_a_claim_never_hands_out_more_than_asked_whatever_the_plan(conn: psycopg.Connection, off: str) -> None:
    conn.execute("alter table conveyor.processing_queue set (autovacuum_enabled = off)")
    expected = add(conn, "f", 1)
    conn.execute("analyze conveyor.processing_queue")
    expected += add(conn, "f", 1500)
    for kind in off.split():
        conn.execute(f"set enable_{kind} = off")
    for n in (5, 1, 1, 1, 1, 1, 1, 7, 100):
        assert ids(claim(conn, "f", n)) == expected[:n]
        del expected[:n]
    assert sql.counts(conn) == {"processing": 118, "pending": len(expected)}


def test_a_batch_is_in_order_priority_first_then_due_time_then_id(conn: psycopg.Connection) -> None:
    dice, rows = random.Random(2), []
    for _ in range(60):
        rank, created, run = dice.choice([32768, 1, 0, -3, -32767]), dice.randrange(1, 5), dice.choice([None, 1, 2, 9])
        at, run_at = (day and f"2020-01-{day:02} 00:00+00" for day in (created, run))
        rows.append((rank, run or created, insert(conn, "f", priority=-rank, created_at=at, run_at=run_at)))
    expected = [row[2] for row in sorted(rows)]
    for n in (1, 7, 2, 30, 100):
        assert ids(claim(conn, "f", n)) == expected[:n]
        del expected[:n]


def test_a_hundred_thousand_delayed_records_above_are_not_walked(conn: psycopg.Connection) -> None:
    conn.execute("alter table conveyor.processing_queue set (autovacuum_enabled = off)")
    for priority, n in ((9, 60_000), (8, 20_000), (0, 20_000)):
        fill(conn, "f", n, priority=priority, due="now() + interval '1 day' + g.n * interval '1 second'")
    expected = add(conn, "f", 20) + add(conn, "f", 2, priority=-1)
    for n in (1, 1, 10, 100):
        got: list[Record] = []
        read = cost(conn, lambda n=n, got=got: got.extend(claim(conn, "f", n)))
        assert ids(got) == expected[:n]
        assert read.pending <= 60 + len(got)
        assert read.pages <= 120 + 15 * len(got)
        assert cost(conn, lambda: sql.next_due_at(conn, "f")).pending <= 60
        del expected[:n]
    assert value(conn, "select %s - clock_timestamp()", sql.next_due_at(conn, "f")) > timedelta(hours=23)


def test_an_empty_queue_hands_out_nothing_and_other_flows_are_left_alone(conn: psycopg.Connection) -> None:
    others = add(conn, "F") + add(conn, "f ") + add(conn, "ff")
    assert (claim(conn, "f", 10), sql.next_due_at(conn, "f")) == ([], None)
    assert [ids(claim(conn, flow, 10)) for flow in ("F", "f ", "ff")] == [[other] for other in others]
