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
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from pgconveyor.worker import Worker
from sql import Connect
from waking_attack import PausingManager, attack, pause

Fn = Callable[..., Any]

SECONDS = float(os.environ.get("ATTACK_SECONDS", "20"))
FLOWS = [["a"], ["b"], ["b"], ["c", "d"], ["d", "e"], ["e", "c"], ["e"]]  # of each worker

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


@contextmanager
def workers() -> Iterator[None]:
    """Workers, one a thread, that poll once an hour."""
    with ExitStack() as stack:
        for flows in FLOWS:
            handlers = dict.fromkeys(flows, lambda _payload: pause((0, 0.003)))
            manager = stack.enter_context(PausingManager("rpa_db", application_name="sleeper"))
            worker = Worker(manager, handlers, concurrency=random.choice((1, 2)), poll=3600, grace=10)
            thread = threading.Thread(target=worker.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(worker.stop)
        yield


@contextmanager
def ringing(seconds: float) -> Iterator[threading.Event]:
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        yield stop
    finally:
        stop.set()
        timer.cancel()


@pytest.mark.timeout(SECONDS + 100)
@pytest.mark.usefixtures("rpa_db")
def test_no_call_is_lost_however_transactions_and_sleepers_meet(connect: Connect) -> None:
    with workers(), ringing(SECONDS) as stop:
        rounds = attack(connect, sorted({flow for flows in FLOWS for flow in flows}), 2.0, stop)
    assert [each.lost for each in rounds if each.lost] == []
    assert min(each.count for each in rounds) > SECONDS / 5


@pytest.mark.usefixtures("rpa_db")
def test_the_attack_finds_a_protocol_that_loses_calls(connect: Connect) -> None:
    connect().execute(NAIVE)
    with workers(), ringing(60) as stop:
        rounds = attack(connect, sorted({flow for flows in FLOWS for flow in flows}), 2.0, stop)
    assert any(each.lost for each in rounds)


@pytest.mark.timeout(SECONDS + 100)
def test_of_sleepers_that_are_killed_others_take_the_records_by_their_poll(
    connect: Connect, start_worker: Fn, conn: psycopg.Connection
) -> None:
    start = lambda: start_worker("jobs:quick", "--flow", "g", "--poll", "2s")  # noqa: E731
    living = [start() for _ in range(4)]

    def kill(stop: threading.Event) -> None:
        while not stop.wait(random.uniform(0.3, 1.2)):
            if random.random() < 0.4:
                victim = living.pop(random.randrange(len(living)))
                victim.send(signal.SIGKILL)
                victim.wait()
                living.append(start())
            else:
                with suppress(psycopg.Error):
                    conn.execute(f"select pg_terminate_backend(pid) from ({SLEEPERS}) as l (pid)")

    with ringing(SECONDS) as stop:
        killer = threading.Thread(target=kill, args=(stop,))
        killer.start()
        rounds = attack(connect, ["f", "g"], 5.0, stop)
        killer.join()
    assert [each.lost for each in rounds if each.lost] == []
    assert min(each.count for each in rounds) > SECONDS / 5
