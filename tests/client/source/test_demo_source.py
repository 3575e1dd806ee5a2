"""The demo by way of a SQL Server, by a real ODBC driver."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo_kit import Demo, demo, processes_of, read_until

__all__ = ["demo"]

ARGUMENTS = ("--source", "sqlserver", "--records", "500")

# The first row of each page is passed over.
LOSES_ROWS = """
if 'ingest' in sys.orig_argv:
    from pgconveyor.reader import Reader
    page = Reader.page
    Reader.page = lambda *given: page(*given)[1:]
"""

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def test_the_demo_kills_the_ingester_and_proves_that_each_row_came_once(demo: Demo) -> None:
    process = demo(*ARGUMENTS)
    said, complaint = process.communicate(timeout=220)
    assert (process.returncode, complaint) == (0, ""), said
    [before] = map(int, re.findall(r"pgconveyor ingest is killed .*; (\d+) of 500 rows", said))
    assert 0 < before < 500
    assert re.search(r"ends with exit code 0 and says: \d+ rows of surveyhub.flights read, \d+ new records", said)
    assert re.search(r"rows of the source +│ +500 │ holds", said)
    assert said.count("│ holds") == 11
    assert "FAILS" not in said


def test_it_notices_that_rows_did_not_come(demo: Demo) -> None:
    process = demo(*ARGUMENTS, code=LOSES_ROWS)
    said, complaint = process.communicate(timeout=220)
    assert (process.returncode, complaint) == (1, ""), said
    assert re.search(r"rows of the source +│ +500 │ FAILS", said)
    assert re.search(r"rows that did not come +│ +\d+ │ FAILS", said)


@pytest.mark.parametrize("when", ["SQL Server runs", "ingest is killed"])
def test_ctrl_c_leaves_nothing_behind(demo: Demo, wait_until: Callable[..., Any], when: str) -> None:
    process = demo(*ARGUMENTS)
    directory = re.search(r"runs in (\S+)", read_until(process, "runs in"))[1]  # type: ignore[index]
    read_until(process, when)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (128 + signal.SIGINT, "")
    assert not Path(directory).exists()
    wait_until(lambda: processes_of(process.pid, directory) == [])


@pytest.mark.parametrize("when", ["SQL Server runs", "worker .* is killed"])
def test_what_it_started_ends_with_it_also_when_it_is_killed(
    demo: Demo, wait_until: Callable[..., Any], when: str
) -> None:
    process = demo(*ARGUMENTS)
    directory = re.search(r"runs in (\S+)", read_until(process, "runs in"))[1]  # type: ignore[index]
    read_until(process, when)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: processes_of(process.pid, directory) == [])
    shutil.rmtree(directory)
