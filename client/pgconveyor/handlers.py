"""What a handler may be: a function of the payload, or of the record and a context."""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import ClaimLost, DatabaseUnavailable

__all__ = ["Context", "Handler", "PermanentError", "bind", "load"]

Result = Mapping[str, Any] | None
Handler = Callable[[Any], Result] | Callable[[Any, Any], Result]


class PermanentError(Exception):
    """Raised by a handler when trying again cannot help: the record fails without a retry."""


class Context:
    """What a handler of the form `(record, context)` gets beside the record."""

    def __init__(self, record: Record, processor: DistributedProcessor, lease: timedelta) -> None:
        self.record = record
        self._processor = processor
        self._lease = lease
        self._manager: AbstractContextManager[psycopg.Connection] | None = None
        self._connection: psycopg.Connection | None = None
        self._is_broken = False
        self._alive_at = time.monotonic()
        self.is_overdue = False

    @property
    def connection(self) -> psycopg.Connection:
        """
        A connection to the queue's database, in a transaction that also completes the record.

        What the handler writes here and the completion commit together. When the handler raises, or the claim
        was lost meanwhile, all of it is rolled back. The handler must not commit.
        """
        if self._connection is None:
            self._manager, self._is_broken = self._processor.rpa_db.connection(), True
            self._connection = self._manager.__enter__()
            self._is_broken = False
        return self._connection

    @property
    def source(self) -> DatabaseManager:
        """The source database, for reading. Raises `ValueError` when the worker was started without one."""
        if self._processor.source_db is None:
            raise ValueError("this worker has no source database: start it with --source NAME")
        return self._processor.source_db

    def heartbeat(self) -> None:
        """
        Say that the handler is alive: its time (`--handler-timeout`) starts anew, and the claim is extended.

        Without a timeout there is no need for it: the worker extends claims by itself. Raises `ClaimLost` when
        the record is somebody else's by now, and what is done for it here is in vain. A database that is away for
        a moment is no reason to stop.
        """
        lost = self.is_overdue
        with suppress(DatabaseUnavailable):
            lost = lost or self._processor.extend_leases([self.record], self._lease) == [None]
        if lost:
            raise ClaimLost(f"record {self.record['id']} is no longer this worker's: stop working on it")
        self._alive_at = time.monotonic()

    @property
    def silent_for(self) -> float:
        """Seconds since the handler began, or called `heartbeat`."""
        return time.monotonic() - self._alive_at

    @property
    def is_used(self) -> bool:
        return self._connection is not None

    @property
    def is_broken(self) -> bool:
        """The queue's database went away: whatever the handler raises is not the record's fault."""
        return self._is_broken or (self._connection is not None and self._connection.closed)

    def close(self, error: BaseException | None = None) -> None:
        """Commit, or roll back when there was an error. Raises what the commit raises."""
        if self._manager is not None and self._connection is not None:
            manager, self._manager = self._manager, None
            manager.__exit__(type(error) if error else None, error, None)


def load(path: str) -> Handler:
    """
    The function that `package.module:function` names; modules are also looked for in the current directory.

    Raises `ValueError` that says which part of the path is wrong.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ValueError(f"handler is {path!r}: give package.module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:  # a module may fail in any way while it is imported
        if isinstance(exc, ModuleNotFoundError) and f"{module_name}.".startswith(f"{exc.name}."):
            raise ValueError(f"handler is {path!r}: {exc}; is it in the current directory or on PYTHONPATH?") from exc
        raise ValueError(f"handler is {path!r}: importing it failed: {type(exc).__name__}: {exc}") from exc
    handler = getattr(module, name, None)
    if not callable(handler):
        raise ValueError(f"handler is {path!r}: {module.__name__} has no function {name!r}")
    bind(handler)
    return handler  # type: ignore[no-any-return]


def bind(handler: Handler) -> Callable[[Mapping[str, Any], Context], Result]:
    """Either form as a function of record and context. Raises `ValueError` for a function that is neither."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"handler {handler!r} cannot be inspected: give a Python function") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters) or len(required) not in (1, 2):
        raise ValueError(f"handler {handler!r} must take (payload) or (record, context)")
    function: Callable[..., Result] = handler
    if len(required) == 1:
        return lambda record, _context: function(record["payload"])
    return lambda record, context: function(record, context)
