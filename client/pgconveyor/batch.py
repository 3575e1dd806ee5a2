"""Claims that are kept alive while somebody else, such as Prefect, decides when and where their handlers run."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Self

import psycopg

from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.held import Held, claim_of
from pgconveyor.threads import repeat

__all__ = ["Batch"]

logger = logging.getLogger(__name__)

FAREWELL = 5.0  # seconds for giving back at the very end; the database may be away, or a record locked

_open: dict[int, Batch] = {}  # by claim


class Batch:
    """
    Claimed records; a context, in which their claims are extended.

    With `is_here` all their handlers run in this process. Then, when the block is left by an exception, such as that
    of a signal, what has not begun is given back at once, and what runs is waited for: its claim stays alive. A second
    one gives back what runs, too, and ends the process: its threads cannot be ended otherwise. Handlers elsewhere are
    not known to have begun: of those that do not answer the claims end.
    """

    def __init__(
        self, processor: DistributedProcessor, records: Sequence[Record], lease: timedelta, *, is_here: bool
    ) -> None:
        self.lease = lease
        self._processor = processor
        self._claims = [claim_of(record) for record in records]
        self._held = Held()
        self._held.add(records)
        self._changed = Condition()
        self._is_here = is_here
        self._waiting = dict(zip(self._claims, records, strict=True)) if is_here else {}
        self._given_back: set[int] = set()
        self._running = 0
        self._ended = Event()

    @staticmethod
    def of(record: Record) -> Batch | None:
        """The open batch that has the record, and whose handlers run in this process."""
        return _open.get(claim_of(record))

    def __enter__(self) -> Self:
        if self._is_here:
            _open.update(dict.fromkeys(self._claims, self))
        repeat(self.lease.total_seconds() / 3, self._heartbeat, self._ended)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.give_back()
            with self._changed:
                self._changed.wait_for(lambda: not self._running)
        except BaseException as second:
            self._abandon(getattr(second, "signal", signal.SIGINT))
            raise
        finally:
            self._ended.set()
            if self._is_here:
                for claim in self._claims:
                    _open.pop(claim, None)

    def give_back(self) -> None:
        """What has not begun; it will not."""
        with self._changed:
            records = [record for record in self._waiting.values() if self.holds(record)]
            self._given_back.update(self._waiting)
            self._waiting.clear()
        self._release(records)

    @contextmanager
    def running(self, record: Record) -> Iterator[bool]:
        """Around its handler; False when it was given back and must not run."""
        claim = claim_of(record)
        with self._changed:
            self._waiting.pop(claim, None)
            is_ours = claim not in self._given_back
            self._running += is_ours
        try:
            yield is_ours
        finally:
            with self._changed:
                self._running -= is_ours
                self._changed.notify_all()

    def holds(self, record: Record) -> bool:
        """False when the claim was lost, as far as is known."""
        return self._held.has(record)

    def drop(self, record: Record) -> None:
        """It is answered, or lost."""
        self._held.drop([record])

    def _release(self, records: Sequence[Record]) -> None:
        self._held.drop(records)
        try:
            if records:
                self._processor.release_records(records)
        except (psycopg.Error, ConnectionError, RuntimeError) as exc:
            logger.warning("%d records could not be given back, their claims will end: %s", len(records), exc)

    def _abandon(self, number: int) -> None:
        logger.warning("told to hurry: %d handlers that run are given up", self._running)
        farewell = Thread(target=self._release, args=[self._held.all()], name="pgconveyor-farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _heartbeat(self) -> None:
        self._held.extend(self._processor, self.lease)
