"""The README is true: its code runs, its files are there, its commands exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from pgconveyor.cli import cli
from pgconveyor.database import DatabaseManager
from pgconveyor.worker import Worker

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", README)


def test_its_sql_and_python_run_as_written(dsn: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_ENVIRONMENT", raising=False)
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_TYPE", "postgresql")
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING", dsn)
    produce, greet, answer, book = blocks("python")
    names: dict[str, Callable[..., object]] = {}

    exec(produce, names)
    add_and_claim, *configure = blocks("sql")
    conn.execute(add_and_claim)
    exec(greet + book, names)
    for block in configure:
        conn.execute(block)
    exec(answer, names)
    names["processor"].rpa_db.close()

    counts = conn.execute("select status, count(*) from conveyor.processing_queue group by 1").fetchall()
    # Five are claimed by the SQL, which asks for ten; the delayed one is left.
    assert dict(counts) == {"processing": 5, "pending": 1}
    assert names["greet"]({"name": "Ada"}) == {"greeting": "Hello, Ada"}

    conn.execute("create table booking (record_id bigint, name text)")
    conn.execute("select conveyor.add_record('bookings', '{\"name\": \"Ada\"}')")
    with DatabaseManager("rpa_db") as database:
        Worker(database, {"bookings": names["book"]}, once=True).run()
    assert conn.execute("select name from booking").fetchall() == [("Ada",)]


def test_the_answers_it_shows_are_accepted(conn: psycopg.Connection) -> None:
    [text] = blocks("text")
    calls = [re.sub(r"\s+--.*", "", line) for line in text.splitlines()]
    assert len(calls) == 4
    conn.execute("select from conveyor.add_records_to_queue('greetings', '[{}, {}, {}, {}]')")
    for call, (record_id, token) in zip(
        calls,
        conn.execute("select id, claim_token from conveyor.claim_records_batch('greetings', 4)").fetchall(),
        strict=True,
    ):
        conn.execute(call.replace("ID", str(record_id)).replace("TOKEN", str(token)))
    states = conn.execute("select status from conveyor.processing_queue order by id").fetchall()
    assert states == [("processing",), ("completed",), ("failed",), ("pending",)]


def test_each_file_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:db|client|tests|scripts)/[\w./-]+)`", README))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_command_it_names_exists() -> None:
    commands = set(re.findall(r"pgconveyor ((?:embedded )?[a-z]+)(?=[ `|])", README)) - {"embedded"}
    assert {"install", "worker", "embedded start"} <= commands
    for command in commands:
        result = CliRunner().invoke(cli, [*command.split(), "--help"])
        assert result.exit_code == 0, command


def test_each_function_it_names_is_in_the_schema(conn: psycopg.Connection) -> None:
    named = set(re.findall(r"conveyor\.([a-z_]+)\(", README))
    known = {
        name for (name,) in conn.execute("select proname from pg_proc where pronamespace = 'conveyor'::regnamespace")
    }
    assert named
    assert named <= known
