"""Monitoring finds what keeps dead rows from being removed: snapshots, open and prepared transactions, slots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import sql
from core.monitoring import distributed_processing_diagnostics, distributed_queue_monitoring
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install
from sql import Connect, work

BINDIR = Path(os.environ["PGTEST_BINDIR"]) if os.environ.get("PGTEST_BINDIR") else None

pytestmark = pytest.mark.usefixtures("rpa_db")


def issues() -> list[tuple[str, str]]:
    found = distributed_processing_diagnostics()
    return list(zip(found["issues_found"], found["recommendations"], strict=True))


@contextmanager
def holding(connect: Connect, how: str) -> Iterator[str]:
    """Something that keeps dead rows; what an issue calls it."""
    conn = connect(application_name="a forgotten report")
    if how == "snapshot":
        sql.pin(lambda: conn)
    else:
        conn.execute("begin")
        conn.execute("select conveyor.add_record('other', '{}')")  # without parameters: no portal keeps a snapshot
    if how == "prepared":
        name = f"forgotten-{conn.info.dbname}"
        conn.execute(f"prepare transaction '{name}'")
        yield f"the prepared transaction '{name}'"
        conn.execute(f"rollback prepared '{name}'")
    else:
        yield f"process {conn.info.backend_pid} (a forgotten report"
        conn.execute("rollback")


@pytest.mark.parametrize("how", ["snapshot", "idle in transaction", "prepared"])
def test_who_holds_the_horizon_is_found(
    connect: Connect, conn: psycopg.Connection, threshold: Callable[[str, object], None], how: str
) -> None:
    with holding(connect, how) as name:
        for _ in range(5):
            work(conn, "f", 1)
        assert issues() == []
        threshold("horizon_transactions", 5)
        [(issue, remedy)] = [(issue, remedy) for issue, remedy in issues() if "dead rows" in issue]
        assert name in issue
        assert ("rollback prepared" if how == "prepared" else "pg_terminate_backend(") in remedy
        assert distributed_queue_monitoring()["queue_health_assessment"]["queue_health"] == "degraded"
    assert issues() == []


def test_a_slot_that_nobody_reads_is_found(
    directory: Path, configure: Callable[..., None], threshold: Callable[[str, object], None]
) -> None:
    server = EmbeddedServer(directory, durable=False, bindir=BINDIR, settings={"wal_level": "logical"}).start()
    configure("rpa_db", server.dsn())
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        install(conn)
        conn.execute("select pg_create_logical_replication_slot('unread', 'pgoutput')")
        for _ in range(5):
            work(conn, "f", 1)
        assert issues() == []
        threshold("horizon_transactions", 5)
        [(issue, remedy)] = issues()
        assert issue.startswith("warning: the inactive replication slot 'unread' (catalog rows")
        assert "pg_drop_replication_slot('unread')" in remedy
        conn.execute("select pg_drop_replication_slot('unread')")
        assert issues() == []


def test_a_holder_is_found_by_its_time_where_that_may_be_seen(
    connect: Connect, conn: psycopg.Connection, threshold: Callable[[str, object], None]
) -> None:
    threshold("horizon_minutes", 0)
    with holding(connect, "prepared") as name:
        assert any(name in issue for issue, _ in issues())
    threshold("horizon_minutes", 5)
    with holding(connect, "prepared") as name:
        work(conn, "f", 1)
        assert issues() == []
