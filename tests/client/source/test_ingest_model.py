"""Any history of a source and of its ingesters, which die at any step, beside a plain model of what must be queued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from tests.tds.conftest import connect as client

from ingest_kit import KEYS, Survey, insert
from pgconveyor.database import DatabaseManager
from pgconveyor.errors import SourceMoved
from pgconveyor.source import Ingester, Source

pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

__all__ = ["client"]

OVERLAP = 12
SOURCE = "surveyhub.responses"
BATCHES = st.sampled_from([1, 3, 100])
SPANS = st.lists(st.sampled_from([1, 1, 1, 2, 9]), min_size=1, max_size=8)  # from one id to the next
WRITING = ["before the commit", "after the commit"]
READING = ["before reading", "after reading"]  # in a thread beside the other
MARK = "select read_to, greatest(read_to - overlap, window_from) from conveyor.source_watermark"
DONE = """
    update conveyor.processing_queue set status = 'completed', completed_at = '2020-01-01', run_at = null
    where id %% 3 = %s
"""


class Died(Exception):
    pass


@dataclass
class Open:
    """A transaction of the source that was begun."""

    cur: Any
    ids: list[int]
    changed: int | None


class Watched(Ingester):
    """Calls `then` when it has come to a step for so many times."""

    def watch(self, step: str, times: int, then: Callable[[], None]) -> None:
        self._step, self._times, self._then = step, times, then
        page = self._reader.page

        def watched(*args: Any) -> Any:
            self._at("before reading")
            rows = page(*args)
            self._at("after reading")
            return rows

        self._reader.page = watched  # type: ignore[method-assign]

    def _at(self, step: str) -> None:
        if step == self._step:
            self._times -= 1
            if self._times == 0:
                self._then()

    def _send(self, *args: Any, **options: Any) -> None:
        self._at("before the commit")
        super()._send(*args, **options)
        self._at("after the commit")


class Model(RuleBasedStateMachine):
    survey: Survey
    queue: DatabaseManager
    client: Callable[..., Any]
    idle: list[Any]

    def __init__(self) -> None:
        super().__init__()
        tables = "conveyor.processing_queue, conveyor.attempt, conveyor.source_watermark"
        self.survey.conn.execute(f"truncate {tables} restart identity")
        self.survey.hub.execute_query("DELETE FROM responses")
        self.is_by_id = self.survey.key_kind == "id"
        self.last_id = 0
        self.open: list[Open] = []
        self.ever: list[dict[str, Any]] = []  # rows that were committed, as they were
        self.known = set[int]()  # keys that were committed
        self.wanted = set[int]()  # those that must be in the queue after a complete run
        self.purged = set[int]()  # and those that must not come a second time

    def key(self, row: dict[str, Any]) -> int:
        return row["id"] if self.is_by_id else int(row["version"], 16)

    def mark(self) -> tuple[int | None, int | None]:
        return self.survey.conn.execute(MARK).fetchone() or (None, None)

    def queued(self) -> set[int]:
        keys = [self.key(row) for row in self.survey.queued()]
        assert len(keys) == len(set(keys)), "a record came twice"
        return set(keys)

    def note(self) -> None:
        """What has been committed."""
        _, low = self.mark()
        rows = self.survey.rows()
        self.ever += [row for row in rows if row not in self.ever]
        new = {self.key(row) for row in rows} - self.known
        self.known |= new
        # By an id what was committed too late may be lost. A version that is no more need not have been read.
        self.wanted |= {key for key in new if not self.is_by_id or low is None or key > low}
        if not self.is_by_id:
            self.wanted &= {self.key(row) for row in rows}

    def new_ids(self, spans: list[int]) -> list[int]:
        ids = []
        for span in spans:
            self.last_id += span
            ids.append(self.last_id)
        return ids

    def unlocked(self, data: st.DataObject) -> int | None:
        locked = [each.changed for each in self.open]
        ids = sorted({row["id"] for row in self.ever} - set(locked))
        return data.draw(st.sampled_from(ids)) if ids else None

    @rule(spans=SPANS)
    def add(self, spans: list[int]) -> None:
        self.survey.add(self.new_ids(spans))
        self.note()

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        if (one := self.unlocked(data)) is not None:
            self.survey.hub.execute_query("UPDATE responses SET answer = N'changed' WHERE id = ?", [one])
            self.note()

    @precondition(lambda self: len(self.open) < 3)
    @rule(spans=SPANS, data=st.data())
    def begin(self, spans: list[int], data: st.DataObject) -> None:
        cur = self.idle.pop() if self.idle else self.client(autocommit=False).cursor()
        self.open.append(Open(cur, self.new_ids(spans), self.unlocked(data)))
        cur.execute(insert(self.open[-1].ids))
        cur.execute("UPDATE responses SET answer = N'late' WHERE id = ?", self.open[-1].changed)

    @precondition(lambda self: self.open)
    @rule(is_kept=st.booleans(), data=st.data())
    def end(self, is_kept: bool, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.open))
        (one.cur.connection.commit if is_kept else one.cur.connection.rollback)()
        self.open.remove(one)
        self.idle.append(one.cur)
        self.note()

    def ingester(self, batch: int) -> Watched:
        source = Source(database="SurveyHub", table="responses", key=KEYS[self.survey.key_kind])
        reader = source.reader(self.survey.hub)
        return Watched(self.queue, source, reader, "f", batch=batch, overlap=OVERLAP)

    @rule(batch=BATCHES, step=st.sampled_from(READING + WRITING), times=st.integers(1, 6))
    def ingest(self, batch: int, step: str, times: int) -> None:
        def die() -> None:
            raise Died

        with self.ingester(batch) as ingester:
            ingester.watch(step, times, die)
            try:
                ingester.run()
            except Died:
                return
        assert self.wanted <= self.queued() | self.purged or self.open

    @rule(batch=BATCHES, step=st.sampled_from(WRITING), times=st.integers(1, 3))
    def ingest_twice_at_once(self, batch: int, step: str, times: int) -> None:
        others, is_lost = [], False

        def other() -> None:
            with self.ingester(3) as ingester:
                ingester.watch("", 0, dict)
                others.append(ingester.run())

        with self.ingester(batch) as ingester:
            ingester.watch(step, times, other)
            try:
                ingester.run()
            except SourceMoved:
                is_lost = True
        # The other one may have come after the last page, or not at all.
        assert is_lost or not others or step == "after the commit"
        assert bool(others) >= is_lost

    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        read_to, _ = self.mark()
        if read_to is None:
            return
        to = data.draw(st.sampled_from([None, *sorted(key for key in self.known if key <= read_to)]))
        self.survey.conn.execute("select conveyor.reset_source(%s, 'f', %s)", [SOURCE, to])
        above = {key for key in self.known if to is None or key > to}
        self.purged -= above
        if self.is_by_id:
            self.wanted = above | self.wanted & (self.queued() | self.purged)

    @rule(third=st.integers(0, 2))
    def purge(self, third: int) -> None:
        before, (read_to, low) = self.queued(), self.mark()
        self.survey.conn.execute(DONE, [third])
        self.survey.conn.execute("select conveyor.purge_records('f', interval '1 day')")
        gone = before - self.queued()
        if self.is_by_id:
            assert not [key for key in gone if low is None or key > low], "it will be read again"
        self.purged |= {key for key in gone if read_to is not None and key <= read_to}

    def teardown(self) -> None:
        while self.open:
            one = self.open.pop()
            one.cur.connection.commit()
            self.idle.append(one.cur)
            self.note()
        with self.ingester(3) as ingester:
            ingester.watch("", 0, dict)
            ingester.run()
        queued = self.queued()
        assert self.wanted <= queued | self.purged, "some are lost"
        assert not queued & self.purged, "some came again"
        assert [row for row in self.survey.queued() if row not in self.ever] == []


def test_any_history_leaves_each_row_in_the_queue_once(
    survey: Survey, rpa_db: DatabaseManager, client: Callable[..., Any]
) -> None:
    shared = {"survey": survey, "queue": rpa_db, "client": staticmethod(client), "idle": []}
    budget = {"max_examples": 25, "stateful_step_count": 15, "deadline": None, "derandomize": True}
    budget |= {"phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(type("Machine", (Model,), shared), settings=settings(**budget))
