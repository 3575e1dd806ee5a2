"""What becomes of records whose holder is gone, and of producers that come twice."""

from __future__ import annotations

import uuid
from datetime import timedelta

import psycopg
import pytest

import sql
from sql import Connect, add, attempts, claim, cleanup, complete, configure, expire, fail, ids, maintain, row, value

QUEUE = "conveyor.processing_queue"


def crash(conn: psycopg.Connection) -> None:
    """Claim the one record of flow f, and end its lease."""
    expire(conn, ids(claim(conn, "f")))
    assert maintain(conn)["orphaned"] == 1


def counters(conn: psycopg.Connection, record_id: int) -> tuple[object, ...]:
    found = row(conn, record_id)
    return tuple(found[name] for name in ("status", "failure_kind", "retry_count", "crash_count"))


def kill(watch: psycopg.Connection, conn: psycopg.Connection) -> None:
    assert value(watch, "select pg_terminate_backend(%s, 10000)", conn.info.backend_pid)


def test_a_record_whose_lease_ended_is_taken_back_charged_and_noted(conn: psycopg.Connection) -> None:
    add(conn, "f", 2)
    [lost, kept] = claim(conn, "f", 2, instance="worker-1", lease=timedelta(minutes=1))
    expire(conn, [lost.id])
    assert maintain(conn)["orphaned"] == 1
    assert counters(conn, lost.id) == ("pending", None, 1, 1)
    assert {row(conn, lost.id)[name] for name in ("flow_instance_id", "claimed_at", "lease_expires_at")} == {None}
    [attempt] = attempts(conn, lost.id)
    assert attempt.outcome == "orphaned"
    assert (attempt.claim_token, attempt.flow_instance_id) == (lost.claim_token, "worker-1")
    assert row(conn, kept.id)["status"] == "processing"
    assert ids(claim(conn, "f", 2)) == [lost.id]


CLAIMED = "claimed_at = now() - interval "
BEATEN = "claimed_at = now() - interval '2 days', heartbeat_at = now() - interval "
BY_HAND = "claim_token = null, lease_expires_at = null, claimed_at = now() - interval "
UNSTAMPED = "claim_token = null, lease_expires_at = null, claimed_at = null, updated_at = now() - interval "


@pytest.mark.parametrize(
    ("columns", "flows_lease", "reaper", "taken"),
    [
        (BY_HAND + "'61 minutes'", "1 hour", maintain, True),
        (BY_HAND + "'59 minutes', updated_at = now() - interval '3 hours'", "1 hour", maintain, False),
        (BY_HAND + "'11 minutes'", "10 minutes", maintain, True),
        (BY_HAND + "'2 hours'", "1 day", maintain, False),
        (BY_HAND + "'2 hours'", "1 day", 1, True),
        (BY_HAND + "'2 hours'", "1 day", 3, False),
        (UNSTAMPED + "'61 minutes'", "1 hour", maintain, True),
        (UNSTAMPED + "'59 minutes'", "1 hour", maintain, False),
        (UNSTAMPED + "'61 minutes'", "1 hour", None, True),
        ("lease_expires_at = now()", "1 day", maintain, True),
        ("lease_expires_at = now()", "1 day", 100, True),
        (CLAIMED + "'2 hours'", "1 hour", maintain, False),
        (CLAIMED + "'2 hours'", "1 hour", None, False),
        (CLAIMED + "'2 hours'", "1 day", 1, True),
        (CLAIMED + "'2 hours'", "1 day", 3, False),
        (CLAIMED + "'40 minutes'", "1 day", 0.5, True),
        (CLAIMED + "'40 minutes'", "1 day", 0.75, False),
        (BEATEN + "'0'", "1 day", 1, False),
        (BEATEN + "'90 minutes'", "1 day", 1, True),
        (BEATEN + "'90 minutes'", "1 day", 1.75, False),
    ],
)
def test_a_lease_ends_by_time_and_an_explicit_cleanup_also_takes_the_silent(
    conn: psycopg.Connection, columns: str, flows_lease: str, reaper: object, taken: bool
) -> None:
    configure(conn, "f", lease=flows_lease)
    [record_id] = add(conn, "f")
    claim(conn, "f")
    conn.execute(f"update {QUEUE} set {columns} where id = %s", [record_id])
    if reaper is maintain:
        assert maintain(conn)["orphaned"] == taken
    else:
        assert [cleanup(conn, reaper, "another"), cleanup(conn, reaper)] == [0, taken]
    assert row(conn, record_id)["crash_count"] == taken


def test_a_handler_that_heartbeats_is_never_reaped(conn: psycopg.Connection) -> None:
    add(conn, "f")
    held = claim(conn, "f", lease=timedelta(seconds=1))
    conn.execute(f"update {QUEUE} set claimed_at = now() - interval '9 hours'")
    assert sql.extend(conn, held)[held[0].id] is not None
    assert (cleanup(conn, 0.01), cleanup(conn, 1), cleanup(conn), maintain(conn)["orphaned"]) == (0, 0, 0, 0)
    assert complete(conn, held) == ["done"]


@pytest.mark.parametrize("hours", [0, -1, -0.5])
def test_a_timeout_that_would_reap_everybody_is_refused(conn: psycopg.Connection, hours: float) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_timeout_hours"):
        cleanup(conn, hours)


def test_a_record_that_kills_its_workers_is_put_aside(conn: psycopg.Connection) -> None:
    [record_id] = add(conn, "f")
    for crashes in (1, 2, 3, 4):
        crash(conn)
        assert counters(conn, record_id) == ("pending", None, crashes, crashes)
    expire(conn, ids(claim(conn, "f")))
    assert cleanup(conn) == 1, "what is put aside has left processing, too"
    assert counters(conn, record_id) == ("failed", "crashed", 5, 5)
    assert value(conn, "select conveyor.reset_failed_records('f', 100)") == 0
    assert value(conn, "select conveyor.requeue_records(%s)", [record_id]) == 1
    crash(conn)
    assert counters(conn, record_id) == ("pending", None, 1, 1)


@pytest.mark.parametrize("budget", [2, None])
def test_failures_do_not_use_up_the_crash_budget_which_may_be_off(conn: psycopg.Connection, budget: int | None) -> None:
    configure(conn, "f", crash_budget=budget, retry_delay="0 s", max_retries=None)
    [record_id] = add(conn, "f")
    for _ in range(6):
        assert fail(conn, claim(conn, "f")) == ["done"]
    crash(conn)
    assert counters(conn, record_id) == ("pending", None, 7, 1)
    crash(conn)
    assert counters(conn, record_id) == (("failed", "crashed", 8, 2) if budget else ("pending", None, 8, 2))
    for _ in range(0 if budget else 6):
        crash(conn)


@pytest.mark.parametrize(("policy", "tries"), [(None, 1), (0, 1), (2, 3), ("unlimited", 99)])
def test_a_flow_with_a_retry_policy_tries_so_many_times(conn: psycopg.Connection, policy: object, tries: int) -> None:
    if policy is not None:
        configure(conn, "f", retry_delay="0 s", max_retries=None if policy == "unlimited" else policy)
    [record_id] = add(conn, "f")
    for _ in range(min(tries, 8)):
        assert row(conn, record_id)["status"] == "pending"
        assert fail(conn, claim(conn, "f")) == ["done"]
    assert row(conn, record_id)["status"] == ("pending" if tries > 8 else "failed")
    assert row(conn, record_id)["retry_count"] == min(tries, 8)


def test_reapers_at_once_count_each_orphan_once(connect: Connect) -> None:
    sessions = [connect() for _ in range(6)]
    add(sessions[0], "f", 400)
    expire(sessions[0], ids(claim(sessions[0], "f", 400)))
    calls = [lambda c=c: cleanup(c) for c in sessions[:3]] + [
        lambda c=c: maintain(c).get("orphaned", 0) for c in sessions[3:]
    ]
    assert sum(sql.together(*calls)) == 400
    assert value(sessions[0], f"select array_agg(distinct crash_count) from {QUEUE}") == [1]
    assert value(sessions[0], "select count(*) from conveyor.attempt") == 400


def test_a_reaper_never_waits_for_a_locked_record(connect: Connect) -> None:
    conn, reaper = connect(), connect(options="-c lock_timeout=500")
    orphans = add(conn, "f", 3)
    expire(conn, ids(claim(conn, "f", 3)))
    conn.execute("begin")
    conn.execute(f"select from {QUEUE} where id = %s for update", [orphans[1]])
    assert maintain(reaper)["orphaned"] == 2
    conn.execute("rollback")
    assert cleanup(reaper) == 1


def test_of_maintainers_at_once_one_works_and_the_others_return(connect: Connect) -> None:
    conn, other = connect(), connect(options="-c lock_timeout=500")
    add(conn, "f", 2)
    expire(conn, ids(claim(conn, "f")))
    conn.execute("begin")
    assert maintain(conn)["orphaned"] == 1
    expire(other, ids(claim(other, "f")))
    assert maintain(other)["worked"] is False
    conn.execute("commit")
    assert maintain(other)["orphaned"] == 1


def test_a_claim_whose_backend_is_killed_never_was(connect: Connect) -> None:
    victim, conn = connect(), connect()
    expected = add(conn, "f", 3)
    victim.execute("begin")
    lost = claim(victim, "f", 3)
    kill(conn, victim)
    assert ids(claim(conn, "f", 3)) == expected
    assert complete(conn, lost) == ["lost"] * 3


def test_a_completion_whose_backend_is_killed_may_be_given_again(connect: Connect) -> None:
    victim, conn = connect(), connect()
    add(conn, "f", 3)
    held = claim(victim, "f", 3)
    victim.execute("begin")
    assert complete(victim, held) == ["done"] * 3
    kill(conn, victim)
    assert sql.counts(conn) == {"processing": 3}
    assert complete(conn, held) == ["done"] * 3


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_prepared_transaction_may_hold_a_claim(connect: Connect, end: str) -> None:
    conn, other = connect(), connect(options="-c lock_timeout=500")
    expected = add(conn, "f", 3)
    name = f"claim-{uuid.uuid4().hex}"
    conn.execute("begin")
    held = claim(conn, "f", 2)
    conn.execute(f"prepare transaction '{name}'")
    try:
        assert ids(claim(other, "f", 3)) == expected[2:]
        assert (cleanup(other, 0.001), maintain(other)["orphaned"]) == (0, 0)
    finally:
        other.execute(f"{end} prepared '{name}'")
    assert complete(other, held) == (["done"] * 2 if end == "commit" else ["lost"] * 2)
    assert ids(claim(other, "f", 3)) == ([] if end == "commit" else expected[:2])


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_producers_with_one_key_the_second_waits_for_the_first(connect: Connect, end: str) -> None:
    first, second, watch = connect(), connect(), connect()
    query = "select conveyor.add_record('f', jsonb_build_object('from', %s::text), p_dedup_key => 'k')"
    first.execute("begin")
    one = value(first, query, "first")
    with sql.blocked(watch, second, lambda: value(second, query, "second")) as waiting:
        first.execute(end)
    assert (waiting.result() == one) == (end == "commit")
    [only] = claim(watch, "f", 5)
    assert (only.id, only.payload) == (waiting.result(), {"from": "first" if end == "commit" else "second"})


def test_producers_with_opposite_key_orders_do_not_deadlock(connect: Connect) -> None:
    """Each key becomes one record; and the order of a document is kept, whatever the keys."""
    sessions = [connect() for _ in range(3)]

    def produce(conn: psycopg.Connection, keys: list[str]) -> int:
        query = "select conveyor.add_records_to_queue(%s, %s::jsonb, p_dedup_keys => %s)"
        document = psycopg.types.json.Jsonb([{"key": key} for key in keys])
        return value(conn, query, "f", document, keys)

    for round_ in range(15):
        keys = [f"{round_}-{n:03}" for n in range(300)]
        turned = [keys, keys[::-1], keys[150:] + keys[:150]]
        new = sql.together(*(lambda c=c, k=k: produce(c, k) for c, k in zip(sessions, turned, strict=True)))
        assert sum(new) == 300
    assert len({record.payload["key"] for record in claim(sessions[0], "f", 9999)}) == 4500
    assert produce(sessions[0], ["z", "a", "m"]) == 3
    assert [record.payload["key"] for record in claim(sessions[0], "f", 5)] == ["z", "a", "m"]
