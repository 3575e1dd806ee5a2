"""What operators do to a queue that is at work: cancel, pause, purge, look, and ask why."""

from __future__ import annotations

import psycopg
import pytest

import sql
from sql import (
    Connect,
    add,
    answer,
    answer_one,
    attempts,
    claim,
    column,
    complete,
    configure,
    fill,
    ids,
    insert,
    maintain,
    row,
    value,
)

QUEUE = "conveyor.processing_queue"
NEXT = "is next in line"
LOCKED = "is locked by a transaction that is still open"


def cancel(conn: psycopg.Connection, record_ids: list[int], reason: str | None = None) -> int:
    return value(conn, "select conveyor.cancel_records(%s::bigint[], %s)", record_ids, reason)


def pause(conn: psycopg.Connection, flow: str) -> None:
    conn.execute("select conveyor.pause_flow(%s)", [flow])


def resume(conn: psycopg.Connection, flow: str) -> None:
    conn.execute("select conveyor.resume_flow(%s)", [flow])


def purge(conn: psycopg.Connection, flow: str, age: str = "0", limit: int = 10000) -> int:
    return value(conn, "select conveyor.purge_records(%s, %s::interval, %s)", flow, age, limit)


def why(conn: psycopg.Connection, record_id: int) -> str:
    return value(conn, "select conveyor.why_not_claimed(%s)", record_id)


def page(conn: psycopg.Connection, flow: str, after: int, limit: int) -> list[int]:
    return column(conn, "select id from conveyor.list_records(%s, null, %s, %s)", flow, after, limit)


def status(conn: psycopg.Connection, record_id: int) -> tuple[str, str | None]:
    found = row(conn, record_id)
    return found["status"], found["failure_kind"]


# Cancel


def test_the_holder_of_a_cancelled_record_learns_that_it_is_lost(connect: Connect) -> None:
    holder, operator = connect(), connect()
    add(holder, "f", 2)
    [kept, lost] = claim(holder, "f", 2, instance="worker-1")
    assert cancel(operator, [lost.id], "not wanted") == 1
    beats = sql.extend(holder, [kept, lost])
    assert beats[kept.id] is not None
    assert beats[lost.id] is None
    for verb in ("complete", "fail"):
        with pytest.raises(psycopg.DatabaseError) as raised:
            answer_one(holder, verb, lost)
        assert raised.value.sqlstate == "WQ001"
    assert answer(holder, "fail", [lost]) == answer(holder, "release", [lost]) == ["lost"]
    assert complete(holder, [kept, lost]) == ["done", "lost"]
    assert status(holder, lost.id) == ("failed", "cancelled")
    [attempt] = attempts(holder, lost.id)
    assert (attempt.outcome, attempt.error, attempt.flow_instance_id) == ("cancelled", "not wanted", "worker-1")


@pytest.mark.parametrize("verb", ["complete", "fail"])
def test_an_answer_that_is_just_being_committed_wins_over_cancel(connect: Connect, verb: str) -> None:
    holder, operator, watch = connect(), connect(), connect()
    add(holder, "f")
    held = claim(holder, "f")
    holder.execute("begin")
    assert answer(holder, verb, held) == ["done"]
    with sql.blocked(watch, operator, lambda: cancel(operator, ids(held))) as waiting:
        holder.execute("commit")
    assert waiting.result() == 0
    assert status(watch, held[0].id) == (("completed", None) if verb == "complete" else ("failed", "error"))
    assert [attempt.outcome for attempt in attempts(watch, held[0].id)] == ([] if verb == "complete" else ["failed"])


@pytest.mark.parametrize("verb", sql.VERBS)
def test_an_answer_that_is_rolled_back_loses_against_cancel(connect: Connect, verb: str) -> None:
    holder, operator, watch = connect(), connect(), connect()
    add(holder, "f")
    held = claim(holder, "f")
    holder.execute("begin")
    assert answer(holder, verb, held) == ["done"]
    with sql.blocked(watch, operator, lambda: cancel(operator, ids(held))) as waiting:
        holder.execute("rollback")
    assert waiting.result() == 1
    assert answer(holder, verb, held) == ["lost"]


def test_a_record_that_is_just_being_released_is_cancelled_as_pending(connect: Connect) -> None:
    holder, operator, watch = connect(), connect(), connect()
    add(holder, "f")
    held = claim(holder, "f")
    holder.execute("begin")
    assert sql.release(holder, held) == ["done"]
    with sql.blocked(watch, operator, lambda: cancel(operator, ids(held))) as waiting:
        holder.execute("commit")
    assert waiting.result() == 1
    assert status(watch, held[0].id) == ("failed", "cancelled")
    assert [attempt.outcome for attempt in attempts(watch, held[0].id)] == ["released"]
    assert sql.problems(watch) == []


def test_an_answer_waits_for_a_cancel_that_is_just_being_committed(connect: Connect) -> None:
    holder, operator, watch = connect(), connect(), connect()
    add(holder, "f")
    held = claim(holder, "f")
    operator.execute("begin")
    assert cancel(operator, ids(held)) == 1
    assert None not in sql.extend(holder, held).values(), "a heartbeat does not wait"
    with sql.blocked(watch, holder, lambda: complete(holder, held)) as waiting:
        operator.execute("commit")
    assert waiting.result() == ["lost"]


def test_cancels_and_answers_at_once_do_not_deadlock_and_each_record_ends_once(connect: Connect) -> None:
    sessions = [connect() for _ in range(4)]
    conn = sessions[0]
    for _ in range(5):
        add(conn, "f", 200)
        held = claim(conn, "f", 200)
        backwards = ids(held)[::-1]
        *cancelled, outcomes = sql.together(
            lambda b=backwards: cancel(sessions[1], b),
            lambda h=held: cancel(sessions[2], ids(h)),
            lambda h=held: complete(sessions[3], h),
        )
        assert sum(cancelled) + outcomes.count("done") == 200
    assert set(sql.counts(conn)) <= {"completed", "failed"}
    assert sql.problems(conn) == []


# Pause


def test_a_pause_holds_for_the_next_claim_and_leaves_claimed_work_alone(connect: Connect) -> None:
    worker, other, operator = connect(), connect(), connect()
    expected = add(operator, "f", 4)
    add(operator, "g")
    held = claim(worker, "f", 2)
    pause(operator, "f")
    assert claim(worker, "f") == claim(other, "f", 9) == []
    assert sql.value(other, "select conveyor.next_due_at('f') = 'infinity'")
    assert len(claim(other, "g")) == 1
    assert None not in sql.extend(worker, held).values()
    assert complete(worker, held[:1]) == sql.release(worker, held[1:]) == ["done"]
    assert claim(worker, "f", 9) == []
    resume(operator, "f")
    assert ids(claim(other, "f", 9)) == expected[1:]


def test_a_pause_waits_for_nobody_and_holds_once_it_commits(connect: Connect) -> None:
    worker, operator = connect(), connect(options="-c lock_timeout=500")
    add(operator, "f", 3)
    worker.execute("begin")
    assert len(claim(worker, "f")) == 1
    operator.execute("begin")
    pause(operator, "f")
    assert len(claim(worker, "f")) == 1, "not committed yet"
    operator.execute("commit")
    assert claim(worker, "f") == [], "within a transaction that began before it, as well"


# Purge


def test_purging_in_batches_beside_workers_takes_each_old_record_once(connect: Connect) -> None:
    sessions = [connect() for _ in range(4)]
    conn = sessions[0]
    fill(conn, "f", 2000)
    conn.execute(f"update {QUEUE} set status = 'completed', completed_at = now() - interval '8 days'")
    fill(conn, "f", 500)

    def purge_all(conn: psycopg.Connection) -> int:
        purged = 0
        while batch := purge(conn, "f", "7 days", 150):
            purged += batch
        return purged

    def work(conn: psycopg.Connection) -> int:
        done = 0
        while held := claim(conn, "f", 20):
            done += complete(conn, held).count("done")
        return done

    first, second, *done = sql.together(
        *(lambda c=c: purge_all(c) for c in sessions[:2]), *(lambda c=c: work(c) for c in sessions[2:])
    )
    assert first + second + purge_all(conn) == 2000  # each passes over what the other has locked
    assert sum(done) == 500
    assert sql.counts(conn) == {"completed": 500}
    assert sql.problems(conn) == []


def test_a_purge_never_waits_for_a_locked_record(connect: Connect) -> None:
    conn, other = connect(options="-c lock_timeout=500"), connect()
    old = {"status": "completed", "completed_at": "2020-01-01"}
    locked, free = insert(conn, "f", **old), insert(conn, "f", **old)
    other.execute("begin")
    other.execute(f"select from {QUEUE} where id = %s for update", [locked])
    assert purge(conn, "f") == 1
    other.execute("rollback")
    assert column(conn, f"select id from {QUEUE}") == [locked] != [free]


def test_a_purge_walks_its_index_past_what_a_source_reads_again(conn: psycopg.Connection) -> None:
    conn.execute(
        f"insert into {QUEUE} (flow_name, payload, status, dedup_key, completed_at) "
        "select 'f', '{}', 'completed', 'hub:' || n, clock_timestamp() - n * interval '1 hour' "
        "from generate_series(1, 20000) as n"
    )
    conn.execute("select conveyor.open_source('hub', 'f', 'id', '{}', 1000)")
    conn.execute("select conveyor.ingest_page('hub', 'f', 1, 20000, '[]', '{}')")
    conn.execute(f"vacuum analyze {QUEUE}")
    cost = sql.cost(conn, lambda: purge(conn, "f", "1 day", 100))
    assert cost.seq_scans == 0
    assert cost.pages < 600  # that of the 100 deleted, in each index, and what lies before them in one
    assert purge(conn, "f", "1 day", 20000) == 20000 - 1000 - 23 - 100


@pytest.mark.parametrize("purger", ["purge_records", "maintain"])
def test_a_dedup_key_may_be_added_again_after_a_purge(conn: psycopg.Connection, purger: str) -> None:
    query = "select conveyor.add_record('f', '{}', p_dedup_key => 'k')"
    first = value(conn, query)
    complete(conn, claim(conn, "f"))
    assert value(conn, query) == first
    if purger == "maintain":
        configure(conn, "f", retention=0)
        assert maintain(conn)["purged"] == 1
    else:
        assert purge(conn, "f") == 1
    assert value(conn, query) != first
    assert len(claim(conn, "f", 5)) == 1
