"""Claims that are kept alive while their handlers run somewhere, and given back when they will not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from tests.client.conftest import Queue

from pgconveyor import batch as module
from pgconveyor.batch import Batch
from pgconveyor.distributed import COMPLETE, DistributedProcessor, Record
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

LEASE = timedelta(seconds=1)


@pytest.fixture
def records(queue: Queue) -> list[Record]:
    queue.add(3)
    return queue.processor.claim_records_batch("f", 3, lease=LEASE)


@pytest.fixture(autouse=True)
def none_is_open() -> Iterator[None]:
    yield
    assert module._open == {}


class Told(BaseException):
    """Like the exception of a signal."""


def test_claims_are_extended_while_it_is_open_and_answers_end_that(
    queue: Queue, processor: DistributedProcessor, records: list[Record]
) -> None:
    ends = "select id, lease_expires_at from conveyor.processing_queue where status = 'processing' order by id"
    with Batch(processor, records, LEASE, is_here=True) as batch:
        processor.mark_records_completed([(records[0], {})])
        for _ in range(2):
            before = dict(queue.ask(ends))
            queue.wait(lambda before=before: all(end > before[key] for key, end in queue.ask(ends)))
        assert before.keys() == {records[1]["id"], records[2]["id"]}
        queue.wait(lambda: not batch.holds(records[0]))
        assert batch.holds(records[1])


def test_whoever_is_told_to_stop_gives_back_what_has_not_begun_and_waits_for_the_rest(
    queue: Queue, processor: DistributedProcessor, records: list[Record]
) -> None:
    begun, go_on, seen = Event(), Event(), []

    def handle(batch: Batch, record: Record) -> None:
        with batch.running(record) as is_ours:
            begun.set()
            seen.append((is_ours, go_on.wait(30)))
            processor.mark_records_completed([(record, {})])

    def stop(batch: Batch) -> None:
        with batch:
            assert begun.wait(30)
            raise Told

    batch = Batch(processor, records, LEASE, is_here=True)
    threads = [Thread(target=handle, args=[batch, records[0]]), Thread(target=_told, args=[stop, batch])]
    for thread in threads:
        thread.start()
    queue.wait(lambda: queue.count("pending") == 2)
    with batch.running(records[1]) as is_ours:
        assert not is_ours
    assert threads[1].is_alive()
    before = queue.rows("lease_expires_at")[0]
    queue.wait(lambda: queue.rows("lease_expires_at")[0] > before)  # type: ignore[operator]
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert seen == [(True, True)]
    assert queue.rows("status", "retry_count") == [("completed", 0), ("pending", 0), ("pending", 0)]


def _told(stop: Any, batch: Batch) -> None:
    with pytest.raises(Told):
        stop(batch)


@pytest.mark.parametrize(("is_here", "left"), [(True, ["pending"] * 3), (False, ["processing"] * 3)])
def test_what_may_have_begun_elsewhere_is_left_to_its_lease(
    queue: Queue, processor: DistributedProcessor, records: list[Record], is_here: bool, left: list[str]
) -> None:
    with Batch(processor, records, LEASE, is_here=is_here):
        assert (Batch.of(records[2]) is not None) == is_here
    assert Batch.of(records[2]) is None
    assert [row[0] for row in queue.rows("status")] == left


def test_none_is_a_batch_too(processor: DistributedProcessor) -> None:
    with Batch(processor, [], LEASE, is_here=True):
        pass


class TestOutage:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    def test_a_database_that_is_away_ends_neither_heartbeats_nor_the_batch(
        self,
        records: list[Record],
        processor: DistributedProcessor,
        embedded: EmbeddedServer,
        dsn: str,
        wait_until: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with Batch(processor, records, LEASE, is_here=True) as batch:
            embedded.stop()
            wait_until(lambda: "heartbeat: rpa_db" in caplog.text)
            embedded.start()
            with psycopg.connect(dsn) as conn:
                conn.execute(COMPLETE, [records[0]["id"], "{}", records[0]["claim_token"]])
            wait_until(lambda: not batch.holds(records[0]))
            embedded.stop()
        assert "2 records could not be given back, their claims will end: rpa_db" in caplog.text
