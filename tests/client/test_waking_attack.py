"""
Sleepers against everything that can go wrong at the same time: no record waits for a poll.

ATTACK_SECONDS says how long, for each of two attacks; 20 at first. See tests/waking_attack.py.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from pgconveyor.worker import Worker
from sql import Connect
from waking_attack import Gate, PausingManager, attack

Fn = Callable[..., Any]

SECONDS = float(os.environ.get("ATTACK_SECONDS", "20"))
FLOWS = [["a"], ["b"], ["b"], ["c"], ["c"], ["c"], ["d", "e"], ["e", "f"], ["f", "d"]]  # of each worker
SPARE = {"a": 0, "b": 1, "c": 2, "d": 0, "e": 0, "f": 0}  # workers

# The same question, but nothing is kept until the commit.
NAIVE = """
    create or replace function conveyor._ring(p_flow_names text[], p_reason text default 'empty')
        returns boolean
        language plpgsql
    as $$
    begin
        perform pg_notify(conveyor._wake_channel(n.flow_name, p_reason, 0), '')
        from unnest(p_flow_names) as n (flow_name)
        where conveyor._is_taken(conveyor._wake_key(n.flow_name, p_reason, -1));
        return found;
    end;
    $$
"""
SLEEPERS = """
    select l.pid from pg_locks as l join pg_database as d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.mode = 'ExclusiveLock' order by random() limit 1
"""


@pytest.fixture
def _no_hoard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is held would claim ahead what nobody else was called for."""
    monkeypatch.setattr("pgconveyor.worker.AHEAD", 0.0)


@contextmanager
def workers() -> Iterator[dict[str, Gate]]:
    """Workers, one a thread, that poll once an hour."""
    gates = {flow: Gate(spare) for flow, spare in SPARE.items()}
    with ExitStack() as stack:
        for flows in FLOWS:
            handlers = {flow: gates[flow].handle for flow in flows}
            manager = stack.enter_context(PausingManager("rpa_db", application_name="sleeper"))
            worker = Worker(manager, handlers, concurrency=1 if SPARE[flows[0]] else 2, poll=3600, grace=10)
            thread = threading.Thread(target=worker.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(worker.stop)
        yield gates


@contextmanager
def for_seconds(seconds: float) -> Iterator[threading.Event]:
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        yield stop
    finally:
        stop.set()
        timer.cancel()


@pytest.mark.timeout(SECONDS + 100)
@pytest.mark.usefixtures("rpa_db", "_no_hoard")
def test_no_call_is_lost_however_transactions_and_sleepers_meet(connect: Connect) -> None:
    with workers() as gates, for_seconds(SECONDS) as stop:
        rounds = attack(connect, gates, 2.0, stop)
    assert [each.lost for each in rounds if each.lost] == []
    assert min(each.count for each in rounds) > SECONDS / 5


@pytest.mark.usefixtures("rpa_db", "_no_hoard")
def test_the_attack_finds_a_protocol_that_loses_calls(connect: Connect) -> None:
    connect().execute(NAIVE)
    with workers() as gates, for_seconds(60) as stop:
        rounds = attack(connect, gates, 2.0, stop)
    assert any(each.lost for each in rounds)


@pytest.mark.timeout(SECONDS + 100)
def test_of_sleepers_that_are_killed_others_take_the_records_by_their_poll(
    connect: Connect, start_worker: Fn, conn: psycopg.Connection
) -> None:
    """The killed are missing for a while: who comes new looks at once, and the poll would have nothing to do."""
    start = lambda: start_worker("jobs:quick", "--flow", "g", "--poll", "2s")  # noqa: E731
    living = [start() for _ in range(5)]

    def kill(stop: threading.Event) -> None:
        while not stop.wait(0.5):
            for _ in range(4):
                living.pop(0).send(signal.SIGKILL)  # the oldest sit on the first seats
            stop.wait(5)
            living.extend(start() for _ in range(4))
            while not stop.wait(0.4) and random.random() < 0.7:
                conn.execute(f"select pg_terminate_backend(pid) from ({SLEEPERS}) as l (pid)")

    with for_seconds(SECONDS) as stop:
        killer = threading.Thread(target=kill, args=(stop,))
        killer.start()
        rounds = attack(connect, {"f": Gate(), "g": Gate()}, 4.0, stop)
        killer.join()
    assert [each.lost for each in rounds if each.lost] == []
    assert min(each.count for each in rounds) > SECONDS / 5
