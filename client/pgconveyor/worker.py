"""
The worker: claim in batches, run handlers in threads, answer in batches, heartbeat meanwhile.

The main thread claims and answers; `concurrency` threads run handlers; one thread extends leases and one calls
`maintain()`. It decides nothing about records: what a failure or a late answer means, the database says.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, ParamSpec, TypeVar

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import COMPLETE, DistributedProcessor, Record
from pgconveyor.documents import Document, encode_object, storable
from pgconveyor.errors import ClaimLost, DatabaseUnavailable
from pgconveyor.handlers import Context, Handler, PermanentError, bind

__all__ = ["Summary", "Worker"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

LINGER = 0.02  # seconds for which answers are gathered into one call
MAINTAIN_EVERY = 5.0  # seconds
BACK_OFF = (0.5, 30.0)  # seconds, first and longest wait for a database that is away
EXTRA_CONNECTIONS = 3  # claims and answers, heartbeats, maintain


@dataclass(slots=True)
class Summary:
    """What a worker did."""

    completed: int = 0
    failed: int = 0
    lost: int = 0
    released: int = 0
    abandoned: int = 0  # still running when the grace ended


@dataclass(slots=True)
class Answer:
    """What became of a record in its handler: a result, or a failure, or it was answered there, or give it back."""

    record: Record
    result: Document | None = None
    failure: Mapping[str, Any] | None = None
    is_done: bool = False
    is_lost: bool = False


@dataclass(slots=True)
class _Held:
    """The records this worker holds a claim on."""

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


class Worker:
    """
    Works on the records of one flow until `stop` is called, or, with `once`, until none is ready.

    `handler` is a function of the payload, or of `(record, context)`; it returns a dict or None. Its exception
    fails its record and nothing else. `batch` is how many records one claim takes, `lease` how long a claim
    lasts without a heartbeat, `poll` the pause between looks at an empty queue, `grace` how long running handlers
    are waited for at the end; times in seconds.
    """

    def __init__(
        self,
        database: str | DatabaseManager,
        flow_name: str,
        handler: Handler,
        *,
        concurrency: int = 4,
        batch: int = 100,
        lease: float = 60.0,
        poll: float = 5.0,
        grace: float = 30.0,
        once: bool = False,
    ) -> None:
        for name, value, least in [("concurrency", concurrency, 1), ("batch", batch, 1)]:
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}: give a whole number from {least} up")
        for name, seconds in [("lease", lease), ("poll", poll)]:
            if not seconds > 0:
                raise ValueError(f"{name} is {seconds!r}: give seconds above 0")
        if isinstance(database, str):
            database = DatabaseManager(
                database, pool_size=concurrency + EXTRA_CONNECTIONS, application_name="pgconveyor worker"
            )
        self._processor = DistributedProcessor(database)
        self._flow_name = flow_name
        self._call = bind(handler)
        self._concurrency, self._batch, self._once = concurrency, batch, once
        self._lease, self._poll, self._grace = timedelta(seconds=lease), poll, grace
        self._inbox: SimpleQueue[Record | None] = SimpleQueue()
        self._outbox: SimpleQueue[Answer | None] = SimpleQueue()  # None: only wakes
        self._held = _Held()
        self._contexts: dict[int, Context] = {}  # of the records that run, by identity of the record
        self._stopping, self._hurried, self._ended = Event(), Event(), Event()
        self._next_claim = 0.0
        self.summary = Summary()

    def stop(self) -> None:
        """
        Drain: give back what has not started, finish what runs, then end. A second call ends without waiting.

        May be called from a signal handler or another thread.
        """
        if self._stopping.is_set():
            self._hurried.set()
        self._stopping.set()
        self._outbox.put(None)

    def run(self) -> Summary:
        """
        Work. Raises `ConnectionError`, `SchemaMissing` or `ValueError` when it cannot begin; once it works, a
        database that is away is waited for.
        """
        self._processor.get_queue_status(self._flow_name)
        # Here too, not only in the thread: with `once` this may be all the housekeeping there is.
        self._processor.maintain()
        threads = [
            *(Thread(target=self._handle_all, name=f"handler-{i}", daemon=True) for i in range(self._concurrency)),
            Thread(target=self._repeat, args=(self._lease.total_seconds() / 3, self._heartbeat), daemon=True),
            Thread(target=self._repeat, args=(MAINTAIN_EVERY, self._processor.maintain), daemon=True),
        ]
        for thread in threads:
            thread.start()
        logger.info("working on %s as %s", self._flow_name, self._processor.instance_id)
        try:
            self._work()
        finally:
            self._drain()
            self._ended.set()
            for _ in range(self._concurrency):
                self._inbox.put(None)
        for thread in threads if not self.summary.abandoned else []:
            thread.join()
        return self.summary

    def _work(self) -> None:
        while not self._stopping.is_set():
            is_empty = self._persist(self._refill)
            if self._once and is_empty and not self._held:
                return
            self._persist(self._flush, self._gather(self._next_claim - time.monotonic()))
            if self._once and not self._held:
                self._next_claim = 0.0

    def _refill(self) -> bool:
        """Claim when the handlers are about to run out. True when there was nothing to claim."""
        if self._inbox.qsize() >= self._concurrency or time.monotonic() < self._next_claim:
            return False
        records = self._processor.claim_records_batch(self._flow_name, self._batch, lease=self._lease)
        self._held.add(records)
        for record in records:
            self._inbox.put(record)
        if not records:
            self._next_claim = time.monotonic() + self._pause()
        return not records

    def _pause(self) -> float:
        """Until the next look at an empty queue: when a record is due, but at the latest after `poll`, jittered."""
        due_in = self._processor.due_in(self._flow_name)
        poll = self._poll * random.uniform(0.75, 1.25)  # noqa: S311
        return poll if due_in is None else min(poll, max(due_in, LINGER))

    def _gather(self, timeout: float) -> list[Answer]:
        """Wait for an answer, then for what comes with it: until nobody is at work, or `LINGER` has passed."""
        answers: list[Answer] = []
        working = len(self._held)
        if working and self._inbox.qsize() >= self._concurrency:
            timeout = max(timeout, 1.0)
        deadline = time.monotonic() + max(timeout, 0.0)
        while len(answers) < min(working or 1, self._batch):
            try:
                answer = self._outbox.get(timeout=max(deadline - time.monotonic(), 0.0))
            except Empty:
                break
            if answer is None:
                break
            if not answers:
                deadline = time.monotonic() + LINGER
            answers.append(answer)
        return answers

    def _flush(self, answers: list[Answer]) -> None:
        """Send answers in bulk. While the database is away the caller keeps them; sending again is harmless."""
        try:
            self._send(answers)
        except psycopg.DatabaseError as exc:
            if len(answers) > 1:  # one of them cannot be stored: find it, and keep the others
                for answer in answers:
                    self._flush([answer])
            elif answers[0].failure is None:
                self._flush([Answer(answers[0].record, failure=_failure(exc))])
            else:
                logger.exception("record %s could not be answered; its lease will end", answers[0].record["id"])
                self._held.drop([answers[0].record])

    def _send(self, answers: list[Answer]) -> None:
        completed = [(a.record, a.result) for a in answers if a.result is not None]
        failed = [(a.record, a.failure) for a in answers if a.failure is not None]
        unknown = [a.record for a in answers if not (a.is_done or a.is_lost or a.result is not None or a.failure)]
        outcomes = {
            "completed": self._processor.mark_records_completed(completed) if completed else [],
            "failed": self._processor.mark_records_failed(failed) if failed else [],
            # The commit was not acknowledged: only if it did not happen is there something to give back.
            "released": self._processor.release_records(unknown) if unknown else [],
        }
        self._held.drop([answer.record for answer in answers])
        self._count(answers, outcomes)

    def _count(self, answers: list[Answer], outcomes: Mapping[str, list[str]]) -> None:
        self.summary.completed += sum(a.is_done for a in answers)
        self.summary.lost += sum(a.is_lost for a in answers)
        for name, of_each in outcomes.items():
            lost = of_each.count("lost")
            setattr(self.summary, name, getattr(self.summary, name) + len(of_each) - lost)
            self.summary.lost += lost
            if lost:
                logger.warning("%d of %d answers (%s) came too late and were dropped", lost, len(of_each), name)

    def _persist(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Do it, however long the database is away; give up only when told to hurry."""
        wait = BACK_OFF[0]
        while True:
            try:
                return action(*args, **kwargs)
            except DatabaseUnavailable as exc:
                if self._hurried.is_set():
                    return None
                logger.warning("%s; trying again in about %.1f s", exc, wait)
                self._hurried.wait(wait * random.uniform(0.75, 1.25))  # noqa: S311
                wait = min(wait * 2, BACK_OFF[1])

    def _repeat(self, every: float, action: Callable[[], object]) -> None:
        """Call it at about that interval until the end; an error is for the next call to mend."""
        while not self._ended.wait(every * random.uniform(0.75, 1.0)):  # noqa: S311
            try:
                action()
            except (psycopg.Error, ConnectionError, RuntimeError) as exc:
                logger.warning("%s: %s", getattr(action, "__name__", action), exc)

    def _heartbeat(self) -> None:
        records = self._held.all()
        for start in range(0, len(records), 1000):
            part = records[start : start + 1000]
            ends = self._processor.extend_leases(part, self._lease)
            lost = [record for record, end in zip(part, ends, strict=True) if end is None]
            self._held.drop(lost)

    def _handle_all(self) -> None:
        while (record := self._inbox.get()) is not None:
            # A claim that was lost while it waited here is somebody else's work by now.
            self._outbox.put(self._handle(record) if self._held.has(record) else Answer(record, is_lost=True))
            self._contexts.pop(id(record), None)

    def _handle(self, record: Record) -> Answer:
        context = self._contexts[id(record)] = Context(self._processor.rpa_db.connection)
        try:
            result = self._call(record, context)
            text = encode_object({} if result is None else result, "the handler's result")
            if not context.is_used:
                return Answer(record, result=text)
            context.connection.execute(COMPLETE, [record["id"], text, record["claim_token"]])
        except BaseException as exc:  # noqa: BLE001  whatever the handler raises is its record's failure
            return self._failed(record, context, exc)
        return self._committed(record, context)

    def _is_in_transaction(self, record: Record) -> bool:
        context = self._contexts.get(id(record))
        return context is not None and context.is_used

    def _committed(self, record: Record, context: Context) -> Answer:
        try:
            context.close()
        except DatabaseUnavailable:
            return Answer(record)
        except psycopg.Error as exc:
            return Answer(record, failure=_failure(exc))
        return Answer(record, is_done=True)

    def _failed(self, record: Record, context: Context, exc: BaseException) -> Answer:
        is_broken = context.is_broken
        try:
            context.close(exc)
        except BaseException as again:  # noqa: BLE001  it comes back translated, or the roll-back failed as well
            exc = again
        if isinstance(exc, ClaimLost):
            logger.warning("record %s: %s", record["id"], exc.diag.message_primary or exc)
            return Answer(record, is_lost=True)
        if is_broken:
            return Answer(record)
        logger.warning("record %s failed: %s: %s", record["id"], type(exc).__name__, _text(exc))
        return Answer(record, failure=_failure(exc))

    def _drain(self) -> None:
        unstarted = []
        while True:
            try:
                record = self._inbox.get_nowait()
            except Empty:
                break
            if record is not None:
                unstarted.append(record)
        if unstarted:
            self._persist(self._flush, [Answer(record) for record in unstarted])
        deadline = time.monotonic() + self._grace
        while self._held and time.monotonic() < deadline and not self._hurried.is_set():
            self._persist(self._flush, self._gather(deadline - time.monotonic()))
        if abandoned := self._held.all():
            self.summary.abandoned = len(abandoned)
            logger.warning("%d records were still running and are given back", len(abandoned))
            # One that its handler has locked in a transaction would block us: its lease ends.
            free = [record for record in abandoned if not self._is_in_transaction(record)]
            self._persist(self._flush, [Answer(record) for record in free])


def _text(exc: BaseException) -> str:
    try:
        return storable(str(exc) or repr(exc))
    except Exception:  # noqa: BLE001  an exception may fail to describe itself
        return f"{type(exc).__name__}, which has no text"


def _failure(exc: BaseException) -> dict[str, Any]:
    return {
        "error": _text(exc),
        "error_type": storable(type(exc).__name__),
        "context": {"traceback": storable("".join(traceback.format_exception(exc))[-4000:])},
        "permanent": isinstance(exc, PermanentError),
    }
