"""Connections to a database that the configuration names (contract: DatabaseManager)."""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from threading import Lock
from types import TracebackType
from typing import Any, NoReturn, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from pgconveyor.config import ConfigManager
from pgconveyor.conninfo import DatabaseSettings, is_sqlserver, with_defaults
from pgconveyor.errors import DatabaseUnavailable, SchemaMissing, timestamp
from pgconveyor.install import refuse_newer
from pgconveyor.pooling import PID, Attempts, check_if_idle, is_direct, note_use, settle
from pgconveyor.remedies import in_short, refusal, remedy
from pgconveyor.tunables import pool_size_of, pool_timeout_of

__all__ = ["DatabaseManager", "Params"]

Params = Sequence[Any] | Mapping[str, Any] | None

SLOW = 5000  # milliseconds after which a healthy database is called degraded

_POOL_KEYS = ("pool_size", "checked_in", "checked_out", "waiting", "max_connections")

_MISSING = (
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
)


class DatabaseManager:
    """
    One database, by the name it has in the configuration; connects when first used, and again when it was lost.

    `DatabaseManager("rpa_db")` reads `{ENVIRONMENT}_GLOBAL_RPA_DB_TYPE` (`postgresql` or `embedded`) and
    `{ENVIRONMENT}_GLOBAL_RPA_DB_CONNECTION_STRING`; `…_POOL_SIZE` (10) and `…_POOL_TIMEOUT` (30 seconds) are
    optional, and `pool_size` and `pool_timeout` are stronger. Safe in threads: create it once a process. Methods
    raise `ValueError` for a configuration that cannot be used, `ConnectionError` when the database cannot be
    reached, `ClientOutdated` when its queue is too new for this client, and `psycopg.Error` for what the server
    refuses, with a note where there is a remedy.
    """

    may_have_queue = True

    def __new__(cls, database_name: str, **_options: Any) -> Self:
        """What the type of the database asks for."""
        if cls is DatabaseManager and is_sqlserver(database_name):
            from pgconveyor.sqlserver import SqlServerManager

            return object.__new__(SqlServerManager)  # type: ignore[return-value]
        return object.__new__(cls)

    def __init__(
        self,
        database_name: str,
        *,
        pool_size: int | None = None,
        pool_timeout: float | None = None,
        application_name: str | None = None,
    ) -> None:
        if not isinstance(database_name, str) or not database_name.strip():
            raise ValueError(f"database_name is {database_name!r}: give the name it has in the configuration")
        self.database_name = database_name.strip()
        if pool_timeout is not None and not pool_timeout > 0:
            raise ValueError(f"pool_timeout is {pool_timeout!r}: give seconds above 0")
        self._pool_size, self._pool_timeout = pool_size, pool_timeout
        self._attempts = Attempts()
        self._application_name = application_name or "pgconveyor"
        self._lock = Lock()
        self._pool: ConnectionPool | None = None
        self._close_pool: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        return f"DatabaseManager({self.database_name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """A connection of the pool for one transaction: committed at the end, rolled back on an exception."""
        conn: psycopg.Connection | None = None
        pool = self._open()
        try:
            with pool.connection() as conn:
                yield conn
                note_use(conn)  # not as the pool's reset: that takes a thread of the pool, and a second connection
        except PoolTimeout:
            if conn is not None:
                raise
            raise self._unavailable(self._why_none(pool)) from None
        except psycopg.Error as exc:
            self.translate(exc, conn)

    def connect(self) -> psycopg.Connection:
        """A connection beside the pool, in autocommit; the caller closes it."""
        conn = self._connect(with_defaults(self.conninfo(), self._application_name))
        conn.autocommit = True
        settle(conn)
        return conn

    def shares_session(self, conn: psycopg.Connection) -> bool:
        """Whether a pooler may give the session of this connection, in autocommit, to others between statements."""
        if is_direct(conn):
            return False
        pid = conn.execute(PID).fetchone()
        # While somebody else holds a session of the pooler, do we keep ours?
        with self.connection() as other:
            other.execute("select 1")
            return conn.execute(PID).fetchone() != pid

    def translate(self, exc: psycopg.Error, conn: psycopg.Connection | None) -> NoReturn:
        """Raise the error of a connection as `connection` does; to be called where it was caught."""
        # Of another database's error, or a deadlock in ours, this connection lives on.
        if isinstance(exc, psycopg.OperationalError) and (conn is None or conn.closed):
            raise self._unavailable(in_short(exc)) from None
        if isinstance(exc, _MISSING) and re.search(r'\bconveyor\.|"conveyor"', str(exc.diag.message_primary)):
            message = f"{self.database_name}: {exc.diag.message_primary}; run `pgconveyor install`"
            raise SchemaMissing(message) from exc
        if conn is not None and not conn.closed and (advice := remedy(exc, conn.info.user)):
            exc.add_note(advice)
        raise exc

    def execute_query(self, query: str, params: Params = None) -> list[dict[str, Any]]:
        """Run one statement and commit. Returns its rows; an empty list for a statement that has none."""
        return self.execute_transaction([(query, params)])

    def execute_transaction(self, statements: Sequence[tuple[str, Params]]) -> list[dict[str, Any]]:
        """Run `(query, params)` pairs in one transaction: all or nothing. Returns their rows, one after another."""
        rows: list[dict[str, Any]] = []
        with self.connection() as conn, conn.cursor(row_factory=dict_row) as cur:
            for query, params in statements:
                cur.execute(query.encode(), params)
                if cur.description is not None:
                    rows += cur.fetchall()
        return rows

    def health_check(self) -> dict[str, Any]:
        """
        Whether the database answers; never raises.

        Keys: database_name, status (`healthy`, `degraded` when it took over 5 s, `unhealthy`), connection,
        query_test, response_time_ms, timestamp, error when there is one, pool (as `get_pool_status`) once it is
        open, and shares_sessions, whether a pooler does.
        """
        health: dict[str, Any] = {
            "database_name": self.database_name,
            "status": "unhealthy",
            "connection": False,
            "query_test": False,
        }
        started = time.perf_counter()
        try:
            self._look(health)
        except Exception as exc:  # noqa: BLE001  a health check reports; it does not raise
            health["error"] = f"{type(exc).__name__}: {self._reason_of(exc)}"
        health["response_time_ms"] = round((time.perf_counter() - started) * 1000, 1)
        if health["query_test"]:
            health["status"] = "healthy" if health["response_time_ms"] <= SLOW else "degraded"
        if self._pool is not None:
            pool = self.get_pool_status()
            health["pool"] = {key: pool[key] for key in _POOL_KEYS}
        health["timestamp"] = timestamp()
        return health

    def get_pool_status(self) -> dict[str, Any]:
        """
        How the pool is used; opens no connection.

        Keys: database_name, pool_size (connections), checked_in, checked_out (used, or being opened), waiting
        (threads), max_connections, utilization_percent, timestamp.
        """
        size, free, waiting, most = self._counts()
        return {
            "database_name": self.database_name,
            "pool_size": size,
            "checked_in": free,
            "checked_out": size - free,
            "waiting": waiting,
            "max_connections": most,
            "utilization_percent": round(100 * (size - free) / most, 1),
            "timestamp": timestamp(),
        }

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            self._pool = None
            self._close_pool()

    def conninfo(self) -> str:
        """The connection string, as libpq takes it, password included. Starts the server when it is embedded."""
        return DatabaseSettings.read(self.database_name).conninfo()

    def _look(self, health: dict[str, Any]) -> None:
        """Whether the database answers: note how far it gets."""
        with self.connection() as conn:
            health["connection"] = True
            has_own_session = is_direct(conn)
            health["query_test"] = True
        with nullcontext() if has_own_session else closing(self.connect()) as probe:
            health["shares_sessions"] = probe is not None and self.shares_session(probe)

    def _reason_of(self, exc: Exception) -> str:
        return in_short(exc)

    def _counts(self) -> tuple[int, int, int, int]:
        """Connections, those that are free, threads that wait for one, and how many connections there may be."""
        stats = self._pool.get_stats() if self._pool is not None else {}
        size, free, waiting = (stats.get(key, 0) for key in ("pool_size", "pool_available", "requests_waiting"))
        return size, free, waiting, stats.get("pool_max", self._max_size())

    def _max_size(self) -> int:
        return self._pool_size or pool_size_of(self.database_name)

    def _max_wait(self) -> float:
        return self._pool_timeout or pool_timeout_of(self.database_name)

    def _open(self) -> ConnectionPool:
        with self._lock:
            if self._pool is None:
                conninfo = with_defaults(self.conninfo(), self._application_name)
                # The pool would retry a wrong password in the background; a first connection says it at once, and
                # whether the queue in it, if there is one, is too new for this client.
                with self._connect(conninfo) as conn:
                    conn.autocommit = True
                    try:
                        refuse_newer(conn)
                    except psycopg.Error as exc:
                        self.translate(exc, conn)
                self._pool = ConnectionPool(
                    conninfo,
                    connection_class=self._attempts.connection_class(),
                    min_size=0,  # who asks while a pool opens its first makes it open a second one
                    max_size=self._max_size(),
                    timeout=self._max_wait(),
                    configure=settle,
                    check=check_if_idle,
                    open=True,
                    name=self.database_name,
                )
                # Also when nobody closes the manager: its threads would be waited for at the end of the process.
                self._close_pool = weakref.finalize(self, self._pool.close)
            return self._pool

    def _connect(self, conninfo: str) -> psycopg.Connection:
        try:
            return psycopg.connect(conninfo)
        except psycopg.OperationalError as exc:
            raise self._unavailable(refusal(exc, str(conninfo_to_dict(conninfo).get("dbname", "")))) from None

    def _why_none(self, pool: ConnectionPool) -> str:
        if self._attempts.failure:
            return f"no connection could be made within {pool.timeout:g} s: {self._attempts.failure}"
        return self._all_in_use(pool.max_size, pool.timeout)

    def _all_in_use(self, most: int, seconds: float) -> str:
        names = [ConfigManager().names(f"{self.database_name}_pool_{key}")[0] for key in ("size", "timeout")]
        return f"all {most} connections were in use for {seconds:g} s: raise {' or '.join(names)}"

    def _unavailable(self, reason: str) -> DatabaseUnavailable:
        """To be raised without the chain, which may quote the connection string."""
        return DatabaseUnavailable(f"{self.database_name}: {reason}")
