"""Programs with flows in them, each in a process of its own, against one Prefect server and the test's queue."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import prefect_kit
from own_process import OwnProcess
from pgconveyor.database import DatabaseManager

Start = Callable[..., OwnProcess]

JOBS = """
import os, time
from pathlib import Path

def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def ran(payload):
    with open("runs", "a") as runs:
        runs.write(f"{payload['n']} {os.getpid()}\\n")

def quick(payload):
    ran(payload)
    return {"n": payload["n"]}

def failing(payload):
    ran(payload)
    if payload["n"] == 1:
        raise LookupError("there is no one")
    return {"n": payload["n"]}

def gated(payload):
    ran(payload)
    Path(f"running-{payload['n']}").touch()
    until(Path("open").exists)
    return {"n": payload["n"]}

def paired(payload):
    Path(f"process-{os.getpid()}").touch()
    until(lambda: len(list(Path().glob("process-*"))) == 2)
    return {"pid": os.getpid()}

def booked(record, context):
    context.connection.execute("insert into booking values (%s, %s)", [record["id"], os.getpid()])
    if record["payload"]["n"] == int(os.environ.get("STUCK_AT", -1)):
        Path("stuck").write_text(str(os.getpid()))
        until(Path("open").exists)
    return {"pid": os.getpid()}
"""

# Engines whose workers are processes import the program again in each.
PROGRAM = """
import json, os
from pathlib import Path
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from core.flow_template import distributed_processing_flow, process_record_with_status
from pgconveyor import flow_template
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.errors import ClaimLost
from pgconveyor.flow_template import process_records_with_status, processor
from jobs import until

if __name__ == "__main__":
    answer = None
{}
    Path("answer").write_text(json.dumps(answer))
"""


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_kit.server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def ask_prefect(prefect_url: str) -> Callable[..., Any]:
    return lambda path, document=None: prefect_kit.ask(prefect_url, path, document)


@pytest.fixture
def start_command(
    rpa_db: DatabaseManager,  # noqa: ARG001  configures the database
    prefect_url: str,
    tmp_path: Path,
) -> Iterator[Start]:
    """Start a command of Python with Prefect, in tmp_path, where jobs.py lies; it is killed at the end."""
    started: list[OwnProcess] = []
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "home").mkdir()

    def start_command(*arguments: object, **env: str) -> OwnProcess:
        settings = {"PREFECT_API_URL": prefect_url, "DEVELOPMENT_F_HANDLER": "jobs:quick"} | env
        environment = prefect_kit.environment(tmp_path / "home", **settings)
        log = tmp_path / f"log-{len(started)}"
        started.append(OwnProcess([sys.executable, *map(str, arguments)], tmp_path, log, environment))
        return started[-1]

    yield start_command
    for process in started:
        process.end()


@pytest.fixture
def start(start_command: Start, tmp_path: Path) -> Start:
    """Start a program; the handler of flow `f` is jobs:quick unless the environment says something else."""

    def start(code: str, **env: str) -> OwnProcess:
        lines = [f"    {line}".rstrip() for line in code.strip("\n").splitlines()]
        (tmp_path / "program.py").write_text(PROGRAM.format("\n".join(lines)))
        return start_command("program.py", **env)

    return start


@pytest.fixture
def run(start: Start, tmp_path: Path) -> Callable[..., Any]:
    """Run a program to its end; what it left in `answer`."""

    def run(code: str, **env: str) -> Any:
        process = start(code, **env)
        assert process.wait(120) == 0, process.log()
        return json.loads((tmp_path / "answer").read_text())

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[int]]:
    """For which records handlers ran, in order."""
    path = tmp_path / "runs"
    return lambda: [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []
