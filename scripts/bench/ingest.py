"""
How fast the rows of a SQL Server come into the queue, against its bare driver: part of bench.py, on the same server.
The SQL Server is that of the tests, in a process of its own. To translate a statement takes it some milliseconds, which
weigh more on us, who ask for each page, than on the driver that asks once.

`python ingest.py COUNT` is a process that ingests so many rows, and prints by how many bytes it grew.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click
import psycopg
from psycopg.conninfo import make_conninfo

from pgconveyor.database import DatabaseManager
from pgconveyor.odbc import choose_driver, pyodbc
from pgconveyor.source import Ingester, Source
from pgconveyor.sqlserver import SqlServerManager

Result = tuple[str, float, str, bool | None]  # as in bench.py

TESTS = Path(__file__).parents[2] / "tests"
FULL = 50_000  # rows; with fewer there is no verdict
KEYS = {"id": "id", "rowversion": "rv"}
SELECT = "SELECT {columns} FROM responses ORDER BY {key}"
CREATE = """
    CREATE TABLE responses (
        id int PRIMARY KEY,
        answer nvarchar(200),
        score decimal(9, 2),
        answered_at datetime2,
        rv rowversion NOT NULL UNIQUE
    )
"""
# Past the SQL Server, where it would take minutes.
FILL = """
    insert into responses (id, answer, score, answered_at)
    select
        g,
        'answer ' || g || repeat(' and so on', 5),
        g % 1000 / 7.0,
        to_char(timestamp '2026-01-01' + g * interval '1 s', 'YYYY-MM-DD HH24:MI:SS".0000000"')
    from generate_series(1, {count}) as g;
    analyze responses
"""


def ingesting(dsn: str, scale: float) -> Iterator[Result]:
    if reason := missing():
        click.echo(f"ingest is not measured: {reason}", err=True)
        return
    count = max(int(FULL * scale) // 1000 * 1000, 1000)
    with sqlserver(dsn, count) as hub, DatabaseManager("bench") as queue, psycopg.connect(dsn, autocommit=True) as conn:
        for kind in KEYS:
            yield against_the_driver(hub, queue, conn, kind, count, 5 if scale >= 0.1 else 1)
        yield memory(count)


def missing() -> str:
    try:
        choose_driver(pyodbc().drivers(), None)
    except RuntimeError as exc:
        return str(exc)
    return "" if find_spec("sqlglot") else "the tests' SQL Server needs sqlglot"


@contextmanager
def sqlserver(dsn: str, count: int) -> Iterator[SqlServerManager]:
    """The server, with a table of so many rows."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create database survey_hub")
    own = make_conninfo(dsn, dbname="survey_hub")
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command, env = [sys.executable, "-m", "tds", own], os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().strip()
            os.environ |= {
                "PREFECT_ENVIRONMENT": "development",
                "DEVELOPMENT_GLOBAL_BENCH_TYPE": "postgresql",
                "DEVELOPMENT_GLOBAL_BENCH_CONNECTION_STRING": dsn,
                "DEVELOPMENT_GLOBAL_SURVEYHUB_TYPE": "sqlserver",
                "DEVELOPMENT_GLOBAL_SURVEYHUB_CONNECTION_STRING": f"{url}&Encrypt=no",
            }
            with SqlServerManager("SurveyHub") as hub:
                hub.execute_query(CREATE)
                with psycopg.connect(own, autocommit=True) as conn:
                    conn.execute(FILL.format(count=count).encode())
                yield hub
        finally:
            server.terminate()


def against_the_driver(
    hub: SqlServerManager, queue: DatabaseManager, conn: psycopg.Connection, kind: str, count: int, rounds: int
) -> Result:
    """The variants take turns, each first in every second round."""
    source = Source(database="SurveyHub", table="responses", key=KEYS[kind])
    variants: dict[str, Callable[[], int]] = {
        "ours": lambda: ingest(queue, hub, source),
        "bare": lambda: bare(hub, source),
    }
    rates: dict[str, list[float]] = {variant: [] for variant in variants}
    for turn in range(rounds):
        for variant in list(variants)[:: 1 if turn % 2 else -1]:
            forget(conn)
            started = time.perf_counter()
            done = variants[variant]()
            rates[variant].append(count / (time.perf_counter() - started))
            assert done == count  # noqa: S101
    ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["bare"], strict=True))
    ours, least = (statistics.median(rates[variant]) for variant in rates)
    what = f"ingest by {kind} / the bare driver reading the same: at least 0.5"
    return what, ratio, f"{ours:,.0f} against {least:,.0f} rows/s", ratio >= 0.5 if count >= FULL else None


def forget(conn: psycopg.Connection) -> None:
    conn.execute("truncate conveyor.processing_queue, conveyor.count_delta, conveyor.source_watermark")
    conn.execute("checkpoint")


def ingest(queue: DatabaseManager, hub: SqlServerManager, source: Source) -> int:
    with Ingester(queue, source, source.reader(hub), "ingest") as ingester:
        return ingester.run().added


def bare(hub: SqlServerManager, source: Source) -> int:
    columns = ", ".join(column.expression for column in source.reader(hub).columns)
    count = 0
    with hub.connection() as session:
        cur = session.execute(SELECT.format(columns=columns, key=source.key))
        while rows := cur.fetchmany(1000):
            count += len(rows)
    return count


def memory(count: int) -> Result:
    few, many = (grown(rows) for rows in (count // 10, count))
    what = "growth of a process that ingests ten times as many rows: at most 1.25"
    detail = f"{many / 2**20:.1f} MB for {count:,} rows against {few / 2**20:.1f} MB for {count // 10:,}"
    return what, many / few, detail, many <= 1.25 * few if count >= FULL else None


def grown(rows: int) -> int:
    done = subprocess.run([sys.executable, __file__, str(rows)], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def main(rows: int) -> None:
    where = f"id <= {rows}"
    source = Source(database="SurveyHub", table="responses", key="id", where=where, name=where)
    sizes = []
    with (
        DatabaseManager("bench") as queue,
        SqlServerManager("SurveyHub") as hub,
        Ingester(queue, source, source.reader(hub), "ingest") as ingester,
    ):
        before = resident()
        ingester.run(progress=lambda _: sizes.append(resident()))
    click.echo(max(sizes) - before)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(int(sys.argv[1]))
