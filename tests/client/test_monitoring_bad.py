"""What the monitoring functions refuse, and where their thresholds come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from core.monitoring import (
    distributed_processing_diagnostics,
    distributed_queue_monitoring,
    processing_performance_monitoring,
)
from pgconveyor import monitoring
from sql import value

pytestmark = pytest.mark.usefixtures("rpa_db")


@pytest.mark.parametrize("hours", [0, -1, 721, 10**30, True, 1.5, "24", None])
def test_a_window_that_is_none_is_refused(hours: Any) -> None:
    with pytest.raises(ValueError, match="time_window_hours is"):
        processing_performance_monitoring(hours)


@pytest.mark.parametrize("flag", [None, 1, "yes"])
def test_a_flag_is_true_or_false(flag: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: distributed_queue_monitoring(flag),
        lambda: distributed_processing_diagnostics(flag),
        lambda: distributed_processing_diagnostics(False, flag),
        lambda: processing_performance_monitoring(24, flag),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"^include_\w+ is"):
            call()


@pytest.mark.parametrize("text", ["-1", "many", "nan", "inf", "1e10"])
def test_a_threshold_that_is_none_is_refused_by_the_name_of_its_variable(
    threshold: Callable[[str, object], None], text: str
) -> None:
    threshold("silent_hours", text)
    with pytest.raises(ValueError, match="DEVELOPMENT_GLOBAL_MONITORING_SILENT_HOURS is"):
        distributed_queue_monitoring()


def test_the_thresholds_that_are_told_are_the_schemas(conn: psycopg.Connection) -> None:
    defaults = value(conn, "select conveyor._monitoring_thresholds('{}')")
    told = re.findall(r"(?m)^    ([a-z_]+) +(\d+)(?:  |$)", str(monitoring.__doc__))
    assert {name: float(number) for name, number in told} == defaults
    assert [name for name, _ in told] == list(monitoring.THRESHOLDS)


def test_something_else_is_no_database() -> None:
    with pytest.raises(ValueError, match="database is str"):
        distributed_queue_monitoring(database="rpa_db")  # type: ignore[arg-type]
