"""MIGRATING.md is true: its steps, one after another, as somebody takes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.client.conftest import Queue

from contract import BLOCKS
from documents import blocks, commands
from pgconveyor import handlers

PAGE = "MIGRATING.md"
HANDLER, STANDARD, ENQUEUE, ROLL_OUT = blocks(PAGE, "python")
INSTALL, WORK, WATCH, ADOPT, SEARCH_PATH = map(commands, blocks(PAGE, "console"))
[SETTINGS] = [dict(re.findall(r"(?m)^(\w+)=(\w+)$", block)) for block in blocks(PAGE, "bash")]
[IS_DRAINED] = blocks(PAGE, "sql")

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "_registered", {})


def test_each_step_runs_as_written(
    queue: Queue, pgconveyor: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (queue.path / "surveys.py").write_text(HANDLER)
    names: dict[str, Any] = {}
    exec(HANDLER + STANDARD, names)
    assert capsys.readouterr().out == "100 0 []\n"
    for command in INSTALL:
        assert pgconveyor(*command).returncode == 0

    exec(ENQUEUE, names)
    exec(ROLL_OUT, names)
    assert capsys.readouterr().out == "standard 0 100\n"
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    exec(ROLL_OUT, names)
    mode, enqueued, here = capsys.readouterr().out.split()
    known = names["summary"]["records_known"]
    assert (mode, int(enqueued) + int(here) + known) == ("mixed", 100)
    assert 0 < int(enqueued) + known < 20

    assert queue.ask(IS_DRAINED) == [(False,)]
    for command in WORK + WATCH:
        done = pgconveyor(*command)
        assert done.returncode == 0, done.stderr
    assert queue.ask(IS_DRAINED) == [(True,)]
    assert set(queue.rows("status")) == {("completed",)}

    monkeypatch.setenv("DEVELOPMENT_RPA1_USE_DISTRIBUTED_PROCESSING", "false")
    exec(ROLL_OUT, names)
    assert capsys.readouterr().out == "standard 0 100\n"


@pytest.fixture
def old(empty_dsn: str, configure: Run) -> psycopg.Connection:
    """A database with the contract's table."""
    configure("rpa_db", empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(BLOCKS["table"].encode())
        conn.execute("insert into processing_queue (flow_name, payload) values ('rpa1', '{}')")
        yield conn


def test_a_table_is_adopted_and_found_without_its_schema(
    old: psycopg.Connection, empty_dsn: str, pgconveyor: Run
) -> None:
    for command in ADOPT + SEARCH_PATH:
        done = pgconveyor(*command)
        assert done.returncode == 0, done.stderr
    assert old.execute("select count(*) from processing_queue_adopted").fetchone() == (1,)
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("select id, status from processing_queue").fetchall() == [(1, "pending")]
