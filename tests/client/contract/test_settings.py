"""The contract's variables do what they say, and the hierarchy is the one it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.conninfo import conninfo_to_dict

from contract import settings
from core.config import ConfigManager
from core.database import DatabaseManager
from core.distributed import DistributedProcessor
from pgconveyor.conninfo import DatabaseSettings
from pgconveyor.tunables import batch_size_of, cleanup_timeout_hours, max_retries, uses_queue


@pytest.fixture
def are_set(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def are_set(block: str, **others: str) -> None:
        for name, value in (settings(block) | others).items():
            monkeypatch.setenv(name, value)

    return are_set


def test_databases(are_set: Callable[..., None]) -> None:
    are_set("databases")
    assert conninfo_to_dict(DatabaseSettings.read("rpa_db").conninfo()) == {
        "user": "user",
        "password": "pass",
        "host": "localhost",
        "port": "5432",
        "dbname": "rpa_db",
    }
    assert ConfigManager().get_variable("SurveyHub_type") == "sqlserver"
    assert ConfigManager().get_secret("SurveyHub_connection_string").startswith("mssql+pyodbc://")


def test_a_processor_begins_with_them(are_set: Callable[..., None], dsn: str) -> None:
    are_set("databases", DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING=dsn)
    with DatabaseManager("rpa_db") as rpa_db, DatabaseManager("SurveyHub") as source:
        assert DistributedProcessor(rpa_db, source).get_queue_status()["total_records"] == 0


def test_processing(are_set: Callable[..., None]) -> None:
    assert (batch_size_of("rpa2"), cleanup_timeout_hours(), max_retries(), uses_queue("rpa1")) == (100, None, 3, False)
    names = settings("processing")
    assert len(names) == 6
    are_set("processing")
    assert (batch_size_of("rpa2"), batch_size_of("rpa1"), batch_size_of("rpa1", 7)) == (100, 50, 7)
    assert (cleanup_timeout_hours(), max_retries()) == (1, 3)
    assert (uses_queue("rpa1"), uses_queue("rpa2")) == (True, False)
    are_set(
        "processing",
        DEVELOPMENT_DISTRIBUTED_PROCESSOR_DEFAULT_BATCH_SIZE="60",
        DEVELOPMENT_DISTRIBUTED_PROCESSOR_CLEANUP_TIMEOUT_HOURS="2",
        DEVELOPMENT_DISTRIBUTED_PROCESSOR_MAX_RETRIES="5",
    )
    assert (batch_size_of("rpa2"), cleanup_timeout_hours(), max_retries()) == (60, 2, 5)


def test_the_most_specific_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract's example: `batch_size` of RPA1 in development."""
    read = lambda: ConfigManager("rpa1").get_variable("batch_size", 0)  # noqa: E731
    for i, name in enumerate(["global.batch_size", "development.global.batch_size", "development.rpa1.batch_size"]):
        monkeypatch.setenv(name.upper().replace(".", "_"), str(i + 1))
        assert read() == i + 1
