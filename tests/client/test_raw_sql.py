"""Raw SQL that the contract's readers write, and that must go on working beside the functions."""

from __future__ import annotations

import random

import psycopg
import pytest
from psycopg.types.json import Jsonb

import sql
from sql import VERBS, Connect, Record, add, attempts, claim, complete, fail, ids, insert, maintain, release, row, value

QUEUE = "conveyor.processing_queue"
RESET = f"update {QUEUE} set status = 'pending', flow_instance_id = null, claimed_at = null "
TAKE = f"""
    update {QUEUE} set status = 'processing', flow_instance_id = 'old worker', claimed_at = now()
    where id in (
        select id from {QUEUE} where flow_name = 'f' and status = 'pending'
        order by created_at limit 3 for update skip locked
    )
    returning id
"""


def test_two_columns_are_enough_to_enqueue(conn: psycopg.Connection) -> None:
    conn.execute(f"insert into {QUEUE} (flow_name, payload) values ('f', '{{\"n\": 1}}'), ('f', '{{\"n\": 2}}')")
    assert [(r.payload, r.retry_count) for r in claim(conn, "f", 9)] == [({"n": 1}, 0), ({"n": 2}, 0)]


def test_copy_enqueues(conn: psycopg.Connection) -> None:
    with conn.cursor().copy(f"copy {QUEUE} (flow_name, payload) from stdin") as copy:
        for n in range(500):
            copy.write_row(("f", f'{{"n": {n}}}'))
    assert [record.payload["n"] for record in claim(conn, "f", 500)] == list(range(500))


def test_records_go_out_by_created_at_also_one_given_by_hand(conn: psycopg.Connection) -> None:
    days = random.Random(1).sample(range(1, 29), 12)
    by_day = {day: insert(conn, "f", created_at=f"2020-02-{day:02} 00:00+00") for day in days}
    expected = [by_day[day] for day in sorted(days)] + add(conn, "f", 2)
    assert [ids(claim(conn, "f")) for _ in expected] == [[one] for one in expected]


def test_a_created_at_in_the_future_waits_until_then(conn: psycopg.Connection) -> None:
    later = insert(conn, "f", priority=9, created_at=value(conn, "select now() + interval '1 hour'"))
    [sooner] = add(conn, "f")
    assert ids(claim(conn, "f", 10)) == [sooner]
    conn.execute(f"update {QUEUE} set created_at = now() where id = %s", [later])
    assert ids(claim(conn, "f", 10)) == [later]


def test_an_update_of_priority_or_run_at_changes_the_order(conn: psycopg.Connection) -> None:
    first, second, third, fourth = add(conn, "f", 4)
    conn.execute(f"update {QUEUE} set priority = 3 where id = %s", [third])
    conn.execute(f"update {QUEUE} set run_at = now() - interval '1 day' where id = %s", [second])
    conn.execute(f"update {QUEUE} set run_at = now() + interval '1 day' where id = %s", [first])
    assert ids(claim(conn, "f", 10)) == [third, second, fourth]


def test_rows_may_be_inserted_in_any_status(conn: psycopg.Connection) -> None:
    made = {status: insert(conn, "f", status=status) for status in ("completed", "failed", "pending", "processing")}
    assert ids(claim(conn, "f", 9)) == [made["pending"]]
    status = value(conn, "select conveyor.get_queue_status('f')")["by_flow"]["f"]
    assert status == {"pending": 0, "processing": 2, "completed": 1, "failed": 1}
    assert value(conn, "select conveyor.reset_failed_records('f', 3)") == 1, "a failure without a kind is an error"
    assert ids(claim(conn, "f", 9)) == [made["failed"]]


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_can_answer_for_a_row_that_was_put_into_processing_by_hand(conn: psycopg.Connection, verb: str) -> None:
    record_id = insert(conn, "f", status="processing", claimed_at=value(conn, "select now()"))
    before = row(conn, record_id)
    for token in (None, 0, 1):
        assert sql.answer(conn, verb, [Record(record_id, token)]) == ["lost"]
        assert sql.extend(conn, [Record(record_id, token)]) == {record_id: None}
    assert row(conn, record_id) == before
    conn.execute(f"update {QUEUE} set claimed_at = now() - interval '61 minutes' where id = %s", [record_id])
    assert maintain(conn)["orphaned"] == 1
    assert [attempt.outcome for attempt in attempts(conn, record_id)] == ["orphaned"]
    assert ids(claim(conn, "f")) == [record_id]


def test_a_hand_made_row_may_be_orphaned_again_and_again(conn: psycopg.Connection) -> None:
    record_id = insert(conn, "f")
    for crashes in (1, 2, 3):
        conn.execute(f"update {QUEUE} set status = 'processing', claimed_at = now() - interval '1 day'")
        assert sql.cleanup(conn, 2) == 1
        assert (row(conn, record_id)["status"], row(conn, record_id)["crash_count"]) == ("pending", crashes)
    assert len(attempts(conn, record_id)) == 3


@pytest.mark.parametrize("was", ["processing", "expired", "completed", "failed", "released", "orphaned"])
def test_the_classic_reset_makes_any_record_claimable_with_a_new_token(connect: Connect, was: str) -> None:
    worker, operator = connect(), connect()
    add(worker, "f")
    held = claim(worker, "f")
    verb = {"completed": "complete", "failed": "fail", "released": "release"}.get(was)
    if verb:
        assert sql.answer(worker, verb, held) == ["done"]
    elif was != "processing":
        sql.expire(operator, ids(held))
        assert was == "expired" or maintain(operator)["orphaned"] == 1
    operator.execute(RESET + "where id = %s", ids(held))
    assert maintain(operator)["orphaned"] == 0, "a record that is pending is no orphan"
    again = claim(operator, "f")
    assert ids(again) == ids(held)
    assert again[0].claim_token != held[0].claim_token
    lost = {other: sql.answer(worker, other, held) for other in VERBS if other != verb}
    assert all(outcome == ["lost"] for outcome in lost.values())
    assert complete(operator, again) == ["done"]
    assert sql.problems(operator) == []


def test_the_operators_reset_of_stuck_records_leaves_the_others_alone(conn: psycopg.Connection) -> None:
    stuck, busy = add(conn, "f", 2)
    held = claim(conn, "f", 2)
    conn.execute(f"update {QUEUE} set claimed_at = now() - interval '2 hours' where id = %s", [stuck])
    conn.execute(RESET + "where status = 'processing' and claimed_at < now() - interval '1 hour'")
    assert ids(claim(conn, "f", 2)) == [stuck]
    assert complete(conn, held) == ["lost", "done"]
    assert row(conn, busy)["status"] == "completed"


def test_an_old_worker_in_raw_sql_shares_the_queue(connect: Connect) -> None:
    """It claims, completes and fails as the contract's own code did; neither takes what the other has."""
    old, new = connect(), connect()
    expected = add(new, "f", 9)
    old.execute("begin")
    assert sorted(sql.column(old, TAKE)) == expected[:3]
    mine = claim(new, "f", 3)
    assert ids(mine) == expected[3:6]
    assert sorted(sql.column(old, TAKE)) == expected[6:]
    old.execute("commit")
    assert (
        complete(new, [Record(i, mine[0].claim_token) for i in expected]) == ["lost"] * 3 + ["done"] * 3 + ["lost"] * 3
    )
    done = f"update {QUEUE} set status = 'completed', payload = '{{}}', completed_at = now() where id = any (%s)"
    old.execute(done, [expected[:3]])
    failed = (
        f"update {QUEUE} set status = 'failed', error_message = 'no', retry_count = retry_count + 1 where id = any (%s)"
    )
    old.execute(failed, [expected[6:]])
    assert maintain(new)["orphaned"] == 0
    assert value(new, "select conveyor.reset_failed_records('f', 1)") == 0
    assert value(new, "select conveyor.reset_failed_records('f', 2)") == 3
    assert [(r.id, r.retry_count) for r in claim(new, "f", 9)] == [(i, 1) for i in expected[6:]]


def test_an_old_worker_may_complete_what_failed_before_and_was_reset(conn: psycopg.Connection) -> None:
    [record_id] = add(conn, "f")
    assert fail(conn, claim(conn, "f")) == ["done"]
    conn.execute(RESET)
    assert sql.column(conn, TAKE) == [record_id]
    conn.execute(f"update {QUEUE} set status = 'completed', payload = '{{}}', completed_at = now()")
    assert sql.problems(conn) == [], "it was answered once, not twice"


def test_a_raw_claim_of_a_record_answered_before_cannot_be_answered_with_the_old_token(
    conn: psycopg.Connection,
) -> None:
    add(conn, "f", 2)
    released, failed = held = claim(conn, "f", 2)
    assert [release(conn, [released]), fail(conn, [failed])] == [["done"], ["done"]]
    conn.execute(f"update {QUEUE} set status = 'processing', flow_instance_id = 'old worker', claimed_at = now()")
    assert complete(conn, held) == ["lost", "lost"]
    assert sql.extend(conn, held) == dict.fromkeys(ids(held))
    assert sql.counts(conn) == {"processing": 2}


@pytest.mark.parametrize("how", ["delete from", "truncate", "truncate table only", "truncate restart identity"])
def test_rows_may_be_deleted_and_their_tokens_are_worth_nothing(conn: psycopg.Connection, how: str) -> None:
    add(conn, "f", 2)
    held = claim(conn, "f", 2)
    command, _, option = how.partition(" restart")
    conn.execute(f"{command} {QUEUE}" + (" restart identity" if option else ""))
    assert complete(conn, held) == ["lost", "lost"]
    with pytest.raises(psycopg.Error, check=lambda error: error.sqlstate == "WQ002"):
        sql.answer_one(conn, "fail", held[0])
    again = add(conn, "f", 2)
    assert (again == ids(held)) == bool(option)
    fresh = claim(conn, "f", 2)
    assert fresh[0].claim_token > held[0].claim_token, "tokens are not repeated even where ids are"
    assert complete(conn, held) == ["lost", "lost"]
    assert complete(conn, fresh) == ["done", "done"]


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "done"},
        {"flow_name": ""},
        {"flow_name": " \t"},
        {"flow_name": "x" * 101},
        {"retry_count": -1},
        {"crash_count": -1},
        {"failure_kind": "unknown"},
    ],
    ids=str,
)
def test_only_what_would_break_the_queue_is_refused(conn: psycopg.Connection, columns: dict[str, object]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(conn, **({"flow": "f"} | columns))
    assert insert(conn, "x" * 100, retry_count=99, error_message="", priority=-32768)


@pytest.mark.parametrize("status", ["pending", "completed", "failed"])
def test_what_was_settled_by_hand_is_not_overwritten_by_its_holder(conn: psycopg.Connection, status: str) -> None:
    [record_id] = add(conn, "f")
    held = claim(conn, "f")
    conn.execute(f"update {QUEUE} set status = %s, payload = %s", [status, Jsonb({"by": "hand"})])
    assert sql.extend(conn, held) == {record_id: None}
    # To its holder a completion by hand is its own: it is told so, and changes nothing.
    assert complete(conn, held) == ["repeated" if status == "completed" else "lost"]
    assert [fail(conn, held), release(conn, held)] == [["lost"]] * 2
    assert conn.execute(f"select status, payload, input, retry_count from {QUEUE}").fetchall() == [
        (status, {"by": "hand"}, None, 0)
    ]
