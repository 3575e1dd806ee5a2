"""scripts/setup.sh: in a checkout whose path has blanks, and when somebody presses Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# In place of a new .venv, and of the installation into it: what pip makes of the constraints, without a network.
PYTHON3 = """#!/bin/sh
[ "$1 $2" != "-m venv" ] || exec mkdir -p "$3"
exec '{python}' "$@"
"""
VENV_PYTHON = """#!/bin/sh
exec '{python}' -m pip install --no-index --dry-run click
"""

SETUP = 'PATH="$1/bin:$PATH"; . "$1/scripts/setup.sh"; setup embedded'
FREETDS = 'PATH="$1/bin:$PATH"; . "$1/scripts/setup.sh"; freetds; echo went on'

# As a terminal does, for all that run; and this one ends like any step that failed.
CTRL_C = """#!{python}
import os, signal, sys
if "ensurepip" in sys.argv[-1]:
    try:
        os.kill(0, signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        sys.exit(1)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "a b%20c#d"
    for folder in ("scripts", "bin", ".venv/bin"):
        (place / folder).mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", place / "scripts")
    shutil.copy(ROOT / "pyproject.toml", place)
    for name, code in (("bin/python3", PYTHON3), (".venv/bin/python", VENV_PYTHON)):
        (place / name).write_text(code.format(python=sys.executable))
        (place / name).chmod(0o755)
    return place


@pytest.mark.parametrize(("version", "obeyed"), [(installed("click"), "already satisfied"), ("0.1", "click==0.1")])
def test_the_constraints_are_read_in_a_path_with_blanks(checkout: Path, version: str, obeyed: str) -> None:
    (checkout / "constraints.txt").write_text(f"click=={version}\n")
    done = subprocess.run(["bash", "-c", SETUP, "bash", checkout], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert obeyed in said
    assert (done.returncode == 0) is (obeyed == "already satisfied"), said


def test_after_ctrl_c_no_other_step_begins(checkout: Path) -> None:
    (checkout / "constraints.txt").write_text("")
    for name, code in (("python3", CTRL_C), ("id", "#!/bin/sh\necho 0\n"), ("apt-get", "#!/bin/sh\necho began\n")):
        (checkout / "bin" / name).write_text(code.format(python=sys.executable))
        (checkout / "bin" / name).chmod(0o755)
    command = ["bash", "-c", SETUP, "bash", checkout]
    # A background job, which the tests may be, ignores Ctrl-C, and what it starts does too.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, start_new_session=True, preexec_fn=hears
    )
    assert (done.returncode, done.stdout) == (130, "")


def test_without_root_it_says_how_to_get_a_driver_of_sql_server(checkout: Path) -> None:
    (checkout / "bin/id").write_text("#!/bin/sh\necho 1000\n")
    (checkout / "bin/id").chmod(0o755)
    (checkout / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    command = ["bash", "-c", FREETDS, "bash", checkout]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "as root:  apt-get update && apt-get install -y libodbc2 tdsodbc odbcinst" in done.stderr
