"""The flights by way of a SQL Server: the one of the tests, whose table `pgconveyor ingest` reads."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from itertools import islice

import psycopg
from screen import console, progress
from stage import FLOW, HERE, DemoFailed, Program, Stage, until

from pgconveyor.database import DatabaseManager

HUB = "SurveyHub"
TESTS = HERE.parents[1] / "tests"
CREATE = """
    CREATE TABLE flights (
        id int IDENTITY(1,1) PRIMARY KEY,
        carrier varchar(2) NOT NULL,
        flight smallint NOT NULL,
        tailnum varchar(6),
        origin char(3) NOT NULL,
        dest char(3) NOT NULL,
        time_hour datetime2(0) NOT NULL,
        distance smallint NOT NULL,
        arr_delay smallint,
        rv rowversion NOT NULL UNIQUE
    )
"""
INSERT = """
    INSERT INTO flights (carrier, flight, tailnum, origin, dest, time_hour, distance, arr_delay)
    VALUES {values}
"""
COLUMNS = ("carrier", "flight", "tailnum", "origin", "dest", "time_hour", "distance", "arr_delay")
NUMBERS = ("flight", "distance", "arr_delay")
AT_ONCE = 500  # rows in an INSERT; SQL Server takes up to a thousand
INGEST = f"pgconveyor ingest --source {HUB} --table flights --key rv --flow {FLOW} --map mapping:as_csv"


def fill(stage: Stage, conn: psycopg.Connection, rows: Iterator[dict[str, str]], count: int) -> int:
    """Fill the flow from a SQL Server that is filled first. Returns how many records there are."""
    start(stage)
    with DatabaseManager(HUB) as hub:
        seed(hub, rows, count)
        note(hub, conn)
    ingest(stage, conn, count)
    return added(conn)


def start(stage: Stage) -> None:
    stage.server.ensure_database("survey_hub")
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = ["tds", stage.server.conninfo_without_password("survey_hub")]
    server = stage.run("sqlserver", command, PYTHONPATH=path, TMPDIR=str(stage.directory))

    def url() -> str | None:
        server.check()
        return server.said(r"(mssql\S+)\n")

    os.environ["DEVELOPMENT_GLOBAL_SURVEYHUB_TYPE"] = "sqlserver"
    os.environ["DEVELOPMENT_GLOBAL_SURVEYHUB_CONNECTION_STRING"] = until("the SQL Server ran", url) + "&Encrypt=no"
    console.print("the tests' SQL Server runs over its database survey_hub")


def seed(hub: DatabaseManager, rows: Iterator[dict[str, str]], count: int) -> None:
    hub.execute_query(CREATE)
    wanted = islice(rows, count)
    with progress("seed") as bar:
        task = bar.add_task("", total=count)
        while batch := list(islice(wanted, AT_ONCE)):
            values = ", ".join(f"({', '.join(literal(row, column) for column in COLUMNS)})" for row in batch)
            hub.execute_query(INSERT.format(values=values))
            bar.advance(task, len(batch))
    console.print(f"{count:,} flights are in the SQL Server")


def literal(row: dict[str, str], column: str) -> str:
    value = row[column]
    if value in ("", "NA"):
        return "NULL"
    return str(int(value)) if column in NUMBERS else "'{}'".format(value.replace("'", "''"))


def note(hub: DatabaseManager, conn: psycopg.Connection) -> None:
    """Copy the ids of the source to where the proof compares them with what came."""
    with conn.cursor().copy("copy source_row (id) from stdin") as copy:
        for row in hub.execute_query("SELECT id FROM flights"):
            copy.write_row([row["id"]])


def ingest(stage: Stage, conn: psycopg.Connection, count: int) -> None:
    """Run the command, kill it in mid-way, and run it again."""
    command = f"{INGEST} --batch {max(count // 50, 10)}"  # small pages, so that there is a mid-way
    console.print(f"$ {command}")
    with progress("ingest") as bar:
        task = bar.add_task("", total=count)
        kill_midway(conn, stage.run("ingest-1", shlex.split(command)), count)
        again = stage.run("ingest-2", shlex.split(command))
        while again.process.poll() is None:
            bar.update(task, completed=added(conn))
            time.sleep(0.1)
        bar.update(task, completed=added(conn))
    said = again.log.read_text()
    if again.process.returncode:
        raise DemoFailed(f"pgconveyor ingest ended with exit code {again.process.returncode}:\n{said[-2000:]}")
    console.print(f"started again, it ends with exit code 0 and says: {said.splitlines()[-1]}")


def kill_midway(conn: psycopg.Connection, ingester: Program, count: int) -> None:
    def is_midway() -> bool:
        ingester.check()
        return added(conn) >= count // 10

    until("a tenth of the rows was in the queue", is_midway, 120)
    ingester.kill()
    console.print(f"pgconveyor ingest is killed (SIGKILL); {added(conn):,} of {count:,} rows are in the queue")


def added(conn: psycopg.Connection) -> int:
    [count] = conn.execute("select coalesce(sum(s.rows_added), 0) from conveyor.list_sources(%s) as s", [FLOW])
    return int(count[0])
