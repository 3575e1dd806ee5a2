"""Rows that are inserted, changed and committed while others are read: by a rowversion all count, by an id in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.tds.conftest import connect as client

from ingest_kit import Survey, insert
from pgconveyor.reader import Reader
from tds import TdsServer

pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

__all__ = ["client"]

UPDATE = "UPDATE responses SET answer = N'changed' WHERE id ="

COMPLETE = "update conveyor.processing_queue set status = 'completed', completed_at = '2020-01-01', run_at = null"
PURGE = "select conveyor.purge_records('f', interval '1 day')"

Open = Callable[[], Any]


@pytest.fixture
def transaction(client: Callable[..., Any]) -> Open:
    """A transaction of another client: a cursor, whose `connection` commits or rolls back."""
    return lambda: client(autocommit=False).cursor()


@contextmanager
def before_page(number: int, step: Callable[[], object]) -> Iterator[None]:
    """Something happens at the source before the page with this number, counted from 1, is read, or at the end."""
    pages = itertools.count(1)
    page = Reader.page

    def watched(*args: Any) -> Any:
        if next(pages) == number:
            step()
        return page(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reader, "page", watched)
        yield
    if next(pages) <= number:
        step()


def expected(survey: Survey, *former: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows as they are, and by rowversion the versions that were read before."""
    return sorted([*former, *survey.rows()], key=lambda row: (row["id"], row["version"]))


class TestLowerKeys:
    def test_of_a_transaction_that_ends_after_higher_ones_were_read(self, survey: Survey, transaction: Open) -> None:
        late = transaction()
        late.execute(insert([5]))
        survey.add([*range(5), *range(6, 40)])
        survey.ingest()
        assert 5 not in [row["id"] for row in survey.queued()]
        late.connection.commit()
        survey.ingest()
        assert survey.queued() == survey.rows()

    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
    def test_of_one_that_ends_between_two_pages(self, survey: Survey, transaction: Open, number: int) -> None:
        late = transaction()
        late.execute(insert([5, 15, 25]))
        survey.add([n for n in range(35) if n % 10 != 5])
        with before_page(number, late.connection.commit):
            survey.ingest()
        survey.ingest()
        assert survey.queued() == survey.rows()

    def test_of_many_that_end_in_another_order(self, survey: Survey, transaction: Open) -> None:
        late = [transaction() for _ in range(8)]
        for n, cur in enumerate(late):
            cur.execute(insert([n * 10, n * 10 + 3]))
        survey.add([n * 10 + 1 for n in range(8)])
        for n in (7, 0, 3, 1, 6, 2, 5, 4):
            late[n].connection.commit()
            survey.ingest(batch=3)
        assert survey.queued() == survey.rows()

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_of_one_that_is_rolled_back_leave_a_gap(self, survey: Survey, transaction: Open, number: int) -> None:
        late = transaction()
        late.execute(insert([5, 15]))
        survey.add([n for n in range(25) if n % 10 != 5])
        with before_page(number, late.connection.rollback):
            survey.ingest()
        survey.add([25])
        survey.ingest()
        assert survey.queued() == survey.rows()


def ids(survey: Survey) -> list[int]:
    return [row["id"] for row in survey.queued()]


class TestTheOverlap:
    """By id, 100 has been read and the overlap is ten: 91 is the lowest that is read again."""

    @pytest.mark.parametrize("in_one_run", [True, False])
    @pytest.mark.parametrize("batch", [1, 3, 1000])
    def test_one_inside_is_read_and_one_outside_is_lost_by_id(
        self, survey: Survey, transaction: Open, batch: int, in_one_run: bool
    ) -> None:
        late = transaction()
        late.execute(insert([90, 91]))
        survey.add([*range(1, 90), *range(92, 101)])
        options = {"batch": batch, "overlap": 10}
        if in_one_run:
            with before_page(-(-98 // batch) + 1, late.connection.commit):
                survey.ingest(**options)
        else:
            survey.ingest(**options)
            late.connection.commit()
        survey.ingest(**options)
        lost = {90} if survey.key_kind == "id" else set()
        assert set(range(1, 101)) - set(ids(survey)) == lost
        assert survey.queued() == [row for row in survey.rows() if row["id"] not in lost]

    @pytest.mark.parametrize("first", [-(2**63), -(2**63) + 500, 2**63 - 30])
    def test_it_may_reach_beyond_what_a_bigint_holds(self, survey: Survey, transaction: Open, first: int) -> None:
        late = transaction()
        late.execute(insert([first]))
        survey.add(range(first + 1, first + 25))
        survey.ingest()
        late.connection.commit()
        survey.ingest()
        survey.ingest(overlap=10)
        assert survey.queued() == survey.rows()
        survey.conn.execute(COMPLETE)
        survey.conn.execute(PURGE)

    def test_zero_reads_nothing_again(self, survey: Survey, transaction: Open) -> None:
        late = transaction()
        late.execute(insert([9]))
        survey.add([*range(9), 10])
        survey.ingest(overlap=0)
        late.connection.commit()
        survey.ingest(overlap=0)
        assert (9 in ids(survey)) == (survey.key_kind == "rowversion")

    def test_it_may_grow_without_a_second_record(self, survey: Survey) -> None:
        """What a smaller one left behind may have been purged."""
        survey.add(range(100))
        survey.ingest(overlap=10)
        survey.conn.execute(COMPLETE)
        survey.conn.execute(PURGE)
        kept = ids(survey)
        assert kept == (list(range(90, 100)) if survey.key_kind == "id" else [])
        assert survey.ingest(overlap=1000).added == 0
        assert ids(survey) == kept

    def test_many_rows_above_a_gap_are_read_in_pages(self, survey: Survey, tds: TdsServer) -> None:
        """Pages hold what is known and as much again as is asked for."""
        survey.add([1, *range(3, 200)])
        survey.ingest(batch=7)
        assert survey.queued() == survey.rows()
        pages = [text for text, _ in tds.statements if "WITH TIES" in text]
        assert len(pages) == 198 // 7 + 2


class TestChanges:
    def test_each_version_that_is_read_is_a_record_by_rowversion(self, survey: Survey) -> None:
        survey.add(range(20))
        survey.ingest()
        former = survey.queued()
        survey.hub.execute_query(f"{UPDATE} 7")
        assert survey.ingest().added == (survey.key_kind == "rowversion")
        wanted = expected(survey, former[7]) if survey.key_kind == "rowversion" else former
        assert survey.queued() == wanted

    @pytest.mark.parametrize("number", [1, 2, 3, 4])
    def test_a_row_that_changes_while_others_are_read(self, survey: Survey, number: int) -> None:
        survey.add(range(25))
        before = survey.rows()

        def change() -> None:
            survey.hub.execute_query(f"{UPDATE} 3 OR id = 22")

        with before_page(number, change):
            survey.ingest()
        survey.ingest()
        now = survey.rows()
        if survey.key_kind == "id":
            read_later = [n for n, page in ((3, 1), (22, 3)) if page >= number]
            wanted = [(now if n in read_later else before)[n] for n in range(25)]
        else:
            read = [before[n] for n, page in ((3, 1), (22, 3)) if page < number]
            wanted = expected(survey, *read)
        assert survey.queued() == wanted

    def test_a_change_that_is_committed_late(self, survey: Survey, transaction: Open) -> None:
        survey.add(range(20))
        survey.ingest()
        former = survey.queued()
        late = transaction()
        late.execute(f"{UPDATE} 7")
        survey.hub.execute_query(f"{UPDATE} 8")
        survey.add([20])
        survey.ingest()
        late.connection.commit()
        survey.ingest()
        wanted = (
            expected(survey, former[7], former[8]) if survey.key_kind == "rowversion" else [*former, survey.rows()[20]]
        )
        assert survey.queued() == wanted

    def test_a_row_that_is_deleted_before_it_was_read_is_no_record(self, survey: Survey) -> None:
        survey.add(range(30))
        with before_page(2, lambda: survey.hub.execute_query("DELETE FROM responses WHERE id IN (3, 12)")):
            survey.ingest()
        assert ids(survey) == [n for n in range(30) if n != 12]
