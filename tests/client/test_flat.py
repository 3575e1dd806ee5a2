"""What the hot functions read does not grow: not with what was done before, not under a forgotten snapshot.

Entries and pages are counted, never time. Dead index entries are read again and again while some snapshot may
still need them; a session passes over such a stretch by a floor that it keeps to itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from statistics import median

import psycopg
import pytest

import sql
from sql import VERBS, Connect, Cost, Record, add, claim, complete, cost, fill, floor, ids, insert, maintain, value

QUEUE = "conveyor.processing_queue"
HISTORY = 20_000
BATCH = 10


def work_off(conn: psycopg.Connection, n: int) -> None:
    """Add, claim and complete n records under short leases: as many dead entries in each index."""
    fill(conn, "f", n)
    while records := claim(conn, "f", 2000, lease=timedelta(milliseconds=1)):
        assert set(complete(conn, records)) == {"done"}


@pytest.fixture
def decayed(connect: Connect) -> psycopg.Connection:
    """A session of a database with a long history of which a pinned snapshot lets nothing go."""
    conn = connect()
    conn.execute(f"alter table {QUEUE} set (autovacuum_enabled = off)")
    sql.pin(connect)
    work_off(conn, HISTORY)
    return connect()


def assert_flat(reads: list[int], allowed: int) -> None:
    """Looks from the start aside, which go by time, the last tenth of the calls reads what the first did."""
    tenth = len(reads) // 10
    first, last = ([n for n in part if n < HISTORY] for part in (reads[:tenth], reads[-tenth:]))
    assert len(first) > 2 < len(last), "nearly every call looked from the start"
    assert median(last) <= median(first) + allowed, (first, last)


def test_claims_heartbeats_and_maintenance_stay_flat_under_a_pinned_snapshot(decayed: psycopg.Connection) -> None:
    costs: dict[str, list[Cost]] = {"claim": [], "extend": [], "complete": [], "maintain": []}
    fill(decayed, "f", 300 * BATCH)
    for _ in range(300):
        held: list[Record] = []
        costs["claim"].append(cost(decayed, lambda held=held: held.extend(claim(decayed, "f", BATCH))))
        costs["extend"].append(cost(decayed, lambda held=held: sql.extend(decayed, held)))
        costs["complete"].append(cost(decayed, lambda held=held: complete(decayed, held)))
        costs["maintain"].append(cost(decayed, lambda: maintain(decayed)))
    assert costs["claim"][0].pending >= HISTORY, "the first look walks over the history"
    assert costs["maintain"][0].processing >= HISTORY
    assert_flat([c.pending for c in costs["claim"]], allowed=256 + 4 * BATCH)
    assert_flat([c.processing for c in costs["maintain"]], allowed=256)
    for verb in ("extend", "complete"):
        assert_flat([c.primary for c in costs[verb]], allowed=0)
        assert max(c.primary for c in costs[verb]) <= 10 * BATCH
        assert max(c.pages for c in costs[verb] + costs["claim"]) <= 250
        assert max(c.processing for c in costs[verb]) == 0


def keep_claiming(conn: psycopg.Connection, feed: Callable[[], object]) -> Iterator[Record]:
    """Claim with a backlog that never ends, so that no batch is short."""
    while True:
        feed()
        records = claim(conn, "f", BATCH)
        assert len(records) == BATCH
        yield from records
        complete(conn, records)


def test_what_appears_below_the_floor_is_found_while_newer_records_are_claimed(
    decayed: psycopg.Connection, connect: Connect
) -> None:
    late, feeder, holder = connect(), connect(), connect()
    late.execute("begin")
    below = {"late commit": add(late, "f")[0]}
    add(feeder, "f", 2 * BATCH)
    released = claim(decayed, "f")
    below["release"] = released[0].id
    holder.execute("begin")
    below["claim rolled back"] = claim(holder, "f")[0].id
    stream = keep_claiming(decayed, lambda: fill(feeder, "f", BATCH))
    for _ in range(1000):
        next(stream)
    assert floor(decayed, "f")

    below["raw insert"] = insert(feeder, "f", created_at="2020-01-01 00:00+00")
    below["unseen priority"] = insert(feeder, "f", priority=7)
    again = f"select id from {QUEUE} where status = 'completed' limit 1"
    below["raw update"] = value(feeder, f"update {QUEUE} set status = 'pending' where id = ({again}) returning id")
    assert sql.release(feeder, released) == ["done"]
    late.execute("commit")
    holder.execute("rollback")
    missing = {record_id: how for how, record_id in below.items()}
    deadline = time.monotonic() + 10
    while missing:
        missing.pop(next(stream).id, None)
        assert time.monotonic() < deadline, missing


def test_leases_that_end_below_the_floor_of_the_reaper_are_found(decayed: psycopg.Connection, connect: Connect) -> None:
    other = connect()
    add(other, "f", 3)
    held = claim(other, "f", 3)
    for _ in range(20):
        maintain(decayed)
    sql.expire(other, [held[0].id], "1 day")
    sql.expire(other, [held[1].id], "0 s")
    other.execute(
        f"update {QUEUE} set lease_expires_at = null, claimed_at = now() - interval '1 day' where id = %s", [held[2].id]
    )
    sql.wait_until(lambda: maintain(decayed) and sql.counts(other).get("pending") == 3)


@pytest.mark.parametrize("reaper", [maintain, sql.cleanup])
def test_a_lease_that_ends_after_the_last_look_is_found_at_once(
    decayed: psycopg.Connection, connect: Connect, reaper: Callable[[psycopg.Connection], object]
) -> None:
    other = connect()
    for _ in range(3):
        reaper(decayed)
        sql.expire(other, [sql.one(other).id], "0 s")
        reaper(decayed)
        assert sql.counts(other)["pending"] == 1
        other.execute(f"delete from {QUEUE} where status = 'pending'")


@pytest.mark.parametrize("above", ["nothing", "a delayed record"])
def test_who_sleeps_until_next_due_at_misses_nothing_below_the_floor(
    decayed: psycopg.Connection, connect: Connect, above: str
) -> None:
    late, feeder = connect(), connect()
    late.execute("begin")
    expected = add(late, "f")
    if above != "nothing":
        fill(feeder, "f", 1, due="now() + interval '1 day'")
    work_off(decayed, 2000)
    assert floor(decayed, "f")
    late.execute("commit")
    due = sql.next_due_at(decayed, "f")
    assert due - sql.now(decayed) <= timedelta(seconds=5)
    sql.wait_until(lambda: sql.now(decayed) >= due)
    assert ids(claim(decayed, "f", 5)) == expected


def test_a_short_batch_looks_from_the_start_before_it_must(decayed: psycopg.Connection, connect: Connect) -> None:
    other = connect()
    work_off(decayed, 2000)

    def found_early() -> bool:
        insert(other, "f", created_at="2020-01-01 00:00+00")
        due = sql.next_due_at(decayed, "f")
        sql.wait_until(lambda: claim(decayed, "f", BATCH))
        return sql.now(decayed) < due

    sql.wait_until(found_early, 30)


def test_a_claim_that_is_rolled_back_takes_its_floor_back(decayed: psycopg.Connection) -> None:
    expected = add(decayed, "f", BATCH)
    decayed.execute("begin")
    assert ids(claim(decayed, "f", BATCH)) == expected
    assert floor(decayed, "f")
    decayed.execute("rollback")
    assert floor(decayed, "f") == ""
    assert ids(claim(decayed, "f", BATCH)) == expected


def test_without_counted_reads_there_is_no_floor(decayed: psycopg.Connection) -> None:
    decayed.execute("set track_counts = off")
    expected = add(decayed, "f", 5)
    assert [ids(claim(decayed, "f")) for _ in range(5)] == [[one] for one in expected]
    assert floor(decayed, "f") == ""


def test_a_healthy_table_has_no_floor_and_exact_order(conn: psycopg.Connection) -> None:
    def vacuumed() -> bool:  # waited for: a transaction in any database of the server may hold it up
        conn.execute(f"vacuum {QUEUE}")
        return cost(conn, lambda: sql.next_due_at(conn, "f")).pending < BATCH

    for _ in range(15):
        expected = add(conn, "f", 200)
        for start in range(0, 200, BATCH):
            records = claim(conn, "f", BATCH)
            assert ids(records) == expected[start : start + BATCH]
            assert complete(conn, records) == ["done"] * BATCH
            assert floor(conn, "f") == ""
        sql.wait_until(vacuumed, 60)


def each_call(conn: psycopg.Connection) -> Iterator[tuple[str, Cost]]:
    """What each hot function costs, called as a worker does."""
    for verb in (*VERBS, "complete one", "fail one"):
        add(conn, "f", BATCH)
        held: list[Record] = []
        yield "claim", cost(conn, lambda held=held: held.extend(claim(conn, "f", BATCH)))
        yield "extend", cost(conn, lambda held=held: sql.extend(conn, held))
        if verb in VERBS:
            yield verb, cost(conn, lambda held=held, verb=verb: sql.answer(conn, verb, held))
        else:
            yield verb, cost(conn, lambda held=held, verb=verb: sql.answer_one(conn, verb.split()[0], held[0]))
            sql.expire(conn, ids(held[1:]))
        yield "maintain", cost(conn, lambda: maintain(conn))
        yield "next_due_at", cost(conn, lambda: sql.next_due_at(conn, "f"))
        yield "add", cost(conn, lambda: add(conn, "g", 1))


@pytest.mark.parametrize("table", ["empty", "never analysed", "analysed", "analysed while empty", "grown meanwhile"])
def test_no_hot_function_ever_scans_the_table(connect: Connect, table: str) -> None:
    conn, other = connect(), connect()
    conn.execute(f"alter table {QUEUE} set (autovacuum_enabled = off)")
    if table == "analysed while empty":
        conn.execute(f"analyze {QUEUE}")
    if table == "grown meanwhile":
        for _ in range(7):
            assert [call for call, read in each_call(conn) if read.seq_scans] == []
    if table != "empty":
        other.execute(
            f"insert into {QUEUE} (flow_name, payload, status, claim_token) "
            "select 'f', '{}', (array['completed', 'pending', 'completed', 'failed'])[1 + g % 4], g "
            "from generate_series(1, 40000) as g"
        )
    if table == "analysed":
        conn.execute(f"vacuum analyze {QUEUE}")
    for _ in range(7):
        for call, read in each_call(conn):
            assert read.seq_scans == 0, call
            assert read.primary <= 100 * BATCH, call
            assert read.pages <= 600, call


def test_no_hot_function_wakes_the_jit_compiler(connect: Connect) -> None:
    """Forbidden scans are costed at 10^10 before PostgreSQL 18, far above the cost from where plans are compiled."""
    if not value(connect(), "select pg_jit_available()"):
        pytest.skip("this server cannot compile")
    conn = connect(options="-c jit=on")
    for _ in each_call(conn):
        pass
    assert value(conn, "select pg_read_file('/proc/self/maps', 0, 9999999, true) ~ 'llvmjit'") is not True
