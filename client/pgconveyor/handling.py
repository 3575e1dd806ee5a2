"""One record in its handler: what goes in is a claim, what comes out its answer."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pgconveyor.distributed import COMPLETE, DistributedProcessor, Record
from pgconveyor.documents import Document, encode_object, storable
from pgconveyor.errors import ClaimLost, DatabaseUnavailable
from pgconveyor.handlers import Context, PermanentError, Result

__all__ = ["Answer", "counts", "details", "failure_of", "handle", "one_line", "send", "send_one"]

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """
    What became of a record in its handler: a result or a failure, to be sent unless it is done, or lost.

    With neither it is to be given back.
    """

    record: Record
    result: Document | None = None
    failure: Mapping[str, Any] | None = None
    is_done: bool = False
    is_lost: bool = False


def handle(call: Callable[[Mapping[str, Any], Context], Result], record: Record, context: Context) -> Answer:
    """Run the handler, and commit what it wrote on its context; never raises."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("record %s: %r", record["id"], record["payload"], extra=details(record))
    try:
        result = call(record, context)
        text = encode_object({} if result is None else result, "the handler's result")
        if not context.is_used:
            return Answer(record, result=text)
        context.connection.execute(COMPLETE, [record["id"], text, record["claim_token"]])
    except BaseException as exc:  # noqa: BLE001  whatever the handler raises is its record's failure
        return _failed(record, context, exc)
    return _committed(record, context, text)


def send(processor: DistributedProcessor, answers: Sequence[Answer]) -> dict[str, list[str]]:
    """Outcomes of what was answered here, by verb, in order; sending again is harmless."""
    answers = [a for a in answers if not (a.is_done or a.is_lost)]
    completed = [(a.record, a.result) for a in answers if a.result is not None]
    failed = [(a.record, a.failure) for a in answers if a.failure is not None]
    unknown = [a.record for a in answers if a.result is None and a.failure is None]
    return {
        "completed": processor.mark_records_completed(completed) if completed else [],
        "failed": processor.mark_records_failed(failed) if failed else [],
        # The commit was not acknowledged: only if it did not happen is there something to give back.
        "released": processor.release_records(unknown) if unknown else [],
    }


def send_one(processor: DistributedProcessor, answer: Answer) -> tuple[Answer, dict[str, list[str]]]:
    """Likewise, and what was sent: a result that the database refuses is the record's failure."""
    try:
        return answer, send(processor, [answer])
    except psycopg.DatabaseError as exc:
        if answer.failure is not None:
            raise
        refused = Answer(answer.record, failure=failure_of(exc))
        return refused, send(processor, [refused])


def _committed(record: Record, context: Context, text: Document) -> Answer:
    try:
        context.close()
    except DatabaseUnavailable:
        return Answer(record)
    except psycopg.Error as exc:
        return Answer(record, failure=failure_of(exc))
    return Answer(record, result=text, is_done=True)


def _failed(record: Record, context: Context, exc: BaseException) -> Answer:
    is_broken = context.is_broken
    try:
        context.close(exc)
    except BaseException as again:  # noqa: BLE001  it comes back translated, or the roll-back failed as well
        exc = again
    if isinstance(exc, ClaimLost):
        logger.warning("record %s: %s", record["id"], exc.diag.message_primary or exc, extra=details(record))
        return Answer(record, is_lost=True)
    if is_broken:
        return Answer(record)
    failure = failure_of(exc)
    said = one_line(failure["error"])
    logger.warning("record %s failed: %s: %s", record["id"], type(exc).__name__, said, extra=details(record))
    return Answer(record, failure=failure)


def failure_of(exc: BaseException) -> dict[str, Any]:
    """The failure that an exception is: error, error_type, context and permanent."""
    return {
        "error": _text(exc),
        "error_type": storable(type(exc).__name__),
        "context": {"traceback": storable("".join(traceback.format_exception(exc))[-4000:])},
        "permanent": isinstance(exc, PermanentError),
    }


def _text(exc: BaseException) -> str:
    try:
        return storable(str(exc) or repr(exc))
    except Exception:  # noqa: BLE001  an exception may fail to describe itself
        return f"{type(exc).__name__}, which has no text"


def one_line(error: str) -> str:
    """For the log; all of it is with the record."""
    text = " ".join(error.split())
    return text if len(text) <= 200 else f"{text[:200]} …"


def counts(completed: int, failed: int) -> dict[str, Any]:
    """What every summary says of the records that were answered."""
    total = completed + failed
    return {
        "records_processed": total,
        "completed": completed,
        "failed": failed,
        "success_rate_percent": round(100 * completed / total, 2) if total else 100.0,
        "error_count": failed,
    }


def details(record: Record) -> dict[str, Any]:
    """For the extra of a log line."""
    return {"record_id": record["id"], "flow": record["flow_name"]}
