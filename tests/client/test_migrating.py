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
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor

PAGE = "MIGRATING.md"
HANDLER, STANDARD, ENQUEUE, ROLL_OUT = blocks(PAGE, "python")
INSTALL, WORK, WATCH, ADOPT, SEARCH_PATH = map(commands, blocks(PAGE, "console"))
[SETTINGS] = [dict(re.findall(r"(?m)^(\w+)=(\w+)$", block)) for block in blocks(PAGE, "bash")]
IS_DRAINED, BACK_AGAIN = blocks(PAGE, "sql")

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
        conn.execute("set time zone 'Europe/Berlin'")
        conn.execute("insert into processing_queue (flow_name, payload) select 'rpa1', '{}' from generate_series(1, 4)")
        yield conn


def test_a_table_is_adopted_and_found_without_its_schema(
    old: psycopg.Connection, empty_dsn: str, pgconveyor: Run
) -> None:
    for command in ADOPT + SEARCH_PATH:
        done = pgconveyor(*command)
        assert done.returncode == 0, done.stderr
    assert old.execute("select count(*) from processing_queue_adopted").fetchone() == (4,)
    with psycopg.connect(empty_dsn) as conn:
        statuses = conn.execute("select id, status from processing_queue order by id").fetchall()
        assert statuses == [(n, "pending") for n in range(1, 5)]


def test_and_back_with_all_that_was_done_since(old: psycopg.Connection, pgconveyor: Run) -> None:
    before = old.execute("select id, created_at from processing_queue order by id").fetchall()
    for command in ADOPT:
        assert pgconveyor(*command).returncode == 0
    processor = DistributedProcessor(DatabaseManager("rpa_db"))
    done, failed, _ = processor.claim_records_batch("rpa1", 3)
    processor.mark_record_completed(done["id"], {"score": 1})
    processor.mark_record_failed(failed["id"], "it broke")
    processor.add_records_to_queue("rpa1", [{"n": 5}])
    processor.rpa_db.close()
    old.execute(BACK_AGAIN)
    rows = old.execute("select id, status, payload, error_message from public.processing_queue order by id").fetchall()
    assert rows == [
        (1, "completed", {"score": 1}, None),
        (2, "failed", {}, "it broke"),
        (3, "processing", {}, None),
        (4, "pending", {}, None),
        (5, "pending", {"n": 5}, None),
    ]
    assert (
        old.execute("select id, created_at from public.processing_queue where id < 5 order by id").fetchall() == before
    )
    new = "insert into public.processing_queue (flow_name, payload) values ('rpa1', '{}') returning id"
    assert old.execute(new).fetchone() == (6,)
