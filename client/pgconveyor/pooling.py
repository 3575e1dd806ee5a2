"""What is done with each connection: when it is made, given out, was used, and is not answered."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from pgconveyor.remedies import in_short

__all__ = ["PID", "Attempts", "check_if_idle", "cut_after", "is_direct", "note_use", "settle"]

PID = "select pg_backend_pid()"

IDLE_CHECK = 5.0  # seconds in the pool after which a connection is tried before it is handed out


class Attempts:
    """Why the last attempt to connect failed, if it did; the pool, in the background, keeps that to itself."""

    failure: str | None = None

    def connection_class(self) -> type[psycopg.Connection[TupleRow]]:
        attempts = self

        class Connection(psycopg.Connection[TupleRow]):
            @classmethod
            def connect(cls, *args: Any, **kwargs: Any) -> Self:
                try:
                    conn = super().connect(*args, **kwargs)
                except psycopg.OperationalError as exc:
                    attempts.failure = in_short(exc)
                    raise
                attempts.failure = None
                return conn

        return Connection


def is_direct(conn: psycopg.Connection[Any]) -> bool:
    """Whether nothing is between it and the server: a pooler says a process of its own."""
    return conn.execute(PID).fetchone() == (conn.info.backend_pid,)


def settle(conn: psycopg.Connection[Any]) -> None:
    """Make a new connection fit for us, whatever is between it and the server, and whatever PGDATESTYLE says."""
    autocommit, conn.autocommit = conn.autocommit, True
    # A pooler may give us another session each time: what psycopg has prepared is not there then, or is there already.
    if not is_direct(conn):
        conn.prepare_threshold = None
    # psycopg reads timestamps in one style only.
    if not (conn.info.parameter_status("DateStyle") or "").startswith("ISO"):
        conn.execute("set datestyle to iso")
    conn.autocommit = autocommit


def note_use(conn: psycopg.Connection[Any]) -> None:
    vars(conn)["_pgconveyor_used"] = time.monotonic()


def check_if_idle(conn: psycopg.Connection[Any]) -> None:
    """A round trip for each use would double the cost of short statements; only a rested connection needs one."""
    if time.monotonic() - vars(conn).get("_pgconveyor_used", 0.0) > IDLE_CHECK:
        ConnectionPool.check_connection(conn)


@contextmanager
def cut_after(conn: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """
    Lose the connection when it is still in use after so many seconds: a silent network may take a minute to be noticed,
    and a server that hangs never is.
    """
    with socket.fromfd(conn.fileno(), socket.AF_UNSPEC, socket.SOCK_STREAM) as link:

        def cut() -> None:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

        timer = Timer(max(seconds, 0.0), cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
