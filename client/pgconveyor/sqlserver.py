"""`DatabaseManager` for a SQL Server: by pyodbc, with a small pool, and another try where that is safe."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from threading import BoundedSemaphore, Event, Lock, RLock, Timer
from typing import Any, NoReturn, TypeVar

from pgconveyor.claimer import jittered
from pgconveyor.config import ConfigManager
from pgconveyor.conninfo import DatabaseSettings
from pgconveyor.database import DatabaseManager, Params
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.odbc import choose_driver, odbc_string, pyodbc, words_of

__all__ = ["LoginRefused", "PassingFailure", "SqlServerManager", "is_transient", "number_of", "reason_of"]

T = TypeVar("T")

ATTEMPTS = 4
BACK_OFF = 0.2  # seconds before the second attempt; each later one waits twice as long
LOGIN_TIMEOUT = 10  # seconds
QUERY_TIMEOUT = 60  # seconds of silence
GRACE = 10  # seconds between a deadline and the driver's timeout, for a server that does not hear that it is over
IDLE_CHECK = 5.0  # seconds after which a connection is tried before it is used

# What passes: throttling, fail-over, a victim of a deadlock, a lock or memory that was not had. Never a login that was
# refused: accounts are locked for that.
_NUMBERS = """
    20 64 121 233 701 976 983 1205 1222 3960 4060 4221 8645 10053 10054 10060 10928 10929 40197 40501 40613
    41301 41302 41305 41325 41839 49918 49919 49920 49977 49983
"""
NUMBERS = frozenset(map(int, _NUMBERS.split()))
REFUSED = frozenset([18452, 18456, 18486, 18487, 18488])
# FreeTDS and Microsoft's driver have no SQLSTATE for a connection that was lost while rows came.
LOST = re.compile(
    r"Unknown error \(0\)|\(200(03|06|09|17|47)\)|did not supply an error|Connection closed",
)


def number_of(exc: BaseException) -> int | None:
    """SQL Server's own number of the error, which the drivers put into its text."""
    found = re.findall(r"\((-?\d+)\) \(SQL", str(exc))
    return int(found[-1]) if found else None


def is_lost(exc: BaseException) -> bool:
    state = str(exc.args[0]) if exc.args else ""
    return state.startswith("08") or state == "HYT01" or LOST.search(str(exc)) is not None


def is_transient(exc: BaseException) -> bool:
    """By SQLSTATE and number, never by the class: drivers differ in that."""
    number = number_of(exc)
    if number in REFUSED or "28000" in str(exc.args[:1]):
        return False
    return is_lost(exc) or number in NUMBERS or (bool(exc.args) and str(exc.args[0]) == "40001")


def reason_of(exc: BaseException) -> str:
    """What the server said, without the driver's names, in one line."""
    text = str(exc.args[1] if len(exc.args) > 1 else exc)
    return " ".join(re.sub(r"^(\[[^\]]*\]\s*)+|\s*\(SQL\w+\)", "", text).split())


class PassingFailure(DatabaseUnavailable):
    """Worth another try."""


class LoginRefused(DatabaseUnavailable):
    """Not worth another try: accounts are locked for that."""


class Session:
    """
    A connection of pyodbc while it is lent out. Its cursors are closed with it: one that is freed later, by this
    thread, while another has the connection, ends the process.
    """

    def __init__(self, conn: Any) -> None:
        self._conn, self._cursors = conn, list[Any]()

    def cursor(self, deadline: float = 0.0) -> Any:
        """A `pyodbc.Cursor`. The driver's own timeout comes after the deadline, which it would else spoil."""
        self._conn.timeout = max(QUERY_TIMEOUT, int(deadline) + GRACE)
        self._cursors.append(self._conn.cursor())
        return self._cursors[-1]

    def execute(self, query: str, *params: Any) -> Any:
        return self.cursor().execute(query, *params)

    @contextmanager
    def halves(self) -> Iterator[None]:
        """
        Read texts with half of a surrogate pair, which an nvarchar may have, and in which pyodbc fails without saying
        where. Not always, because it takes longer.
        """
        kinds = [pyodbc().SQL_WCHAR, pyodbc().SQL_WVARCHAR, pyodbc().SQL_WLONGVARCHAR]
        for kind in kinds:
            self._conn.add_output_converter(kind, lambda raw: raw.decode("utf-16-le", "surrogatepass"))
        try:
            yield
        finally:
            for kind in kinds:
                self._conn.remove_output_converter(kind)

    def end(self) -> None:
        for cur in self._cursors:
            with suppress(pyodbc().Error):
                cur.close()


class SqlServerManager(DatabaseManager):
    """
    What `DatabaseManager` is for a name whose type is `sqlserver`.

    Settings `…_ODBC_DRIVER`, `…_POOL_SIZE` and `…_POOL_TIMEOUT` are optional. Parameters are `?` and a sequence. A
    statement that met a passing error, or lost its connection before its commit, is tried again, up to four times, in
    a new connection. `ConnectionError` when the server cannot be reached; what else it refuses is a `pyodbc.Error`.
    """

    may_have_queue = False

    def __init__(self, database_name: str, **options: Any) -> None:
        super().__init__(database_name, **options)
        self._idle: list[tuple[Any, float]] = []
        self._idle_lock = Lock()
        self._free: BoundedSemaphore | None = None
        self._out = 0
        self._waited_for: set[Any] = set()
        self._cancelling = RLock()  # reentrant: a signal handler interrupts

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """
        A session for one transaction: committed at the end, rolled back on an exception. It has `cursor()` and
        `execute(query, *params)`, whose cursors are pyodbc's.
        """
        conn = self._take()
        session = Session(conn)
        is_good = is_committing = False
        try:
            yield session
            session.end()
            is_committing = True
            conn.commit()
            is_good = True
        except pyodbc().Error as exc:
            if not is_lost(exc):
                raise
            # Whether the commit happened nobody knows: it must not be tried again unasked.
            kind = DatabaseUnavailable if is_committing else PassingFailure
            raise kind(f"{self.database_name}: {reason_of(exc)}") from None
        finally:
            session.end()
            self._give_back(conn, is_good)

    def execute_transaction(self, statements: Sequence[tuple[str, Params]]) -> list[dict[str, Any]]:
        """Run `(query, params)` pairs in one transaction: all or nothing. Returns their rows, one after another."""
        for _, params in statements:
            if isinstance(params, Mapping | str):
                raise ValueError(f"params is {type(params).__name__}: SQL Server takes ? and a sequence")
        return self._repeatedly(lambda: self._once(statements))

    def stream(
        self, query: str, params: Sequence[Any] = (), *, page: int = 1000, deadline: float = 60.0
    ) -> Iterator[list[dict[str, Any]]]:
        """
        The rows of a statement, `page` at a time, as they come. A page that takes longer than `deadline` seconds is a
        `ConnectionError`. Nothing is tried again: whoever has had some of the rows knows where to go on.
        """
        with self.connection() as conn:
            cur = conn.cursor(deadline)
            self._within(deadline, cur, lambda: cur.execute(query, *params))
            names = [column[0] for column in cur.description]
            while rows := self._within(deadline, cur, lambda: cur.fetchmany(page)):
                yield [dict(zip(names, row, strict=True)) for row in rows]

    def read(self, query: str, params: Sequence[Any] = (), *, deadline: float = 60.0) -> list[Sequence[Any]]:
        """
        The rows of a statement that only reads, within `deadline` seconds, as pyodbc has them.

        What passes is tried again, also silence, and a late answer. Raises `PassingFailure` if it does not pass.
        """

        def once() -> list[Sequence[Any]]:
            with self.connection() as conn:
                cur = conn.cursor(deadline)

                def fetch() -> list[Sequence[Any]]:
                    return cur.execute(query, *params).fetchall()  # type: ignore[no-any-return]

                try:
                    return self._within(deadline, cur, fetch)
                except UnicodeDecodeError:
                    with conn.halves():
                        return self._within(deadline, cur, fetch)

        return self._repeatedly(once)

    def interrupt(self) -> None:
        """Cancel what `read` and `stream` wait for in other threads; it fails there."""
        with self._cancelling:
            for cur in self._waited_for:
                with suppress(pyodbc().Error):
                    cur.cancel()

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for conn, _ in idle:
            _close(conn)

    def conninfo(self) -> NoReturn:
        raise ValueError(f"{self.database_name} is a SQL Server: it has no connection string of PostgreSQL")

    def _look(self, health: dict[str, Any]) -> None:
        with self.connection() as conn:
            health["connection"] = True
            conn.execute("SELECT 1").fetchall()
            health["query_test"] = True

    def _reason_of(self, exc: Exception) -> str:
        return reason_of(exc)

    def _counts(self) -> tuple[int, int, int, int]:
        free = len(self._idle)
        return free + self._out, free, 0, self._max_size()

    def _once(self, statements: Sequence[tuple[str, Params]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        with self.connection() as conn:
            for query, params in statements:
                cur = conn.cursor().execute(query, *(params or ()))
                if cur.description is not None:
                    names = [column[0] for column in cur.description]
                    rows += [dict(zip(names, row, strict=True)) for row in cur.fetchall()]
        return rows

    def _repeatedly(self, action: Callable[[], T]) -> T:
        wait = BACK_OFF
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except (PassingFailure, pyodbc().Error) as exc:
                if attempt == ATTEMPTS or not (isinstance(exc, PassingFailure) or is_transient(exc)):
                    raise
                time.sleep(jittered(wait))
                wait *= 2
        raise AssertionError

    def _within(self, seconds: float, cur: Any, action: Callable[[], T]) -> T:
        """The driver's timeout is that of one wait: rows that drip would never meet it."""
        is_late = Event()

        def cut() -> None:
            is_late.set()
            with suppress(pyodbc().Error):
                cur.cancel()

        timer = Timer(seconds, cut)
        timer.start()
        with self._cancelling:
            self._waited_for.add(cur)
        try:
            found = action()
        except pyodbc().Error as exc:
            if exc.args[:1] == ("HYT00",):  # only of a statement that reads is this no reason to stop
                raise PassingFailure(f"{self.database_name}: {reason_of(exc)}") from None
            if not is_late.is_set():
                raise
        finally:
            # A cursor that is closed while another thread cancels it ends the process.
            timer.cancel()
            timer.join()
            with self._cancelling:
                self._waited_for.discard(cur)
        if is_late.is_set():
            raise PassingFailure(f"{self.database_name}: no whole answer within {seconds:g} s")
        return found

    def _take(self) -> Any:
        with self._idle_lock:
            self._free = self._free or BoundedSemaphore(self._max_size())
        if not self._free.acquire(timeout=self._max_wait()):
            raise self._unavailable(self._all_in_use(self._max_size(), self._max_wait()))
        try:
            conn = self._rested() or self._dial()
        except BaseException:
            self._free.release()
            raise
        with self._idle_lock:
            self._out += 1
        return conn

    def _rested(self) -> Any:
        """One that was used before and still answers."""
        while True:
            with self._idle_lock:
                if not self._idle:
                    return None
                conn, used_at = self._idle.pop()
            if time.monotonic() - used_at < IDLE_CHECK:
                return conn
            with suppress(pyodbc().Error):
                conn.execute("SELECT 1").fetchall()
                return conn
            _close(conn)

    def _dial(self) -> Any:
        odbc, settings = pyodbc(), DatabaseSettings.read(self.database_name)
        if settings.url is None:
            raise ValueError(f"{settings.variable} is not set: give mssql+pyodbc://user:password@host:1433/database")
        words = words_of(settings.url, settings.variable)
        wanted = ConfigManager().get_variable(f"{self.database_name}_odbc_driver") or words.get("DRIVER")
        driver = choose_driver(odbc.drivers(), wanted)
        try:
            conn = odbc.connect(
                odbc_string(words, driver, self._application_name), autocommit=False, timeout=LOGIN_TIMEOUT
            )
        except odbc.Error as exc:
            # HYT00: nobody answered, as when a server fails over.
            kind = PassingFailure if is_transient(exc) or exc.args[0] == "HYT00" else LoginRefused
            raise kind(f"{self.database_name}: {reason_of(exc)}") from None
        conn.add_output_converter(-155, _with_offset)
        return conn

    def _give_back(self, conn: Any, is_good: bool) -> None:
        with self._idle_lock:
            self._out -= 1
            if is_good:
                self._idle.append((conn, time.monotonic()))
        if not is_good:
            # What became of its session is not known; a new one costs less than to find out.
            _close(conn)
        if self._free:
            self._free.release()


def _close(conn: Any) -> None:
    with suppress(pyodbc().Error):
        conn.close()


def _with_offset(raw: bytes) -> datetime:
    """A datetimeoffset, which pyodbc hands over as it came; Python keeps six of its seven digits."""
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", raw)
    zone = timezone(timedelta(hours=hours, minutes=minutes))
    return datetime(year, month, day, hour, minute, second, nanoseconds // 1000, zone)
