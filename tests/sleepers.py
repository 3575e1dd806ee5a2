"""A worker's session as the protocol of waking sees it: it parks, looks, leaves, and hears who rings."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from sql import Connect, column, value, wait_until

Place = tuple[str, str]  # flow, reason


class Seat(NamedTuple):
    seat: int | None
    door_closed: bool
    confirmed: bool = True


FIRST = Seat(0, True)  # on seat 0, with the door closed
WATCHING = Seat(0, False)


class Sleeper:
    def __init__(self, connect: Connect, *places: Place, size: int = 8) -> None:
        self.conn: psycopg.Connection = connect()
        self.places, self.size = list(places or [("f", "empty")]), size
        self.pid = self.conn.info.backend_pid
        self.seats = dict.fromkeys(self.places, Seat(None, False))
        query = """
            select conveyor._wake_channel(p.flow_name, p.reason, s.seat), concat_ws(' ', p.flow_name, p.reason, s.seat)
            from unnest(%s::text[], %s::text[]) as p (flow_name, reason)
            cross join generate_series(0, %s - 1) as s (seat)
        """
        self._names = dict(self.conn.execute(query, [*self._columns, size]).fetchall())
        self._mark = f"mark_{self.pid}"
        self._names[self._mark] = self._mark

    @property
    def _columns(self) -> list[list[str]]:
        return [[flow for flow, _ in self.places], [reason for _, reason in self.places]]

    def park(self, *, opens: bool = False) -> Seat:
        """Call park() once, at all places; what became of the first."""
        held = [self.seats[place] for place in self.places]
        query = """
            select flow_name, reason, seat, door_closed, confirmed
            from conveyor.park(%s::text[], %s::text[], %s::integer[], %s::boolean[], %s, %s)
        """
        closed = [None if opens else seat.door_closed for seat in held]
        rows = self.conn.execute(query, [*self._columns, [seat.seat for seat in held], closed, self.pid, self.size])
        self.seats = {(row[0], row[1]): Seat(*row[2:]) for row in rows.fetchall()}
        return self.seats[self.places[0]]

    def settle(self) -> Seat:
        """Park until it is confirmed."""
        while not self.park().confirmed:
            pass
        return self.seats[self.places[0]]

    def leave(self, *, batch: int | None = None) -> int:
        """Leave all places; how many sleepers were called."""
        wakes = [int(self.seats[place].seat == 0) for place in self.places]
        self.seats = dict.fromkeys(self.places, Seat(None, False))
        query = "select conveyor.leave(%s::text[], %s::text[], %s::integer[], %s::integer, %s)"
        return value(self.conn, query, *self._columns, wakes, batch, self.size)

    def rung(self) -> list[str]:
        """Flow, reason and seat of each notification that came; one sent just now comes after all that were before."""
        self.conn.execute(f"listen {self._mark}")
        self.conn.execute(f"notify {self._mark}")
        came: list[str] = []

        def is_marked() -> bool:
            came.extend(self._names[note.channel] for note in self.conn.notifies(timeout=0))
            return self._mark in came

        wait_until(is_marked)
        assert came.pop() == self._mark
        return came


def seated(connect: Connect, n: int, *, size: int = 8) -> list[Sleeper]:
    """Sleepers of flow f, on seats 0 and up."""
    sleepers = [Sleeper(connect, size=size) for _ in range(n)]
    assert [sleeper.settle().seat for sleeper in sleepers] == list(range(n))
    return sleepers


def locks(conn: psycopg.Connection, pid: int | None = None) -> int:
    """How many advisory locks a session holds, or all sessions of the database."""
    query = """
        select count(*)
        from pg_locks as l
        join pg_database as d on d.oid = l.database
        where l.locktype = 'advisory'
            and l.objsubid = 1
            and d.datname = current_database()
            and l.pid = coalesce(%s, l.pid)
    """
    [found] = column(conn, query, pid)
    return found
