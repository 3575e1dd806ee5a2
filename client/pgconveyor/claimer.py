"""
The one session of a worker that claims, and in which it sleeps until it is rung for.

Who sleeps, and who is rung for, is in the database: `db/functions/park.sql`, `leave.sql` and `_ring.sql`. What is here
is when to call them. A *place* is a flow and why nothing of it was claimed. A worker that finds nothing lingers for
some milliseconds, takes a seat at each place, looks once more, and sleeps until a notification, the next due time, or
its poll; polling alone would be right as well. On seat 0 it answers for the place: while producers in flight keep the
door open it watches, that is, looks every few milliseconds.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg

from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.handling import Answer
from pgconveyor.outbox import Outbox
from pgconveyor.pooling import cut_after, is_direct

__all__ = ["Claimer", "jittered"]

logger = logging.getLogger(__name__)

Place = tuple[str, str]

LINGER = (0.001, 0.002, 0.004, 0.008)  # seconds between looks before a seat is taken
WATCH = (0.001, 0.002, 0.004, 0.008)  # seconds between looks while the door cannot be closed
VAIN = 7  # after n vain rings in a row the door stays open for 2^n ms, up to this n
SEATS = 8  # sleepers at a place; the others poll
POLITE = 2.0  # seconds at the end for calling somebody else; whoever is not called finds the free seat by the poll
MANY = 32  # flows, above which a worker polls: it would hold too many locks, and leave() names a flow up to twice

# Why nothing was claimed, and when to look again, in the session that claimed and by the server's clock.
WHY = """
    select
        case when n.due = 'infinity' then 'paused' else 'empty' end,
        case when n.due < 'infinity' then extract(epoch from n.due - clock_timestamp())::float8 end
    from conveyor.next_due_at(p_flow_name => %s) as n (due)
"""

PARK = """
    select flow_name, reason, seat, door_closed, confirmed
    from conveyor.park(
        p_flow_names => %s::text[], p_reasons => %s::text[], p_held => %s::integer[], p_closed => %s::boolean[],
        p_client_pid => %s::integer, p_size => %s::integer
    )
"""

LEAVE = """
    select conveyor.leave(
        p_flow_names => %s::text[], p_reasons => %s::text[], p_wakes => %s::integer[], p_batch => %s::integer,
        p_size => %s::integer
    )
"""

# The server then frees the seats of a machine that has vanished within half a minute.
SETTINGS = """
    select
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('idle_session_timeout', '0', false),
        set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""


class Claimer:
    """
    Claims for one worker from several flows, in turn. All of it belongs to one thread.

    Raises `DatabaseUnavailable` when the session was lost; the next look opens a new one.
    """

    def __init__(self, processor: DistributedProcessor, flows: Sequence[str], *, lease: timedelta, poll: float) -> None:
        self._processor, self._flows = processor, list(flows)
        self._lease, self._poll = lease, poll
        self._conn: psycopg.Connection | None = None
        self._is_shared = False
        self._own_pid: int | None = None
        self._places: list[Place] = []
        self._seats: dict[Place, tuple[int | None, bool]] = {}
        self._full: tuple[list[str], int] = [], 0  # flows whose last batch was full, and how large it was
        self._lingered = self._watched = self._vain = self._polled = 0
        self._is_rung, self._must_park, self._open_until = False, False, 0.0
        self._look_at = 0.0

    @property
    def seconds_left(self) -> float:
        """Until the next look."""
        return self._look_at - time.monotonic()

    @property
    def is_seated(self) -> bool:
        return bool(self._seats)

    def look_now(self) -> None:
        self._look_at, self._lingered, self._polled = 0.0, 0, 0

    def look(self, room: int, take: Callable[[list[Record]], object], *, may_sleep: bool) -> bool:
        """
        Claim up to `room` records, from each flow its share, and hand them to `take`, batch by batch.

        False when nothing was ready: then it is set when to look again, and with `may_sleep` a seat is taken.
        """
        with self._on_session() as conn:
            if self._must_park:
                self._park(conn)
            share = math.ceil(room / len(self._flows))
            self._full = [], share
            is_found = False
            for flow_name in list(self._flows):
                records = self._processor.claim_in(conn, flow_name, share, self._lease)
                if records:
                    take(records)
                    is_found = True
                if len(records) == share:
                    self._full[0].append(flow_name)
                if len(records) == 1 and records[0]["crash_count"]:
                    break
            # Whoever was first is last next time.
            self._flows.append(self._flows.pop(0))
            if is_found:
                self._lingered = self._watched = self._vain = self._polled = 0
                self._is_rung, self._look_at = False, 0.0
            else:
                self._wait_for_more(conn, may_sleep)
            return is_found

    def rest(self, outbox: Outbox[Answer], timeout: float) -> None:
        """Sleep on a seat, at most so long: until it is rung for, or something is in the outbox."""
        try:
            with self._on_session() as conn:
                # What came with an earlier answer is in the backlog, and its socket is not readable any more.
                if not self._drain(conn):
                    outbox.wait_beside(conn.fileno(), timeout)
                    self._drain(conn)
        except DatabaseUnavailable as exc:
            logger.warning("%s; connecting again", exc)

    def leave(self) -> None:
        """Give the seats up: there is work for this worker, and others are to be called in its stead."""
        if not self._seats:
            return
        first = [place for place, (seat, _) in self._seats.items() if seat == 0]
        flows, batch = self._full
        places = list(dict.fromkeys([*self._seats, *((flow_name, "empty") for flow_name in flows)]))
        self._seats, self._must_park = {}, False
        with self._on_session() as conn:
            conn.execute(
                LEAVE, [*_columns(places), [int(place in first) for place in places], batch if flows else None, SEATS]
            )

    def close(self, deadline: float = math.inf) -> None:
        """End the session, and with it whatever is held in it; not later than the deadline, however silent it is."""
        if self._conn is not None:
            within = min(POLITE, deadline - time.monotonic())
            with suppress(DatabaseUnavailable, psycopg.Error), cut_after(self._conn, within):
                self.leave()
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _wait_for_more(self, conn: psycopg.Connection, may_sleep: bool) -> None:
        """Nothing was found: the next step on the way to sleep."""
        whys = [(flow_name, *_row(conn.execute(WHY, [flow_name]))) for flow_name in self._flows]
        self._places = [(flow_name, reason) for flow_name, reason, _ in whys]
        due_in = min((seconds for *_, seconds in whys if seconds is not None), default=math.inf)
        now, doors = time.monotonic(), list(self._seats.values())
        self._must_park = False
        if self._is_shared or not may_sleep or len(self._flows) > MANY:
            pause = min(0.01 * 2.0 ** min(self._polled, 20), self._poll)
            self._polled += 1
            self._look_at = now + min(jittered(pause), max(due_in, LINGER[-1]))
        elif set(self._seats) != set(self._places):
            self.leave()
            if self._lingered < len(LINGER):
                self._look_at = now + LINGER[self._lingered]
                self._lingered += 1
            else:
                self._park(conn)
        elif self._is_rung and any(is_closed for _, is_closed in doors):
            # Rung for nothing: what came is not due yet, or others took it. With the door open for a while a stream of
            # such records does not notify one by one.
            self._vain = min(self._vain + 1, VAIN)
            self._open_until = now + 2**self._vain / 1000
            self._park(conn, opens=True)
        elif any(seat == 0 and not is_closed for seat, is_closed in doors):
            self._look_at = now + WATCH[min(self._watched, len(WATCH) - 1)]
            self._watched += 1
            self._must_park = self._look_at >= self._open_until
        else:
            self._watched = 0
            self._look_at = now + min(jittered(self._poll), max(due_in, 0.0))
            self._must_park = any(not is_closed for _, is_closed in doors)
            if not self._is_rung:
                self._vain = 0
        self._is_rung = False

    def _park(self, conn: psycopg.Connection, *, opens: bool = False) -> None:
        """Take, keep or better the seats; a look must follow before anybody sleeps."""
        self._look_at, self._must_park = 0.0, False
        is_confirmed = False
        while not is_confirmed:
            held = [self._seats.get(place, (None, False)) for place in self._places]
            closed = [None if opens and is_closed else is_closed for _, is_closed in held]
            rows = conn.execute(
                PARK, [*_columns(self._places), [seat for seat, _ in held], closed, self._own_pid, SEATS]
            ).fetchall()
            self._seats = {(row[0], row[1]): (row[2], row[3]) for row in rows}
            is_confirmed = all(row[4] for row in rows)

    def _drain(self, conn: psycopg.Connection) -> bool:
        """Whether it was rung. Any number of notifications means one thing: look."""
        if sum(1 for _ in conn.notifies(timeout=0)):
            self._is_rung, self._look_at = True, 0.0
            # Called on another seat than 0, it is to move there, whatever it was doing.
            self._must_park = self._must_park or any(seat != 0 for seat, _ in self._seats.values())
        return self._is_rung

    @contextmanager
    def _on_session(self) -> Iterator[psycopg.Connection]:
        is_new = self._conn is None
        conn = self._conn = self._conn or self._processor.rpa_db.connect()
        try:
            if is_new:
                self._settle(conn)
            yield conn
        except psycopg.Error as exc:
            if conn.closed or is_new:
                # The server has freed the seats.
                conn.close()
                self._conn, self._seats, self._must_park = None, {}, False
                self.look_now()
            self._processor.rpa_db.translate(exc, conn)

    def _settle(self, conn: psycopg.Connection) -> None:
        """Find out whether the session is this worker's alone, and make it fit for sleeping."""
        was_shared, self._is_shared = self._is_shared, self._processor.rpa_db.shares_session(conn)
        # Of a pooler that keeps the session ours, park() is not to ask.
        self._own_pid = conn.info.backend_pid if is_direct(conn) else None
        if not self._is_shared:
            conn.execute(SETTINGS)
        elif not was_shared:
            logger.warning("a pooler shares the sessions of the database: polling instead of being notified")


def _row(cursor: psycopg.Cursor) -> Any:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  the statement returns one
    return row


def _columns(places: Sequence[Place]) -> tuple[list[str], list[str]]:
    return [flow_name for flow_name, _ in places], [reason for _, reason in places]


def jittered(seconds: float) -> float:
    """About so long, that many who wait for the same do not come at the same moment."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311
