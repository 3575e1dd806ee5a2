"""Seats: who sits where, who answers for the place when somebody leaves or is lost, and who is called."""

from __future__ import annotations

import psycopg
import pytest

import sql
from sleepers import FIRST, WATCHING, Seat, Sleeper, locks, seated
from sql import Connect, add, value


def test_each_sleeper_takes_the_lowest_free_seat(connect: Connect) -> None:
    first, second, third = seated(connect, 3)
    assert [list(s.seats.values()) for s in (first, second, third)] == [[FIRST], [Seat(1, False)], [Seat(2, False)]]
    second.leave()
    assert Sleeper(connect).settle() == Seat(1, False)


def test_another_seat_than_0_is_confirmed_by_a_second_call(connect: Connect) -> None:
    Sleeper(connect).settle()
    second = Sleeper(connect)
    assert second.park() == Seat(1, False, confirmed=False)
    assert second.park() == Seat(1, False, confirmed=True)


def test_there_are_no_more_seats_than_p_size(connect: Connect) -> None:
    first, second = seated(connect, 2, size=2)
    third = Sleeper(connect, size=2)
    assert third.park() == Seat(None, False)
    assert locks(first.conn, third.pid) == 0
    second.leave()
    assert third.settle() == Seat(1, False)


def test_who_finds_no_seat_leaves_the_door_alone(connect: Connect) -> None:
    """Or seat 0 could not close it, and would watch for as long as the other polls."""
    [first] = seated(connect, 1, size=1)
    assert first.park(opens=True) == WATCHING
    other = Sleeper(connect, size=1)
    assert [other.park(), other.park(opens=True), other.park()] == [Seat(None, False)] * 3
    assert first.park() == FIRST


def test_who_leaves_seat_0_calls_the_lowest_sleeper(connect: Connect) -> None:
    first, second, third = seated(connect, 3)
    assert first.leave() == 1
    assert [sleeper.rung() for sleeper in (first, second, third)] == [[], ["f empty 1"], []]
    assert second.park() == FIRST
    add(first.conn, "f")
    assert [sleeper.rung() for sleeper in (first, second, third)] == [[], ["f empty 0"], []]
    assert Sleeper(connect).settle() == Seat(1, False), "the seat from which the second moved is free"


def test_who_has_moved_to_seat_0_does_not_hear_calls_to_its_old_seat(connect: Connect) -> None:
    first, second, third = seated(connect, 3)
    first.leave()
    assert (second.rung(), second.park()) == (["f empty 1"], FIRST)
    second.park(opens=True)
    assert first.settle() == Seat(1, False)
    add(first.conn, "f", 2)
    assert third.leave(batch=1) == 2
    assert (second.rung(), first.rung()) == (["f empty 0"], ["f empty 1"])


def test_the_lowest_sleeper_may_sit_far_away(connect: Connect) -> None:
    first, second, third = seated(connect, 3)
    assert second.leave() == 0, "seat 0 is taken: nobody is missed"
    assert first.leave() == 1
    assert third.rung() == ["f empty 2"]
    assert third.park() == FIRST


def test_a_sleeper_that_has_not_confirmed_its_seat_is_called_too(connect: Connect) -> None:
    [first] = seated(connect, 1)
    second = Sleeper(connect)
    assert second.park() == Seat(1, False, confirmed=False)
    assert first.leave() == 1
    assert second.park() == FIRST
    assert second.rung() == ["f empty 1"]


def test_a_call_before_listen_has_committed_is_made_up_for_by_the_second_park(connect: Connect) -> None:
    [first] = seated(connect, 1)
    second = Sleeper(connect)
    second.conn.execute("begin")
    second.park()
    assert first.leave() == 1
    second.conn.execute("commit")
    assert second.rung() == []
    assert second.park() == FIRST


def test_who_leaves_while_it_is_called_passes_the_call_on(connect: Connect) -> None:
    """The second found a record by a look of its own while the first left, which saw it still on its seat."""
    first, second, third = seated(connect, 3)
    first.conn.execute("begin")
    assert first.leave() == 1
    second.leave()
    first.conn.execute("commit")
    assert third.rung() == ["f empty 2"]
    assert third.park() == FIRST


def test_who_only_reads_the_seats_does_not_keep_a_sleeper_from_seat_0(connect: Connect) -> None:
    """
    While seat 0 is read, nobody can move there. So whoever reads it, and finds it empty, calls somebody.

    The read is a shared lock for a moment. Here the moment is long: it is held by hand, and ends with the leave.
    """
    first, second, third = seated(connect, 3)
    add(first.conn, "f")
    assert len(sql.claim(second.conn, "f")) == 1
    first.leave()
    second.conn.execute("select pg_try_advisory_lock_shared(conveyor._wake_key('f', 'empty', 0))")
    assert third.park() == Seat(2, False)
    assert second.leave(batch=1) == 1
    assert third.rung() == ["f empty 2"]


@pytest.mark.parametrize(
    ("due", "batch", "called"), [(5, 2, 3), (4, 2, 2), (0, 2, 1), (1, 1000, 1), (9, 1, 4), (9, None, 1)]
)
def test_after_a_full_batch_as_many_are_called_as_what_is_left_keeps_busy(
    connect: Connect, due: int, batch: int | None, called: int
) -> None:
    first, *others = seated(connect, 5)
    first.park(opens=True)
    add(first.conn, "f", due)
    add(first.conn, "f", 20, run_at="2100-01-01 00:00+00")
    add(first.conn, "g", 20)
    assert first.leave(batch=batch) == called
    rung = [other.rung() for other in others]
    assert rung == [[f"f empty {seat}"] for seat in range(1, called + 1)] + [[]] * (4 - called)


def test_no_more_than_the_seats_are_counted(connect: Connect) -> None:
    first, *others = seated(connect, 3, size=3)
    add(first.conn, "f", 20)
    assert first.leave(batch=1) == len(others)


def test_after_a_full_batch_others_are_called_from_any_seat(connect: Connect) -> None:
    first, second, third = seated(connect, 3)
    assert second.leave(batch=1) == 0
    second.settle()
    first.park(opens=True)
    add(first.conn, "f", 2)
    assert second.leave(batch=1) == 2
    assert [sleeper.rung() for sleeper in (first, second, third)] == [["f empty 0"], [], ["f empty 2"]]


def test_what_is_left_does_not_matter_to_who_waits_for_a_paused_flow(connect: Connect) -> None:
    first, second = Sleeper(connect, ("f", "paused")), Sleeper(connect, ("f", "paused"))
    first.settle()
    second.settle()
    add(first.conn, "f", 5)
    assert second.leave(batch=1) == 0
    assert first.rung() == []


def test_places_are_left_together_and_called_apart(connect: Connect) -> None:
    first = Sleeper(connect, ("f", "empty"), ("g", "paused"))
    first.settle()
    second, third = Sleeper(connect), Sleeper(connect, ("g", "paused"), ("f", "empty"))
    assert (second.settle(), third.settle()) == (Seat(1, False), Seat(1, False))
    assert list(third.seats.values()) == [Seat(1, False), Seat(2, False)]
    assert first.leave() == 2
    assert (second.rung(), third.rung()) == (["f empty 1"], ["g paused 1"])
    assert third.park() == FIRST
    assert locks(first.conn, first.pid) == 0


def test_who_has_left_is_not_notified(connect: Connect) -> None:
    [first] = seated(connect, 1)
    first.leave()
    second = Sleeper(connect)
    second.settle()
    add(second.conn, "g")
    add(connect(), "f")
    assert (first.rung(), second.rung()) == ([], ["f empty 0"])


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_lost_session_frees_its_seat_and_door(conn: psycopg.Connection, connect: Connect, end: str) -> None:
    first, second = seated(connect, 2)
    if end == "close":
        first.conn.close()
    else:
        assert value(conn, "select pg_terminate_backend(%s)", first.pid)
    sql.wait_until(lambda: second.park() == FIRST)
    add(conn, "f")
    assert second.rung() == ["f empty 0"]


def test_nothing_of_the_sleepers_outlives_their_sessions(conn: psycopg.Connection, connect: Connect) -> None:
    sleepers = [*seated(connect, 3), Sleeper(connect, ("f", "paused"), ("g", "empty"))]
    sleepers[-1].settle()
    assert locks(conn) == 4 + 4
    for sleeper in sleepers:
        sleeper.conn.close()
    sql.wait_until(lambda: locks(conn) == 0)
