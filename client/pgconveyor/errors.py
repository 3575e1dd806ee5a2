"""
What the queue and the database can refuse, as exceptions of the contract's types.

psycopg raises the ones that have a SQLSTATE by itself, wherever the statement ran: a subclass of
`psycopg.DatabaseError` that names a SQLSTATE is the class that psycopg picks for it. `db/errors.sql` has one row
for each code of class WQ.

* ValueError
  + InvalidArgument        22023, a bad argument
* ConnectionError
  + DatabaseUnavailable    no connection, or it was lost
* RuntimeError
  + QueueError             class WQ
    + ClaimLost            WQ001
    + RecordNotFound       WQ002
    + SessionNotOwn        WQ003
    + SourceMoved          WQ004
    + SourceChanged        WQ005
  + SchemaMissing          the database has no queue, or an older one
    + ClientOutdated       WQ901, it has a newer one that this client must not work with; a QueueError too
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

__all__ = [
    "ClaimLost",
    "ClientOutdated",
    "DatabaseUnavailable",
    "InvalidArgument",
    "QueueError",
    "RecordNotFound",
    "SchemaMissing",
    "SessionNotOwn",
    "SourceChanged",
    "SourceMoved",
    "error_document",
    "timestamp",
]


class QueueError(psycopg.DatabaseError, RuntimeError):
    """Any refusal that only a queue knows."""


# psycopg's own classes register through `code=`; it is not documented for others, so tests hold it in place.
class ClaimLost(QueueError, code="WQ001", name="CLAIM_LOST"):
    """The claim token no longer holds the record: drop the result."""


class RecordNotFound(QueueError, code="WQ002", name="RECORD_NOT_FOUND"):
    """No record has this id."""


class SessionNotOwn(QueueError, code="WQ003", name="SESSION_NOT_OWN"):
    """A pooler shares the session with others: it cannot wait in it to be notified."""


class SourceMoved(QueueError, code="WQ004", name="SOURCE_MOVED"):
    """Somebody else has moved or reset the watermark of the source: let one reader work on it."""


class SourceChanged(QueueError, code="WQ005", name="SOURCE_CHANGED"):
    """The watermark of the source was made by reading something else."""


class InvalidArgument(psycopg.errors.InvalidParameterValue, ValueError, code="22023", name="INVALID_PARAMETER_VALUE"):
    """A function refused an argument; the message names it, the value and the remedy."""


class DatabaseUnavailable(ConnectionError):
    """The database cannot be reached, or the connection was lost. Never shows a password."""


class SchemaMissing(RuntimeError):
    """The database has no `conveyor` schema, or one that is older than this client."""


class ClientOutdated(QueueError, SchemaMissing, code="WQ901", name="CLIENT_OUTDATED"):
    """The database has a breaking migration that this client does not know: upgrade the client."""


def error_document(error: str, error_type: str, **context: Any) -> dict[str, Any]:
    """What a failed operation returns (contract: Error Response Format); `context` has record_id and flow_name."""
    return {"status": "failed", "error": error, "error_type": error_type, "timestamp": timestamp(), "context": context}


def timestamp() -> str:
    """Now, in UTC, as the contract writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
