"""What lies in scripts/flows is served, and deployed to a work pool, and runs when Prefect says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prefect_kit

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

FLOWS = Path(__file__).parents[3] / "scripts" / "flows"


@pytest.fixture
def run_deployment(ask_prefect: Fn, queue: Queue) -> Fn:
    """Let Prefect run it; its state when it has ended."""

    def run_deployment(name: str, **parameters: object) -> str:
        deployment = ask_prefect(f"/deployments/name/distributed-processing/{name}")
        started = ask_prefect(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})

        def ended() -> Any:
            state = ask_prefect(f"/flow_runs/{started['id']}")["state"]
            return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return str(queue.wait(ended, 120)["type"])

    return run_deployment


@pytest.fixture
def greeted(queue: Queue) -> Fn:
    queue.processor.add_records_to_queue("greetings", [{"name": "Ada"}, {"name": "Edgar"}])
    expected = [("Hello, Ada",), ("Hello, Edgar",)]
    # The schedule may have begun a run of its own, and that may not have ended.
    return lambda: queue.wait(lambda: queue.rows("payload ->> 'greeting'") == expected, 60)


def test_served(start_command: Fn, run_deployment: Fn, greeted: Fn, queue: Queue) -> None:
    serving = start_command(FLOWS / "serve.py")
    queue.wait(lambda: "being served" in serving.log() or serving.process.poll() is not None, 120)
    assert run_deployment("greetings") == "COMPLETED", serving.log()
    assert greeted()


def test_deployed_to_a_work_pool(start_command: Fn, run_deployment: Fn, greeted: Fn, tmp_path: Path) -> None:
    for name in ("flows.py", "prefect.yaml"):
        shutil.copy(FLOWS / name, tmp_path)
    for command in (
        ["work-pool", "create", "--type", "process", "pgconveyor"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = start_command("-m", "prefect", *command)
        assert done.wait(120) == 0, done.log()
    worker = start_command("-m", "prefect", "worker", "start", "--pool", "pgconveyor")
    assert run_deployment("greetings") == "COMPLETED", worker.log()
    assert greeted()
