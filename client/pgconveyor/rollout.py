"""One call for both modes: the settings of the flow say which records are enqueued, and which are processed here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from pgconveyor import tunables
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor, dedup_key_of
from pgconveyor.errors import DatabaseUnavailable, SchemaMissing
from pgconveyor.handlers import Handler
from pgconveyor.standard import numbered, process_numbered

__all__ = ["CommitUnknown", "goes_to_queue", "process"]

logger = logging.getLogger(__name__)

Payload = Mapping[str, Any]
Numbered = list[tuple[int, Payload]]
Key = str | Callable[[Any], str | int]


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost in the commit: nobody knows whether the records are in the queue."""


def process(
    flow_name: str,
    records: Iterable[Payload],
    handler: Handler,
    *,
    key: Key | None = None,
    fall_back: bool | None = None,
    database: DatabaseManager | None = None,
    source: DatabaseManager | None = None,
    keep_results: bool = False,
) -> dict[str, Any]:
    """
    Enqueue the records of a flow that uses the queue, and process the others here, in standard mode.

    Two settings of the flow are read at each call: `use_distributed_processing` (off: all are processed here) and
    `distributed_percent` (100), how many are enqueued. The same key always goes the same way, and a higher percentage
    only moves keys from here to the queue. `key` names the field that is unique in the flow; it is the dedup key too,
    so what is given again is not enqueued again, as long as the queue has it. Or `key` is a function of the payload
    that returns a str or an int: records may share that, and none is passed over. A percentage between 0 and 100
    needs a key. What is enqueued needs a worker, or the Prefect flow.

    Enqueueing comes first, in one transaction. Until it is done nothing is: a record that the queue refuses raises
    `ValueError`, a queue that is not available `ConnectionError` or `SchemaMissing`, and the call may be repeated.
    Only after `CommitUnknown`, a ConnectionError, may the records be in the queue; with a field as `key` repeating is
    right then too.

    With `fall_back` (default: the setting `fall_back_to_standard`, off) all records of the call are processed here
    when the queue is not available, with one warning, but never after `CommitUnknown`: they might run twice. What an
    *earlier* call enqueued cannot be passed over then, and runs again: fall back only where each record is given
    once, or may run twice.

    `source`, `keep_results` and the summary, which is about the records processed here, are those of
    `standard.process`; `context.connection` leads to `database` (default `rpa_db`), which has the queue. More keys:
    mode (`standard`, `distributed` when all were enqueued, else `mixed`), records_enqueued, records_known (passed
    over: the queue had their keys) and fell_back.
    """
    given = list(numbered(records))
    queued, here = _split(flow_name, given, key)
    may_fall_back = tunables.falls_back(flow_name) if fall_back is None else fall_back
    added, fell_back = 0, False
    with DatabaseManager("rpa_db") if database is None else nullcontext(database) as manager:
        try:
            added = _enqueue(manager, flow_name, queued, key if isinstance(key, str) else None) if queued else 0
        except (ConnectionError, SchemaMissing) as exc:
            if not may_fall_back or isinstance(exc, CommitUnknown):
                raise
            text = "%s: the queue is not available, %d records are processed here instead: %s"
            logger.warning(text, flow_name, len(queued), exc, extra={"flow": flow_name})
            queued, here, fell_back = [], given, True
        summary = process_numbered(flow_name, here, handler, database=manager, source=source, keep_results=keep_results)
    return summary | {
        "mode": "standard" if not queued else "mixed" if here else "distributed",
        "records_enqueued": added,
        "records_known": len(queued) - added,
        "fell_back": fell_back,
    }


def _split(flow_name: str, records: Numbered, key: Key | None) -> tuple[Numbered, Numbered]:
    """What goes to the queue, and what stays."""
    if not tunables.uses_queue(flow_name):
        return [], records
    percent = tunables.distributed_percent(flow_name)
    if key is None:
        if 0 < percent < 100:
            raise ValueError(f"key is None, and {percent:g} % of {flow_name!r} go to the queue: give a field's name")
        return (records, []) if percent else ([], records)
    keys = _keys(records, key)
    queued = [goes_to_queue(flow_name, text, percent) for text in keys]
    sides: tuple[Numbered, Numbered] = ([], [])
    for record, is_queued in zip(records, queued, strict=True):
        sides[not is_queued].append(record)
    return sides


def _keys(records: Numbered, key: Key) -> list[str]:
    keys: dict[str, int] = {}
    texts = []
    for index, record in records:
        name = f"records[{index}]"
        if not isinstance(record, Mapping):
            raise ValueError(f"{name} is {type(record).__name__}: give a dict")
        if isinstance(key, str):
            text = dedup_key_of(record, key, name)
            if (first := keys.setdefault(text, index)) != index:
                raise ValueError(f"{name} and records[{first}] have the same {key!r}, {text!r:.100}: give it once")
        else:
            value = key(record)
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise ValueError(f"{name} has the key {value!r:.100}: let key return a str or an int")
            text = str(value)
        texts.append(text)
    return texts


def goes_to_queue(flow_name: str, key: str, percent: float) -> bool:
    """Whether a key is among so many percent of a flow's keys: the same in each process and release, for ever."""
    digest = hashlib.sha256(f"{flow_name}\0{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < percent / 100 * 2**64


def _enqueue(database: DatabaseManager, flow_name: str, records: Numbered, dedup_key: str | None) -> int:
    """Add the records. A connection that is lost before the commit was asked for leaves nothing behind."""
    processor = DistributedProcessor(database)
    named = ((f"records[{index}]", record) for index, record in records)
    is_committing = False
    try:
        with database.connection() as conn:
            added = processor.add_in(conn, flow_name, named, 0, None, dedup_key)
            is_committing = True
    except DatabaseUnavailable as exc:
        if not is_committing:
            raise
        advice = "call again" if dedup_key else "look for them before you call again"
        raise CommitUnknown(
            f"{exc}; that was in the commit, so {len(records)} records may be in the queue, or not: {advice}"
        ) from None
    return added
