"""
How fast the queue is: ratios within one run, on a PostgreSQL of its own with its safe settings.

Started by scripts/bench/run. Absolute numbers depend on the machine and are printed beside the ratios. CPU is that of
the server's backend, which Linux alone shows.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import psycopg
from ingest import ingesting
from psycopg.types.json import Jsonb
from waking import waking

from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install
from pgconveyor.worker import Worker

HERE = Path(__file__).parent

FILL = """
    insert into {table} (flow_name, payload, run_at)
    select 'f', jsonb_build_object('i', g, 'survey_id', 'SURV-' || g), now() - interval '1 hour' + g * interval '1 us'
    from generate_series(1, %s) as g
"""
TABLES = {"ours": "conveyor.processing_queue", "bare": "bare"}
CLAIM = {
    "ours": "select id, claim_token from conveyor.claim_records_batch('f', %s)",
    "bare": "select id, claim_token from bare_claim('f', %s)",
}
COMPLETE = {
    "ours": "select count(*) from conveyor.mark_records_completed(%s::bigint[], %s, %s::bigint[])",
    "bare": "select bare_complete(%s::bigint[], %s, %s::bigint[])",
}


# What was measured, the ratio, the numbers behind it, and whether the target is met, if there is one.
Result = tuple[str, float, str, bool | None]


class Bench:
    """The server's database, and how much of each measurement to do."""

    def __init__(self, dsn: str, scale: float) -> None:
        self.dsn, self.scale = dsn, scale

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=0)

    def some(self, count: int, least: int = 1000) -> int:
        return max(int(count * self.scale) // 1000 * 1000, least)

    @contextmanager
    def filled(self, count: int, variants: tuple[str, ...] = ("ours", "bare")) -> Iterator[psycopg.Connection]:
        with closing(self.connect()) as conn:
            for variant in variants:
                conn.execute(f"truncate {TABLES[variant]}".encode())
                conn.execute(FILL.format(table=TABLES[variant]).encode(), [count])
                conn.execute(f"vacuum analyze {TABLES[variant]}".encode())
            conn.execute("select conveyor.maintain()")
            yield conn


def cpu(conn: psycopg.Connection) -> float:
    """Microseconds that the backend has run."""
    return int(Path(f"/proc/{conn.info.backend_pid}/schedstat").read_text().split()[0]) / 1000


def claim_and_complete(conn: psycopg.Connection, variant: str, batch: int, rounds: int) -> None:
    for _ in range(rounds):
        rows = conn.execute(CLAIM[variant].encode(), [batch], binary=True).fetchall()
        ids, tokens = [row[0] for row in rows], [row[1] for row in rows]
        conn.execute(COMPLETE[variant].encode(), [ids, Jsonb([{}] * len(ids)), tokens])


def sliced(bench: Bench, count: int, batch: int, *, pinned: bool = False, slices: int = 10) -> dict[str, list[float]]:
    """Microseconds of CPU a record, claim and completion, by slices; the variants take turns."""
    spent: dict[str, list[float]] = {variant: [] for variant in TABLES}
    with bench.filled(count) as conn, closing(psycopg.connect(bench.dsn)) as reader:
        if pinned:
            reader.execute("set transaction isolation level repeatable read")
            reader.execute("select 1 from pg_class limit 1")
        sessions = {variant: bench.connect() for variant in TABLES}
        for _ in range(slices):
            for variant, session in sessions.items():
                before = cpu(session)
                claim_and_complete(session, variant, batch, count // slices // batch)
                spent[variant].append((cpu(session) - before) / (count // slices))
        for session in sessions.values():
            session.close()
        conn.execute("select conveyor.maintain()")
    return spent


def bench_claim(bench: Bench) -> list[Result]:
    results = []
    for batch, count, target in ((100, bench.some(100_000, 2000), 1.25), (1, bench.some(10_000), None)):
        spent = sliced(bench, count, batch)
        ratio = statistics.median(a / b for a, b in zip(spent["ours"], spent["bare"], strict=True))
        ours, bare = (statistics.median(spent[variant]) for variant in ("ours", "bare"))
        what = f"claim + complete by {batch}, counts included / bare" + (f": at most {target}" if target else "")
        met = ratio <= target if target else None
        results.append((what, ratio, f"{ours:.1f} against {bare:.1f} µs of CPU a record", met))
    return results


def bench_flat(bench: Bench) -> list[Result]:
    spent = sliced(bench, bench.some(300_000, 10_000), 100, pinned=True)["ours"]
    ratio = spent[0] / spent[-1]
    detail = "tenths " + " ".join(f"{each:.1f}" for each in spent) + " µs"
    return [("pinned snapshot, speed of the last tenth / first: at least 0.9", ratio, detail, ratio >= 0.9)]


def bench_add(bench: Bench) -> list[Result]:
    rounds = max(int(60 * bench.scale), 3)
    document = Jsonb([{"i": i, "survey_id": f"SURV-{i}"} for i in range(1000)])
    lines = [f'{{"i": {i}, "survey_id": "SURV-{i}"}}' for i in range(1000)]
    times: dict[str, list[float]] = {"function": [], "copy": []}
    with bench.filled(1000, ("ours",)) as conn:

        def by_copy() -> None:
            with conn.cursor().copy("copy conveyor.processing_queue (flow_name, payload) from stdin") as copy:
                for line in lines:
                    copy.write_row(("f", line))

        def by_function() -> None:
            conn.execute("select conveyor.add_records_to_queue('f', %s)", [document])

        for _ in range(rounds):
            for name, action in (("function", by_function), ("copy", by_copy)):
                started = time.perf_counter()
                action()
                times[name].append(time.perf_counter() - started)
    ratio = statistics.median(c / f for f, c in zip(times["function"], times["copy"], strict=True))
    detail = f"{1000 / statistics.median(times['function']):,.0f} records/s"
    return [("add_records_to_queue of 1000 / COPY: at least 0.8", ratio, detail, ratio >= 0.8)]


def noop(_payload: Any) -> dict[str, Any]:
    return {}


def bench_worker(bench: Bench) -> list[Result]:
    count = bench.some(50_000, 2000)
    with bench.filled(count) as conn:
        started = time.perf_counter()
        claim_and_complete(conn, "bare", 100, count // 100)
        bare = count / (time.perf_counter() - started)
        os.environ["DEVELOPMENT_GLOBAL_BENCH_TYPE"] = "postgresql"
        os.environ["DEVELOPMENT_GLOBAL_BENCH_CONNECTION_STRING"] = bench.dsn
        os.environ["PREFECT_ENVIRONMENT"] = "development"
        with DatabaseManager("bench") as database:
            started = time.perf_counter()
            done = Worker(database, {"f": noop}, once=True).run().completed
            ours = done / (time.perf_counter() - started)
    ratio = ours / bare
    detail = f"{ours:,.0f} against {bare:,.0f} records/s"
    return [("worker with a no-op handler / bare statements: at least 0.4", ratio, detail, ratio >= 0.4)]


HISTORY = """
    alter table conveyor.processing_queue disable trigger user;
    insert into conveyor.processing_queue (flow_name, payload, status, created_at, claimed_at, completed_at)
    select 'f' || g % 5, '{{}}', 'completed', t.at - interval '1 minute', t.at - interval '1 s', t.at
    from generate_series(1, {count}) as g
    cross join lateral (select clock_timestamp() - g * interval '1 day' / {count} as at) as t;
    alter table conveyor.processing_queue enable trigger user;
    insert into conveyor.flow_minute
    select q.flow_name, date_trunc('minute', q.completed_at), count(*), 0, 59 * count(*), count(*)
    from conveyor.processing_queue as q
    where q.status = 'completed'
    group by q.flow_name, date_trunc('minute', q.completed_at);
    insert into conveyor.attempt (record_id, outcome, error)
    select g, 'failed', 'error ' || g from generate_series(1, {count} / 20) as g
"""

REPORTS = (
    "queue_monitoring()",
    "queue_monitoring(true)",
    "processing_diagnostics(true, true)",
    "processing_performance(24, true)",
)


def bench_monitor(bench: Bench) -> list[Result]:
    """A day of history, all of it in the window."""
    count = bench.some(10_000_000, 20_000)
    with bench.filled(1000, ("ours",)) as conn:
        conn.execute(HISTORY.format(count=count).encode(), prepare=False)
        conn.execute("vacuum analyze conveyor.processing_queue")

        def milliseconds(query: str) -> float:
            times = []
            for _ in range(5):
                started = time.perf_counter()
                conn.execute(query.encode())
                times.append(1000 * (time.perf_counter() - started))
            return statistics.median(times)

        took = {report: milliseconds(f"select conveyor.{report}") for report in REPORTS}
        counted = milliseconds("select status, count(*) from conveyor.processing_queue group by status")
        conn.execute("truncate conveyor.processing_queue, conveyor.flow_minute, conveyor.attempt")
    ratio = max(took.values()) / counted
    what = f"the dearest report on {count:,} records / one count(*) by status: at most 0.5 on 10 million"
    detail = ", ".join(f"{report} {took[report]:.0f}" for report in REPORTS) + f" ms, count(*) {counted:.0f}"
    return [(what, ratio, detail, ratio <= 0.5 if bench.scale >= 1 else None)]


VERDICT = {True: "met   ", False: "MISSED", None: "      "}

BENCHES: dict[str, Callable[[Bench], Iterable[Result]]] = {
    "claim": bench_claim,
    "add": bench_add,
    "worker": bench_worker,
    "flat": bench_flat,
    "waking": lambda bench: waking(bench.dsn, bench.scale),
    "monitor": bench_monitor,
    "ingest": lambda bench: ingesting(bench.dsn, bench.scale),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", type=click.Choice(list(BENCHES)), multiple=True, help="Only this measurement.")
@click.option("--scale", type=click.FloatRange(min=0.001), default=1.0, show_default=True, help="How much to measure.")
def main(only: tuple[str, ...], scale: float) -> None:
    """Measure the queue against bare statements, COPY and itself, and print each target as met or missed."""
    directory = Path(tempfile.mkdtemp(prefix="pgconveyor-bench-"))
    try:
        with EmbeddedServer(directory, settings={"max_connections": "400"}) as server:
            dsn = server.ensure_database("bench")
            with psycopg.connect(dsn, autocommit=True) as conn:
                install(conn)
                conn.execute((HERE / "bare.sql").read_bytes())
            for name in only or BENCHES:
                for what, ratio, detail, met in BENCHES[name](Bench(dsn, scale)):
                    click.echo(f"{VERDICT[met]} {ratio:5.2f}  {what}  ({detail})")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
