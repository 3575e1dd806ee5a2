"""The README's section "From SQL Server", run as it is written: rows, an ingester, three workers, results."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sql
from documents import PAGES, blocks, commands
from own_process import OwnProcess
from pgconveyor.database import DatabaseManager

pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

[SECTION] = re.findall(r"(?ms)^## From SQL Server\n(.*?)^## ", PAGES["README.md"])
PROMISES = (
    "By rowversion each (key, version) is enqueued exactly once",
    "By id each key is enqueued exactly once among rows that commit within the overlap window",
)
HANDLER = "def score(answer): return {'id': answer['id'], 'score': len(answer['text'])}"


def test_from_rows_to_results(
    hub: Any,
    rpa_db: DatabaseManager,  # noqa: ARG001  configures the queue
    conn: psycopg.Connection,
    tmp_path: Path,
    wait_until: Callable[..., Any],
    pgconveyor: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    hub.execute_query("CREATE TABLE responses (id int PRIMARY KEY, text nvarchar(50), version rowversion)")
    rows = ", ".join(f"({n}, N'{'x' * (n % 7)}')" for n in range(1, 301))
    hub.execute_query(f"INSERT INTO responses (id, text) VALUES {rows}")
    (tmp_path / "survey.py").write_text(HANDLER)
    [block] = [block for block in blocks("README.md", "console") if "ingest" in block]
    *running, status = commands(block)

    def completed() -> int:
        return sql.counts(conn).get("completed", 0)

    programs = [
        OwnProcess([sys.executable, "-m", "pgconveyor", *words], tmp_path, tmp_path / f"{i}.log", dict(os.environ))
        for i, words in enumerate(running)
    ]
    try:
        wait_until(lambda: completed() == 300)
        assert "surveyhub.dbo.responses into survey_processor: 300 added, at 0x" in pgconveyor(*status).stdout
    finally:
        for program in programs:
            program.send(signal.SIGTERM)
        codes = [program.wait() for program in programs]
        for program in programs:
            program.end()
    assert codes == [0, 0], [program.log() for program in programs]
    results = conn.execute("select payload ->> 'id', payload -> 'score' from conveyor.processing_queue").fetchall()
    assert sorted((int(key), score) for key, score in results) == [(n, n % 7) for n in range(1, 301)]
    assert sql.problems(conn) == []


def test_the_promise_is_there_word_for_word() -> None:
    flat = " ".join(SECTION.split())
    assert [promise for promise in PROMISES if f"*{promise}.*" not in flat] == []


def test_each_option_it_names_exists(pgconveyor: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", SECTION))
    helped = pgconveyor("ingest", "--help").stdout
    assert {"--overlap", "--map", "--clean"} <= named
    assert [option for option in named if option not in helped] == []
