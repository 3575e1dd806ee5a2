"""The same flow on Dask: two worker processes on loopback, tokens that travel, a worker that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

import prefect_kit
from witness import AUDIT, PROOF

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

ON_DASK = """
from prefect_dask import DaskTaskRunner
from pgconveyor.handlers import handler
import jobs
{registered}
cluster = {{"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}}
on_dask = distributed_processing_flow.with_options(task_runner=DaskTaskRunner(cluster_kwargs=cluster))
answer = on_dask("f", 20, records_per_task={records_per_task})
"""


@pytest.fixture(autouse=True)
def witnesses(queue: Queue) -> None:
    queue.conn.execute(AUDIT)


def test_two_processes_share_the_work_and_find_the_handler(run: Fn, queue: Queue) -> None:
    queue.add(6)
    registered = 'handler("f")(jobs.paired)'
    summary = run(ON_DASK.format(registered=registered, records_per_task=1), DEVELOPMENT_F_HANDLER="jobs:missing")
    assert (summary["completed"], summary["records_claimed"]) == (6, 6)
    assert len({payload["pid"] for (payload,) in queue.rows("payload")}) == 2


def test_a_killed_worker_loses_nothing(start: Fn, queue: Queue, run: Fn) -> None:
    queue.add(6)
    code = ON_DASK.format(registered="", records_per_task=3)
    flow = start(code, DEVELOPMENT_F_HANDLER="jobs:booked", DEVELOPMENT_F_LEASE_SECONDS="3", STUCK_AT="4")
    queue.wait(lambda: (queue.path / "stuck").exists() or flow.process.poll() is not None, 120)
    assert flow.process.poll() is None, flow.log()
    victim = int((queue.path / "stuck").read_text())
    assert victim != flow.pid
    (queue.path / "open").touch()
    os.kill(victim, signal.SIGKILL)
    assert flow.wait(120) == 0, flow.log()
    # Whatever Dask did not try again goes back when its claim ends.
    queue.wait(lambda: queue.processor.maintain() and queue.count("processing") == 0, 60)
    if queue.count("pending"):
        run('answer = distributed_processing_flow("f")', DEVELOPMENT_F_HANDLER="jobs:booked")
    assert queue.count("completed") == 6
    assert queue.ask(PROOF) == [(6,)]
