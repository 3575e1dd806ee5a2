"""The README is true: its code runs; and of each page: its files are there, its commands and functions exist."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest
from click.testing import CliRunner

from documents import PAGES, ROOT, blocks, filled
from pgconveyor.cli import cli
from pgconveyor.database import DatabaseManager
from pgconveyor.worker import Worker

each_page = pytest.mark.parametrize("page", PAGES)


def test_its_sql_and_python_run_as_written(dsn: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_ENVIRONMENT", raising=False)
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_TYPE", "postgresql")
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING", dsn)
    produce, greet, answer, book, report = blocks("README.md", "python")
    names: dict[str, Callable[..., object]] = {}

    exec(produce, names)
    add_and_claim, *configure = blocks("README.md", "sql")
    conn.execute(add_and_claim)
    exec(greet + book, names)
    for block in configure:
        conn.execute(block)
    exec(answer + report, names)
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
    [text] = blocks("README.md", "text")
    calls = [re.sub(r"\s+--.*", "", line) for line in text.splitlines()]
    assert len(calls) == 4
    conn.execute("select from conveyor.add_records_to_queue('greetings', '[{}, {}, {}, {}]')")
    for call, (record_id, token) in zip(
        calls,
        conn.execute("select id, claim_token from conveyor.claim_records_batch('greetings', 4)").fetchall(),
        strict=True,
    ):
        conn.execute(filled(call, record_id, token))
    states = conn.execute("select status from conveyor.processing_queue order by id").fetchall()
    assert states == [("processing",), ("completed",), ("failed",), ("pending",)]


@each_page
def test_each_file_it_names_is_there(page: str) -> None:
    named = set(re.findall(r"`((?:db|client|tests|scripts)/[\w./-]+)`", PAGES[page]))
    linked = set(re.findall(r"\]\(([\w./-]+)\)", PAGES[page]))
    assert named | linked
    assert [path for path in named | linked if not (ROOT / path).exists()] == []


def test_each_promise_links_its_tests() -> None:
    [promises] = re.findall(r"(?ms)^## What you can rely on\n(.*?)^## ", PAGES["README.md"])
    [ways] = re.findall(r"(?ms)^## Ways back to pending\n(.*?)^And two", PAGES["README.md"])
    rows = re.findall(r"(?m)^\| \*.*", ways)
    bullets = re.split(r"(?m)^- ", promises.replace("And on what not:", ""))[1:]
    assert (len(bullets), len(rows)) == (14, 5)
    assert [text for text in bullets + rows if not re.search(r"\]\(tests/[\w/]+\.(py|sql)\)", text)] == []


@each_page
def test_each_command_it_names_exists(page: str) -> None:
    commands = set(re.findall(r"(?<!from )pgconveyor ((?:embedded )?[a-z]+)(?=[ `|])", PAGES[page])) - {"embedded"}
    assert commands
    for command in commands:
        result = CliRunner().invoke(cli, [*command.split(), "--help"])
        assert result.exit_code == 0, command


@each_page
def test_each_function_it_names_is_in_the_schema(conn: psycopg.Connection, page: str) -> None:
    named = set(re.findall(r"conveyor\.([a-z_]+)\(", PAGES[page]))
    known = {
        name for (name,) in conn.execute("select proname from pg_proc where pronamespace = 'conveyor'::regnamespace")
    }
    assert named
    assert named <= known
