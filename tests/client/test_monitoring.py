"""The contract's monitoring functions, on work that was really done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import sql
from core.monitoring import (
    distributed_processing_diagnostics,
    distributed_queue_monitoring,
    processing_performance_monitoring,
)
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from sql import Connect, value, work

pytestmark = pytest.mark.usefixtures("rpa_db")

QUEUE = "conveyor.processing_queue"


def health(**options: Any) -> str:
    return str(distributed_queue_monitoring(**options)["queue_health_assessment"]["queue_health"])


def issues() -> list[tuple[str, str]]:
    found = distributed_processing_diagnostics()
    return list(zip(found["issues_found"], found["recommendations"], strict=True))


def test_the_contracts_examples(conn: psycopg.Connection) -> None:
    work(conn, "rpa1", 9, 1)
    status = distributed_queue_monitoring(include_detailed_metrics=True)
    assert status["queue_health_assessment"]["queue_health"] == "healthy"
    diagnostics = distributed_processing_diagnostics(include_orphaned_analysis=True, include_performance_analysis=True)
    assert diagnostics["issues_found"] == []
    performance = processing_performance_monitoring(time_window_hours=6, include_error_analysis=True)
    assert performance["overall_metrics"]["success_rate_percent"] == 90
    assert performance["overall_metrics"]["avg_processing_rate_per_hour"] == pytest.approx(10 / 6, rel=0.01)
    assert [json.loads(json.dumps(report)) for report in (status, diagnostics, performance)] == [
        status,
        diagnostics,
        performance,
    ]


def test_of_an_empty_queue_all_keys_are_there_and_nothing_is_wrong() -> None:
    assert health() == "idle"
    assert issues() == []
    overall = processing_performance_monitoring()["overall_metrics"]
    assert (overall["total_processed"], overall["success_rate_percent"]) == (0, 100)
    assert (overall["avg_processing_rate_per_hour"], overall["run_seconds"]["p95"]) == (0, None)


def test_optional_parts_come_on_demand(conn: psycopg.Connection) -> None:
    work(conn, "f", 1)
    assert "flow_specific_metrics" not in distributed_queue_monitoring()
    assert not {"orphaned_records_analysis", "performance_analysis"} & distributed_processing_diagnostics().keys()
    assert "error_analysis" not in processing_performance_monitoring()
    both = distributed_processing_diagnostics(True, True)
    assert both["performance_analysis"]["overall_metrics"]["completed_count"] == 1


def test_a_database_may_be_given(
    processor: DistributedProcessor, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(conn, "f", 2)
    assert health(database=processor.rpa_db) == "healthy"
    monkeypatch.delenv("DEVELOPMENT_GLOBAL_RPA_DB_TYPE")
    with pytest.raises(ValueError, match="RPA_DB_TYPE"):
        distributed_queue_monitoring()
    report = processing_performance_monitoring(database=processor.rpa_db)
    assert report["flow_specific_metrics"]["f"]["completed_count"] == 2


@pytest.mark.parametrize(
    ("failed", "expected"), [(0, "healthy"), (10, "healthy"), (11, "degraded"), (20, "degraded"), (21, "critical")]
)
def test_health_goes_by_the_share_of_failures_in_the_window(
    conn: psycopg.Connection, failed: int, expected: str
) -> None:
    work(conn, "f", 100 - failed, failed)
    assert health() == expected


def test_failures_before_the_window_are_forgotten(
    processor: DistributedProcessor, conn: psycopg.Connection, threshold: Callable[[str, object], None]
) -> None:
    work(conn, "f", 0, 3)
    processor.maintain()
    conn.execute("update conveyor.flow_minute set minute = minute - interval '70 minutes'")
    assert health() == "idle"
    threshold("window_minutes", 100)
    assert health() == "critical"
    [(issue, remedy)] = issues()
    assert issue == "critical: flow f: 3 of 3 records that ended in the last 100 minutes failed (100.0 %)"
    assert "reset_failed_records('f')" in remedy


@pytest.mark.parametrize(("minutes", "expected"), [(10, "healthy"), (20, "degraded"), (61, "critical")])
def test_health_goes_by_how_long_the_oldest_record_has_been_due(
    processor: DistributedProcessor, conn: psycopg.Connection, minutes: int, expected: str
) -> None:
    sql.add(conn, "f", priority=5)
    sql.insert(conn, "f", priority=-1, created_at=value(conn, "select now() - %s * interval '1 minute'", minutes))
    sql.add(conn, "f", run_at=value(conn, "select now() + interval '1 day'"))
    report = distributed_queue_monitoring(include_detailed_metrics=True, database=processor.rpa_db)
    assert report["queue_health_assessment"]["queue_health"] == expected
    assert report["flow_specific_metrics"]["f"]["oldest_pending_minutes"] == pytest.approx(minutes, abs=0.5)
    assert ["nobody holds one" in alert for alert in report["operational_alerts"]] == [True] * (expected != "healthy")


def test_what_is_not_due_is_no_backlog_and_a_pause_is_only_noted(conn: psycopg.Connection) -> None:
    sql.add(conn, "later", run_at=value(conn, "select now() + interval '1 day'"))
    assert health() == "idle"
    sql.insert(conn, "f", created_at="2020-01-01 00:00+00")
    conn.execute("select conveyor.pause_flow('f')")
    [(issue, remedy)] = issues()
    assert re.fullmatch(r"notice: flow f is paused since \S+Z, and 1 records wait", issue)
    assert remedy.startswith("resume_flow('f')")
    assert health() == "healthy"


def test_orphans_are_those_that_cleanup_would_take(processor: DistributedProcessor, conn: psycopg.Connection) -> None:
    processor.add_records_to_queue("f", [{}] * 5)
    ended, silent, heard, by_hand, held = processor.claim_records_batch("f", 5)
    sql.expire(conn, [ended["id"]], "30 minutes")
    long_ago = f"update {QUEUE} set claimed_at = now() - interval '2 hours'"
    conn.execute(f"{long_ago} where id = any (%s)", [[silent["id"], heard["id"]]])
    processor.extend_leases([heard])
    conn.execute(f"{long_ago}, lease_expires_at = null, claim_token = null where id = %s", [by_hand["id"]])
    found = distributed_processing_diagnostics(include_orphaned_analysis=True)
    orphans = found["orphaned_records_analysis"]
    assert orphans["orphaned_by_flow"] == {"f": 3}
    assert orphans["orphaned_by_instance"] == {processor.instance_id: 3}
    assert (orphans["total_orphaned_records"], orphans["under_a_running_lease"]) == (3, 1)
    assert orphans["oldest_orphaned_hours"] == pytest.approx(2, abs=0.05)
    [issue], [remedy] = found["issues_found"], found["recommendations"]
    assert issue.startswith("warning: flow f: 3 records are orphaned, 1 of them")
    assert remedy.startswith("cleanup_orphaned_records(1) ")
    assert processor.cleanup_orphaned_records(1) == 3
    assert issues() == []
    processor.mark_record_completed(held["id"], {})


def test_counts_that_nobody_folds_are_an_issue(conn: psycopg.Connection) -> None:
    sql.one(conn)
    conn.execute("update conveyor.count_delta set counted_at = now() - interval '6 minutes'")
    [(issue, remedy)] = issues()
    assert "wait to be folded" in issue
    assert remedy.startswith("maintain() folds them")
    sql.maintain(conn)
    assert issues() == []


def test_reports_are_read_in_a_transaction_that_only_reads(rpa_db: DatabaseManager, connect: Connect) -> None:
    assert health(database=rpa_db) == "idle"
    reader = connect(options="-c default_transaction_read_only=on")
    assert value(reader, "select conveyor.processing_diagnostics(true, true) ->> 'worst_severity'") == "none"
