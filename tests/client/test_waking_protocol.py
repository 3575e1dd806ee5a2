"""The door: who falls asleep while a producer is in flight, and who is notified when nobody is."""

from __future__ import annotations

import psycopg
import pytest

import sql
from sleepers import FIRST, WATCHING, Sleeper, locks
from sql import Connect, add, claim, value

ENDS = {"commit": 1, "rollback": 0, "rollback to s": 0}  # how a transaction ends, and how many records it leaves


@pytest.fixture
def sleeper(connect: Connect) -> Sleeper:
    return Sleeper(connect)


@pytest.fixture
def producer(connect: Connect) -> psycopg.Connection:
    return connect()


def added(producer: psycopg.Connection) -> psycopg.Connection:
    """Add a record in a transaction, after a savepoint s, and leave it open."""
    producer.execute("begin")
    producer.execute("savepoint s")
    add(producer, "f")
    return producer


@pytest.mark.parametrize("end", ENDS)
def test_nobody_falls_asleep_while_a_producer_is_in_flight(
    sleeper: Sleeper, producer: psycopg.Connection, end: str
) -> None:
    assert claim(sleeper.conn, "f") == []
    added(producer)
    assert [sleeper.settle(), sleeper.park()] == [WATCHING, WATCHING]
    assert claim(sleeper.conn, "f") == []
    producer.execute(end)
    assert locks(sleeper.conn, producer.info.backend_pid) == 0
    assert sleeper.park() == FIRST
    assert len(claim(sleeper.conn, "f")) == ENDS[end]
    assert sleeper.rung() == []


@pytest.mark.parametrize("end", ENDS)
def test_a_closed_door_is_notified_at_commit(sleeper: Sleeper, producer: psycopg.Connection, end: str) -> None:
    assert sleeper.settle() == FIRST
    added(producer)
    assert sleeper.rung() == []
    producer.execute(end)
    producer.execute("end")
    assert sleeper.rung() == ["f empty 0"] * ENDS[end]
    assert len(claim(sleeper.conn, "f")) == ENDS[end]


def test_a_transaction_notifies_once_however_much_it_adds(sleeper: Sleeper, producer: psycopg.Connection) -> None:
    sleeper.settle()
    with producer.transaction():
        add(producer, "f", 3)
        sql.fill(producer, "f", 3)
    assert sleeper.rung() == ["f empty 0"]
    add(producer, "f")
    assert sleeper.rung() == ["f empty 0"]


def test_an_open_door_is_never_notified(sleeper: Sleeper, producer: psycopg.Connection) -> None:
    """Opened after vain rings, it stays open until it is closed again."""
    sleeper.settle()
    assert sleeper.park(opens=True) == WATCHING
    add(producer, "f", 2)
    assert sleeper.rung() == []
    assert sleeper.park() == FIRST
    add(producer, "f")
    assert sleeper.rung() == ["f empty 0"]


def test_the_door_closes_when_the_last_producer_has_ended(connect: Connect, sleeper: Sleeper) -> None:
    first, second = added(connect()), added(connect())
    sleeper.settle()
    first.execute("commit")
    assert sleeper.park() == WATCHING
    second.execute("rollback")
    assert sleeper.park() == FIRST


def test_a_producer_that_rang_at_the_open_door_is_seen_by_whoever_comes_next(
    connect: Connect, sleeper: Sleeper, producer: psycopg.Connection
) -> None:
    """It found the door closed, and the seat was given to another before it committed."""
    sleeper.settle()
    added(producer)
    sleeper.leave()
    other = Sleeper(connect)
    assert other.settle() == FIRST
    producer.execute("commit")
    assert (sleeper.rung(), other.rung()) == ([], ["f empty 0"])


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_old_snapshot_does_not_hide_the_sleeper(sleeper: Sleeper, producer: psycopg.Connection, level: str) -> None:
    producer.execute(f"begin isolation level {level}")
    value(producer, "select count(*) from conveyor.processing_queue")
    assert sleeper.settle() == FIRST
    add(producer, "f")
    producer.execute("commit")
    assert sleeper.rung() == ["f empty 0"]


def test_an_old_snapshot_holds_the_door_like_another(sleeper: Sleeper, producer: psycopg.Connection) -> None:
    producer.execute("begin isolation level repeatable read")
    value(producer, "select count(*) from conveyor.processing_queue")
    sleeper.settle()
    sleeper.leave()
    add(producer, "f")
    assert sleeper.settle() == WATCHING
    producer.execute("commit")
    assert sleeper.park() == FIRST


def test_the_due_time_is_asked_for_and_an_earlier_one_rings(sleeper: Sleeper, producer: psycopg.Connection) -> None:
    late, early = "2100-01-02 00:00+00", "2100-01-01 00:00+00"
    add(producer, "f", run_at=late)
    sleeper.settle()
    assert str(sql.next_due_at(sleeper.conn, "f").date()) == late[:10]
    add(producer, "f", run_at=early)
    assert sleeper.rung() == ["f empty 0"]
    assert str(sql.next_due_at(sleeper.conn, "f").date()) == early[:10]


def test_a_producer_that_is_cut_off_frees_the_door(
    conn: psycopg.Connection, sleeper: Sleeper, producer: psycopg.Connection
) -> None:
    added(producer)
    assert sleeper.settle() == WATCHING
    conn.execute("select pg_terminate_backend(%s)", [producer.info.backend_pid])
    sql.wait_until(lambda: sleeper.park() == FIRST)
    assert sleeper.rung() == []
