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
from typing import Any, TypeVar

import psycopg

from pgconveyor.config import ConfigManager
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import ClaimLost, DatabaseUnavailable

__all__ = ["Context", "Handler", "PermanentError", "bind", "find", "handler", "handler_of", "load", "path_of"]

Result = Mapping[str, Any] | None
Handler = Callable[[Any], Result] | Callable[[Any, Any], Result]
AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])

_registered: dict[str, Handler] = {}


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


def handler(flow_name: str) -> Callable[[AnyHandler], AnyHandler]:
    """
    Register the decorated function as the handler of a flow.

    Raises `ValueError` when it cannot be one, or another function is the flow's handler already.
    """
    if not isinstance(flow_name, str) or not flow_name.strip():
        raise ValueError(f"flow_name is {flow_name!r:.100}: write @handler('the name of the flow')")

    def register(function: AnyHandler) -> AnyHandler:
        bind(function)
        known = _registered.get(flow_name)
        # The same one comes again when its module is loaded under a second name, as __main__ is.
        if known is not None and _name(known) != _name(function):
            raise ValueError(f"flow {flow_name!r} has two handlers: {known!r} and {function!r}")
        _registered[flow_name] = function
        return function

    return register


def handler_of(flow_name: str, path: str | None = None) -> Handler:
    """
    The handler of a flow: the one registered, else that of `path`, else of the flow's setting `handler`.

    Raises `ValueError` when there is none, or the path does not lead to one.
    """
    if flow_name in _registered:
        return _registered[flow_name]
    config = ConfigManager(flow_name)
    path = path or config.get_variable("handler")
    if path is None:
        name = config.names("handler")[0]
        raise ValueError(
            f"flow {flow_name!r} has no handler: decorate a function with @handler({flow_name!r}) and import its module"
            f" first, or set {name} to package.module:function"
        )
    return load(path)


def _name(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))


def path_of(function: Handler) -> str | None:
    """Where another process finds the function; None when it cannot."""
    module, name = getattr(function, "__module__", "__main__"), getattr(function, "__name__", "")
    is_there = module != "__main__" and getattr(sys.modules.get(module), name, None) is function
    return f"{module}:{name}" if is_there else None


def load(path: str) -> Handler:
    """
    The handler that `package.module:function` names; modules are also looked for in the current directory.

    Raises `ValueError` that says which part of the path is wrong.
    """
    function = find(path, "handler")
    bind(function)
    return function


def find(path: str, what: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Raises `ValueError` that begins with `what`."""
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ValueError(f"{what} is {path!r}: give package.module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:  # a module may fail in any way while it is imported
        if isinstance(exc, ModuleNotFoundError) and f"{module_name}.".startswith(f"{exc.name}."):
            raise ValueError(f"{what} is {path!r}: {exc}; is it in the current directory or on PYTHONPATH?") from exc
        raise ValueError(f"{what} is {path!r}: importing it failed: {type(exc).__name__}: {exc}") from exc
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{what} is {path!r}: {module.__name__} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def bind(function: Handler) -> Callable[[Mapping[str, Any], Context], Result]:
    """Either form as a function of record and context. Raises `ValueError` for a function that is neither."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"handler {function!r} cannot be inspected: give a Python function") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters) or len(required) not in (1, 2):
        raise ValueError(f"handler {function!r} must take (payload) or (record, context)")
    call: Callable[..., Result] = function
    if len(required) == 1:
        return lambda record, _context: call(record["payload"])
    return lambda record, context: call(record, context)
