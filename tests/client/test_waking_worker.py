"""
Real workers that sleep: who is woken, by what, and by whom else when the one who answers for the place is gone.

They poll once an hour unless it is said otherwise, so that nothing but a call, or a due time, explains what they do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

QUEUE = "conveyor.processing_queue"
ADD = "select conveyor.add_record('f', '{\"n\": 0}')"
INSERT = f"insert into {QUEUE} (flow_name, payload, status, run_at) values ('f', '{{\"n\": 0}}', "
FAILED = INSERT + "'failed', null)"
IN_AN_HOUR = INSERT + "'pending', clock_timestamp() + interval '1 hour')"
SEATED = "select from pg_locks as l join pg_database as d on d.oid = l.database where l.locktype = 'advisory'"
HOURLY = ("--poll", "1h")


@pytest.fixture
def sleeper(start_worker: Fn) -> Fn:
    """Start a worker that runs one record at a time and polls every hour."""
    return lambda handler="jobs:quick", *options, **env: start_worker(
        handler, *HOURLY, "--concurrency", 1, *options, **env
    )


def completed(queue: Queue, count: int = 1) -> None:
    queue.wait(lambda: queue.count("completed") == count)


def seated(queue: Queue) -> int:
    return len(queue.ask(f"{SEATED} and d.datname = current_database()"))


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
    completed(queue)


def test_a_resumed_flow_wakes_and_records_of_a_paused_one_do_not(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    queue.ask("select conveyor.pause_flow('f')")
    sleeper()
    before = asleep(reason="paused")
    queue.add(2)
    assert asleep(reason="paused") == before
    queue.ask("select conveyor.resume_flow('f')")
    completed(queue, 2)
    asleep()
    queue.add(1)
    completed(queue, 3)


def test_a_delayed_record_is_begun_when_it_is_due_and_an_earlier_one_before_it(
    sleeper: Fn, queue: Queue, asleep: Fn
) -> None:
    sleeper()
    asleep()
    queue.conn.execute(IN_AN_HOUR)
    asleep()
    queue.conn.execute(INSERT + "'pending', clock_timestamp() + interval '700 ms')")
    completed(queue)
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
    completed(queue)
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
    completed(queue, 50)


class TestAbsence:
    """Of the worker on seat 0. The other one polls every second: a call may go to somebody who cannot hear it."""

    @pytest.fixture
    def two(self, sleeper: Fn, asleep: Fn) -> list[Any]:
        first = sleeper()
        asleep()
        second = sleeper("jobs:quick", "--poll", "1s")
        asleep(2)
        return [first, second]

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_of_one_who_is_killed_or_stopped_another_takes_the_next_record(
        self, two: list[Any], queue: Queue, number: signal.Signals
    ) -> None:
        two[0].send(number)
        queue.add(1)
        completed(queue)
        [(instance,)] = queue.rows("flow_instance_id")
        assert f"as {instance}" in two[1].log()

    def test_one_who_is_stopped_for_a_while_goes_on(self, two: list[Any], queue: Queue) -> None:
        two[0].send(signal.SIGSTOP)
        queue.add(1)
        completed(queue)
        two[1].process.terminate()
        assert two[1].wait() == 0
        two[0].send(signal.SIGCONT)
        queue.add(1)
        completed(queue, 2)


def test_one_whose_session_is_ended_sits_down_again(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    sleeper()
    [before] = asleep()
    assert queue.ask("select pg_terminate_backend(%s, 10000)", before) == [(True,)]
    assert before not in asleep()
    queue.add(1)
    completed(queue)


class TestRestart:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    def test_after_a_restart_of_the_server_it_is_woken_again(
        self, sleeper: Fn, queue: Queue, asleep: Fn, embedded: EmbeddedServer
    ) -> None:
        worker = sleeper()
        asleep()
        embedded.stop()
        queue.wait(lambda: "trying again" in worker.log())
        embedded.start()
        with psycopg.connect(embedded.dsn(), autocommit=True) as conn:
            asleep(conn=conn)
            conn.execute(ADD)
            queue.wait(lambda: conn.execute(f"select from {QUEUE} where status = 'completed'").fetchall())


def test_it_keeps_its_seat_while_it_has_a_thread_to_spare(start_worker: Fn, queue: Queue, asleep: Fn) -> None:
    start_worker("jobs:gated", *HOURLY, "--concurrency", 2)
    [pid] = asleep()
    queue.add(1)
    queue.wait((queue.path / "running-0").exists)
    assert list(asleep()) == [pid]
    queue.processor.add_records_to_queue("f", [{"n": 1}, {"n": 2}])
    queue.wait((queue.path / "running-1").exists)
    queue.wait(lambda: not seated(queue))
    assert queue.count("pending") == 1
    (queue.path / "open").touch()
    completed(queue, 3)
    assert list(asleep()) == [pid]


@pytest.mark.parametrize("who", ["first", "last"])
def test_one_who_is_told_to_stop_leaves_at_once_and_another_is_called(
    sleeper: Fn, queue: Queue, asleep: Fn, who: str
) -> None:
    workers = [sleeper()]
    first = list(asleep())
    workers.append(sleeper())
    [second] = set(asleep(2)) - set(first)
    workers.pop(0 if who == "first" else 1).process.terminate()
    assert list(asleep()) == ([second] if who == "first" else first)
    queue.add(1)
    completed(queue)
    workers[0].process.terminate()
    assert workers[0].wait() == 0
    assert seated(queue) == 0


def test_a_worker_of_several_flows_is_woken_for_each(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    queue.ask("select conveyor.pause_flow('h')")
    sleeper("jobs:quick", "--flow", "g", "--flow", "h")
    for count, flow in enumerate(["g", "f", "h", "g"], 1):
        assert asleep(flow="f") == asleep(flow="g") == asleep(flow="h", reason="paused" if count < 4 else "empty")
        queue.processor.add_records_to_queue(flow, [{"n": 0}])
        if flow == "h":
            queue.ask("select conveyor.resume_flow('h')")
        completed(queue, count)


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
    completed(queue)


def test_each_of_several_processes_has_a_seat(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    worker = sleeper("jobs:gated", "--processes", 2)
    asleep(2)
    queue.add(2)
    queue.wait(lambda: (queue.path / "running-0").exists() and (queue.path / "running-1").exists())
    (queue.path / "open").touch()
    completed(queue, 2)
    asleep(2)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0
    assert seated(queue) == 0
