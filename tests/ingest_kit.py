"""A table of a SQL Server that is read into flow `f`, and what of it is in the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.source import Ingester, Source, Totals

__all__ = ["KEYS", "Survey"]

KEYS = {"id": "id", "rowversion": "version"}  # by kind, the column
CREATE = "CREATE TABLE responses (id bigint PRIMARY KEY, answer nvarchar(50), version rowversion)"
QUEUED = """
    select payload from conveyor.processing_queue where flow_name = 'f'
    order by (payload ->> 'id')::bigint, payload ->> 'version'
"""


class Survey:
    """`hub` is the manager of the SQL Server, `conn` a session of the queue's database."""

    def __init__(self, hub: Any, conn: psycopg.Connection, key_kind: str) -> None:
        self.hub, self.conn, self.key_kind = hub, conn, key_kind
        self.options: dict[str, Any] = {"batch": 10}
        hub.execute_query(CREATE)

    def add(self, ids: Sequence[int]) -> None:
        self.hub.execute_query(insert(ids))

    @contextmanager
    def ingester(self, **options: Any) -> Iterator[Ingester]:
        """With connections of its own."""
        source = Source(database="SurveyHub", table="responses", key=KEYS[self.key_kind])
        with (
            DatabaseManager("rpa_db", pool_size=2) as queue,
            DatabaseManager("SurveyHub") as hub,
            Ingester(queue, source, source.reader(hub), "f", **(self.options | options)) as ingester,  # type: ignore[arg-type]
        ):
            yield ingester

    def ingest(self, **options: Any) -> Totals:
        with self.ingester(**options) as ingester:
            return ingester.run()

    def rows(self) -> list[dict[str, Any]]:
        """Of the source, as payloads."""
        found = self.hub.execute_query("SELECT id, answer, version FROM responses ORDER BY id")
        return [row | {"version": f"0x{row['version'].hex().upper()}"} for row in found]

    def queued(self) -> list[dict[str, Any]]:
        """The payloads in the queue."""
        return [payload for (payload,) in self.conn.execute(QUEUED).fetchall()]


def insert(ids: Sequence[int]) -> str:
    return "INSERT INTO responses (id, answer) VALUES " + ", ".join(f"({n}, N'answer {n}')" for n in ids)
