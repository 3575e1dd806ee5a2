"""What a Prefect flow and its tasks do with claimed records; without Prefect, which only decides where and when."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cache, lru_cache
from threading import Condition, Lock
from typing import Any, NamedTuple, TypeVar

import psycopg

from pgconveyor.batch import Batch
from pgconveyor.config import ConfigManager
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import ClaimLost, DatabaseUnavailable, error_document
from pgconveyor.handlers import Context, bind, handler_of
from pgconveyor.handling import Answer, counts, details, handle, send_one
from pgconveyor.held import claim_of
from pgconveyor.remedies import in_short
from pgconveyor.tunables import lease_of

__all__ = ["here", "process_records", "send_unsent", "summarise"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

GET_RECORD = "select conveyor.get_record(p_id => %s) as record"

SUMMARY = "select * from conveyor.get_claim_summary(p_ids => %s::bigint[], p_tokens => %s::bigint[])"

LISTED = 100  # errors in a summary
KEPT = 1000  # answers that could not be sent, of which a process of tasks keeps the newest

# By claim: a task that is tried again, because the database was away, sends its answer and does not work again.
_unsent: dict[int, Answer] = {}
_lock = Lock()

_at_work: set[int] = set()  # claims
_left = Condition()


class Here(NamedTuple):
    """This process's view of the queue."""

    processor: DistributedProcessor
    heart: DistributedProcessor  # with a connection of its own: handlers may use up all others


def here() -> Here:
    with _lock:
        return _of_process(os.getpid())


@lru_cache(maxsize=1)
def _of_process(_pid: int) -> Here:
    source = DatabaseManager("SurveyHub") if ConfigManager().find("SurveyHub_type") else None
    return Here(
        DistributedProcessor(DatabaseManager("rpa_db", application_name="pgconveyor flow"), source),
        DistributedProcessor(DatabaseManager("rpa_db", application_name="pgconveyor flow", pool_size=1)),
    )


def process_records(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Run the handlers of claimed records, one after another, and answer each: what became of it.

    Where no batch of this process has them they are a batch of their own. Raises `DatabaseUnavailable` when an
    answer could not be sent; called again, it sends it.
    """
    if not records:
        return []
    processor, heart = here()
    paths = [record.get("handler") if isinstance(record, Mapping) else None for record in records]
    claimed = [_claimed(processor, record) for record in records]
    call_of = cache(lambda flow_name, path: bind(handler_of(flow_name, path)))
    calls = [call_of(record["flow_name"], path) for record, path in zip(claimed, paths, strict=True)]
    batch, flow_name = Batch.of(claimed[0]), claimed[0]["flow_name"]
    with nullcontext(batch) if batch else Batch(heart, claimed, lease_of(flow_name), is_here=False) as batch:
        return [_process(processor, batch, record, call) for record, call in zip(claimed, calls, strict=True)]


def send_unsent(records: Sequence[Record], patience: timedelta) -> None:
    """The answers of tasks that gave up sending them. Of those that still cannot be sent the claims end."""
    processor, deadline = here().processor, time.monotonic() + patience.total_seconds()
    for record in records:
        if answer := _unsent.pop(claim_of(record), None):
            try:
                _until(deadline, lambda answer=answer: send_one(processor, answer))  # type: ignore[misc]
            except (psycopg.Error, ConnectionError, RuntimeError) as exc:
                logger.warning(
                    "record %s could not be answered: %s", record["id"], in_short(exc), extra=details(record)
                )


def summarise(flow_name: str, batch_size: int, records: Sequence[Record], patience: timedelta) -> dict[str, Any]:
    """
    What became of the records, by the queue and not by what tasks returned.

    `completed`, `failed`, `released`, `lost` and `processing` (not answered: their claims will end), `errors` (of the
    first 100 that failed, as the contract has them, and `record_id`), and the keys of the contract's predecessor.
    """
    ids = [record["id"] for record in records]
    tokens = [record["claim_token"] for record in records]
    processor = here().processor
    deadline = time.monotonic() + patience.total_seconds()
    rows = _until(deadline, lambda: processor.rpa_db.execute_query(SUMMARY, [ids, tokens])) if records else []
    outcomes = Counter(row["outcome"] for row in rows)
    completed, failed = outcomes["completed"], outcomes["failed"]
    failures = [row for row in rows if row["outcome"] == "failed"]
    return {
        "flow_name": flow_name,
        "batch_size": batch_size,
        **counts(completed, failed),
        "released": outcomes["released"],
        "lost": outcomes["lost"] + outcomes["orphaned"] + outcomes["cancelled"],
        "processing": outcomes["processing"],
        "records_claimed": len(records),
        "records_completed": completed,
        "records_failed": failed,
        "processor_instance": processor.instance_id,
        "errors": [{"record_id": row["id"], **_failed(row, flow_name)} for row in failures[:LISTED]],
        "message": f"{completed} completed, {failed} failed" if records else "No records to process",
    }


def _failed(row: Mapping[str, Any], flow_name: str) -> dict[str, Any]:
    return error_document(row["error"], row["error_type"] or "Exception", record_id=row["id"], flow_name=flow_name)


def _claimed(processor: DistributedProcessor, record: Any) -> Record:
    """The record with token and flow; one that lacks them gets them if this process's processor holds it."""
    if not isinstance(record, Mapping) or "id" not in record or "payload" not in record:
        raise ValueError(f"record is {record!r:.100}: give a record as it was claimed, with id and payload")
    claimed = {key: value for key, value in record.items() if key != "handler"}
    if claimed.get("claim_token") is not None and claimed.get("flow_name"):
        return claimed
    [row] = processor.rpa_db.execute_query(GET_RECORD, [claimed["id"]])
    found = row["record"]
    is_held = found["status"] == "processing" and found["lease_expires_at"] is not None
    if not is_held or found["flow_instance_id"] != processor.instance_id:
        raise ClaimLost(
            f"record {claimed['id']} is not held by {processor.instance_id}: pass it as it was claimed, with its"
            " claim_token and flow_name"
        )
    return claimed | {"claim_token": found["claim_token"], "flow_name": found["flow_name"]}


def _process(
    processor: DistributedProcessor, batch: Batch, record: Record, call: Callable[[Mapping[str, Any], Context], Any]
) -> dict[str, Any]:
    claim = claim_of(record)
    with _alone(claim), batch.running(record) as is_ours:
        if not is_ours:
            return _document(record, "released")
        answer = _unsent.get(claim)
        if answer is None:
            # Also when a task is tried again, here or elsewhere: what has been answered does not run once more.
            if processor.extend_leases([record], batch.lease) == [None]:
                batch.drop(record)
                return _answered(processor, record)
            answer = handle(call, record, Context(record, processor, batch.lease))
        try:
            answer, outcomes = send_one(processor, answer)
        except DatabaseUnavailable:
            _keep(answer)
            raise
        _unsent.pop(claim, None)
        batch.drop(record)
        return _of_answer(answer, outcomes)


@contextmanager
def _alone(claim: int) -> Iterator[None]:
    """While no other thread of this process works on it: the same record may have been given to two tasks."""
    with _left:
        _left.wait_for(lambda: claim not in _at_work)
        _at_work.add(claim)
    try:
        yield
    finally:
        with _left:
            _at_work.remove(claim)
            _left.notify_all()


def _keep(answer: Answer) -> None:
    with _lock:
        while len(_unsent) >= KEPT:
            del _unsent[next(iter(_unsent))]
        _unsent[claim_of(answer.record)] = answer


def _of_answer(answer: Answer, outcomes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    record = answer.record
    if answer.is_lost or any("lost" in of_each for of_each in outcomes.values()):
        return _document(record, "lost")
    if answer.failure is not None:
        return _failed({"id": record["id"], **answer.failure}, record["flow_name"])
    if outcomes["released"]:
        return _document(record, "released")
    return _document(record, "completed") | {"result": json.loads(answer.result or "null")}


def _document(record: Record, status: str) -> dict[str, Any]:
    return {"record_id": record["id"], "status": status}


def _answered(processor: DistributedProcessor, record: Record) -> dict[str, Any]:
    """What became of a record whose claim is over, as far as this claim goes."""
    [row] = processor.rpa_db.execute_query(SUMMARY, [[record["id"]], [record["claim_token"]]])
    match row["outcome"]:
        case "completed" | "released" as outcome:
            return _document(record, outcome)
        case "failed":
            return _failed(row, record["flow_name"])
        case _:
            return _document(record, "lost")


def _until(deadline: float, action: Callable[[], T]) -> T:
    """Also when the database is away for a while."""
    wait = 0.5
    while True:
        try:
            return action()
        except DatabaseUnavailable:
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
            wait = min(2 * wait, 10.0)
