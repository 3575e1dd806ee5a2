"""
From a table of a SQL Server into a flow: each row once.

A page of rows and the watermark after it are committed in one transaction of the queue's database, so that whatever
ends an ingester, the next one goes on where the queue really is. What may move the watermark the database decides.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from pgconveyor.claimer import jittered
from pgconveyor.columns import quoted
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import renamed
from pgconveyor.errors import DatabaseUnavailable, InvalidArgument, SourceMoved
from pgconveyor.odbc import pyodbc
from pgconveyor.packing import Chunk, Packer, RowMapping, RowRefused
from pgconveyor.reader import Reader, Row, Window
from pgconveyor.remedies import in_short
from pgconveyor.sqlserver import LoginRefused, SqlServerManager, is_transient, reason_of

__all__ = ["Ingester", "RowRefused", "Source", "Totals"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

OPEN = "select read_to, read_after, revision from conveyor.open_source(%s, %s, %s, %s, %s::bigint)"
PAGE = b"""
    select revision, added
    from conveyor.ingest_page(
        %s, %s, %s::bigint, %s::bigint, %s::jsonb, %s::text[], %s::jsonb, %s::smallint, %s::boolean
    )
"""
TRIES = 6  # in a row, without a page in between, after which an ingester that is not to stay gives up
BACK_OFF = (0.5, 30.0)  # seconds, first and longest wait


class _Stopped(Exception):
    """It is to end, and does not wait for what it asked the source."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """
    What is read: a `table`, or a `query`, of a database that the configuration names, in the order of `key`.

    `key` is a column: a rowversion, or a whole number that grows. `where` is a condition in T-SQL. `name` tells sources
    of a flow apart and begins their dedup keys; by default it is that of the database and the table. Raises
    `ValueError` for what cannot be.
    """

    database: str
    key: str
    table: str | None = None
    query: str | None = None
    where: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        for field in ("database", "key", "table", "query", "where"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ValueError(f"{field} is {value!r:.100}: give a text that is not blank")
        if self.table is not None and not _parts(self.table):
            raise ValueError(
                f"table is {self.table!r:.100}: give a name such as dbo.responses or [my schema].[my table]"
            )
        # Not as it is spelled: under another name all of it would come again.
        what = "query" if self.table is None else ".".join(_parts(self.table))
        object.__setattr__(self, "name", self.name or f"{self.database}.{what}".lower())

    @property
    def definition(self) -> dict[str, str]:
        """What a watermark is good for."""
        words = {word: getattr(self, word) for word in ("database", "table", "query", "key", "where")}
        return {word: value for word, value in words.items() if value is not None}

    def reader(self, manager: SqlServerManager) -> Reader:
        """Connects, and looks whether this can be read: see `Reader`."""
        if self.query is not None:
            relation = f"({self.query.strip().rstrip(';')}\n) AS source"
        else:
            relation = ".".join(map(quoted, _parts(self.table or ""))) + " AS source"
        reader = Reader(manager, relation, self.key, self.where)
        if reader.key_kind == "rowversion" and len(_parts(self.table or "")) > 2:
            raise ValueError(
                f"table is {self.table!r}: by a rowversion give one of the database that the connection names, for"
                " MIN_ACTIVE_ROWVERSION() is of that"
            )
        return reader


def _parts(table: str) -> list[str]:
    part = r"\[((?:[^\]]|\]\])+)\]|([^.\[\]\s][^.\[\]]*)"
    if not re.fullmatch(rf"(?:{part})(?:\.(?:{part}))*", table.strip()):
        return []
    return [bare.strip() or whole.replace("]]", "]") for whole, bare in re.findall(part, table.strip())]


@dataclass(slots=True)
class Totals:
    """What an ingester did, in rows; `behind` is how far the highest key of the source was above the watermark."""

    read: int = 0
    added: int = 0
    skipped: int = 0
    dead: int = 0
    pages: int = 0
    read_to: int | None = None
    behind: int | None = None
    first: str | None = None  # of a dry run the first payloads, as JSON

    def add(self, chunk: Chunk) -> None:
        self.read += chunk.rows
        self.skipped += chunk.skipped
        self.dead += len(chunk.failures)
        self.read_to = chunk.read_to


class Ingester:
    """
    Moves the rows of a source into a flow until `stop` is called, or none is left.

    `batch` rows are read at a time. `overlap` so many ids below the watermark are read again, for rows that were
    committed late; rowversions need none. `mapping` makes the payload of a row, a dict in the JSON forms of the README.
    A row that cannot be a payload ends it, is skipped or becomes a failed record: `on_error` is stop, skip or
    dead-letter. With `clean`, characters that PostgreSQL cannot hold become U+FFFD. With `dry_run` nothing is written.
    """

    def __init__(
        self,
        queue: DatabaseManager,
        source: Source,
        reader: Reader,
        flow_name: str,
        *,
        batch: int = 1000,
        overlap: int = 1000,
        mapping: RowMapping | None = None,
        on_error: str = "stop",
        clean: bool = False,
        priority: int = 0,
        dry_run: bool = False,
    ) -> None:
        if batch < 1 or overlap < 0:
            raise ValueError(f"batch is {batch!r} and overlap {overlap!r}: give at least 1, and at least 0")
        self._packer = Packer(source.name, reader.shown, mapping, on_error, clean)
        self._queue, self._source, self._reader, self._flow_name = queue, source, reader, flow_name
        self._batch, self._overlap = batch, overlap if reader.key_kind == "id" else 0
        self._priority, self._dry_run = priority, dry_run
        self._window: Window | None = None
        self._revision, self._is_in_doubt = 0, False
        self.is_stopped = False
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="source")
        self.totals = Totals()
        self.is_done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        idle = self._reads.submit(int)
        while not wait([idle], timeout=0.5).done:
            self.stop()  # also what it has asked since
        self._reads.shutdown()

    def stop(self) -> None:
        """End after the page that is being written; safe in threads and signal handlers."""
        self.is_stopped = True
        self._reader.manager.interrupt()

    def run(self, *, watch: float | None = None, progress: Callable[[Totals], object] = lambda _: None) -> Totals:
        """
        Read to the end, and with `watch` again after so many seconds, until stopped.

        What passes, such as a database that is away, is tried again, for ever when watching. Raises `ConnectionError`
        when it does not pass, or nothing could be read at all; `SourceMoved` when another ingester reads the source;
        `SourceChanged`; `RowRefused`; `ValueError`; `pyodbc.Error` and `psycopg.Error` for what else is refused.
        """
        with suppress(_Stopped):
            self._open()
            logger.info("reading %s into %s after %s", self._source.name, self._flow_name, self.totals.read_to)
            self._look(watch, progress)
        return self.totals

    def _look(self, watch: float | None, progress: Callable[[Totals], object]) -> None:
        failures, pages = 0, -1
        while not self.is_stopped:
            try:
                self._catch_up(progress)
            except SourceMoved:
                # A page whose connection was lost may be committed when the source is already open again.
                if not self._is_in_doubt:
                    raise
                self._is_in_doubt, self._window = False, None
                continue
            except (DatabaseUnavailable, psycopg.OperationalError, pyodbc().Error) as exc:
                if self.is_stopped:
                    break
                failures, pages = (0 if self.totals.pages != pages else failures) + 1, self.totals.pages
                if not _passes(exc) or (watch is None and failures >= TRIES):
                    raise
                self._window = None
                logger.warning("%s; trying again", _said(exc))
                self._rest(jittered(min(BACK_OFF[0] * 2 ** (failures - 1), BACK_OFF[1])))
                continue
            if watch is None:
                break
            self._rest(watch)

    def _rest(self, seconds: float) -> None:
        """In short turns, and without an Event: its lock might be held here while a signal handler wants it."""
        until = time.monotonic() + seconds
        while not self.is_stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _open(self) -> Window:
        """Where the queue is, which after a lost connection may be further than what was acknowledged here."""
        definition = Jsonb(self._source.definition)
        asked = [self._source.name, self._flow_name, self._reader.key_kind, definition, self._overlap]
        with self._queue.connection() as conn, conn.transaction(force_rollback=self._dry_run):
            row = conn.execute(OPEN, asked).fetchone()
        assert row is not None  # noqa: S101
        if self._dry_run:
            self.totals = Totals()  # all is read again
        self.totals.read_to, read_after, self._revision = row
        self._ask(lambda: self._reader.check_keys(is_new=self.totals.read_to is None))
        self._window = Window(self.totals.read_to, read_after, self._overlap)
        return self._window

    def _catch_up(self, progress: Callable[[Totals], object]) -> None:
        """The next page is read while one is written."""
        window = self._window or self._open()
        bound = self._ask(self._reader.bound)
        highest = self._ask(lambda: self._reader.highest(bound))
        self._reader.check_place(self.totals.read_to, highest, bound, self._overlap)
        ahead = self._read_ahead(window, bound)
        # Not until a page is short: an answer that was cut looks like one.
        while rows := self._awaited(ahead):
            ahead = self._read_ahead(window, bound)
            for chunk in self._packer.pack(rows, self.totals.read_to):
                self._send(chunk)
            self.totals.pages += 1
            if highest is not None:
                self.totals.behind = max(0, highest - (self.totals.read_to or 0))
            progress(self.totals)
        self._send(Chunk(self.totals.read_to), is_last=True)
        self.is_done = True
        progress(self.totals)

    def _ask(self, what: Callable[[], T]) -> T:
        """In the thread that reads: one that is in the driver hears no signal until the driver returns."""
        return self._awaited(self._reads.submit(what))

    def _awaited(self, answer: Future[T]) -> T:
        while not self.is_stopped:
            # What was interrupted need not fail: with Microsoft's driver it looks like a short page, or the last.
            if wait([answer], timeout=0.5).done and not self.is_stopped:
                return answer.result()
        raise _Stopped

    def _read_ahead(self, window: Window, bound: int | None) -> Future[list[Row]]:
        def read() -> list[Row]:
            if self.is_stopped:
                raise _Stopped
            rows = window.fresh(self._reader.page(window.low, self._batch + window.known, bound))
            window.note([key for key, _ in rows])
            return rows

        return self._reads.submit(read)

    def _send(self, chunk: Chunk, *, is_last: bool = False) -> None:
        if not self._dry_run:
            failures = f"[{','.join(chunk.failures)}]"
            where = [self._source.name, self._flow_name, self._revision, chunk.read_to]
            what = [chunk.document, chunk.dedup_keys, failures, self._priority, is_last]
            try:
                with self._queue.connection() as conn:
                    row = conn.execute(PAGE, [*where, *what]).fetchone()
            except InvalidArgument as exc:
                raise renamed(exc, [f"row {key}" for key in chunk.dedup_keys], "Nothing of its page was added") from exc
            except DatabaseUnavailable:
                self._is_in_doubt = True
                raise
            assert row is not None  # noqa: S101
            self._is_in_doubt = False
            self._revision = row[0]
            self.totals.added += row[1]
        elif chunk.dedup_keys and self.totals.first is None:
            self.totals.first = chunk.document
        self.totals.add(chunk)


def _passes(exc: Exception) -> bool:
    if isinstance(exc, pyodbc().Error):
        return is_transient(exc)
    is_too_large = isinstance(exc, psycopg.OperationalError) and (exc.sqlstate or "").startswith("54")
    return not (isinstance(exc, LoginRefused) or is_too_large)


def _said(exc: Exception) -> str:
    return reason_of(exc) if isinstance(exc, pyodbc().Error) else in_short(exc)
