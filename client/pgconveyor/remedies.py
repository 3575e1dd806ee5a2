"""What to do about an error, in the words of whoever has to do it; and an error in one line."""

from __future__ import annotations

import psycopg

__all__ = ["in_short", "refusal", "remedy"]


def remedy(exc: psycopg.Error, role: str) -> str | None:
    """What `role` or its administrator can do; None where the server's message says enough."""
    match exc.sqlstate:
        case "42501":
            return (
                f'role "{role}" lacks a right: to use the queue, grant conveyor_worker to "{role}"'
                " (or conveyor_producer, conveyor_viewer, conveyor_operator);"
                " to install or upgrade it, be the database's owner"
            )
        case "55P03":
            return "another session holds the lock, pg_blocking_pids() says which: try again when it has ended"
        case _:
            return None


def refusal(exc: psycopg.OperationalError, database: str) -> str:
    """Why no connection could be made, in one line."""
    said = in_short(exc)
    # A refused connection has no SQLSTATE. Where the server speaks another language, only the remedy is missing.
    if f'database "{database}" does not exist' in said:
        said += f': make it with `createdb "{database}"`, then run `pgconveyor install`'
    return said


def in_short(exc: BaseException) -> str:
    """What the server said and advises, without where in its functions it said it; the text of any other error."""
    if not isinstance(exc, psycopg.Error):
        return str(exc)
    diag = exc.diag
    if diag.message_primary is None:
        return str(exc).strip().split("\n")[0] or type(exc).__name__
    parts = [f"{diag.message_primary}.", diag.message_hint or diag.message_detail or "", *getattr(exc, "__notes__", [])]
    return " ".join(" ".join(parts).split())
