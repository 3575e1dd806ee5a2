"""What an answer with an old, a repeated or a contested token does: nothing, and it says so."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import permutations

import psycopg
import pytest

import sql
from sql import VERBS, Connect, Record, add, attempts, claim, complete, extend, fail, ids, one, row, value

QUEUE = "conveyor.processing_queue"
RAISING = ["complete", "fail"]
each_verb = pytest.mark.parametrize("verb", VERBS)


def reap(conn: psycopg.Connection, record: Record) -> None:
    sql.expire(conn, [record.id])
    assert sql.maintain(conn)["orphaned"] == 1


def everything(conn: psycopg.Connection, record: Record) -> object:
    return row(conn, record.id), attempts(conn, record.id)


def assert_refused(conn: psycopg.Connection, verb: str, record: Record) -> None:
    before = everything(conn, record)
    assert sql.answer(conn, verb, [record]) == ["lost"]
    assert extend(conn, [record]) == {record.id: None}
    if verb in RAISING:
        with pytest.raises(psycopg.Error, check=lambda error: error.sqlstate == "WQ001"):
            sql.answer_one(conn, verb, record)
    assert everything(conn, record) == before


@each_verb
@pytest.mark.parametrize("since", ["reaped", "claimed by another", "claimed by the same", "answered by another"])
def test_a_stale_token_changes_nothing(connect: Connect, verb: str, since: str) -> None:
    conn, other = connect(), connect()
    stale = one(conn)
    reap(other, stale)
    if since != "reaped":
        [fresh] = claim(conn if since == "claimed by the same" else other, "f")
        assert fresh.claim_token > stale.claim_token
    if since == "answered by another":
        assert sql.answer(other, verb, [fresh]) == ["done"]
    assert_refused(conn, verb, stale)


@each_verb
def test_a_lease_that_ended_is_good_until_somebody_takes_the_record_back(conn: psycopg.Connection, verb: str) -> None:
    record = one(conn)
    sql.expire(conn, [record.id], "1 day")
    assert sql.answer(conn, verb, [record]) == ["done"]
    assert sql.maintain(conn)["orphaned"] == 0


@each_verb
def test_a_bulk_verb_keeps_the_neighbours_of_a_lost_record(conn: psycopg.Connection, verb: str) -> None:
    add(conn, "f", 4)
    mine = claim(conn, "f", 4)
    reap(conn, mine[1])
    unknown = Record(10**12, mine[0].claim_token)
    outcomes = sql.answer(conn, verb, [unknown, mine[3], mine[1], mine[0]._replace(claim_token=1), mine[2]])
    assert outcomes == ["lost", "done", "lost", "lost", "done"]
    assert row(conn, mine[0].id)["status"] == "processing"
    if verb in RAISING:
        with pytest.raises(psycopg.Error, check=lambda error: error.sqlstate == "WQ002"):
            sql.answer_one(conn, verb, unknown)


@pytest.mark.parametrize(
    ("verb", "by_now"),
    [(verb, "as it was") for verb in VERBS]
    + [(verb, by_now) for verb in ("fail", "release") for by_now in ("pending", "claimed again", "completed")],
)
def test_the_same_answer_is_accepted_again_and_changes_nothing(connect: Connect, verb: str, by_now: str) -> None:
    conn, other = connect(), connect()
    record = one(conn)
    assert sql.answer(conn, verb, [record]) == ["done"]
    if verb == "fail" and by_now != "as it was":
        assert value(conn, "select conveyor.reset_failed_records('f', 3)") == 1
    again = claim(other, "f") if by_now in ("claimed again", "completed") else []
    if by_now == "completed":
        assert complete(other, again) == ["done"]
    before = everything(conn, record)
    assert [sql.answer(session, verb, [record]) for session in (conn, other)] == [["repeated"], ["repeated"]]
    if verb in RAISING:
        sql.answer_one(conn, verb, record)
    assert everything(conn, record) == before


def test_a_repeated_failure_is_charged_once_also_when_the_flow_retries(conn: psycopg.Connection) -> None:
    sql.configure(conn, "f", retry_delay="0 s", max_retries=None)
    record = one(conn)
    assert fail(conn, [record]) == ["done"]
    [again] = claim(conn, "f")
    assert fail(conn, [record]) == ["repeated"]
    assert fail(conn, [record, again]) == ["repeated", "done"]
    assert fail(conn, [again, record]) == ["repeated", "repeated"]
    assert row(conn, record.id)["retry_count"] == len(attempts(conn, record.id)) == 2


def test_the_first_of_two_results_stays(conn: psycopg.Connection) -> None:
    record = one(conn)
    assert complete(conn, [record], {"answer": 1}) == ["done"]
    assert complete(conn, [record], {"answer": 2}) == ["repeated"]
    assert row(conn, record.id)["payload"] == {"answer": 1}
    assert row(conn, record.id)["input"] == record.payload


@pytest.mark.parametrize(("first", "second"), list(permutations(VERBS, 2)))
def test_a_different_late_answer_is_refused(conn: psycopg.Connection, first: str, second: str) -> None:
    record = one(conn)
    assert sql.answer(conn, first, [record]) == ["done"]
    assert_refused(conn, second, record)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("second", VERBS)
@pytest.mark.parametrize("first", VERBS)
def test_of_two_answers_at_once_the_second_waits_and_knows(connect: Connect, first: str, second: str, end: str) -> None:
    one_session, other, watch = connect(), connect(), connect()
    record = one(one_session)
    one_session.execute("begin")
    assert sql.answer(one_session, first, [record]) == ["done"]
    with sql.blocked(watch, other, lambda: sql.answer(other, second, [record])) as waiting:
        one_session.execute(end)
    known = "repeated" if first == second else "lost"
    assert waiting.result() == [known if end == "commit" else "done"]
    assert len(attempts(watch, record.id)) == ((first if end == "commit" else second) != "complete")


@each_verb
def test_the_reaper_passes_over_an_answer_in_progress(connect: Connect, verb: str) -> None:
    worker, reaper = connect(), connect(options="-c lock_timeout=500")
    record = one(worker)
    sql.expire(worker, [record.id])
    worker.execute("begin")
    assert sql.answer(worker, verb, [record]) == ["done"]
    assert sql.maintain(reaper)["orphaned"] == 0
    assert sql.cleanup(reaper) == sql.cleanup(reaper, 0.001) == 0
    worker.execute("commit")
    assert sql.maintain(reaper)["orphaned"] == sql.cleanup(reaper) == 0
    assert row(reaper, record.id)["crash_count"] == 0


@each_verb
@pytest.mark.parametrize(("end", "outcome"), [("commit", "lost"), ("rollback", "done")])
def test_an_answer_waits_for_the_reaper(connect: Connect, verb: str, end: str, outcome: str) -> None:
    worker, reaper, watch = connect(), connect(), connect()
    record = one(worker)
    reaper.execute("begin")
    reap(reaper, record)
    with sql.blocked(watch, worker, lambda: sql.answer(worker, verb, [record])) as waiting:
        reaper.execute(end)
    assert waiting.result() == [outcome]


def test_a_heartbeat_does_not_wait_for_an_open_completion(connect: Connect) -> None:
    """The handler completes in its own transaction, and the worker's other thread extends all it holds."""
    handler, heart = connect(), connect(options="-c lock_timeout=500")
    add(handler, "f", 3)
    held = claim(handler, "f", 3)
    handler.execute("begin")
    assert complete(handler, [held[1]]) == ["done"]
    leases = extend(heart, held, timedelta(hours=5))
    gained = [leases[record.id] - record.lease_expires_at for record in held]
    assert gained[1] == timedelta() < timedelta(hours=3) < min(gained[0], gained[2])
    assert [bool(row(heart, record.id)["heartbeat_at"]) for record in held] == [True, False, True]
    handler.execute("commit")
    assert extend(heart, held)[held[1].id] is None


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_completion_and_business_write_happen_together_or_not_at_all(connect: Connect, end: str) -> None:
    conn, watch = connect(), connect()
    conn.execute("create table business (record_id bigint)")
    record = one(conn)
    conn.execute("begin")
    conn.execute("insert into business values (%s)", [record.id])
    sql.answer_one(conn, "complete", record)
    assert row(watch, record.id)["status"] == "processing"
    conn.execute(end)
    done = end == "commit"
    assert row(watch, record.id)["status"] == ("completed" if done else "processing")
    assert value(watch, "select count(*) from business") == done
    assert complete(watch, [record]) == ["repeated" if done else "done"]


def test_a_claim_that_is_rolled_back_never_was(conn: psycopg.Connection) -> None:
    [record_id] = add(conn, "f")
    before = row(conn, record_id)
    conn.execute("begin")
    [claimed] = claim(conn, "f")
    conn.execute("rollback")
    assert row(conn, record_id) == before
    for verb in VERBS:
        assert_refused(conn, verb, claimed)


@each_verb
@pytest.mark.parametrize("work_mem", ["4MB", "64kB"])
def test_bulk_verbs_lock_in_id_order_so_that_none_deadlock(connect: Connect, verb: str, work_mem: str) -> None:
    conn, up, watch, down = connect(), connect(), connect(), connect(options=f"-c work_mem={work_mem}")
    add(conn, "f", 300)
    conn.execute(f"update {QUEUE} set payload = jsonb_build_object('text', repeat('x', 1000))")
    held = sorted(claim(conn, "f", 300))
    conn.execute("begin")
    conn.execute(f"select from {QUEUE} where id = %s for update", [held[150].id])
    with sql.blocked(watch, down, lambda: sql.answer(down, verb, held[::-1])) as first:
        free = sql.column(watch, f"select id from {QUEUE} for update skip locked")
        with sql.blocked(watch, up, lambda: sql.answer(up, verb, held)) as second:
            conn.execute("commit")
    assert {tuple(first.result()), tuple(second.result())} == {("done",) * 300, ("repeated",) * 300}
    assert sorted(free) == ids(held[151:]), "it holds what comes before the locked record, and nothing else"


def test_stricter_isolation_may_fail_with_40001_and_with_nothing_else(connect: Connect) -> None:
    sessions = [connect() for _ in range(6)]
    sql.configure(sessions[0], "f", retry_delay="0 s", max_retries=None, crash_budget=None)
    add(sessions[0], "f", 60)

    def work(conn: psycopg.Connection, seed: int, level: str) -> int:
        dice, failed = random.Random(seed), 0
        for _ in range(60):
            try:
                with conn.transaction():
                    conn.execute(f"set transaction isolation level {level}")
                    held = claim(conn, "f", dice.randrange(1, 9))
                    extend(conn, held)
                    assert sql.answer(conn, dice.choice(["fail", "release"]), held) == ["done"] * len(held)
                    sql.expire(conn, ids(claim(conn, "f", 2)))
                    sql.cleanup(conn)
            except psycopg.errors.SerializationFailure:
                failed += 1
        return failed

    levels = ["read committed", "repeatable read", "serializable"]
    failed = sql.together(*(lambda c=c, s=s: work(c, s, levels[s % 3]) for s, c in enumerate(sessions)))
    assert failed[0] == failed[3] == 0
    sql.cleanup(sessions[0])
    outcomes: list[str] = []
    while held := claim(sessions[0], "f", 100):  # what was orphaned twice comes alone
        outcomes += complete(sessions[0], held)
    assert outcomes == ["done"] * 60
    assert sql.problems(sessions[0]) == []
