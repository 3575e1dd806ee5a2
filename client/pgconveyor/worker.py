"""
The worker: claim in batches, run handlers in threads, answer in batches, heartbeat meanwhile.

The main thread claims (`claimer.py`) and answers; the threads of `threads.py` run handlers; one thread extends leases
and one calls `maintain()`. It decides nothing about records: what a failure or a late answer means, the database says.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty
from threading import Event
from typing import ParamSpec, TypeVar

import psycopg

from pgconveyor.claimer import Claimer, jittered
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.handlers import Handler
from pgconveyor.handling import Answer, send, send_one
from pgconveyor.held import Held
from pgconveyor.threads import HandlerThreads, repeat

__all__ = ["Summary", "Worker"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

LINGER = 0.02  # seconds for which answers are gathered into one call
BRIEFLY = 0.005  # seconds for which a worker that has no thread to spare keeps its seat: it may be back by then
AHEAD = 1.0  # seconds of work that are claimed ahead, at most
MAINTAIN_EVERY = 5.0  # seconds
BACK_OFF = (0.5, 30.0)  # seconds, first and longest wait for a database that is away
DAY = 86400  # seconds
EXTRA_CONNECTIONS = 5  # claims, answers, heartbeats, maintain, a handler's own heartbeat


@dataclass(slots=True)
class Summary:
    """What a worker did."""

    completed: int = 0
    failed: int = 0
    lost: int = 0
    released: int = 0
    abandoned: int = 0  # still running, or not answered, when the grace ended


class Worker:
    """
    Works on the records of its flows until `stop` is called, or, with `once`, until none is ready.

    `handlers` has a handler for each flow: a function of the payload, or of `(record, context)`; it returns a
    dict or None. Its exception fails its record and nothing else. `batch` is how many records one claim takes at
    most, `lease` how long a claim lasts without a heartbeat, `poll` the pause between looks at an empty queue,
    `grace` how long running handlers and a database that is away are waited for at the end, `handler_timeout`
    how long a handler may be silent; times in seconds. Raises `ValueError` for what cannot be.
    """

    def __init__(
        self,
        database: str | DatabaseManager,
        handlers: Mapping[str, Handler],
        *,
        source: DatabaseManager | None = None,
        concurrency: int = 4,
        batch: int = 100,
        lease: float = 60.0,
        poll: float = 5.0,
        grace: float = 30.0,
        handler_timeout: float | None = None,
        once: bool = False,
    ) -> None:
        _check_options(concurrency, batch, lease, poll, grace, handler_timeout)
        if not handlers:
            raise ValueError("handlers is empty: give a handler for each flow to work on")
        if isinstance(database, str):
            # A short wait for a connection: what is tried again anyway must not hold up a signal.
            database = DatabaseManager(
                database,
                pool_size=concurrency + EXTRA_CONNECTIONS,
                application_name="pgconveyor worker",
                pool_timeout=5.0,
            )
        self._processor = DistributedProcessor(database, source)
        self._batch, self._concurrency, self._once = batch, concurrency, once
        self._lease, self._grace = timedelta(seconds=lease), grace
        self._timeout = handler_timeout
        self._held = Held()
        self._threads = HandlerThreads(
            self._processor, handlers, self._held, concurrency=concurrency, lease=self._lease, timeout=handler_timeout
        )
        self._stopping, self._hurried, self._ended, self._told = Event(), Event(), Event(), Event()
        self._deadline = math.inf  # of answers, once it is to stop
        self._flows = list(handlers)
        self._claimer = Claimer(self._processor, self._flows, lease=self._lease, poll=poll)
        self._suspect: Record | None = None  # waits until nothing else is held
        self._alone: Record | None = None  # runs with nothing else beside it
        self._pace, self._answered_at = 0.0, 0.0  # records a second, and until when it was so
        self._quiet_until = 0.0  # no housekeeping is due before that, says the database
        self._unsent: list[Answer] = []
        self.summary = Summary()

    def stop(self) -> None:
        """
        Drain: give back what has not started, finish what runs, then end. A second call ends without waiting.

        May be called from a signal handler or another thread.
        """
        if self._stopping.is_set():
            self._hurried.set()
        else:
            self._deadline = time.monotonic() + self._grace
        self._stopping.set()
        self._told.set()
        self._threads.answers.put(None)

    def run(self, begun: Callable[[], object] = lambda: None) -> Summary:
        """
        Work. Raises `ConnectionError`, `SchemaMissing` or `ValueError` when it cannot begin; once it works, and
        has called `begun`, a database that is away is waited for.
        """
        for flow_name in self._flows:
            self._processor.get_queue_status(flow_name)
        # Here too, not only in the thread: with `once` this may be all the housekeeping there is.
        self._maintain()
        begun()
        self._threads.start()
        threads = [
            repeat(self._lease.total_seconds() / 3, self._heartbeat, self._ended),
            repeat(MAINTAIN_EVERY, self._maintain, self._ended),
        ]
        if self._timeout is not None:
            threads.append(repeat(self._timeout / 10, self._threads.give_up_silent, self._ended))
        logger.info("working on %s as %s", ", ".join(self._flows), self._processor.instance_id)
        try:
            self._work()
        finally:
            self._claimer.close(self._deadline)
            self._drain()
            self._ended.set()
            self._threads.answers.close()
        if not self.summary.abandoned:
            self._threads.end()
            for thread in threads:
                thread.join(max(self._deadline - time.monotonic(), 0.0))
        return self.summary

    def _work(self) -> None:
        while not self._stopping.is_set():
            is_empty = self._persist(self._refill, unless=self._stopping)
            if self._once and is_empty and not self._held:
                return
            full = BRIEFLY if self._claimer.is_seated else 1.0
            self._flush(self._gather(self._claimer.seconds_left if self._room() else full))
            if self._threads.are_stuck:
                logger.error("every handler was given up: ending")
                self.stop()

    def _refill(self) -> bool:
        """Claim what there is room for. True when nothing was ready."""
        room, is_free = self._room(), len(self._held) < self._concurrency
        if not (room and is_free):
            # Whoever sleeps must be able to start what it is called for.
            self._claimer.leave()
        if not room or self._claimer.seconds_left > 0:
            return False
        return not self._claimer.look(room, self._take, may_sleep=is_free and not self._once)

    def _room(self) -> int:
        """
        How many records to claim: for every thread one, and as many as are done within `AHEAD` of the last answer, so
        that slow handlers do not keep from others what they cannot begin. Two batches at most: one runs while the next
        is claimed.
        """
        if self._is_reserved():
            return 0
        ahead = max(AHEAD - (time.monotonic() - self._answered_at), 0.0) * self._pace
        wanted = max(self._concurrency, min(int(ahead), 2 * self._batch)) - len(self._held)
        if wanted < self._batch and self._threads.waiting >= self._concurrency:
            return 0
        return max(min(wanted, self._batch), 0)

    def _take(self, claimed: list[Record]) -> None:
        self._quiet_until = 0.0
        records = self._processor.readable(claimed)
        self._held.add(records)
        if len(records) == 1 and records[0]["crash_count"]:
            self._suspect = records[0]
        else:
            self._threads.put(records)

    def _is_reserved(self) -> bool:
        """
        A record that ended workers before is handed out alone: it runs when nothing else is here that it could take
        with it, and nothing is claimed meanwhile.
        """
        if self._suspect is not None and len(self._held) <= 1:
            self._threads.put([self._suspect])
            self._alone, self._suspect = self._suspect, None
        return self._suspect is not None or (self._alone is not None and self._held.has(self._alone))

    def _gather(self, timeout: float) -> list[Answer]:
        """Wait for an answer, then for what comes with it: until nobody is at work, or `LINGER` has passed."""
        answers: list[Answer] = []
        working, began = len(self._held), time.monotonic()
        if self._claimer.is_seated:
            self._claimer.rest(self._threads.answers, timeout)
            timeout = 0.0
        deadline = time.monotonic() + max(timeout, 0.0)
        while len(answers) < min(working or 1, self._batch):
            try:
                answer = self._threads.answers.get(deadline - time.monotonic())
            except Empty:
                break
            if answer is None:
                break
            if not answers:
                deadline = time.monotonic() + LINGER
            answers.append(answer)
        if answers:
            self._answered_at = time.monotonic()
            pace = len(answers) / max(self._answered_at - began, 0.001)
            self._pace += (pace - self._pace) / 2
            if not self._claimer.is_seated:
                self._claimer.look_now()
        return answers

    def _flush(self, answers: Sequence[Answer]) -> None:
        """Send answers in bulk. While the database is away they are kept; sending again is harmless."""
        self._unsent += answers
        if self._unsent:
            self._persist(self._send_all, unless=self._hurried)

    def _send_all(self) -> None:
        try:
            self._sent(self._unsent, send(self._processor, self._unsent))
        except psycopg.DatabaseError:
            # One of them cannot be stored: find it, and keep the others.
            for answer in list(self._unsent):
                self._send_one(answer)
                self._unsent.remove(answer)
        self._unsent.clear()

    def _send_one(self, answer: Answer) -> None:
        try:
            sent, outcomes = send_one(self._processor, answer)
            self._sent([sent], outcomes)
        except psycopg.DatabaseError:
            logger.exception("record %s could not be answered; its lease will end", answer.record["id"])
            self._held.drop([answer.record])

    def _sent(self, answers: Sequence[Answer], outcomes: Mapping[str, list[str]]) -> None:
        self._held.drop([answer.record for answer in answers])
        self.summary.completed += sum(a.is_done for a in answers)
        self.summary.lost += sum(a.is_lost for a in answers)
        for name, of_each in outcomes.items():
            lost = of_each.count("lost")
            setattr(self.summary, name, getattr(self.summary, name) + len(of_each) - lost)
            self.summary.lost += lost
            if lost:
                logger.warning("%d of %d answers (%s) came too late and were dropped", lost, len(of_each), name)

    def _persist(self, action: Callable[[], T], *, unless: Event) -> T | None:
        """Do it, however long the database is away; give up when `unless` is set, or the grace has ended."""
        wait, away_since = BACK_OFF[0], time.monotonic()
        while True:
            try:
                result = action()
            except DatabaseUnavailable as exc:
                left = self._deadline - time.monotonic()
                if unless.is_set() or left <= 0:
                    logger.warning("%s; giving up", exc)
                    return None
                logger.warning("%s; trying again in about %.1f s", exc, min(wait, left))
                if self._told.wait(min(jittered(wait), left)):
                    self._told.clear()
                    logger.info("told to stop")
                wait = min(wait * 2, BACK_OFF[1])
            else:
                if wait > BACK_OFF[0]:
                    logger.info("the database is back after %.1f s", time.monotonic() - away_since)
                return result

    def _heartbeat(self) -> None:
        self._held.extend(self._processor, self._lease)

    def _maintain(self) -> None:
        """To be called every `MAINTAIN_EVERY`; many workers that sleep would only be busy with that."""
        if time.monotonic() < self._quiet_until:
            return
        report = self._processor.maintain()
        # A lease as short as ours must not begin and end unseen.
        quiet = min(report.get("again_in", 0), self._lease.total_seconds())
        self._quiet_until = time.monotonic() + quiet * random.uniform(0.5, 1.0) - MAINTAIN_EVERY  # noqa: S311
        if orphaned := report.get("orphaned"):
            logger.warning("took back %d records whose leases had ended", orphaned)

    def _drain(self) -> None:
        """Give back what has not started, wait for what runs, answer; all of it within the grace."""
        self._deadline = min(self._deadline, time.monotonic() + self._grace)
        unstarted = self._threads.take_back() + ([self._suspect] if self._suspect else [])
        if self._stopping.is_set():
            logger.info(
                "stopping: %d records go back, %d are finished", len(unstarted), len(self._held) - len(unstarted)
            )
        self._flush([Answer(record) for record in unstarted])
        while self._held and time.monotonic() < self._deadline and not self._hurried.is_set():
            self._flush(self._gather(self._deadline - time.monotonic()))
        unanswered = [answer.record["id"] for answer in self._unsent]
        left = [record for record in self._held.all() if record["id"] not in unanswered] + self._threads.overdue
        if left or unanswered:
            self.summary.abandoned = len(left) + len(unanswered)
            logger.warning("%d records still ran, %d answers could not be sent", len(left), len(unanswered))
            # One that its handler has locked in a transaction would block us: its lease ends.
            free = [record for record in left if not self._threads.is_in_transaction(record)]
            self._deadline = time.monotonic()
            self._flush([Answer(record) for record in free])


def _check_options(
    concurrency: int, batch: int, lease: float, poll: float, grace: float, handler_timeout: float | None
) -> None:
    for name, number, most in [("concurrency", concurrency, 256), ("batch", batch, 10_000)]:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
            raise ValueError(f"{name} is {number!r}: give a whole number from 1 to {most}")
    for name, seconds, least in [("lease", lease, 1), ("poll", poll, 0.01), ("grace", grace, 0)]:
        if not least <= seconds <= DAY:
            raise ValueError(f"{name} is {seconds!r}: give seconds from {least} to {DAY}, a day")
    if handler_timeout is not None and not 0.1 <= handler_timeout <= DAY:
        raise ValueError(f"handler_timeout is {handler_timeout!r}: give seconds from 0.1 to {DAY}, a day, or None")
