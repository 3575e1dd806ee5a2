"""The contract's table beside ours: the same columns and defaults, and what it takes, ours takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from contract import BLOCKS
from pgconveyor.install import install

OURS, THEIRS = "conveyor.processing_queue", "scratch.processing_queue"

# Wider or with a time zone: what was read and written goes on being read and written.
TYPES = {"integer": "bigint", "character varying": "text", "timestamp without time zone": "timestamp with time zone"}

COLUMNS = """
    select column_name, data_type
    from information_schema.columns
    where table_schema || '.' || table_name = %s
"""

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# What somebody may write in a column, and whether the contract's table takes it.
VALUES: list[tuple[str, Any, bool]] = [
    *(("status", status, True) for status in ("pending", "processing", "completed", "failed")),
    ("status", "done", False),
    ("flow_name", "f" * 100, True),
    ("flow_name", "f" * 101, False),
    ("flow_name", None, False),
    ("payload", None, False),
    *(("payload", Jsonb(value), True) for value in ({}, [1], "text", 5, None)),
    ("flow_instance_id", "i" * 100, True),
    ("error_message", "it broke", True),
    ("retry_count", 2**31 - 1, True),
    ("retry_count", 2**31, False),
    *((column, LONG_AGO, True) for column in ("claimed_at", "completed_at", "created_at", "updated_at")),
    *((column, None, True) for column in ("flow_instance_id", "claimed_at", "completed_at", "error_message")),
]


@pytest.fixture
def theirs(conn: psycopg.Connection) -> psycopg.Connection:
    """A session that has both."""
    conn.execute("create schema scratch; set search_path = scratch; set timezone = 'UTC'")
    conn.execute(BLOCKS["table"].encode())
    conn.execute(BLOCKS["indexes"].encode())
    return conn


def insert(conn: psycopg.Connection, table: str, **columns: Any) -> dict[str, Any]:
    row = {"flow_name": "f", "payload": Jsonb({"n": 1}), **columns}
    places = ", ".join(["%s"] * len(row))
    query = f"insert into {table} ({', '.join(row)}) values ({places}) returning to_jsonb({table.split('.')[1]}) as row"
    with conn.transaction():
        found = conn.execute(query.encode(), list(row.values())).fetchone()
    assert found is not None
    return dict(found[0])


def test_each_column_is_there_with_its_type_or_a_wider_one(theirs: psycopg.Connection) -> None:
    ours = dict(theirs.execute(COLUMNS, [OURS]).fetchall())
    promised = dict(theirs.execute(COLUMNS, [THEIRS]).fetchall())
    assert len(promised) == 11
    widened = {name: TYPES.get(kind, kind) for name, kind in promised.items()}
    # Of the whole numbers only the id outgrows four bytes.
    assert {name: ours[name] for name in promised} == widened | {"retry_count": "integer"}


def test_the_defaults_are_the_same(theirs: psycopg.Connection) -> None:
    ours, promised = (insert(theirs, table) for table in (OURS, THEIRS))
    assert ours["id"] == promised["id"] == 1
    for name in ("created_at", "updated_at"):
        difference = datetime.fromisoformat(ours[name]) - datetime.fromisoformat(promised[name]).replace(tzinfo=UTC)
        assert abs(difference.total_seconds()) < 60
    times = {"created_at", "updated_at"}
    assert {name: ours[name] for name in promised.keys() - times} == {
        name: value for name, value in promised.items() if name not in times
    }


@pytest.mark.parametrize(("column", "value", "is_taken"), VALUES, ids=lambda value: str(value)[:20])
def test_what_it_takes_ours_takes_and_what_it_refuses_ours_refuses(
    theirs: psycopg.Connection, column: str, value: Any, is_taken: bool
) -> None:
    for table in (OURS, THEIRS):
        if is_taken:
            insert(theirs, table, **{column: value})
        else:
            with pytest.raises((psycopg.IntegrityError, psycopg.DataError)):
                insert(theirs, table, **{column: value})


@pytest.mark.parametrize("column", ["status", "retry_count", "created_at", "updated_at"])
def test_nulls_that_it_takes_by_neglect_are_refused_and_filled_when_adopted(
    theirs: psycopg.Connection, column: str
) -> None:
    insert(theirs, THEIRS, **{column: None})
    with pytest.raises(psycopg.errors.NotNullViolation):
        insert(theirs, OURS, **{column: None})


def test_each_of_its_indexes_has_one_that_answers_the_same(explain: Callable[[str], str]) -> None:
    """By status, by flow and status, what is claimed and by whom; with other columns and names (DECISIONS.md)."""
    names = re.findall(r"CREATE INDEX (\w+)", BLOCKS["indexes"])
    assert len(names) == 6
    questions = {
        "idx_processing_queue_status_created": "status = 'pending' and flow_name = 'f'",
        "idx_processing_queue_flow_name_status": "flow_name = 'f' and status = 'failed'",
        "idx_processing_queue_claimed_at": "status = 'processing' and claimed_at < now()",
        "idx_processing_queue_instance_id": "status = 'processing' and flow_instance_id = 'i'",
        "idx_processing_queue_pending": "status = 'pending' and flow_name = 'f'",
        "idx_processing_queue_processing": "status = 'processing'",
    }
    assert questions.keys() == set(names)
    for where in questions.values():
        assert "Index" in explain(f"select id from {OURS} where {where}")


@pytest.fixture
def explain(theirs: psycopg.Connection) -> Callable[[str], str]:
    """The plan, where the table is too large to be read whole."""

    def explain(query: str) -> str:
        with theirs.transaction():
            theirs.execute("set local enable_seqscan = off")
            return "\n".join(line for (line,) in theirs.execute(f"explain {query}".encode()))

    return explain


def test_its_rows_are_taken_over(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(BLOCKS["table"].encode())
        conn.execute(BLOCKS["indexes"].encode())
        for status in ("pending", "processing", "completed", "failed", None):
            insert(conn, "public.processing_queue", status=status)
        install(conn, adopt="public.processing_queue")
        states = "select id, status from conveyor.processing_queue order by id"
        assert conn.execute(states).fetchall() == [
            (1, "pending"),
            (2, "processing"),
            (3, "completed"),
            (4, "failed"),
            (5, "pending"),
        ]
