"""The task in a flow of one's own: whose records it takes, and what it tries again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prefect_kit

pytestmark = prefect_kit.marks

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

# The claims of `records` are this program's, or another processor's.
MINE = """
@flow
def mine(records, task):
    return [future.result(raise_on_failure=False) for future in task.map(records)]

def stripped(records):
    return [{key: record[key] for key in ("id", "payload", "retry_count")} for record in records]

def said(result):
    return f"{type(result).__name__}: {result}" if isinstance(result, Exception) else result

mine_claims = processor().claim_records_batch("f", 2)
others = DistributedProcessor(DatabaseManager("rpa_db")).claim_records_batch("f", 2)
"""


def test_a_record_without_token_is_taken_if_this_processor_holds_it(run: Fn, queue: Queue, runs: Fn) -> None:
    queue.add(4)
    code = """
answer = [said(result) for result in mine(stripped(mine_claims), process_record_with_status)]
answer += [said(result) for result in mine(stripped(others), process_record_with_status)]
"""
    first, second, *refused = run(MINE + code)
    assert (first["status"], second["result"]) == ("completed", {"n": 1})
    # At once: what waits for Prefect's next try is not over before the test's patience.
    assert [text.split(" is not held by ")[0] for text in refused] == ["ClaimLost: record 3", "ClaimLost: record 4"]
    assert queue.rows("status") == [("completed",)] * 2 + [("processing",)] * 2
    assert sorted(runs()) == [0, 1]


def test_whoever_has_the_token_may_answer(run: Fn, queue: Queue) -> None:
    queue.add(4)
    results = run(MINE + "answer = mine(mine_claims + others, process_record_with_status)")
    assert [result["status"] for result in results] == ["completed"] * 4
    assert queue.rows("status") == [("completed",)] * 4


def test_a_record_that_is_given_to_two_tasks_runs_once(run: Fn, queue: Queue, runs: Fn) -> None:
    queue.add(4)
    results = run(MINE + "answer = mine([mine_claims[0]] * 5, process_record_with_status)")
    assert [result["status"] for result in results] == ["completed"] * 5
    assert runs() == [0]


def test_what_is_no_record_is_refused_at_once(run: Fn, queue: Queue) -> None:
    queue.add(4)
    results = run(MINE + "answer = [said(result) for result in mine([5, {}, {'id': 1}], process_record_with_status)]")
    assert all(text.startswith("ValueError: record is ") for text in results)
    assert queue.count("processing") == 4


def test_a_database_that_was_away_is_tried_again_and_the_handler_does_not_run_twice(
    run: Fn, queue: Queue, runs: Fn
) -> None:
    """The connection that would answer is cut, twice, between the handler's work and its answer."""
    queue.add(4)
    code = """
from pgconveyor import flow_records
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.distributed import DistributedProcessor as Processor
cuts = [3]
answer_many = Processor.mark_records_completed
def cut(self, answers):
    # A real loss: the session is ended by its own last statement, before the answer.
    if cuts[0]:
        cuts[0] -= 1
        self.rpa_db.execute_query("select pg_terminate_backend(pg_backend_pid())")
    return answer_many(self, answers)
Processor.mark_records_completed = cut
soon = process_record_with_status.with_options(retry_delay_seconds=0.2)
answer = [said(result) for result in mine(mine_claims, soon)]
"""
    results = run(MINE + code)
    # Three losses of two tasks: both were tried again, one perhaps twice; each may be tried twice.
    assert [result["status"] for result in results] == ["completed"] * 2
    assert sorted(runs()) == [0, 1]
    assert queue.rows("status")[:2] == [("completed",)] * 2


def test_what_tasks_gave_up_sending_the_flow_sends(run: Fn, queue: Queue, runs: Fn) -> None:
    queue.add(3)
    code = """
from pgconveyor.distributed import DistributedProcessor as Processor
answer_many, cuts = Processor.mark_records_completed, [3]
def cut(self, answers):
    if cuts[0]:
        cuts[0] -= 1
        self.rpa_db.execute_query("select pg_terminate_backend(pg_backend_pid())")
    return answer_many(self, answers)
Processor.mark_records_completed = cut
flow_template.process_record_with_status = process_record_with_status.with_options(retries=0)
answer = distributed_processing_flow("f")
"""
    summary = run(code)
    assert (summary["completed"], summary["processing"]) == (3, 0)
    assert sorted(runs()) == [0, 1, 2]
