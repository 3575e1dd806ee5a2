"""The queue's functions as Python methods: one method, one SQL function, no rule of its own."""

from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import set_json_loads

from pgconveyor.database import DatabaseManager
from pgconveyor.documents import Document, Unreadable, decode, encode, encode_context, encode_object, storable
from pgconveyor.errors import InvalidArgument, timestamp
from pgconveyor.remedies import in_short
from pgconveyor.tokens import TokenBook

__all__ = ["DistributedProcessor", "Record", "dedup_key_of"]

Record = dict[str, Any]  # what claim_records_batch returns, and flow_name

CHUNK = 1000  # records in one document
CHUNK_SIZE = 2**24  # characters after which a document is not added to: one jsonb holds no more than 256 MB

ADD = """
    select conveyor.add_records_to_queue(
        p_flow_name => %s, p_payloads => %s::jsonb, p_priority => %s::smallint, p_run_at => %s::timestamptz,
        p_dedup_keys => %s::text[]
    )
"""

CLAIM = """
    select id, payload, retry_count, created_at, claim_token, lease_expires_at, crash_count
    from conveyor.claim_records_batch(
        p_flow_name => %s, p_batch_size => %s, p_instance => %s, p_lease => %s::interval
    )
"""

COLUMNS = ["flow_name", "id", "payload", "retry_count", "created_at", "claim_token", "lease_expires_at", "crash_count"]

NEXT_DUE = "select nullif(conveyor.next_due_at(p_flow_name => %s), 'infinity') as due"

EXTEND = """
    select id, lease_expires_at
    from conveyor.extend_leases(p_ids => %s::bigint[], p_tokens => %s::bigint[], p_lease => %s::interval)
"""

RELEASE = "select outcome from conveyor.release_records(p_ids => %s::bigint[], p_tokens => %s::bigint[])"

COMPLETE = "select conveyor.mark_record_completed(p_id => %s, p_result => %s::jsonb, p_token => %s)"

COMPLETE_MANY = """
    select outcome
    from conveyor.mark_records_completed(p_ids => %s::bigint[], p_results => %s::jsonb, p_tokens => %s::bigint[])
"""

FAIL = """
    select conveyor.mark_record_failed(
        p_id => %s, p_error => %s, p_token => %s, p_error_type => %s, p_context => %s::jsonb, p_permanent => %s
    )
"""

FAIL_MANY = """
    select outcome
    from conveyor.mark_records_failed(p_ids => %s::bigint[], p_errors => %s::jsonb, p_tokens => %s::bigint[])
"""

STATUS = "select conveyor.get_queue_status(p_flow_name => %s) as status"

CLEANUP = "select conveyor.cleanup_orphaned_records(p_timeout_hours => %s::numeric) as count"

RESET = "select conveyor.reset_failed_records(p_flow_name => %s, p_max_retries => %s) as count"

HEALTH = "select conveyor.health_check() as health"

MAINTAIN = "select conveyor.maintain() as report"


class DistributedProcessor:
    """
    One process's view of the queue (contract: DistributedProcessor).

    Create it once a process; it is safe in threads. Each method is one transaction of its own. All raise
    `ValueError` for a bad argument, `ConnectionError` when the database cannot be reached.
    """

    def __init__(self, rpa_db_manager: DatabaseManager, source_db_manager: DatabaseManager | None = None) -> None:
        if not isinstance(rpa_db_manager, DatabaseManager):
            raise ValueError(f"rpa_db_manager is {type(rpa_db_manager).__name__}: give a DatabaseManager")
        if not rpa_db_manager.may_have_queue:
            raise ValueError(f"rpa_db_manager is {rpa_db_manager!r}, a SQL Server: give that of the queue's PostgreSQL")
        if source_db_manager is not None and not isinstance(source_db_manager, DatabaseManager):
            raise ValueError(f"source_db_manager is {type(source_db_manager).__name__}: give a DatabaseManager")
        self.rpa_db = rpa_db_manager
        self.source_db = source_db_manager
        self.hostname = socket.gethostname()
        self.instance_id = f"{self.hostname[:60]}-{uuid.uuid4().hex[:8]}"
        self._tokens = TokenBook()

    def add_records_to_queue(
        self,
        flow_name: str,
        records: Iterable[Mapping[str, Any]],
        *,
        priority: int = 0,
        run_at: datetime | None = None,
        dedup_key: str | None = None,
    ) -> int:
        """
        Add records, each a dict that becomes the payload as it is: all of them, or none.

        `records` may be any iterable, and is read once, a thousand at a time. `dedup_key` names the field of the
        record that is unique in the flow, a str or an int; a record whose key is known is passed over. Returns the
        number of new records.
        """
        if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
            raise ValueError(f"records is {type(records).__name__}: give a list of dicts")
        named = ((f"records[{i}]", record) for i, record in enumerate(records))
        return self.add_named_records(flow_name, named, priority=priority, run_at=run_at, dedup_key=dedup_key)

    def add_named_records(
        self,
        flow_name: str,
        records: Iterable[tuple[str, Mapping[str, Any]]],
        *,
        priority: int = 0,
        run_at: datetime | None = None,
        dedup_key: str | None = None,
    ) -> int:
        """Like `add_records_to_queue`, with a name for each record, by which an error calls it: its line in a file."""
        _check_flow_name(flow_name)
        _check_int("priority", priority, -32768, 16)
        _check_optional("dedup_key", dedup_key, str, "the name of a field")
        _check_optional("run_at", run_at, datetime, "a datetime with a time zone")
        if run_at is not None and run_at.utcoffset() is None:
            raise ValueError(f"run_at is {run_at!r}: give a datetime with a time zone")
        with self.rpa_db.connection() as conn:
            return self.add_in(conn, flow_name, records, priority, run_at, dedup_key)

    def add_in(
        self,
        conn: psycopg.Connection,
        flow_name: str,
        records: Iterable[tuple[str, Mapping[str, Any]]],
        priority: int,
        run_at: datetime | None,
        dedup_key: str | None,
    ) -> int:
        """Add in a transaction of the caller's, by arguments that were checked."""
        count = 0
        for chunk in _chunks(records, dedup_key):
            document = f"[{','.join(text for _, text, _ in chunk)}]"
            keys = None if dedup_key is None else [key for _, _, key in chunk]
            try:
                row = conn.execute(ADD, [flow_name, document, priority, run_at, keys]).fetchone()
            except InvalidArgument as exc:
                raise renamed(exc, [name for name, _, _ in chunk]) from exc
            count += row[0] if row else 0
        return count

    def claim_records_batch(self, flow_name: str, batch_size: int, *, lease: timedelta | None = None) -> list[Record]:
        """
        Claim up to `batch_size` records, in order; an empty list means that none is ready.

        Each is a dict of id, flow_name, payload, retry_count, created_at, claim_token, lease_expires_at, crash_count.
        One that ended its claims twice without an answer is handed out alone, whatever `batch_size` is.
        The claim lasts for `lease` (default: the flow's, one hour unless configured). A record whose payload Python
        cannot read is failed instead.
        """
        _check_flow_name(flow_name)
        _check_int("batch_size", batch_size, 1, 32)
        _check_lease(lease)
        with self.rpa_db.connection() as conn:
            records = self.claim_in(conn, flow_name, batch_size, lease)
        self._tokens.claimed(records)
        return self.readable(records)

    def claim_in(
        self, conn: psycopg.Connection, flow_name: str, batch_size: int, lease: timedelta | None
    ) -> list[Record]:
        """
        Claim in a session of the caller's; payloads that Python cannot read are `Unreadable`.

        The tokens are not remembered: answers carry the record.
        """
        with conn.cursor(binary=True) as cur:
            set_json_loads(decode, cur)
            rows = cur.execute(CLAIM, [flow_name, batch_size, self.instance_id, lease]).fetchall()
        return [dict(zip(COLUMNS, (flow_name, *row), strict=True)) for row in rows]

    def readable(self, records: list[Record]) -> list[Record]:
        """Without those that nobody here could answer. Left alone, they would be claimed again and again."""
        failures = [
            (record, {"error": f"the payload cannot be read: {record['payload'].reason}", "permanent": True})
            for record in records
            if isinstance(record["payload"], Unreadable)
        ]
        if not failures:
            return records
        self.mark_records_failed(failures)
        return [record for record in records if not isinstance(record["payload"], Unreadable)]

    def next_due_at(self, flow_name: str) -> datetime | None:
        """When a record is due next, which may have passed; None when nothing is pending, or the flow is paused."""
        _check_flow_name(flow_name)
        return self._value(NEXT_DUE, [flow_name])  # type: ignore[no-any-return]

    def mark_record_completed(self, record_id: int, result: dict[str, Any], *, token: int | None = None) -> None:
        """
        Complete a record: its `payload` becomes `result`, `input` keeps what was asked.

        The token is that of this processor's claim unless given. The same answer may be sent again. Raises
        `ClaimLost` when the claim was lost (drop the result), `RecordNotFound` for an unknown id.
        """
        _check_int("record_id", record_id, 1, 64)
        text = encode_object(result, "result")
        token = self._token(record_id, token)
        self.rpa_db.execute_query(COMPLETE, [record_id, text, token])
        self._tokens.answered([record_id], [token])

    def mark_record_failed(
        self,
        record_id: int,
        error: str,
        *,
        token: int | None = None,
        error_type: str | None = None,
        context: Mapping[str, Any] | None = None,
        permanent: bool = False,
    ) -> None:
        """
        Fail a record: `retry_count` goes up, and it is tried again later if its flow says so and not `permanent`.

        Tokens, repeats and errors are those of `mark_record_completed`. An empty `error` is accepted; one over 10,000
        characters is cut, and a context over 64 kB.
        """
        _check_int("record_id", record_id, 1, 64)
        failure, details = _failure("", error, error_type, context, permanent)
        token = self._token(record_id, token)
        self.rpa_db.execute_query(
            FAIL, [record_id, failure["error"], token, failure["error_type"], details, failure["permanent"]]
        )
        self._tokens.answered([record_id], [token])

    def mark_records_completed(
        self, answers: Sequence[tuple[Mapping[str, Any], dict[str, Any] | Document]]
    ) -> list[str]:
        """
        Complete many claimed records in one call: pairs of the record (its `id` and `claim_token`) and its result.

        Returns `done`, `repeated` or `lost` for each, in order; a lost one does not hold up the others.
        """
        texts = [encode_object(result, f"answers[{i}]") for i, (_, result) in enumerate(answers)]
        return self._answer(COMPLETE_MANY, [record for record, _ in answers], texts)

    def mark_records_failed(self, failures: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
        """
        Fail many claimed records in one call: pairs of the record and `{error, error_type?, context?, permanent?}`.

        Returns what `mark_records_completed` does.
        """
        texts = [_failure_text(failure, f"failures[{i}]") for i, (_, failure) in enumerate(failures)]
        return self._answer(FAIL_MANY, [record for record, _ in failures], texts)

    def release_records(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Give claimed records back, uncharged. Returns `done`, `repeated` or `lost` for each."""
        return self._answer(RELEASE, records, None)

    def extend_leases(
        self, records: Sequence[Mapping[str, Any]], lease: timedelta | None = None
    ) -> list[datetime | None]:
        """Extend the claims to `lease` from now. Returns when each ends; None for a claim that is lost."""
        _check_lease(lease)
        ids, tokens = _ids_and_tokens(records)
        return [row["lease_expires_at"] for row in self.rpa_db.execute_query(EXTEND, [ids, tokens, lease])]

    def get_queue_status(self, flow_name: str | None = None) -> dict[str, Any]:
        """Counts by status, in total and `by_flow`, of one flow or of all (contract: Response Format)."""
        if flow_name is not None:
            _check_flow_name(flow_name)
        return self._value(STATUS, [flow_name])  # type: ignore[no-any-return]

    def cleanup_orphaned_records(self, timeout_hours: float = 1) -> int:
        """
        Take back records whose lease ended, or that were neither claimed nor heartbeated for `timeout_hours`.

        Fractions are allowed. Returns how many left `processing`, those over their crash budget included.
        """
        if isinstance(timeout_hours, bool) or not isinstance(timeout_hours, int | float) or not timeout_hours > 0:
            raise ValueError(f"timeout_hours is {timeout_hours!r}: give hours above 0")
        return int(self._value(CLEANUP, [timeout_hours]))

    def reset_failed_records(self, flow_name: str, max_retries: int = 3) -> int:
        """Put failed records with fewer than `max_retries` retries back to pending. Returns how many."""
        _check_flow_name(flow_name)
        _check_int("max_retries", max_retries, 0, 32)
        return int(self._value(RESET, [flow_name, max_retries]))

    def maintain(self) -> dict[str, Any]:
        """Housekeeping, which somebody has to call every few seconds: workers do. Returns what was done."""
        return self._value(MAINTAIN, [])  # type: ignore[no-any-return]

    def health_check(self) -> dict[str, Any]:
        """
        The health of databases and queue; never raises (contract: Response Format).

        `unhealthy` when the queue's database is, `degraded` when the source is not healthy or the queue has
        `problems`, which are listed. A pooler that shares sessions is listed too; it only makes workers slower to wake.
        """
        databases = {db.database_name: db.health_check() for db in [self.rpa_db, self.source_db] if db is not None}
        queue: dict[str, Any] = {"status": "unhealthy", "queue_status": {}, "problems": []}
        if databases[self.rpa_db.database_name]["status"] != "unhealthy":
            try:
                queue = self._value(HEALTH, [])
            except Exception as exc:  # noqa: BLE001  a health check reports; it does not raise
                queue["problems"] = [f"{type(exc).__name__}: {in_short(exc)}"]
        states = [database["status"] for database in databases.values()]
        if databases[self.rpa_db.database_name].get("shares_sessions"):
            queue["problems"].append("a pooler shares the sessions: workers poll instead of being notified")
        return {
            "status": _worst(queue["status"], states),
            "databases": databases,
            "queue_status": queue["queue_status"],
            "problems": queue["problems"],
            "instance_info": {"instance_id": self.instance_id, "hostname": self.hostname},
            "timestamp": timestamp(),
        }

    def _token(self, record_id: int, token: int | None) -> int:
        if token is None:
            return self._tokens.get(record_id)
        _check_int("token", token, 0, 64)
        return token

    def _value(self, query: str, params: Sequence[Any]) -> Any:
        [row] = self.rpa_db.execute_query(query, params)
        [value] = row.values()
        return value

    def _answer(self, query: str, records: Sequence[Mapping[str, Any]], texts: Sequence[str] | None) -> list[str]:
        ids, tokens = _ids_and_tokens(records)
        params = [ids, tokens] if texts is None else [ids, f"[{','.join(texts)}]", tokens]
        with self.rpa_db.connection() as conn:
            outcomes = [outcome for (outcome,) in conn.execute(query.encode(), params)]
        self._tokens.answered(ids, tokens)
        return outcomes


def _chunks(
    records: Iterable[tuple[str, Mapping[str, Any]]], dedup_key: str | None
) -> Iterator[list[tuple[str, Document, str | None]]]:
    """Name, JSON text and dedup key of the records, as many at a time as one call takes."""
    chunk: list[tuple[str, Document, str | None]] = []
    size = 0
    for name, record in records:
        text = encode_object(record, name)
        chunk.append((name, text, None if dedup_key is None else dedup_key_of(record, dedup_key, name)))
        size += len(text)
        if len(chunk) >= CHUNK or size >= CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def dedup_key_of(record: Mapping[str, Any], field: str, name: str) -> str:
    """The key of a record that an error calls `name`."""
    key = record.get(field)
    if key is None:
        raise ValueError(f"{name} has no {field!r}, which is to be its dedup key")
    # Of the rest the text is not unique (1.0 and 1, True and "True").
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise ValueError(f"{name} has {key!r:.100} as {field!r}, its dedup key: give a str or an int")
    return str(key)


def renamed(exc: InvalidArgument, names: Sequence[str], outcome: str = "Nothing was added") -> InvalidArgument:
    """The same error, about `records[7017]` or a line of a file instead of the seventeenth of a call."""
    found = re.fullmatch(r"p_(?:payloads|(dedup_key)s)\[(\d+)\]", exc.diag.column_name or "")
    if found is None:
        return exc
    name = names[int(found[2])] + (f", {found[1]}" if found[1] else "")
    message = (exc.diag.message_primary or "").removeprefix(found[0])
    return InvalidArgument(f"{name}{message}. {exc.diag.message_hint} {outcome}")


def _failure(
    what: str,
    error: str,
    error_type: str | None = None,
    context: Mapping[str, Any] | None = None,
    permanent: bool = False,
) -> tuple[dict[str, Any], Document | None]:
    """The failure but its context, and that as JSON text."""
    if not isinstance(error, str):
        raise ValueError(f"{what}error is {type(error).__name__}: give a str, such as str(exception)")
    _check_optional(f"{what}error_type", error_type, str, "a str")
    _check_optional(f"{what}context", context, Mapping, "a dict")
    _check_optional(f"{what}permanent", permanent, bool, "True or False")
    failure = {
        "error": storable(error),
        "error_type": None if error_type is None else storable(error_type, 200),
        "permanent": bool(permanent),
    }
    return failure, None if context is None else encode_context(context, f"{what}context")


def _failure_text(failure: Any, what: str) -> str:
    known = {"error", "error_type", "context", "permanent"}
    if not isinstance(failure, Mapping) or "error" not in failure or not failure.keys() <= known:
        raise ValueError(f"{what} is {failure!r:.100}: give {{error, error_type?, context?, permanent?}}")
    document, context = _failure(f"{what}.", **failure)
    return f'{encode(document, what)[:-1]},"context":{context or "null"}}}'


def _ids_and_tokens(records: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    try:
        ids, tokens = [record["id"] for record in records], [record["claim_token"] for record in records]
    except (TypeError, KeyError):
        raise ValueError("records lack id or claim_token: give records as they were claimed") from None
    for numbers, name in (ids, "id"), (tokens, "claim_token"):
        if not all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers):
            for i, number in enumerate(numbers):
                _check_int(f"records[{i}] {name}", number, -(2**63), 64)
    return ids, tokens


def _check_flow_name(flow_name: Any) -> None:
    if not isinstance(flow_name, str) or not flow_name.strip():
        raise ValueError(f"flow_name is {flow_name!r:.100}: give a name that is not blank")
    encode(flow_name, "flow_name")


def _check_int(name: str, value: Any, least: int, bits: int) -> None:
    most = 2 ** (bits - 1) - 1
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r:.100}: give a whole number from {least} to {most}")


def _check_optional(name: str, value: Any, kind: type, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.100}: give {wanted}")


def _check_lease(lease: Any) -> None:
    if lease is not None and (not isinstance(lease, timedelta) or lease <= timedelta(0)):
        raise ValueError(f"lease is {lease!r}: give a timedelta above zero")


def _worst(queue: str, databases: list[str]) -> str:
    if queue == "unhealthy":
        return "unhealthy"
    return "healthy" if {queue, *databases} == {"healthy"} else "degraded"
