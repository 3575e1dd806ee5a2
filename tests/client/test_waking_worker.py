"""
Real workers that sleep: who is woken, and by what.

They poll once an hour unless it is said otherwise, so that nothing but a call, or a due time, explains what they do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sleepers import locks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

QUEUE = "conveyor.processing_queue"
ADD = "select conveyor.add_record('f', '{\"n\": 0}')"
INSERT = f"insert into {QUEUE} (flow_name, payload, status, run_at) values ('f', '{{\"n\": 0}}', "
FAILED = INSERT + "'failed', null)"
IN_AN_HOUR = INSERT + "'pending', clock_timestamp() + interval '1 hour')"


WAYS = {
    "add_record": ("select", ADD),
    "add_records_to_queue": ("select", "select conveyor.add_records_to_queue('f', '[{\"n\": 0}]')"),
    "insert": ("select", INSERT + "'pending', null)"),
    "copy": ("select", f"copy {QUEUE} (flow_name, payload) from stdin"),
    "update": (FAILED, f"update {QUEUE} set status = 'pending'"),
    "requeue": (FAILED, f"select conveyor.requeue_records(array_agg(id)) from {QUEUE}"),
    "reset": (FAILED, "select conveyor.reset_failed_records('f')"),
    "now due": (IN_AN_HOUR, f"update {QUEUE} set run_at = clock_timestamp()"),
    "release": (
        ADD + "; select * from conveyor.claim_records_batch('f', 1)",
        f"select conveyor.release_records(array_agg(id), array_agg(claim_token)) from {QUEUE}",
    ),
    "retry": (
        "select conveyor.configure_flow('f', '{\"retry_delay\": \"0 s\"}'); "
        + ADD
        + "; select * from conveyor.claim_records_batch('f', 1)",
        f"select conveyor.mark_record_failed(id, 'boom', claim_token) from {QUEUE}",
    ),
    "orphaned": (
        ADD + "; select * from conveyor.claim_records_batch('f', 1)",
        f"update {QUEUE} set claimed_at = now() - interval '2 hours'; select conveyor.cleanup_orphaned_records(1)",
    ),
    "another flow's": (
        "insert into conveyor.processing_queue (flow_name, payload) values ('g', '{\"n\": 0}')",
        f"update {QUEUE} set flow_name = 'f'",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_whoever_makes_a_record_claimable_wakes_a_worker(sleeper: Fn, queue: Queue, asleep: Fn, way: str) -> None:
    before, event = WAYS[way]
    queue.conn.execute(before)
    sleeper()
    asleep()
    if way == "copy":
        with queue.conn.cursor().copy(event) as copy:
            copy.write_row(("f", '{"n": 0}'))
    else:
        queue.conn.execute(event)
    queue.wait_for(1)


def test_a_resumed_flow_wakes_and_records_of_a_paused_one_do_not(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    queue.ask("select conveyor.pause_flow('f')")
    sleeper()
    before = asleep(reason="paused")
    queue.add(2)
    assert asleep(reason="paused") == before
    queue.ask("select conveyor.resume_flow('f')")
    queue.wait_for(2)
    asleep()
    queue.add(1)
    queue.wait_for(3)


def test_a_delayed_record_is_begun_when_it_is_due_and_an_earlier_one_before_it(
    sleeper: Fn, queue: Queue, asleep: Fn
) -> None:
    sleeper()
    asleep()
    queue.conn.execute(IN_AN_HOUR)
    asleep()
    queue.conn.execute(INSERT + "'pending', clock_timestamp() + interval '700 ms')")
    queue.wait_for(1)
    assert queue.ask(f"select status, claimed_at >= run_at from {QUEUE} order by run_at") == [
        ("completed", True),
        ("pending", None),
    ]


def test_of_eight_sleepers_one_runs_the_record_and_one_takes_its_seat(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    for _ in range(8):
        sleeper("jobs:gated")
    before = asleep(8)
    queue.add(1)
    first, second, *others = before
    assert list(asleep(7)) == [second, *others]
    (queue.path / "open").touch()
    queue.wait_for(1)
    after = asleep(8)
    assert set(after) == set(before)
    assert [pid for pid in before if after[pid] != before[pid]] == [first, second]


def test_after_a_burst_all_sleepers_get_some(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    for _ in range(6):
        sleeper("jobs:gated")
    asleep(6)
    queue.add(50)
    queue.wait(lambda: queue.count("processing") == 6)
    assert len({instance for (instance,) in queue.rows("flow_instance_id") if instance}) == 6
    (queue.path / "open").touch()
    queue.wait_for(50)


def test_it_keeps_its_seat_while_it_has_a_thread_to_spare(start_worker: Fn, queue: Queue, asleep: Fn) -> None:
    start_worker("jobs:gated", "--poll", "1h", "--concurrency", 2)
    [pid] = asleep()
    queue.add(1)
    queue.wait((queue.path / "running-0").exists)
    assert list(asleep()) == [pid]
    queue.processor.add_records_to_queue("f", [{"n": 1}, {"n": 2}])
    queue.wait((queue.path / "running-1").exists)
    queue.wait(lambda: not locks(queue.conn))
    assert queue.count("pending") == 1
    (queue.path / "open").touch()
    queue.wait_for(3)
    assert list(asleep()) == [pid]


def test_a_worker_of_several_flows_is_woken_for_each(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    queue.ask("select conveyor.pause_flow('h')")
    sleeper("jobs:quick", "--flow", "g", "--flow", "h")
    for count, flow in enumerate(["g", "f", "h", "g"], 1):
        assert asleep(flow="f") == asleep(flow="g") == asleep(flow="h", reason="paused" if count < 4 else "empty")
        queue.processor.add_records_to_queue(flow, [{"n": 0}])
        if flow == "h":
            queue.ask("select conveyor.resume_flow('h')")
        queue.wait_for(count)


def test_once_never_sits_down(sleeper: Fn, queue: Queue) -> None:
    """Each claim draws a token, so they tell how often it looked."""
    looks = lambda: queue.ask("select last_value from conveyor.claim_token")[0][0]  # noqa: E731
    queue.conn.execute("drop function conveyor.park")
    queue.add(1)
    worker = sleeper("jobs:gated", "--once", "--concurrency", 2, "--poll", "10ms")
    queue.wait((queue.path / "running-0").exists)
    before = looks()
    queue.wait(lambda: looks() > before + 20)
    (queue.path / "open").touch()
    assert worker.wait() == 0
    queue.wait_for(1)


def test_each_of_several_processes_has_a_seat(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    worker = sleeper("jobs:gated", "--processes", 2)
    asleep(2)
    queue.add(2)
    queue.wait(lambda: (queue.path / "running-0").exists() and (queue.path / "running-1").exists())
    (queue.path / "open").touch()
    queue.wait_for(2)
    asleep(2)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0
    assert locks(queue.conn) == 0
