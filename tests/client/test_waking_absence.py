"""
Real workers that sleep: who is woken when the one who answers for the place is gone.

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
from sleepers import locks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

QUEUE = "conveyor.processing_queue"
ADD = "select conveyor.add_record('f', '{\"n\": 0}')"


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
        queue.wait_for(1)
        [(instance,)] = queue.rows("flow_instance_id")
        assert f"as {instance}" in two[1].log()

    def test_one_who_is_stopped_for_a_while_goes_on(self, two: list[Any], queue: Queue) -> None:
        two[0].send(signal.SIGSTOP)
        queue.add(1)
        queue.wait_for(1)
        two[1].process.terminate()
        assert two[1].wait() == 0
        two[0].send(signal.SIGCONT)
        queue.add(1)
        queue.wait_for(2)


def test_one_whose_session_is_ended_sits_down_again(sleeper: Fn, queue: Queue, asleep: Fn) -> None:
    worker = sleeper()
    [before] = asleep()
    assert queue.ask("select pg_terminate_backend(%s, 10000)", before) == [(True,)]
    assert before not in asleep()
    assert worker.log().count("connecting again") == 1
    queue.add(1)
    queue.wait_for(1)


class TestServer:
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

    def test_that_is_silent_does_not_keep_it_from_ending(self, sleeper: Fn, queue: Queue, asleep: Fn) -> None:
        worker = sleeper()
        [pid] = asleep()
        os.kill(pid, signal.SIGSTOP)
        worker.process.terminate()
        try:
            assert worker.wait() == 0
        finally:
            os.kill(pid, signal.SIGCONT)
        queue.wait(lambda: locks(queue.conn) == 0)


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
    queue.wait_for(1)
    workers[0].process.terminate()
    assert workers[0].wait() == 0
    assert locks(queue.conn) == 0
