"""Whatever ends the demo, it leaves no process and no directory behind, and shows no traceback."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo_kit import Demo, demo, processes_of, read_until

__all__ = ["demo"]

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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


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
    process = demo("--records", "2000")
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
    process = demo(code=CTRL_C_WHILE_IMPORTING)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_what_a_failing_step_said_is_shown(demo: Demo) -> None:
    process = demo(code=NO_INSTALL)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (1, "")
    assert "the queue could not be installed:\nno such luck" in said
    assert not Path(re.search(r"runs in (\S+)", said)[1]).exists()  # type: ignore[index]
