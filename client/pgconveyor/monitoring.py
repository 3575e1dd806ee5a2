"""
Reports on the queue (contract: Monitoring Functions). Each is one function of the schema, for roles
`conveyor_viewer` and `conveyor_operator`, and one look at the database: no report counts history.

Thresholds are settings: `monitoring.window_minutes` is looked for as `{ENVIRONMENT}_GLOBAL_MONITORING_WINDOW_MINUTES`
and `GLOBAL_MONITORING_WINDOW_MINUTES`. What is over one is an issue.

    window_minutes              60  queue health looks back so far; 43200 at most
    failed_percent_warning      10  of the records of a flow that ended in the window
    failed_percent_critical     20
    pending_minutes_warning     15  since the oldest pending record of a flow was due
    pending_minutes_critical    60
    maintain_minutes             5  since a lease ended, or a count was not folded: nobody calls maintain()
    silent_hours                 1  since a holder claimed or heartbeated, and at least the lease of its flow
    horizon_minutes             30  that a transaction keeps dead rows from being removed
    horizon_transactions   1000000  that began since

All raise `ValueError` for a bad argument or threshold, `ConnectionError` when the database cannot be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgconveyor.database import DatabaseManager
from pgconveyor.documents import Document, encode
from pgconveyor.tunables import threshold

__all__ = ["distributed_processing_diagnostics", "distributed_queue_monitoring", "processing_performance_monitoring"]

THRESHOLDS = (
    "window_minutes",
    "failed_percent_warning",
    "failed_percent_critical",
    "pending_minutes_warning",
    "pending_minutes_critical",
    "maintain_minutes",
    "silent_hours",
    "horizon_minutes",
    "horizon_transactions",
)

QUEUE = """
    select conveyor.queue_monitoring(p_include_detailed_metrics => %s, p_thresholds => %s::jsonb) as report
"""

DIAGNOSTICS = """
    select conveyor.processing_diagnostics(
        p_include_orphaned_analysis => %s, p_include_performance_analysis => %s, p_thresholds => %s::jsonb
    ) as report
"""

PERFORMANCE = """
    select conveyor.processing_performance(
        p_time_window_hours => %s::integer, p_include_error_analysis => %s, p_thresholds => %s::jsonb
    ) as report
"""


def distributed_queue_monitoring(
    include_detailed_metrics: bool = False, *, database: DatabaseManager | None = None
) -> dict[str, Any]:
    """
    How the queue is.

    `queue_health_assessment` has `queue_health` (`critical` or `degraded` when there is an alert so bad, else
    `healthy`, or `idle` when nothing is due, held, or ended in the window), the numbers it goes by and the
    `thresholds`. `overall_queue_status` is that of `get_queue_status`; `operational_alerts` and `recommendations` are
    texts, the worst first. With `include_detailed_metrics` also `flow_specific_metrics`: of each flow counts, backlog,
    holders and the `performance` in the window.
    """
    _check_flag("include_detailed_metrics", include_detailed_metrics)
    return _report(QUEUE, [include_detailed_metrics], database)


def distributed_processing_diagnostics(
    include_orphaned_analysis: bool = False,
    include_performance_analysis: bool = False,
    *,
    database: DatabaseManager | None = None,
) -> dict[str, Any]:
    """
    What is wrong.

    `issues_found` are texts that begin with `critical:`, `warning:` or `notice:`, the worst first, and
    `recommendations` say in the same order which function to call; `worst_severity` is `none` without one.
    `system_health` is the queue's own health check, `database_diagnostics` has sizes, dead rows and `horizon_holders`.
    On demand `orphaned_records_analysis` (how many, by flow and holder, the oldest) and `performance_analysis`, of 24
    hours.
    """
    _check_flag("include_orphaned_analysis", include_orphaned_analysis)
    _check_flag("include_performance_analysis", include_performance_analysis)
    return _report(DIAGNOSTICS, [include_orphaned_analysis, include_performance_analysis], database)


def processing_performance_monitoring(
    time_window_hours: int = 24, include_error_analysis: bool = False, *, database: DatabaseManager | None = None
) -> dict[str, Any]:
    """
    How much was done in the last 1 to 720 hours, how well and how fast; the window begins at a whole minute.

    `overall_metrics`, and the same in `flow_specific_metrics`: `completed_count`, `failed_count`,
    `success_rate_percent` (100 when nothing ended), `avg_processing_rate_per_hour`, `wait_seconds` from due to claim
    and `run_seconds` from claim to answer, each `avg`, `p50` and `p95` (None without a completed record). Counts and
    averages are exact; `percentiles` says of how many `records` p50 and p95 are, and whether they are `exact`: they
    are up to 10,000 records in the window, above it estimated from about as many, spread over the window. Records that
    were purged are in the counts, not in the percentiles.

    `error_analysis` groups failed and orphaned attempts by type, over the newest 10,000 attempts; `exact` says whether
    these are all of the window. An error without a type goes by its first line, numbers left out.
    """
    if isinstance(time_window_hours, bool) or not isinstance(time_window_hours, int):
        raise ValueError(f"time_window_hours is {time_window_hours!r:.100}: give a whole number of hours")
    if not 1 <= time_window_hours <= 720:
        raise ValueError(f"time_window_hours is {time_window_hours!r:.100}: give hours from 1 to 720")
    _check_flag("include_error_analysis", include_error_analysis)
    return _report(PERFORMANCE, [time_window_hours, include_error_analysis], database)


def _report(query: str, params: Sequence[Any], database: DatabaseManager | None) -> dict[str, Any]:
    arguments = [*params, _thresholds()]
    if database is None:
        with DatabaseManager("rpa_db", pool_size=1) as manager:
            [row] = manager.execute_query(query, arguments)
    elif isinstance(database, DatabaseManager):
        [row] = database.execute_query(query, arguments)
    else:
        raise ValueError(f"database is {type(database).__name__}: give a DatabaseManager")
    return row["report"]  # type: ignore[no-any-return]


def _thresholds() -> Document:
    """Those that are configured; the defaults are the schema's."""
    given = {name: threshold(name).read(None)[0] for name in THRESHOLDS}
    return encode({name: value for name, value in given.items() if value is not None}, "thresholds")


def _check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.100}: give True or False")
