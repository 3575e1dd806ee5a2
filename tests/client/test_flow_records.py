"""What a flow's tasks do with records, without Prefect: each here is what a task would do in its process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.client.conftest import Queue

from pgconveyor import flow_records, handlers
from pgconveyor.batch import Batch
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.errors import ClaimLost, DatabaseUnavailable, RecordNotFound
from pgconveyor.flow_records import here, process_records, send_unsent, summarise
from pgconveyor.handlers import handler
from pgconveyor.install import install

SOON = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def of_this_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor and handlers that no other test has seen."""
    monkeypatch.setattr(handlers, "_registered", {})
    flow_records._of_process.cache_clear()
    yield
    if flow_records._of_process.cache_info().currsize:
        for side in flow_records._of_process(os.getpid()):
            side.rpa_db.close()
    flow_records._of_process.cache_clear()
    flow_records._unsent.clear()


def claim(queue: Queue, n: int = 1) -> list[dict[str, Any]]:
    queue.add(n)
    return here().processor.claim_records_batch("f", n)


class TestProcess:
    def test_each_record_is_answered_and_one_failure_is_its_own(self, queue: Queue) -> None:
        @handler("f")
        def even(payload: dict[str, Any]) -> dict[str, Any]:
            if payload["n"] % 2:
                raise ValueError(f"{payload['n']} is odd")
            return {"half": payload["n"] // 2}

        records = claim(queue, 3)
        done, failed, last = process_records(records)
        assert done == {"record_id": records[0]["id"], "status": "completed", "result": {"half": 0}}
        assert last["result"] == {"half": 1}
        assert failed == {
            "status": "failed",
            "error": "1 is odd",
            "error_type": "ValueError",
            "timestamp": failed["timestamp"],
            "context": {"record_id": records[1]["id"], "flow_name": "f"},
        }
        assert queue.rows("status", "retry_count") == [("completed", 0), ("failed", 1), ("completed", 0)]

    def test_none_are_none(self, rpa_db: object) -> None:  # noqa: ARG002
        assert process_records([]) == []

    @pytest.mark.parametrize("record", [None, 5, {}, {"id": 1}, {"payload": {}}, [("id", 1)]])
    def test_what_is_no_record_is_refused(self, rpa_db: object, record: Any) -> None:  # noqa: ARG002
        with pytest.raises(ValueError, match=r"^record is .*: give a record as it was claimed"):
            process_records([record])

    @pytest.mark.parametrize(
        "returns", [{1, 2}, {"at": {1}}, "text", {"x": float("nan")}, {"x": "\0"}, {"x": "\ud800"}, True]
    )
    def test_a_result_that_is_not_json_fails_its_record(self, queue: Queue, returns: Any) -> None:
        handler("f")(lambda _payload: returns)
        [result] = process_records(claim(queue))
        assert (result["status"], result["error_type"]) == ("failed", "ValueError")
        assert queue.count("failed") == 1

    @pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
    def test_a_handler_that_would_end_the_process_fails_its_record(self, queue: Queue, exc: BaseException) -> None:
        @handler("f")
        def ends(_payload: Any) -> None:
            raise exc

        [result] = process_records(claim(queue))
        assert (result["status"], result["error_type"]) == ("failed", type(exc).__name__)

    def test_none_is_an_empty_result_and_a_changed_payload_changes_nothing(self, queue: Queue) -> None:
        @handler("f")
        def clears(payload: dict[str, Any]) -> None:
            payload.clear()

        [result] = process_records(claim(queue))
        assert result["result"] == {}
        assert queue.rows("payload", "input") == [({}, {"n": 0})]

    def test_what_is_written_on_the_context_commits_with_the_answer(self, queue: Queue) -> None:
        queue.conn.execute("create table booking (n integer)")

        @handler("f")
        def books(record: dict[str, Any], context: Any) -> dict[str, Any]:
            context.connection.execute("insert into booking values (%s)", [record["payload"]["n"]])
            if record["payload"]["n"]:
                raise RuntimeError
            return {"booked": True}

        done, failed = process_records(claim(queue, 2))
        assert (done["status"], failed["status"]) == ("completed", "failed")
        assert done["result"] == {"booked": True}
        assert queue.ask("select n from booking") == [(0,)]

    def test_an_answered_record_does_not_run_again(self, queue: Queue) -> None:
        ran = []
        handler("f")(lambda payload: ran.append(payload["n"]))
        records = claim(queue, 2)
        process_records(records[:1])
        again = process_records(records)
        assert [result["status"] for result in again] == ["completed", "completed"]
        assert ran == [0, 1]

    def test_a_lost_claim_does_not_run(self, queue: Queue, end_leases: Callable[[], None]) -> None:
        ran = []
        handler("f")(ran.append)
        records = claim(queue)
        end_leases()
        assert process_records(records) == [{"record_id": records[0]["id"], "status": "lost"}]
        assert ran == []

    def test_a_result_that_the_database_refuses_fails_its_record(self, queue: Queue) -> None:
        deep: dict[str, Any] = {}
        for _ in range(700):
            deep = {"in": deep}
        queue.conn.execute("alter table conveyor.processing_queue add check (pg_column_size(payload) < 1000)")
        handler("f")(lambda _payload: deep)
        [result] = process_records(claim(queue))
        assert (result["status"], result["context"]["flow_name"]) == ("failed", "f")
        assert result["error_type"] == "CheckViolation"


class TestWithoutToken:
    def stripped(self, record: dict[str, Any]) -> dict[str, Any]:
        return {key: record[key] for key in ("id", "payload", "retry_count")}

    def test_it_is_found_when_this_process_holds_the_record(self, queue: Queue) -> None:
        handler("f")(lambda payload: payload)
        [record] = claim(queue)
        assert process_records([self.stripped(record)])[0]["status"] == "completed"

    def test_it_is_not_when_another_does(self, queue: Queue, other: DistributedProcessor) -> None:
        queue.add(1)
        [record] = other.claim_records_batch("f", 1)
        with pytest.raises(ClaimLost, match=f"record {record['id']} is not held by"):
            process_records([self.stripped(record)])
        assert queue.count("processing") == 1

    def test_nor_when_nobody_does_or_there_is_none(self, queue: Queue, end_leases: Callable[[], None]) -> None:
        [record] = claim(queue)
        end_leases()
        with pytest.raises(ClaimLost):
            process_records([self.stripped(record)])
        with pytest.raises(RecordNotFound):
            process_records([{"id": 10**9, "payload": {}, "retry_count": 0}])


class TestSummary:
    def test_it_is_what_the_queue_says(self, queue: Queue) -> None:
        processor = here().processor
        lost, *records = claim(queue, 7)
        queue.conn.execute("update conveyor.processing_queue set lease_expires_at = now() where id = %s", [lost["id"]])
        queue.conn.execute("select conveyor.maintain()")
        processor.mark_records_completed([(record, {}) for record in records[:2]])
        processor.mark_records_failed([(records[2], {"error": "no", "error_type": "OSError"})])
        processor.mark_record_failed(records[3]["id"], "", token=records[3]["claim_token"])
        processor.release_records(records[4:5])
        summary = summarise("f", 9, [lost, *records], SOON)
        names = ["completed", "failed", "released", "lost", "processing", "records_claimed", "records_processed"]
        assert [summary[name] for name in names] == [2, 2, 1, 1, 1, 7, 4]
        assert (summary["records_completed"], summary["records_failed"], summary["error_count"]) == (2, 2, 2)
        assert summary["success_rate_percent"] == 50.0
        assert (summary["flow_name"], summary["batch_size"]) == ("f", 9)
        assert summary["processor_instance"] == processor.instance_id
        first, second = summary["errors"]
        assert (first["record_id"], first["error"], first["error_type"]) == (records[2]["id"], "no", "OSError")
        assert (second["error"], second["error_type"]) == ("", "Exception")
        assert second["context"] == {"record_id": records[3]["id"], "flow_name": "f"}

    def test_that_of_nothing_has_the_same_keys(self, queue: Queue) -> None:
        empty = summarise("f", 100, [], SOON)
        assert empty.keys() == summarise("f", 1, claim(queue), SOON).keys()
        assert (empty["message"], empty["completed"]) == ("No records to process", 0)


class TestOutage:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    def test_an_answer_that_could_not_be_sent_is_sent_and_not_made_again(
        self, queue: Queue, embedded: EmbeddedServer, dsn: str
    ) -> None:
        ran = []

        @handler("f")
        def works(payload: dict[str, Any]) -> dict[str, Any]:
            ran.append(payload["n"])
            if payload["n"] == 1:
                embedded.stop()
            return payload

        records = claim(queue, 4)
        with Batch(here().heart, records, SOON, is_here=True):
            for some in (records[:2], records[2:3]):
                with pytest.raises(DatabaseUnavailable):
                    process_records(some)
            assert ran == [0, 1]
            embedded.start()
            assert [result["status"] for result in process_records(records[:2])] == ["completed", "completed"]
        assert ran == [0, 1]
        with psycopg.connect(dsn) as conn:
            query = "select status from conveyor.processing_queue order by id"
            # What had not begun went back when the batch was closed; the third may have, and its claim ends.
            assert [row[0] for row in conn.execute(query)] == ["completed", "completed", "processing", "pending"]

    def test_what_tasks_gave_up_sending_is_sent_at_the_end(self, queue: Queue, embedded: EmbeddedServer) -> None:
        @handler("f")
        def works(payload: dict[str, Any]) -> dict[str, Any]:
            embedded.stop()
            return payload

        records = claim(queue)
        with pytest.raises(DatabaseUnavailable):
            process_records(records)
        embedded.start()
        send_unsent(records, timedelta(seconds=30))
        assert summarise("f", 1, records, timedelta(seconds=30))["completed"] == 1
