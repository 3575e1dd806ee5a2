"""DistributedProcessor: results, tokens and errors (signatures: test_contract.py; bad arguments: test_bad_input.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgconveyor.distributed import DistributedProcessor as Processor
from pgconveyor.errors import ClaimLost, RecordNotFound
from pgconveyor.tokens import TokenBook

CLAIMED = {"id", "flow_name", "payload", "retry_count", "created_at", "claim_token", "lease_expires_at", "crash_count"}
# Counts the records of each statement that adds some.
DOCUMENTS = """
create table documents (n integer);
create function documents() returns trigger language plpgsql security definer set search_path = public as $$
begin insert into documents select count(*) from added; return null; end $$;
create trigger documents after insert on conveyor.processing_queue
referencing new table as added for each statement execute function documents();
"""
Queue = Any  # of conftest.py


def claim_one(processor: Processor, **payload: object) -> dict:
    processor.add_records_to_queue("f", [payload])
    [record] = processor.claim_records_batch("f", 1)
    return record


class TestAdding:
    def test_records_become_payloads_as_they_are(self, processor: Processor) -> None:
        text = {"text": 'größe "😀" \\u0000 \\', "n": [1.5, None, True, 10**30]}
        records = [{"a": 1}, {}, {"payload": {"a": 2}}, text]
        assert processor.add_records_to_queue("f", records) == 4
        assert [record["payload"] for record in processor.claim_records_batch("f", 10)] == records

    def test_any_iterable_is_sent_in_documents_and_kept_in_order(self, processor: Processor, queue: Queue) -> None:
        queue.conn.execute(DOCUMENTS)
        assert processor.add_records_to_queue("f", ({"n": n} for n in range(2500))) == 2500
        assert queue.ask("select n between 500 and 1500 from documents") in ([(True,)] * 2, [(True,)] * 3)
        assert [record["payload"]["n"] for record in processor.claim_records_batch("f", 3000)] == [*range(2500)]
        assert processor.add_records_to_queue("f", []) == 0

    def test_a_known_dedup_key_is_passed_over(self, processor: Processor, queue: Queue) -> None:
        def add(flow: str, *keys: object) -> int:
            return processor.add_records_to_queue(flow, [{"order": key} for key in keys], dedup_key="order")

        assert add("f", "a", "b", "a") == 2
        assert (add("f", "b", "c"), add("g", "b"), add("f", 7), add("f", 7)) == (1, 1, 1, 0)
        with pytest.raises(ValueError, match=r"records.*1.*order"):
            processor.add_records_to_queue("f", [{"order": "z"}, {}], dedup_key="order")
        assert len(queue.rows("id")) == 5

    def test_priority_and_time_decide_when(self, processor: Processor) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        processor.add_records_to_queue("f", [{"n": "later"}], run_at=later)
        assert processor.next_due_at("f") == later
        processor.rpa_db.execute_query("select conveyor.pause_flow('f')")
        assert processor.next_due_at("f") is None
        processor.rpa_db.execute_query("select conveyor.resume_flow('f')")
        processor.add_records_to_queue("f", [{"n": "usual"}])
        processor.add_records_to_queue("f", [{"n": "urgent"}], priority=5)
        assert [record["payload"]["n"] for record in processor.claim_records_batch("f", 9)] == ["urgent", "usual"]
        assert processor.next_due_at("nothing") is processor.due_in("nothing") is None


class TestArguments:
    @pytest.mark.parametrize("flow", ["", "  ", None, 5, "x" * 101, "a\0b", "\ud800"], ids=ascii)
    def test_a_flow_name_is_checked_everywhere(self, processor: Processor, flow: Any) -> None:
        for call in (
            lambda: processor.claim_records_batch(flow, 1),
            lambda: processor.add_records_to_queue(flow, [{}]),
            lambda: processor.reset_failed_records(flow),
            lambda: processor.next_due_at(flow),
            lambda: processor.get_queue_status(flow if flow is not None else ""),
        ):
            with pytest.raises(ValueError, match="flow_name"):
                call()


class TestAnswers:
    def test_a_claim_is_a_dict_that_can_travel(self, processor: Processor, queue: Queue) -> None:
        record = claim_one(processor, n=1)
        assert record.keys() == CLAIMED
        assert (record["flow_name"], record["payload"], record["retry_count"]) == ("f", {"n": 1}, 0)
        assert queue.rows(*record) == [tuple(record.values())]
        instance = processor.health_check()["instance_info"]["instance_id"]
        assert queue.rows("flow_instance_id", "lease_expires_at - claimed_at") == [(instance, timedelta(hours=1))]
        assert processor.claim_records_batch("f", 5) == []

    @pytest.mark.parametrize("error", ["it broke", "", "x" * 10_000], ids=len)
    def test_failure_keeps_the_message_and_counts(self, processor: Processor, queue: Queue, error: str) -> None:
        record = claim_one(processor, n=1)
        assert processor.mark_record_failed(record["id"], error, context={"a": 1}, error_type="E") is None
        assert queue.rows("status", "error_message", "retry_count", "payload") == [("failed", error, 1, {"n": 1})]
        assert queue.ask("select error, error_type, context from conveyor.attempt") == [(error, "E", {"a": 1})]

    def test_bulk_answers_give_each_record_its_outcome(self, processor: Processor, queue: Queue) -> None:
        queue.add(6)
        r = processor.claim_records_batch("f", 6)[::-1]
        queue.conn.execute("update conveyor.processing_queue set lease_expires_at = null where id = %s", [r[1]["id"]])
        done = [(record, {"n": record["id"]}) for record in [*r[:3], {"id": 999_999, "claim_token": 1}]]
        assert processor.mark_records_completed(done) == ["done", "lost", "done", "lost"]
        assert processor.mark_records_completed(done) == ["repeated", "lost", "repeated", "lost"]
        failed = [(r[3], {"error": "no", "permanent": True}), (r[1], {"error": "no"})]
        assert processor.mark_records_failed(failed) == ["done", "lost"]
        assert processor.mark_records_failed(failed) == ["repeated", "lost"]
        assert processor.release_records(r[4:]) == ["done", "done"]
        assert processor.release_records(r[3:]) == ["lost", "repeated", "repeated"]
        states = ["pending", "pending", "failed", "completed", "processing", "completed"]
        assert queue.rows("status", "retry_count") == list(zip(states, [0, 0, 1, 0, 0, 0], strict=True))
        assert queue.rows("payload")[-1] == ({"n": r[0]["id"]},)
        assert processor.mark_record_completed(r[0]["id"], {"n": r[0]["id"]}) is None
        for empty in (processor.mark_records_completed, processor.mark_records_failed, processor.release_records):
            assert empty([]) == []

    def test_a_bulk_result_that_is_wrong_sends_nothing(self, processor: Processor, queue: Queue) -> None:
        queue.add(2)
        first, second = processor.claim_records_batch("f", 2)
        with pytest.raises(ValueError, match="1"):
            processor.mark_records_completed([(first, {}), (second, {"x": object()})])
        assert queue.count("processing") == 2

    def test_leases_are_extended_from_now_and_in_order(self, processor: Processor, queue: Queue) -> None:
        queue.add(3)
        a, b, c = processor.claim_records_batch("f", 3)
        ends = processor.extend_leases([c, a | {"claim_token": 1}, b], timedelta(hours=5))
        [(stays,), *extended] = queue.rows("lease_expires_at")
        assert (stays, ends) == (a["lease_expires_at"], [extended[1][0], None, extended[0][0]])
        assert timedelta(hours=4) < ends[0] - datetime.now(UTC) < timedelta(hours=6)
        assert processor.extend_leases([c], timedelta(seconds=1)) == ends[:1]


class TestTokens:
    def test_an_id_this_processor_did_not_claim_needs_a_token(self, processor: Processor, other: Processor) -> None:
        record = claim_one(other)
        with pytest.raises(ClaimLost, match="token="):
            processor.mark_record_completed(record["id"], {})
        with pytest.raises(ClaimLost, match="token="):
            processor.mark_record_failed(record["id"], "e")
        processor.mark_record_completed(record["id"], {}, token=record["claim_token"])
        with pytest.raises(RecordNotFound):
            processor.mark_record_completed(999_999, {}, token=1)

    def test_claimed_again_unanswered_needs_a_token(self, processor: Processor, queue: Queue, end_leases: Any) -> None:
        first = claim_one(processor)
        end_leases()
        [second] = processor.claim_records_batch("f", 1)
        assert (second["id"], second["retry_count"]) == (first["id"], 1)
        with pytest.raises(ClaimLost, match="token="):
            processor.mark_record_completed(first["id"], {})
        with pytest.raises(ClaimLost):
            processor.mark_record_completed(first["id"], {"of": 1}, token=first["claim_token"])
        processor.mark_record_completed(first["id"], {"of": 2}, token=second["claim_token"])
        assert queue.rows("payload") == [({"of": 2},)]
        with pytest.raises(ClaimLost, match="token="):  # whose answer this is, the id does not say now either
            processor.mark_record_completed(first["id"], {"of": 1})

    @pytest.mark.parametrize("answer", ["fail", "release"])
    def test_claimed_again_after_its_answer_needs_none(self, processor: Processor, queue: Queue, answer: str) -> None:
        record = claim_one(processor)
        for _ in range(2):
            if answer == "fail":
                processor.mark_record_failed(record["id"], "first")
                processor.reset_failed_records("f")
            else:
                processor.release_records([record])
        assert len(processor.claim_records_batch("f", 1)) == 1
        processor.mark_record_completed(record["id"], {"of": 2})
        assert queue.rows("payload", "retry_count") == [({"of": 2}, answer == "fail")]

    def test_repeats_succeed_and_change_nothing(self, processor: Processor, queue: Queue) -> None:
        record = claim_one(processor)
        processor.mark_record_completed(record["id"], {"a": 1})
        before = queue.rows("*")
        processor.mark_record_completed(record["id"], {"a": 1})
        with pytest.raises(ClaimLost):
            processor.mark_record_failed(record["id"], "late")
        assert queue.rows("*") == before

    def test_another_process_answers_with_the_records_token(self, processor: Processor, queue: Queue) -> None:
        record = claim_one(processor)
        code = (
            "import sys, json; from pgconveyor.distributed import DatabaseManager, DistributedProcessor\n"
            "r = json.load(sys.stdin)\nwith DatabaseManager('rpa_db') as m:\n"
            "    DistributedProcessor(m).mark_record_completed(r['id'], {'by': 2}, token=r['claim_token'])"
        )
        text = json.dumps(record, default=str)
        subprocess.run([sys.executable, "-W", "error", "-c", code], input=text, text=True, check=True)
        assert queue.rows("payload") == [({"by": 2},)]
        processor.mark_record_completed(record["id"], {"by": 2})

    def test_the_book_is_bounded_and_forgets_the_oldest(self) -> None:
        book = TokenBook(limit=3)
        book.claimed([{"id": n, "claim_token": n * 10} for n in range(5)])
        assert [book.get(n) for n in (2, 3, 4)] == [20, 30, 40]
        with pytest.raises(ClaimLost, match="token="):
            book.get(1)
