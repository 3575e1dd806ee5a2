"""One bad record among ten thousand; and records that may look bad and are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pgconveyor import documents
from pgconveyor.distributed import DistributedProcessor as Processor

Queue = Any  # of conftest.py
TEXT = type("Text", (str,), {})

BAD_RECORDS: dict[str, Any] = {"nan": float("nan"), "nul": "a\0b", "surrogate": "\ud800", "large": "x" * 600, "key": ""}


@pytest.mark.parametrize("kind", BAD_RECORDS)
@pytest.mark.parametrize("position", [0, 999, 1000, 9999])
def test_of_ten_thousand_records_the_bad_one_is_named(
    processor: Processor, queue: Queue, kind: str, position: int
) -> None:
    queue.conn.execute("""select conveyor.configure_flow('f', '{"payload_limit": 500}')""")
    records: list[dict[str, Any]] = [{"n": n, "k": str(n)} for n in range(10_000)]
    records[position]["k" if kind == "key" else "v"] = BAD_RECORDS[kind]
    with pytest.raises(ValueError, match=rf"^records\[{position}\](, dedup_key| has| is)"):
        processor.add_records_to_queue("f", records, dedup_key="k")
    assert queue.rows("id") == []
    assert processor.add_records_to_queue("f", records[:position], dedup_key="k") == position


class TestWhatIsTaken:
    def test_what_may_look_bad_and_is_not(self, processor: Processor) -> None:
        assert processor.add_records_to_queue("f", []) == processor.add_records_to_queue("f", iter(())) == 0
        assert processor.add_records_to_queue("é" * 100, [{}], dedup_key=None) == 1
        # Names are compared as they are: this is another flow than f.
        assert processor.add_records_to_queue(" f\n", [{}]) == 1
        assert processor.claim_records_batch("f", 1) == []
        # Keys become text and tuples lists, as json.dumps has it.
        processor.add_records_to_queue("g", [{1: 1, None: 2, False: 3, 1.5: (4,), "é": TEXT("x")}])
        payload = {"1": 1, "null": 2, "false": 3, "1.5": [4], "é": "x"}
        assert [record["payload"] for record in processor.claim_records_batch("g", 1)] == [payload]
        assert processor.cleanup_orphaned_records(0.001) == processor.reset_failed_records("f", 0) == 0

    def test_a_generator_that_raises_adds_nothing(self, processor: Processor, queue: Queue) -> None:
        def records() -> Iterator[dict[str, int]]:
            yield from ({"n": n} for n in range(2400))
            raise LookupError("the source broke")

        with pytest.raises(LookupError, match="the source broke"):
            processor.add_records_to_queue("f", records())
        assert queue.rows("id") == []

    def test_records_that_are_too_large_for_one_document_go_in_several(
        self, processor: Processor, queue: Queue
    ) -> None:
        assert processor.add_records_to_queue("f", ({"x": "x" * 10_000_000} for _ in range(4))) == 4
        # Those of a document have one time.
        assert queue.ask("select count(distinct created_at) from conveyor.processing_queue") == [(2,)]

    def test_what_no_jsonb_can_hold_is_not_sent(self, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(documents, "LARGEST", 100)
        with pytest.raises(ValueError, match=r"records\[1\] has 10\d characters"):
            processor.add_records_to_queue("f", [{"x": "x" * 50}, {"x": "x" * 95}])

    def test_a_payload_that_python_cannot_read_holds_up_nobody(self, processor: Processor, queue: Queue) -> None:
        for payload in ('{"a": 1e5000}', '{"a": 1e400}'):
            queue.ask("select conveyor.add_record('f', %s)", payload)
        queue.ask("select conveyor.configure_flow('f', '{\"retry_delay\": 0}')")
        assert [record["id"] for record in processor.claim_records_batch("f", 9)] == [2]
        [(status, retries, error), _] = queue.rows("status", "retry_count", "error_message")
        assert (status, retries) == ("failed", 1)
        assert error.startswith("the payload cannot be read: Exceeds the limit (4300 digits)")
        assert "recursion" in documents.decode("[" * 10**6).reason
