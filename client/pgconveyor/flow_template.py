"""
A Prefect flow that works on a batch of records (contract: Flow Template Functions); needs the extra `prefect`.

Prefect decides when and where tasks run, the queue what became of a record: failures are counted there, and the
summary is read there. The flow keeps its claims alive while it runs, for `lease_seconds` (a setting of the flow, 60)
at a time; a flow that was killed leaves records that others get when these have passed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

try:
    from prefect import flow, get_run_logger, task
    from prefect.cache_policies import NO_CACHE
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import FlowRunContext
    from prefect.exceptions import MissingContextError
    from prefect.futures import PrefectFuture
    from prefect.task_runners import ThreadPoolTaskRunner
except ImportError as exc:
    raise ImportError("pgconveyor.flow_template needs Prefect 3: pip install 'pgconveyor[prefect]'") from exc

from pgconveyor.batch import Batch
from pgconveyor.distributed import DistributedProcessor, Record
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.flow_records import here, process_records, send_unsent, summarise
from pgconveyor.handlers import handler_of, path_of
from pgconveyor.tunables import batch_size_of, lease_of

__all__ = ["distributed_processing_flow", "process_record_with_status", "process_records_with_status", "processor"]

DEFAULT = 100  # the contract's, which does not tell whether it was given
THREADS = 8  # fewer than the connections of a pool


def processor() -> DistributedProcessor:
    """The processor of this process, with which flows and tasks claim and answer."""
    return here().processor


def is_connectivity(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """What is safe to try again: what the handler did is not done twice."""
    return isinstance(state.data, DatabaseUnavailable)


@task(retries=2, retry_delay_seconds=30, retry_condition_fn=is_connectivity, cache_policy=NO_CACHE)
def process_record_with_status(record: dict[str, Any]) -> dict[str, Any]:
    """
    Run the flow's handler on a claimed record, and answer it.

    Returns `record_id`, `status` and, when it was `completed`, `result`. When it `failed`, what the contract calls
    Error Response Format: the record's failure is no failure of the task. Other ends are `lost` (the claim was) and
    `released`. A record without `claim_token` or `flow_name` must be held by `processor()`, else `ClaimLost`.
    Raises `DatabaseUnavailable`, for which Prefect tries it again: an answer that could not be sent is sent then.
    """
    return process_records([record])[0]


@task(retries=2, retry_delay_seconds=30, retry_condition_fn=is_connectivity, cache_policy=NO_CACHE)
def process_records_with_status(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Likewise several, one after another, in one task: Prefect takes milliseconds for each."""
    return process_records(records)


@flow(name="distributed-processing", task_runner=ThreadPoolTaskRunner(max_workers=THREADS))  # type: ignore[arg-type]
def distributed_processing_flow(flow_name: str, batch_size: int = 100, *, records_per_task: int = 1) -> dict[str, Any]:
    """
    Claim up to `batch_size` records of a flow and run its handler on each, `records_per_task` in a task.

    A `batch_size` of 100 counts as not given: then the flow's settings decide. Returns the summary that
    `summarise` describes. Raises `RuntimeError` when the queue is not healthy, `ValueError` for a bad argument or a
    flow that has no handler, before anything is claimed.
    """
    if records_per_task < 1:
        raise ValueError(f"records_per_task is {records_per_task!r}: give a number from 1 up")
    _refuse_if_unhealthy()
    path, lease = path_of(handler_of(flow_name)), lease_of(flow_name)
    size = batch_size_of(flow_name, None if batch_size == DEFAULT else batch_size)
    queue, heart = here()
    # Flows may be all there is: somebody has to take back what a killed one held.
    queue.maintain()
    records = queue.claim_records_batch(flow_name, size, lease=lease)
    context = FlowRunContext.get()
    is_here = context is not None and isinstance(context.task_runner, ThreadPoolTaskRunner)
    try:
        with Batch(heart, records, lease, is_here=is_here):
            _run_tasks([record | {"handler": path} for record in records], records_per_task)
    finally:
        send_unsent(records, lease)
    summary = summarise(flow_name, size, records, lease)
    _logger().info("%s: %s", flow_name, summary["message"])
    return summary


def _refuse_if_unhealthy() -> None:
    health = processor().health_check()
    errors = [database["error"] for database in health["databases"].values() if "error" in database]
    why = "; ".join([*errors, *health["problems"]])
    if health["status"] == "unhealthy":
        raise RuntimeError(f"the queue is unhealthy, nothing was claimed: {why}")
    if health["status"] != "healthy":
        _logger().warning("the queue is %s: %s", health["status"], why)


def _run_tasks(records: list[Record], records_per_task: int) -> None:
    """Until all have ended; how is for the queue to say."""
    futures: Iterable[PrefectFuture[Any]]
    if records_per_task == 1:
        futures = process_record_with_status.map(records)
    else:
        starts = range(0, len(records), records_per_task)
        futures = process_records_with_status.map([records[i : i + records_per_task] for i in starts])
    for future in futures:
        try:
            future.wait()
        except Exception as exc:  # noqa: BLE001  of Prefect, or of the engine that the task ran on
            _logger().warning("a task could not be waited for: %s: %s", type(exc).__name__, exc)


def _logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
