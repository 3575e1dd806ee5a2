"""The threads that run handlers: records go in, answers come out."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import psycopg

from pgconveyor.distributed import COMPLETE, DistributedProcessor, Record
from pgconveyor.documents import Document, encode_object, storable
from pgconveyor.errors import ClaimLost, DatabaseUnavailable
from pgconveyor.handlers import Context, Handler, PermanentError, bind
from pgconveyor.outbox import Outbox

__all__ = ["Answer", "HandlerThreads", "Held", "failure_of"]

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """What became of a record in its handler: a result, or a failure, or it was answered there, or give it back."""

    record: Record
    result: Document | None = None
    failure: Mapping[str, Any] | None = None
    is_done: bool = False
    is_lost: bool = False


@dataclass(slots=True)
class Held:
    """The records whose claims this worker keeps alive."""

    records: dict[int, Record] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def add(self, records: Sequence[Record]) -> None:
        with self.lock:
            self.records.update((record["claim_token"] << 64 | record["id"], record) for record in records)

    def drop(self, records: Sequence[Record]) -> None:
        with self.lock:
            for record in records:
                self.records.pop(record["claim_token"] << 64 | record["id"], None)

    def has(self, record: Record) -> bool:
        return (record["claim_token"] << 64 | record["id"]) in self.records

    def __len__(self) -> int:
        return len(self.records)

    def all(self) -> list[Record]:
        with self.lock:
            return list(self.records.values())


class HandlerThreads:
    """
    Runs the handler of each record's flow, `concurrency` at a time.

    `answers` gets one `Answer` for each record that was put in, and None to wake whoever waits there. A handler
    that is silent for longer than `timeout` seconds is given up: its claim is no longer kept alive, and its
    thread is lost until it returns.
    """

    def __init__(
        self,
        processor: DistributedProcessor,
        handlers: Mapping[str, Handler],
        held: Held,
        *,
        concurrency: int,
        lease: timedelta,
        timeout: float | None,
    ) -> None:
        self.answers: Outbox[Answer] = Outbox()
        self._processor, self._held, self._lease, self._timeout = processor, held, lease, timeout
        self._calls = {flow_name: bind(handler) for flow_name, handler in handlers.items()}
        self._inbox: SimpleQueue[Record | None] = SimpleQueue()
        self._running: dict[int, Context] = {}  # by identity of the record
        self._threads = [
            Thread(target=self._handle_all, name=f"handler-{number}", daemon=True) for number in range(concurrency)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, records: Sequence[Record]) -> None:
        for record in records:
            self._inbox.put(record)

    @property
    def waiting(self) -> int:
        """How many records have not been started."""
        return self._inbox.qsize()

    def take_back(self) -> list[Record]:
        """The records that have not been started; they will not be."""
        records: list[Record] = []
        while True:
            try:
                record = self._inbox.get_nowait()
            except Empty:
                return records
            if record is not None:
                records.append(record)

    def end(self) -> None:
        """Let threads end that have nothing to do, and wait for them."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def overdue(self) -> list[Record]:
        """The records whose handlers were given up and still run."""
        return [context.record for context in list(self._running.values()) if context.is_overdue]

    @property
    def are_stuck(self) -> bool:
        return len(self.overdue) == len(self._threads)

    def is_in_transaction(self, record: Record) -> bool:
        context = self._running.get(id(record))
        return context is not None and context.is_used

    def give_up_silent(self) -> None:
        """To be called every now and then, when there is a timeout."""
        for context in list(self._running.values()):
            if self._timeout is not None and context.silent_for > self._timeout and not context.is_overdue:
                context.is_overdue = True
                self._held.drop([context.record])
                logger.error(
                    "record %s: its handler has been silent for %.0f s and is given up; the claim will end",
                    context.record["id"],
                    context.silent_for,
                    extra=_details(context.record),
                )
                self.answers.put(None)

    def _handle_all(self) -> None:
        while (record := self._inbox.get()) is not None:
            # A claim that was lost while it waited here is somebody else's work by now.
            answer = self._handle(record) if self._held.has(record) else Answer(record, is_lost=True)
            self._running.pop(id(record), None)
            self.answers.put(answer)

    def _handle(self, record: Record) -> Answer:
        context = self._running[id(record)] = Context(record, self._processor, self._lease)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("record %s: %r", record["id"], record["payload"], extra=_details(record))
        try:
            result = self._calls[record["flow_name"]](record, context)
            text = encode_object({} if result is None else result, "the handler's result")
            if not context.is_used:
                return Answer(record, result=text)
            context.connection.execute(COMPLETE, [record["id"], text, record["claim_token"]])
        except BaseException as exc:  # noqa: BLE001  whatever the handler raises is its record's failure
            return self._failed(record, context, exc)
        return self._committed(record, context)

    def _committed(self, record: Record, context: Context) -> Answer:
        try:
            context.close()
        except DatabaseUnavailable:
            return Answer(record)
        except psycopg.Error as exc:
            return Answer(record, failure=failure_of(exc))
        return Answer(record, is_done=True)

    def _failed(self, record: Record, context: Context, exc: BaseException) -> Answer:
        is_broken = context.is_broken
        try:
            context.close(exc)
        except BaseException as again:  # noqa: BLE001  it comes back translated, or the roll-back failed as well
            exc = again
        if isinstance(exc, ClaimLost):
            logger.warning("record %s: %s", record["id"], exc.diag.message_primary or exc, extra=_details(record))
            return Answer(record, is_lost=True)
        if is_broken:
            return Answer(record)
        logger.warning(
            "record %s failed: %s: %s", record["id"], type(exc).__name__, _in_short(exc), extra=_details(record)
        )
        return Answer(record, failure=failure_of(exc))


def failure_of(exc: BaseException) -> dict[str, Any]:
    """The failure that an exception is: error, error_type, context and permanent."""
    return {
        "error": _text(exc),
        "error_type": storable(type(exc).__name__),
        "context": {"traceback": storable("".join(traceback.format_exception(exc))[-4000:])},
        "permanent": isinstance(exc, PermanentError),
    }


def _text(exc: BaseException) -> str:
    try:
        return storable(str(exc) or repr(exc))
    except Exception:  # noqa: BLE001  an exception may fail to describe itself
        return f"{type(exc).__name__}, which has no text"


def _in_short(exc: BaseException) -> str:
    """One line for the log; all of it is with the record."""
    text = " ".join(_text(exc).split())
    return text if len(text) <= 200 else f"{text[:200]} …"


def _details(record: Record) -> dict[str, Any]:
    return {"record_id": record["id"], "flow": record["flow_name"]}
