"""The queue as tests call it, one line a verb; and ways to wait for another session without sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Jsonb

Connect = Callable[..., psycopg.Connection]  # the fixture

ANSWERS = {
    "complete": "conveyor.mark_records_completed(%s::bigint[], %s::jsonb, %s::bigint[])",
    "fail": "conveyor.mark_records_failed(%s::bigint[], %s::jsonb, %s::bigint[])",
    "release": "conveyor.release_records(%s::bigint[], %s::bigint[])",
}
VERBS = list(ANSWERS)


class Record(NamedTuple):
    id: int
    claim_token: int
    payload: Any = None
    retry_count: int = 0
    created_at: datetime | None = None
    lease_expires_at: datetime | None = None


def column(conn: psycopg.Connection, query: str, *args: object) -> list[Any]:
    return [row[0] for row in conn.execute(query, args or None).fetchall()]


def value(conn: psycopg.Connection, query: str, *args: object) -> Any:
    [found] = column(conn, query, *args)
    return found


def now(conn: psycopg.Connection) -> datetime:
    return value(conn, "select clock_timestamp()")


def add(conn: psycopg.Connection, flow: str, n: int = 1, *, priority: int = 0, run_at: object = None) -> list[int]:
    """Add n records, one call each; their ids, in order."""
    query = (
        "select conveyor.add_record(%s, jsonb_build_object('n', g.n), %s::smallint, %s::timestamptz) "
        "from generate_series(1, %s) as g (n)"
    )
    return column(conn, query, flow, priority, run_at, n)


def fill(conn: psycopg.Connection, flow: str, n: int, *, priority: int = 0, due: str = "clock_timestamp()") -> None:
    """Add many records by one raw insert, run_at being the expression `due` (of g.n)."""
    conn.execute(
        "insert into conveyor.processing_queue (flow_name, payload, priority, run_at) "
        f"select %s, '{{}}', %s, {due} from generate_series(1, %s) as g (n)",
        [flow, priority, n],
    )


def insert(conn: psycopg.Connection, flow: str, **columns: object) -> int:
    """Insert one record by raw SQL; its id."""
    values = {"flow_name": flow, "payload": "{}"} | columns
    return value(
        conn,
        f"insert into conveyor.processing_queue ({', '.join(values)}) "
        f"values ({', '.join(['%s'] * len(values))}) returning id",
        *values.values(),
    )


def claim(
    conn: psycopg.Connection, flow: str, n: int = 1, *, instance: str | None = None, lease: timedelta | None = None
) -> list[Record]:
    query = (
        "select id, claim_token, payload, retry_count, created_at, lease_expires_at "
        "from conveyor.claim_records_batch(%s, %s, %s, %s::interval)"
    )
    return [Record(*row) for row in conn.execute(query, [flow, n, instance, lease]).fetchall()]


def one(conn: psycopg.Connection) -> Record:
    """Add and claim one record of flow f."""
    add(conn, "f")
    [record] = claim(conn, "f")
    return record


def ids(records: Iterable[Record]) -> list[int]:
    return [record.id for record in records]


def answer(conn: psycopg.Connection, verb: str, records: Sequence[Record], *documents: object) -> list[str]:
    """Give all records the same kind of answer by the bulk verb; the outcome of each, in order."""
    args: list[object] = [ids(records), [record.claim_token for record in records]]
    if verb != "release":
        same = {"result": "ok"} if verb == "complete" else {"error": "boom"}
        args.insert(1, Jsonb(list(documents) or [same] * len(records)))
    rows = conn.execute(f"select id, outcome from {ANSWERS[verb]}", args).fetchall()
    assert [row[0] for row in rows] == args[0], "a bulk verb answers for each id, in order"
    return [row[1] for row in rows]


def complete(conn: psycopg.Connection, records: Sequence[Record], *results: object) -> list[str]:
    return answer(conn, "complete", records, *results)


def fail(conn: psycopg.Connection, records: Sequence[Record], *errors: object) -> list[str]:
    return answer(conn, "fail", records, *errors)


def release(conn: psycopg.Connection, records: Sequence[Record]) -> list[str]:
    return answer(conn, "release", records)


def answer_one(conn: psycopg.Connection, verb: str, record: Record) -> None:
    """Answer by the single verb, which raises what the bulk verb returns. There is none to release."""
    name, said = ("completed", "jsonb") if verb == "complete" else ("failed", "text")
    conn.execute(f"select conveyor.mark_record_{name}(%s, %s::{said}, %s)", [record.id, "{}", record.claim_token])


def extend(
    conn: psycopg.Connection, records: Sequence[Record], lease: timedelta | None = None
) -> dict[int, datetime | None]:
    query = "select id, lease_expires_at from conveyor.extend_leases(%s::bigint[], %s::bigint[], %s::interval)"
    return dict(conn.execute(query, [ids(records), [r.claim_token for r in records], lease]).fetchall())


def expire(conn: psycopg.Connection, record_ids: Sequence[int], ago: str = "1 second") -> None:
    """End leases by moving the rows, not the clock."""
    conn.execute(
        "update conveyor.processing_queue set lease_expires_at = clock_timestamp() - %s::interval where id = any (%s)",
        [ago, list(record_ids)],
    )


def cleanup(conn: psycopg.Connection, hours: object = None, flow: str | None = None) -> int:
    return value(conn, "select conveyor.cleanup_orphaned_records(%s::numeric, %s)", hours, flow)


def maintain(conn: psycopg.Connection) -> dict[str, Any]:
    return value(conn, "select conveyor.maintain()")


def work(conn: psycopg.Connection, flow: str, completed: int, failed: int = 0, **error: str) -> None:
    """Add, claim and answer so many records; `error` and `error_type` are those of the failures."""
    add(conn, flow, completed + failed)
    records = claim(conn, flow, completed + failed)
    if completed:
        complete(conn, records[:completed])
    if failed:
        fail(conn, records[completed:], *[{"error": "boom"} | error] * failed)


def configure(conn: psycopg.Connection, flow: str, **settings: object) -> None:
    conn.execute("select conveyor.configure_flow(%s, %s)", [flow, Jsonb(settings)])


def next_due_at(conn: psycopg.Connection, flow: str) -> datetime | None:
    return value(conn, "select conveyor.next_due_at(%s)", flow)


def row(conn: psycopg.Connection, record_id: int) -> dict[str, Any]:
    """The record as it stands, with its row version: equal rows mean that nothing was written."""
    with conn.cursor(row_factory=dict_row) as cur:
        cur.execute(
            "select q.*, q.xmin::text, q.ctid::text from conveyor.processing_queue as q where id = %s", [record_id]
        )
        [found] = cur.fetchall()
    return found


def attempts(conn: psycopg.Connection, record_id: int) -> list[Any]:
    query = "select * from conveyor.attempt where record_id = %s order by attempt_id"
    return conn.cursor(row_factory=namedtuple_row).execute(query, [record_id]).fetchall()


def counts(conn: psycopg.Connection) -> dict[str, int]:
    return dict(conn.execute("select status, count(*) from conveyor.processing_queue group by status").fetchall())


def problems(conn: psycopg.Connection) -> list[Any]:
    return conn.execute("select * from conveyor.check_integrity()").fetchall()


def floor(conn: psycopg.Connection, flow: str) -> str:
    """The claim floor that this session keeps for the flow; empty: none."""
    return value(conn, "select coalesce(current_setting(conveyor._floor_setting(%s), true), '')", flow)


class Cost(NamedTuple):
    """What a call read: entries of each index, pages of all of them, sequential scans of the queue."""

    pending: int
    processing: int
    primary: int
    pages: int
    seq_scans: int


def cost(conn: psycopg.Connection, call: Callable[[], object]) -> Cost:
    """Run a call in a transaction of its own and say what it read."""

    def read() -> Cost:
        query = """
            select pg_stat_get_xact_tuples_returned('conveyor.idx_processing_queue_pending'::regclass),
                pg_stat_get_xact_tuples_returned('conveyor.idx_processing_queue_processing'::regclass),
                pg_stat_get_xact_tuples_returned('conveyor.processing_queue_pkey'::regclass),
                (select sum(pg_stat_get_xact_blocks_fetched(i.indexrelid)) from pg_index as i
                    where i.indrelid = 'conveyor.processing_queue'::regclass)::integer,
                (select t.seq_scan from pg_stat_xact_user_tables as t where t.relname = 'processing_queue')
        """
        return Cost(*conn.execute(query).fetchone())

    with conn.transaction():
        before = read()
        call()
        return Cost(*(after - then for after, then in zip(read(), before, strict=True)))


def pin(connect: Connect) -> psycopg.Connection:
    """A session whose open snapshot keeps every dead row and index entry from here on."""
    conn = connect()
    conn.execute("begin isolation level repeatable read")
    conn.execute("select from conveyor.processing_queue limit 1")
    return conn


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@contextmanager
def blocked(watch: psycopg.Connection, conn: psycopg.Connection, call: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Make a call on conn in a thread; the block begins when it waits for a lock, and ends after it."""
    pid = conn.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        wait_until(lambda: future.done() or value(watch, "select cardinality(pg_blocking_pids(%s))", pid))
        assert not future.done(), f"it should wait, but answered {future.result()}"
        yield future


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at once; what they returned. The first that raised raises here."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
