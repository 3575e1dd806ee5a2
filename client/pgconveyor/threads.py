"""The threads that run handlers: records go in, answers come out; and those that do something every now and then."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Event, Thread

import psycopg

from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.handlers import Context, Handler, bind
from pgconveyor.handling import Answer, details, handle
from pgconveyor.held import Held
from pgconveyor.outbox import Outbox
from pgconveyor.remedies import in_short

__all__ = ["HandlerThreads", "repeat"]

logger = logging.getLogger(__name__)


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
                    extra=details(context.record),
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
        return handle(self._calls[record["flow_name"]], record, context)


def repeat(every: float, action: Callable[[], object], ended: Event) -> Thread:
    """Call it at about that interval, in seconds, until the end; an error is for the next call to mend."""
    name = action.__name__.strip("_")

    def run() -> None:
        while not ended.wait(every * random.uniform(0.75, 1.0)):  # noqa: S311
            try:
                action()
            except (psycopg.Error, ConnectionError, RuntimeError) as exc:
                logger.warning("%s: %s", name, in_short(exc))

    thread = Thread(target=run, name=f"pgconveyor-{name}", daemon=True)
    thread.start()
    return thread
