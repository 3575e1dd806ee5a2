"""Performance and errors in a window: what is exact, what is estimated, and that neither reads history."""

from __future__ import annotations

from statistics import quantiles

import psycopg
import pytest

import sql
from core.monitoring import (
    processing_performance_monitoring,
)
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from sql import work

pytestmark = pytest.mark.usefixtures("rpa_db")

QUEUE = "conveyor.processing_queue"
HISTORY = 300_000


def test_errors_are_grouped_by_type_or_by_their_first_line(
    processor: DistributedProcessor, conn: psycopg.Connection
) -> None:
    work(conn, "f", 1, 3, error="no such person", error_type="LookupError")
    work(conn, "g", 0, 1, error="not there", error_type="LookupError")
    work(conn, "g", 0, 1, error="row 17 is empty\n…")
    work(conn, "g", 0, 1, error="row 18 is empty")
    lost = sql.one(conn)
    sql.expire(conn, [lost.id])
    processor.maintain()
    work(conn, "old", 0, 1)
    conn.execute("update conveyor.attempt set ended_at = now() - interval '2 hours' where error = 'boom'")
    errors = processing_performance_monitoring(1, include_error_analysis=True)["error_analysis"]
    assert (errors["total_errors"], errors["unique_error_types"], errors["exact"]) == (7, 3, True)
    assert errors["errors_by_flow"] == {"f": 4, "g": 3}
    top = {error["error_type"]: (error["count"], error["flows"], error["example"]) for error in errors["top_errors"]}
    assert top["LookupError"] == (4, ["f", "g"], "not there")
    assert top["row # is empty"] == (2, ["g"], "row 18 is empty")
    assert top["orphaned"][:2] == (1, ["f"])


@pytest.mark.parametrize("folded", [False, True])
def test_times_are_those_of_the_records(
    processor: DistributedProcessor, conn: psycopg.Connection, folded: bool
) -> None:
    work(conn, "f", 200)
    work(conn, "g", 100)
    conn.execute(
        f"update {QUEUE} set claimed_at = completed_at - id * interval '1 s', "
        "created_at = completed_at - id * interval '3 s'"
    )
    if folded:
        processor.maintain()
    report = processing_performance_monitoring()
    seconds = [n for (n,) in conn.execute(f"select id from {QUEUE} where flow_name = 'f'")]
    of_f = report["flow_specific_metrics"]["f"]
    half, most = quantiles(seconds, n=2)[0], quantiles(seconds, n=20)[-1]
    assert (of_f["run_seconds"]["p50"], of_f["run_seconds"]["p95"]) == (pytest.approx(half, 1), pytest.approx(most, 1))
    assert of_f["wait_seconds"]["p95"] == 2 * of_f["run_seconds"]["p95"]
    assert of_f["percentiles"] == {"records": 200, "exact": True}
    overall = report["overall_metrics"]
    assert (overall["run_seconds"]["p50"], overall["completed_count"]) == (150, 300)
    assert report["performance_trends"]["hourly_trends"][-1]["completed"] > 0


FILL = f"""
    insert into {QUEUE} (flow_name, payload, status, claim_token, created_at, claimed_at, completed_at)
    select
        'f' || g % 2, '{{}}', 'completed', g, t.at - interval '1 minute', t.at - g % 100 * interval '1 s', t.at
    from generate_series(1, {HISTORY}) as g
    cross join lateral (select now() - g * interval '10 days' / {HISTORY} as at) as t;
    insert into conveyor.flow_minute
    select flow_name, date_trunc('minute', completed_at), count(*), 0, 0, 0
    from {QUEUE}
    group by flow_name, date_trunc('minute', completed_at);
    insert into conveyor.attempt (record_id, claim_token, outcome, error)
    select q.id, q.claim_token, 'failed', 'boom'
    from {QUEUE} as q
    limit {HISTORY // 10};
"""

READ = """
    select
        (select sum(t.seq_tup_read) from pg_stat_xact_user_tables as t
            where t.relname in ('processing_queue', 'attempt')),
        (select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index as i
            where i.indrelid = any (array['conveyor.processing_queue', 'conveyor.attempt']::regclass[]))
"""


@pytest.mark.parametrize("analysed", [False, True])
def test_no_report_reads_history(rpa_db: DatabaseManager, conn: psycopg.Connection, analysed: bool) -> None:
    conn.execute(f"alter table {QUEUE} set (autovacuum_enabled = off)")
    work(conn, "f0", 1)  # makes plans
    conn.execute(FILL)
    sql.maintain(conn)
    if analysed:
        conn.execute(f"vacuum analyze {QUEUE}, conveyor.attempt")
    for report, most in (
        ("queue_monitoring(true)", 10_000),
        ("processing_diagnostics(true, true)", 20_000),
        ("processing_performance(24, true)", 32_000),
        ("processing_performance(720, true)", 32_000),
    ):
        with conn.transaction():
            before = conn.execute(READ).fetchone() or ()
            conn.execute(f"select conveyor.{report}")
            after = conn.execute(READ).fetchone() or ()
        scanned, by_index = (int(now - then) for now, then in zip(after, before, strict=True))
        assert scanned == 0, report
        assert by_index <= most, report
    metrics = processing_performance_monitoring(720, database=rpa_db)["overall_metrics"]
    assert metrics["completed_count"] >= HISTORY
    assert metrics["percentiles"]["exact"] is False
    assert metrics["percentiles"]["records"] <= 11_000
    assert metrics["run_seconds"]["p50"] == pytest.approx(50, abs=5)
    assert metrics["run_seconds"]["p95"] == pytest.approx(95, abs=3)
