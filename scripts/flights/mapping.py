"""What `pgconveyor ingest --map` makes of a row of the table: the payload that handler.py knows, where all is text."""

from __future__ import annotations

from typing import Any


def as_csv(row: dict[str, Any]) -> dict[str, str]:
    return {column: "" if value is None else str(value) for column, value in row.items() if column != "rv"}
