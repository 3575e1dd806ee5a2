"""However a flow ends, no record is lost and none is completed twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

import prefect_kit
from witness import AUDIT

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

TWO_AT_A_TIME = """
two = distributed_processing_flow.with_options(task_runner=ThreadPoolTaskRunner(max_workers=2))
answer = two("f", 8)
"""


@pytest.fixture
def two_of_eight(start: Fn, queue: Queue) -> Any:
    """A flow over eight records, of which two are at work."""
    queue.conn.execute(AUDIT)
    queue.add(8)
    flow = start(TWO_AT_A_TIME, DEVELOPMENT_F_HANDLER="jobs:gated", DEVELOPMENT_F_LEASE_SECONDS="3")
    queue.wait(lambda: len(list(queue.path.glob("running-*"))) == 2 or flow.process.poll() is not None, 60)
    assert flow.process.poll() is None, flow.log()
    return flow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_back_what_has_not_begun_and_waits_for_the_rest(
    two_of_eight: Any, queue: Queue, number: signal.Signals
) -> None:
    two_of_eight.send(number)
    queue.wait(lambda: queue.count("pending") == 6, 60)
    assert (queue.count("processing"), two_of_eight.process.poll()) == (2, None)
    before = queue.rows("lease_expires_at")
    queue.wait(lambda: [now > then for now, then in zip(queue.rows("lease_expires_at"), before, strict=True)][:2], 60)
    (queue.path / "open").touch()
    assert two_of_eight.wait(60) == -number
    assert (queue.count("completed"), queue.count("pending")) == (2, 6)
    assert set(queue.rows("retry_count + crash_count")) == {(0,)}


def test_a_second_signal_ends_it_at_once_and_all_goes_back(two_of_eight: Any, queue: Queue) -> None:
    two_of_eight.send(signal.SIGTERM)
    queue.wait(lambda: queue.count("pending") == 6, 60)
    two_of_eight.send(signal.SIGTERM)
    assert two_of_eight.wait(60) == -signal.SIGTERM
    assert queue.rows("status", "retry_count") == [("pending", 0)] * 8


def test_what_a_killed_flow_held_comes_back_within_its_lease(two_of_eight: Any, queue: Queue, run: Fn) -> None:
    two_of_eight.process.kill()
    two_of_eight.wait()
    left = "select count(*), max(lease_expires_at) <= clock_timestamp() + '3 s' from conveyor.processing_queue"
    assert queue.ask(f"{left} where status = 'processing'") == [(8, True)]
    queue.wait(lambda: queue.processor.maintain() and queue.count("pending") == 8, 60)
    assert run('answer = distributed_processing_flow("f")')["completed"] == 8
    assert (
        queue.ask("select record_id, count(*) from audit where became = 'completed' group by 1 having count(*) > 1")
        == []
    )
    assert queue.count("completed") == 8


def test_a_handler_may_take_longer_than_the_lease(start: Fn, queue: Queue) -> None:
    queue.add(1)
    flow = start(TWO_AT_A_TIME, DEVELOPMENT_F_HANDLER="jobs:gated", DEVELOPMENT_F_LEASE_SECONDS="4")
    queue.wait((queue.path / "running-0").exists, 60)
    [(first,)] = queue.rows("lease_expires_at")
    queue.wait(
        lambda: queue.processor.maintain() and queue.ask("select clock_timestamp() > %s", first) == [(True,)], 60
    )
    assert queue.count("processing") == 1
    (queue.path / "open").touch()
    assert flow.wait(60) == 0, flow.log()
    assert queue.rows("status", "crash_count") == [("completed", 0)]


def test_a_lost_prefect_server_loses_no_record_and_no_summary(
    start: Fn, queue: Queue, tmp_path_factory: pytest.TempPathFactory
) -> None:
    queue.add(4)
    with prefect_kit.started(tmp_path_factory.mktemp("another")) as (url, server):
        flow = start(
            TWO_AT_A_TIME,
            DEVELOPMENT_F_HANDLER="jobs:gated",
            PREFECT_API_URL=url,
            PREFECT_CLIENT_MAX_RETRIES="0",
            PREFECT_API_REQUEST_TIMEOUT="2",
        )
        queue.wait(lambda: len(list(queue.path.glob("running-*"))) == 2, 60)
        server.kill()
        server.wait()
        (queue.path / "open").touch()
        queue.wait(lambda: queue.count("completed") == 4, 60)
        queue.wait(lambda: "4 completed, 0 failed" in flow.log(), 60)
        flow.process.kill()
