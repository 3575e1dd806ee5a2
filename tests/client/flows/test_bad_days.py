"""Handlers that misbehave, a database that stops, a Prefect that hangs, a run that is cancelled."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import prefect_kit
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

MISBEHAVING = """
from pgconveyor.handlers import handler

@handler("f")
def misbehaving(payload):
    match payload.pop("n"):
        case 0: return [1]
        case 1: return {"x": object()}
        case 2: return None
        case 3: raise SystemExit(3)
        case 4: raise KeyboardInterrupt
        case 5: return {"left": payload}

answer = distributed_processing_flow("f", 20)
"""


def test_whatever_handlers_do_is_their_records_end(run: Fn, queue: Queue) -> None:
    queue.add(7)
    summary = run(MISBEHAVING)
    assert (summary["completed"], summary["failed"]) == (3, 4)
    assert queue.rows("status", "retry_count") == [
        ("completed", 0) if n in (2, 5, 6) else ("failed", 1) for n in range(7)
    ]
    assert queue.ask("select error_type from conveyor.attempt order by record_id") == [
        ("ValueError",),
        ("ValueError",),
        ("SystemExit",),
        ("KeyboardInterrupt",),
    ]
    assert queue.rows("payload", "input")[2::3] == [({}, {"n": 2}), ({"left": {}}, {"n": 5})]


def test_a_prefect_that_hangs_lets_nothing_be_claimed(start: Fn, queue: Queue) -> None:
    queue.add(1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        patience = {"PREFECT_API_REQUEST_TIMEOUT": "1", "PREFECT_CLIENT_MAX_RETRIES": "0"}
        flow = start('distributed_processing_flow("f")', PREFECT_API_URL=url, **patience)
        assert flow.wait(60) == 1, flow.log()
    assert queue.rows("status", "claimed_at") == [("pending", None)]


def test_a_cancelled_run_gives_back_what_has_not_begun(start: Fn, queue: Queue, ask_prefect: Fn, runs: Fn) -> None:
    queue.add(10)
    serving = start('distributed_processing_flow.serve(name="cancelled")', DEVELOPMENT_F_HANDLER="jobs:gated")
    queue.wait(lambda: "being served" in serving.log() or serving.process.poll() is not None, 60)
    deployment = ask_prefect("/deployments/name/distributed-processing/cancelled")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    flow_run = ask_prefect(path, {"parameters": {"flow_name": "f", "batch_size": 20}})["id"]
    queue.wait(lambda: len(runs()) == 8, 60)
    ask_prefect(f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})
    queue.wait(lambda: queue.count("pending") == 2, 60)
    assert queue.count("processing") == 8
    (queue.path / "open").touch()
    queue.wait(lambda: queue.count("completed") == 8, 60)
    queue.wait(lambda: ask_prefect(f"/flow_runs/{flow_run}")["state"]["type"] == "CANCELLED", 60)
    assert set(queue.rows("retry_count + crash_count")) == {(0,)}


class TestRestartedServer:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    @pytest.mark.parametrize("delay", ["0.5", "600"], ids=["the task sends", "the flow sends"])
    def test_the_answer_is_sent_when_it_is_back(
        self, start: Fn, queue: Queue, embedded: EmbeddedServer, runs: Fn, delay: str
    ) -> None:
        queue.add(1)
        retries = 2 if delay == "0.5" else 0
        code = f"""
flow_template.process_record_with_status = process_record_with_status.with_options(
    retries={retries}, retry_delay_seconds={delay}
)
answer = distributed_processing_flow("f")
"""
        flow = start(code, DEVELOPMENT_F_HANDLER="jobs:gated")
        queue.wait((queue.path / "running-0").exists, 60)
        embedded.stop()
        (queue.path / "open").touch()
        queue.wait(lambda: "DatabaseUnavailable" in flow.log(), 60)
        embedded.start()
        assert flow.wait(100) == 0, flow.log()
        queue.wait(lambda: queue.processor.health_check()["status"] == "healthy")
        assert queue.processor.get_queue_status()["completed_records"] == 1
        assert runs() == [0]
