"""The worker's own session keeps to the protocol where the order of events decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgconveyor.claimer import Claimer
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.outbox import Outbox
from sleepers import FIRST, Seat, Sleeper, seated
from sql import Connect, add


class Worker:
    """The steps of a worker, made one by one."""

    def __init__(self, claimer: Claimer, outbox: Outbox[Any]) -> None:
        self.claimer, self._outbox, self.taken = claimer, outbox, list[int]()

    def look(self, room: int = 1) -> bool:
        def take(records: list[Any]) -> None:
            self.taken.extend(record["id"] for record in records)

        return self.claimer.look(room, take, may_sleep=True)

    def settle(self) -> None:
        """Look until the next look is the poll's."""
        while not (self.claimer.is_seated and self.claimer.seconds_left > 10):
            assert not self.look()

    def hear(self) -> None:
        """Sleep until somebody rings."""
        self.claimer.rest(self._outbox, 60)
        assert self.claimer.seconds_left <= 0


@pytest.fixture
def worker(processor: DistributedProcessor) -> Iterator[Worker]:
    claimer = Claimer(processor, ["f"], lease=timedelta(minutes=1), poll=60)
    with closing(claimer), closing(Outbox[Any]()) as outbox:
        yield Worker(claimer, outbox)


def test_a_call_that_comes_while_it_keeps_its_seat_moves_it_to_seat_0(connect: Connect, worker: Worker) -> None:
    """It was busy with a record of its own look, and its next look is not the one that follows a sleep."""
    [first] = seated(connect, 1)
    worker.settle()
    worker.claimer.look_now()
    add(first.conn, "f")
    assert worker.look()
    assert first.leave() == 1
    worker.hear()
    worker.settle()
    assert Sleeper(connect).settle() == Seat(1, False), "seat 0 is taken"
    add(connect(), "f")
    worker.hear()
    assert worker.look()


def test_it_calls_whoever_its_own_call_should_have_reached(connect: Connect, worker: Worker) -> None:
    """On its way out it passes on what it does not hear any more, from any seat."""
    [first] = seated(connect, 1)
    worker.settle()
    third = Sleeper(connect)
    assert third.settle() == Seat(2, False)
    add(first.conn, "f")
    worker.claimer.look_now()
    assert worker.look()
    first.conn.execute("begin")
    assert first.leave() == 1
    worker.claimer.leave()
    first.conn.execute("commit")
    assert third.rung() == ["f empty 2"]
    assert third.park() == FIRST


def test_rung_in_vain_it_opens_the_door_and_closes_it_again(conn: psycopg.Connection, worker: Worker) -> None:
    worker.settle()
    add(conn, "f", run_at="2100-01-01 00:00+00")
    worker.hear()
    worker.look()
    assert worker.claimer.seconds_left <= 0, "it looks once more when the door is open"
    worker.settle()
    add(conn, "f")
    worker.hear()
    assert worker.look()
