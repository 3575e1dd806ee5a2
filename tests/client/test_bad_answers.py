"""Answers that come too late, and failures that are too long."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgconveyor import documents
from pgconveyor.distributed import DistributedProcessor as Processor
from pgconveyor.errors import ClaimLost, RecordNotFound

Queue = Any  # of conftest.py


class TestFailures:
    @pytest.mark.parametrize("bulk", [False, True], ids=["one", "many"])
    def test_nothing_is_refused_for_its_length(self, processor: Processor, queue: Queue, bulk: bool) -> None:
        queue.add(3)
        big = {"error": "é\0" * 5 * 2**20, "error_type": "E" * 201, "context": {"x": "x" * 2**21}}
        cuts = [{"error": ""}, big, {"error": "\ud800", "context": {"x": "x" * 70_000}}]
        records = processor.claim_records_batch("f", 3)
        if bulk:
            assert processor.mark_records_failed(list(zip(records, cuts, strict=True))) == ["done"] * 3
        else:
            for record, failure in zip(records, cuts, strict=True):
                processor.mark_record_failed(record["id"], **failure)
        mark = "... [cut: {} characters]"
        error = "é\N{REPLACEMENT CHARACTER}" * 4980 + mark.format(10 * 2**20)
        wanted = [
            ("", None, None),
            (error, "E" * 160 + mark.format(201), '{"x":"' + "x" * 9954 + mark.format(2**21 + 8)),
            ("?", None, '{"x": "' + "x" * 9953 + mark.format(70_009)),
        ]
        stored = "select q.error_message, a.error_type, a.context ->> 'cut' from conveyor.processing_queue as q"
        assert queue.ask(f"{stored} join conveyor.attempt as a on a.record_id = q.id order by q.id") == wanted
        assert queue.ask("select count(*) from conveyor.attempt where context - 'cut' <> '{}'") == [(0,)]

    def test_the_client_cuts_as_the_server_does(self, conn: psycopg.Connection) -> None:
        for text in ("é" * 10_000, "é" * 10_001, "x" * 123_456, ""):
            assert conn.execute("select conveyor._cut(%s, 10000)", [text]).fetchone() == (documents.cut(text),)


class TestAnswers:
    @pytest.mark.parametrize(
        "state", ["released", "orphaned", "cancelled", "completed", "failed", "requeued", "unknown"]
    )
    def test_a_late_answer_changes_nothing_and_is_told(self, processor: Processor, queue: Queue, state: str) -> None:
        queue.add(1)
        [record] = processor.claim_records_batch("f", 1)
        one = "select conveyor.{} from conveyor.processing_queue as q"
        match state:
            case "released":
                processor.release_records([record])
            case "orphaned":
                queue.conn.execute("update conveyor.processing_queue set lease_expires_at = now()")
                processor.cleanup_orphaned_records()
            case "cancelled":
                queue.ask(one.format("cancel_records(array[q.id])"))
            case "completed":
                processor.mark_record_completed(record["id"], {"n": 0})
            case _:
                processor.mark_record_failed(record["id"], "no")
        if state == "requeued":
            queue.ask(one.format("requeue_records(array[q.id])"))
        known = record["id"] + (1000 if state == "unknown" else 0)
        before = queue.rows("*")
        error, words = (RecordNotFound, "does not exist") if state == "unknown" else (ClaimLost, "no longer holds")
        state_of = {RecordNotFound: "WQ002", ClaimLost: "WQ001"}
        late = []
        if state != "completed":
            late.append(lambda: processor.mark_record_completed(known, {}, token=record["claim_token"]))
        if state not in ("failed", "requeued"):
            late.append(lambda: processor.mark_record_failed(known, "late", token=record["claim_token"]))
        for call in late:
            with pytest.raises(error, match=rf"record {known}\b") as caught:
                call()
            assert (caught.value.sqlstate, isinstance(caught.value, RuntimeError)) == (state_of[error], True)
            assert words in str(caught.value)
        assert processor.extend_leases([record]) == [None]
        assert queue.rows("*") == before
