"""Who rings which place: whatever makes a record pending, and nothing else, rings for its flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

import sql
from sleepers import Sleeper
from sql import Connect, add, claim, column, configure, one, value

QUEUE = "conveyor.processing_queue"

# A case prepares, yields, and does what it is about.
Case = Callable[[psycopg.Connection], Iterator[None]]


def case(statement: str, *, first: str = "select") -> Case:
    def run(conn: psycopg.Connection) -> Iterator[None]:
        conn.execute(first)
        yield
        conn.execute(statement)

    return run


def claimed(act: Callable[[psycopg.Connection, sql.Record], object], **settings: object) -> Case:
    """The case of one record of flow f that has been claimed."""

    def run(conn: psycopg.Connection) -> Iterator[None]:
        if settings:
            configure(conn, "f", **settings)
        record = one(conn)
        yield
        act(conn, record)

    return run


def copied(conn: psycopg.Connection) -> Iterator[None]:
    yield
    with conn.cursor() as cur, cur.copy(f"copy {QUEUE} (flow_name, payload) from stdin") as copy:
        copy.write("f\t{}\nf\t{}\ng\t{}\n")


def orphaned(call: str, crash_budget: int = 5) -> Case:
    def run(conn: psycopg.Connection) -> Iterator[None]:
        configure(conn, "f", crash_budget=crash_budget)
        sql.expire(conn, [one(conn).id])
        yield
        assert value(conn, f"select ({call})::text") != "0"

    return run


PENDING = f"insert into {QUEUE} (flow_name, payload) values ('f', '{{}}')"
FAILED = f"insert into {QUEUE} (flow_name, payload, status) values ('f', '{{}}', 'failed')"
KEYED = "select conveyor.add_record('f', '{}', p_dedup_key => 'k')"
UPSERT = f"""
    insert into {QUEUE} (flow_name, payload, dedup_key) values ('f', '{{}}', 'k')
    on conflict (flow_name, dedup_key) where dedup_key is not null do update set status = 'pending'
"""

RINGS: dict[str, Case] = {
    "add_record": case("select conveyor.add_record('f', '{}')"),
    "add_record, delayed": case("select conveyor.add_record('f', '{}', p_run_at => '2100-01-01 00:00+00')"),
    "add_records_to_queue": case("select conveyor.add_records_to_queue('f', '[{}, {}]')"),
    "add_records_to_queue, one key new": case(
        "select conveyor.add_records_to_queue('f', '[{}, {}]', p_dedup_keys => '{k,l}')", first=KEYED
    ),
    "release_records": claimed(lambda conn, record: sql.release(conn, [record])),
    "mark_records_failed, with a retry": claimed(lambda conn, record: sql.fail(conn, [record]), retry_delay="1 hour"),
    "mark_record_failed, with a retry": claimed(
        lambda conn, record: sql.answer_one(conn, "fail", record), retry_delay="0 s"
    ),
    "cleanup_orphaned_records": orphaned("conveyor.cleanup_orphaned_records()"),
    "maintain": orphaned("conveyor.maintain()"),
    "reset_failed_records": case("select conveyor.reset_failed_records('f')", first=FAILED),
    "requeue_records": case(f"select conveyor.requeue_records(array_agg(id)) from {QUEUE}", first=FAILED),
    "raw insert": case(PENDING),
    "raw insert beside rows that are not pending": case(
        f"insert into {QUEUE} (flow_name, payload, status) values ('f', '{{}}', 'failed'), ('f', '{{}}', 'pending')"
    ),
    "raw insert on conflict do update": case(UPSERT, first=f"{KEYED}; update {QUEUE} set status = 'failed'"),
    "raw update": case(f"update {QUEUE} set status = 'pending'", first=FAILED),
    "raw reset of what is processing": claimed(
        lambda conn, _: conn.execute(
            f"update {QUEUE} set status = 'pending', flow_instance_id = null, claimed_at = null"
        )
    ),
    "raw update of a row that is pending and stays so": case(f"update {QUEUE} set payload = '[]'", first=PENDING),
    "raw update of an earlier due time": case(
        f"update {QUEUE} set run_at = '2100-01-01 00:00+00'",
        first=PENDING.replace("payload)", "payload, run_at)").replace("'{}')", "'{}', '2100-01-02 00:00+00')"),
    ),
    "raw update that moves a row to the flow": case(
        f"update {QUEUE} set flow_name = 'f'", first=PENDING.replace("'f'", "'g'")
    ),
    "copy": copied,
}

SILENT: dict[str, Case] = {
    "a claim": case("select conveyor.claim_records_batch('f', 1)", first=PENDING),
    "a completion": claimed(lambda conn, record: sql.complete(conn, [record])),
    "a failure for good": claimed(lambda conn, record: sql.fail(conn, [record])),
    "a heartbeat": claimed(lambda conn, record: sql.extend(conn, [record])),
    "a late answer": claimed(lambda conn, record: sql.release(conn, [record._replace(claim_token=1)])),
    "an orphan whose crash budget is used up": orphaned("conveyor.cleanup_orphaned_records()", 1),
    "cancel_records": case(f"select conveyor.cancel_records(array_agg(id)) from {QUEUE}", first=PENDING),
    "a known dedup key": case(KEYED, first=KEYED),
    "no record": case("select conveyor.add_records_to_queue('f', '[]')"),
    "another flow": case("select conveyor.add_record('g', '{}')"),
    "a record that comes completed": case(
        PENDING.replace("payload)", "payload, status)").replace("'{}')", "'{}', 'completed')")
    ),
    "an update of a failed record": case(f"update {QUEUE} set payload = '[]'", first=FAILED),
    "an update that moves a row away": case(f"update {QUEUE} set flow_name = 'g'", first=PENDING),
    "an update of no row": case(f"update {QUEUE} set status = 'pending' where id < 0"),
    "a delete": case(f"delete from {QUEUE}", first=PENDING),
    "truncate": case(f"truncate {QUEUE}", first=PENDING),
    "maintain with nothing to do": case("select conveyor.maintain()", first=PENDING),
    "check_integrity": case("select conveyor.check_integrity(true)", first=PENDING),
    "configure_flow": case("""select conveyor.configure_flow('f', '{"lease": "1 hour"}')""", first=PENDING),
    "pause_flow": case("select conveyor.pause_flow('f')", first=PENDING),
    "resume_flow of a flow that runs": case("select conveyor.resume_flow('f')", first=PENDING),
    "a roll-back": case(f"begin; {PENDING}; rollback"),
}


@pytest.fixture
def sleeper(connect: Connect) -> Sleeper:
    """Sits at both places of the flow."""
    return Sleeper(connect, ("f", "empty"), ("f", "paused"))


def happen(conn: psycopg.Connection, sleeper: Sleeper, case: Case) -> None:
    steps = case(conn)
    next(steps)
    sleeper.settle()
    assert list(steps) == []


@pytest.mark.parametrize("what", RINGS)
def test_it_rings_for_what_becomes_claimable(conn: psycopg.Connection, sleeper: Sleeper, what: str) -> None:
    happen(conn, sleeper, RINGS[what])
    assert sleeper.rung() == ["f empty 0"]
    assert "pending" in column(conn, f"select status from {QUEUE} where flow_name = 'f'")


@pytest.mark.parametrize("what", SILENT)
def test_it_disturbs_nobody(conn: psycopg.Connection, sleeper: Sleeper, what: str) -> None:
    happen(conn, sleeper, SILENT[what])
    assert sleeper.rung() == []
    conn.execute(PENDING)
    assert sleeper.rung() == ["f empty 0"], "the sleeper would have heard it"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_resuming_rings_for_who_waits_for_that(conn: psycopg.Connection, sleeper: Sleeper, end: str) -> None:
    conn.execute("select conveyor.pause_flow('f')")
    sleeper.settle()
    conn.execute("begin")
    conn.execute("select conveyor.resume_flow('f')")
    conn.execute(end)
    assert sleeper.rung() == ["f paused 0"] * (end == "commit")


def test_enqueueing_into_a_paused_flow_disturbs_nobody(conn: psycopg.Connection, connect: Connect) -> None:
    sleeper = Sleeper(connect, ("f", "paused"))
    conn.execute("select conveyor.pause_flow('f')")
    add(conn, "f")
    assert claim(sleeper.conn, "f") == []
    sleeper.settle()
    for _ in range(3):
        add(conn, "f")
    assert sleeper.rung() == []
    conn.execute("select conveyor.resume_flow('f')")
    assert sleeper.rung() == ["f paused 0"]
    assert len(claim(sleeper.conn, "f", 10)) == 4


def test_nobody_falls_asleep_while_a_flow_is_being_resumed(conn: psycopg.Connection, connect: Connect) -> None:
    sleeper = Sleeper(connect, ("f", "paused"))
    conn.execute("select conveyor.pause_flow('f')")
    conn.execute("begin")
    conn.execute("select conveyor.resume_flow('f')")
    assert not sleeper.settle().door_closed
    conn.execute("commit")
    assert sleeper.park().door_closed
    assert sleeper.rung() == []


def test_one_statement_rings_for_each_of_its_flows(conn: psycopg.Connection, connect: Connect) -> None:
    sleeper = Sleeper(connect, ("f", "empty"), ("g", "empty"), ("h", "empty"))
    sleeper.settle()
    conn.execute(f"insert into {QUEUE} (flow_name, payload) select unnest('{{f,g,g,i}}'::text[]), '{{}}'")
    assert sorted(sleeper.rung()) == ["f empty 0", "g empty 0"]
