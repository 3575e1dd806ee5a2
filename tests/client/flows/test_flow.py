"""The flow of the contract, with what it returns, and what it refuses before it claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import prefect_kit
from contract import BLOCKS

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

HANDLER = """
from pgconveyor.handlers import handler

@handler("survey_processor")
def survey(payload):
    return {"answers": len(payload)}

"""

# What the contract says, in a flow of one's own.
MAP = f"""
{HANDLER}
records = DistributedProcessor(DatabaseManager("rpa_db")).claim_records_batch("survey_processor", 3)

@flow
def mine():
{BLOCKS["map"].replace("# This", "    # This").replace("results =", "    results =")}
    return [result.result() for result in results]

answer = mine()
"""

TO_THE_QUEUE = """
state = distributed_processing_flow("f", 20, return_state=True)
answer = {"summary": state.result(), "id": str(state.state_details.flow_run_id)}
"""

REFUSED = """
answer = []
def attempt(*arguments, **named):
    try:
        distributed_processing_flow(*arguments, **named)
    except Exception as exc:
        answer.append([isinstance(exc, ValueError), type(exc).__name__, str(exc)])
    else:
        answer.append(None)
"""

KEYS = {
    "flow_name",
    "batch_size",
    "completed",
    "failed",
    "released",
    "lost",
    "processing",
    "records_claimed",
    "records_processed",
    "records_completed",
    "records_failed",
    "success_rate_percent",
    "processor_instance",
    "errors",
    "error_count",
    "message",
}


@pytest.fixture
def task_runs(ask_prefect: Fn, wait_until: Fn) -> Fn:
    """Those of a flow run, when all of them have ended and are known to the server."""

    def task_runs(flow_run: str, count: int) -> list[dict[str, Any]]:
        question = {"flow_runs": {"id": {"any_": [flow_run]}}}

        def ended() -> Any:
            found = ask_prefect("/task_runs/filter", question)
            return found if [run["end_time"] is not None for run in found] == [True] * count else None

        return wait_until(ended, 60)

    return task_runs


def test_the_contracts_example_runs_as_written(run: Fn, start: Fn, queue: Queue) -> None:
    queue.processor.add_records_to_queue("survey_processor", [{"survey_id": n} for n in range(3)])
    result = run(HANDLER + BLOCKS["run the flow"] + "answer = result")
    assert (result["completed"], result["failed"], result["batch_size"]) == (3, 0, 50)
    assert queue.rows("status", "payload") == [("completed", {"answers": 1})] * 3
    again = start(HANDLER + BLOCKS["run the flow"])
    assert again.wait(60) == 0
    assert "Processed 0 records successfully" in again.log()


def test_the_contracts_map_is_for_a_flow_of_ones_own(run: Fn, queue: Queue) -> None:
    queue.processor.add_records_to_queue("survey_processor", [{"survey_id": n} for n in range(3)])
    assert [result["status"] for result in run(MAP)] == ["completed"] * 3
    assert queue.rows("status") == [("completed",)] * 3


def test_a_failing_record_does_not_stop_the_batch(run: Fn, queue: Queue, task_runs: Fn, runs: Fn) -> None:
    queue.add(4)
    answer = run(TO_THE_QUEUE, DEVELOPMENT_F_HANDLER="jobs:failing")
    summary = answer["summary"]
    assert summary.keys() == KEYS
    counts = [summary[key] for key in ("completed", "failed", "released", "lost", "processing", "records_claimed")]
    assert (counts, summary["success_rate_percent"]) == ([3, 1, 0, 0, 0, 4], 75.0)
    assert (summary["records_processed"], summary["error_count"]) == (4, 1)
    assert summary["message"] == "3 completed, 1 failed"
    [error] = summary["errors"]
    [(failed,)] = queue.ask("select id from conveyor.processing_queue where status = 'failed'")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", error.pop("timestamp"))
    assert error == {
        "record_id": failed,
        "status": "failed",
        "error": "there is no one",
        "error_type": "LookupError",
        "context": {"record_id": failed, "flow_name": "f"},
    }
    assert queue.rows("status", "retry_count") == [("failed" if n == 1 else "completed", int(n == 1)) for n in range(4)]
    assert [task["state_type"] for task in task_runs(answer["id"], 4)] == ["COMPLETED"] * 4
    assert sorted(runs()) == [0, 1, 2, 3]  # tried once each, although the task has retries


def test_an_empty_queue_has_the_same_keys(run: Fn) -> None:
    summary = run(TO_THE_QUEUE)["summary"]
    assert summary.keys() == KEYS
    assert {key for key in KEYS if summary[key]} == {
        "flow_name",
        "batch_size",
        "success_rate_percent",
        "processor_instance",
        "message",
    }
    assert summary["message"] == "No records to process"


def test_several_records_in_a_task(run: Fn, queue: Queue, task_runs: Fn) -> None:
    queue.add(12)
    answer = run(TO_THE_QUEUE.replace('"f", 20', '"f", 20, records_per_task=5'), DEVELOPMENT_F_HANDLER="jobs:failing")
    assert (answer["summary"]["completed"], answer["summary"]["failed"]) == (11, 1)
    assert queue.rows("status", "retry_count")[:3] == [("completed", 0), ("failed", 1), ("completed", 0)]
    names = [task["name"].rpartition("-")[0] for task in task_runs(answer["id"], 3)]
    assert names == ["process_records_with_status"] * 3


def test_what_is_wrong_is_refused_before_anything_is_claimed(run: Fn, queue: Queue) -> None:
    queue.add(1)
    queue.processor.add_records_to_queue("g", [{"n": 0}])
    answer = run(
        REFUSED
        + """
for batch_size in (0, -1, 2**31, "many", 10.5, None): attempt("f", batch_size)
for records_per_task in (0, -1, "many", 0.5): attempt("f", records_per_task=records_per_task)
for flow_name in ("", " ", 5, None): attempt(flow_name)
attempt("g")
attempt("f", 1, 2)
"""
    )
    assert None not in answer
    *others, (is_value_error, _, unknown), (_, positional, _) = answer
    assert is_value_error
    assert "flow 'g' has no handler: decorate a function with @handler('g')" in unknown
    assert positional in ("ParameterBindError", "TypeError")
    assert {kind for is_value_error, kind, _ in others if not is_value_error} <= {"ParameterTypeError"}
    assert [text for _, _, text in others if "records_per_task" in text and "give a number from 1 up" in text]
    assert queue.rows("status", "claimed_at") == [("pending", None)] * 2


def test_an_unhealthy_queue_is_named_and_no_password(start: Fn, empty_dsn: str, conn: psycopg.Connection) -> None:
    nowhere = "postgresql://hunter1:hunter2@127.0.0.1:1/hunter3?connect_timeout=5"
    for url, words in [(nowhere, "127.0.0.1"), (empty_dsn, "pgconveyor install")]:
        flow = start('distributed_processing_flow("f")', DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING=url)
        assert flow.wait(60) == 1
        said = flow.log()
        assert "RuntimeError: the queue is unhealthy, nothing was claimed: " in said
        assert words in said
        assert "hunter2" not in said
    assert conn.info.password not in said
