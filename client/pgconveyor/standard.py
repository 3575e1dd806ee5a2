"""Standard mode: a flow's handler over records in this process, with no queue and, unless one is given, no database."""

from __future__ import annotations

import json
import logging
import signal
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import Record
from pgconveyor.documents import encode_object
from pgconveyor.errors import error_document
from pgconveyor.handlers import Handler, Result, bind
from pgconveyor.handling import counts, failure_of, one_line

__all__ = ["StandardContext", "process", "process_numbered"]

logger = logging.getLogger(__name__)

ERRORS = 100  # in a summary


class StandardContext:
    """What a handler of the form `(record, context)` gets in standard mode: `handlers.Context`, but for the claim."""

    def __init__(
        self, record: Record, transaction: ExitStack, database: DatabaseManager | None, source: DatabaseManager | None
    ) -> None:
        self.record = record
        self._transaction = transaction
        self._database = database
        self._source = source

    @cached_property
    def connection(self) -> psycopg.Connection:
        """A connection in a transaction that is committed when the record is done, and rolled back when it fails."""
        if self._database is None:
            raise ValueError("standard mode has no connection: give process(…, database=DatabaseManager(NAME))")
        return self._transaction.enter_context(self._database.connection())

    @property
    def source(self) -> DatabaseManager:
        if self._source is None:
            raise ValueError("standard mode has no source database: give process(…, source=DatabaseManager(NAME))")
        return self._source

    def heartbeat(self) -> None:
        """Nothing is claimed: there is nothing to extend."""


def process(
    flow_name: str,
    records: Iterable[Mapping[str, Any]],
    handler: Handler,
    *,
    database: DatabaseManager | None = None,
    source: DatabaseManager | None = None,
    keep_results: bool = False,
) -> dict[str, Any]:
    """
    Run the handler over payloads, one after another, and return a summary; a record that fails stops no other.

    `records` may be any iterable of dicts, and is read once. The handler is a worker's, of `(payload)` or of
    `(record, context)`, and meets what it meets there:

    * It gets a copy of the payload, made by way of JSON: what it changes in it changes nothing elsewhere, and a tuple
      is a list already. A payload that the queue would refuse (no dict, not JSON) fails its record.
    * It returns a dict, or None for an empty one. What is not JSON fails its record.
    * An exception fails its record, `sys.exit()` too. KeyboardInterrupt ends the run, for nobody can tell Ctrl-C from a
      handler's own; so does a SystemExit that the function of a signal raised, and any other that is no `Exception`.
      It is raised again, with a note of how many records were done.

    The record has the keys of a claimed one; its `id` and `claim_token` are None. `context.connection` is one to
    `database`, `context.source` is `source`; without them they raise `ValueError`. Nothing is remembered: a record that
    is given again is processed again.

    Keys of the summary: flow_name, mode (`standard`), records_processed, completed, failed, success_rate_percent
    (100 when there were no records), error_count, and errors, the error documents of the first 100 failures, whose
    `context` has the flow_name and the record's `index`. With `keep_results` also results: for each record what the
    queue would keep of what the handler returned, or None when it failed.
    """
    return process_numbered(
        flow_name, numbered(records), handler, database=database, source=source, keep_results=keep_results
    )


def numbered(records: Iterable[Mapping[str, Any]]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise ValueError(f"records is {type(records).__name__}: give a list of dicts")
    return enumerate(records)


def process_numbered(
    flow_name: str,
    records: Iterable[tuple[int, Mapping[str, Any]]],
    handler: Handler,
    *,
    database: DatabaseManager | None,
    source: DatabaseManager | None,
    keep_results: bool,
) -> dict[str, Any]:
    """Like `process`, with the index of each record."""
    if not isinstance(flow_name, str) or not flow_name.strip():
        raise ValueError(f"flow_name is {flow_name!r:.100}: give a name that is not blank")
    run = _Run(flow_name, bind(handler), database, source, [] if keep_results else None)
    try:
        for index, payload in records:
            run.process(index, payload)
    except BaseException as exc:
        done = f"{run.completed} records completed, {run.failed} failed"
        exc.add_note(f"standard mode of flow {flow_name!r} ended early: {done}")
        raise
    return run.summary()


@dataclass(slots=True)
class _Run:
    """One call of `process`."""

    flow_name: str
    call: Callable[[Any, Any], Result]
    database: DatabaseManager | None
    source: DatabaseManager | None
    results: list[dict[str, Any] | None] | None
    completed: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def process(self, index: int, payload: Mapping[str, Any]) -> None:
        result = None
        try:
            result = self._handle(index, payload)
            self.completed += 1
        except BaseException as exc:
            if _ends_the_run(exc):
                raise
            self._fail(index, exc)
        if self.results is not None:
            self.results.append(result)

    def _handle(self, index: int, payload: Mapping[str, Any]) -> dict[str, Any]:
        record = {
            "id": None,  # an index would be another record's the next time
            "flow_name": self.flow_name,
            "payload": json.loads(encode_object(payload, f"records[{index}]")),
            "retry_count": 0,
            "crash_count": 0,
            "created_at": datetime.now(UTC),
            "claim_token": None,
            "lease_expires_at": None,
        }
        with ExitStack() as transaction:
            result = self.call(record, StandardContext(record, transaction, self.database, self.source))
            text = encode_object({} if result is None else result, "the handler's result")
        return json.loads(text)  # type: ignore[no-any-return]

    def _fail(self, index: int, exc: BaseException) -> None:
        failure = failure_of(exc)
        error, error_type = failure["error"], failure["error_type"]
        said, extra = one_line(error), {"flow": self.flow_name}
        logger.warning("%s: records[%d] failed: %s: %s", self.flow_name, index, error_type, said, extra=extra)
        if self.failed < ERRORS:
            self.errors.append(error_document(error, error_type, flow_name=self.flow_name, index=index))
        self.failed += 1

    def summary(self) -> dict[str, Any]:
        summary = {
            "flow_name": self.flow_name,
            "mode": "standard",
            **counts(self.completed, self.failed),
            "errors": self.errors,
        }
        return summary | ({} if self.results is None else {"results": self.results})


def _ends_the_run(exc: BaseException) -> bool:
    if isinstance(exc, Exception):
        return False
    if not isinstance(exc, SystemExit):
        return True
    # A container's SIGTERM often comes as a sys.exit(): it must end the run, and not fail the record it met.
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(exc.__traceback__))
