"""The contract's code for core.database, core.distributed, core.config and core.monitoring runs as written."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import core.monitoring
from contract import BLOCKS, parameters
from core.config import ConfigManager
from core.database import DatabaseManager
from core.distributed import DistributedProcessor
from pgconveyor.errors import ClaimLost, DatabaseUnavailable, InvalidArgument, QueueError, RecordNotFound, SchemaMissing

SIGNATURES = [
    name for name in BLOCKS if name.startswith("signature") and "flow" not in name and "record_with" not in name
]
SURVEYS = [
    {"survey_id": "SURV-001", "customer_id": "CUST-001"},
    {"survey_id": "SURV-002", "customer_id": "CUST-002"},
]
OWNERS = {name: ConfigManager for name in ("ConfigManager", "get_variable", "get_secret")}
COLUMNS = """id flow_name payload status flow_instance_id claimed_at completed_at error_message retry_count created_at
    updated_at"""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(processor: DistributedProcessor, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example in a namespace that has `processor`; what it left there, and what it printed as `out`."""

    def run(name: str, **given: object) -> dict[str, Any]:
        namespace = {"processor": processor, **given}
        exec(compile(BLOCKS[name], name, "exec"), namespace)
        return namespace | {"out": capsys.readouterr().out}

    return run


@pytest.fixture
def insert(conn: psycopg.Connection) -> Callable[..., None]:
    def insert(status: str = "pending", flow: str = "survey_processor", **columns: object) -> None:
        names = ["flow_name", "payload", "status", *columns]
        query = f"insert into conveyor.processing_queue ({', '.join(names)}) values ({', '.join(['%s'] * len(names))})"
        conn.execute(query, [flow, '{"n": 1}', status, *columns.values()])

    return insert


def shape(value: object) -> object:
    """The keys and types of a documented result; its numbers are examples."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_the_contracts(name: str) -> None:
    function, owner, promised = parameters(name)
    home = (
        core.monitoring
        if "monitoring" in name or "diagnostics" in name
        else OWNERS.get(owner or function, DistributedProcessor)
    )
    ours = inspect.signature(getattr(home, function)).parameters.values()
    plain = [parameter for parameter in ours if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert {p.name: ... if p.default is p.empty else p.default for p in plain} == promised
    assert [parameter.name for parameter in plain] == list(promised)
    assert all(parameter.default is not inspect.Parameter.empty for parameter in ours if parameter not in plain)


class TestProcessor:
    def test_create(self, run: Run, configure: Callable[..., None], dsn: str) -> None:
        configure("rpa_db", dsn)
        configure("SurveyHub", "mssql+pyodbc://user:pass@server:1433/survey_hub", TYPE="sqlserver")
        made = run("create")
        with made["rpa_db_manager"], made["source_db_manager"]:
            assert made["processor"].get_queue_status()["total_records"] == 0
            assert isinstance(made["rpa_db_manager"], DatabaseManager)
            health = made["processor"].health_check()
        assert health["databases"].keys() == {"rpa_db", "SurveyHub"}
        assert (health["status"], health["databases"]["rpa_db"]["status"]) == ("degraded", "healthy")
        assert "pass@" not in str(health)

    def test_add_then_claim(self, run: Run) -> None:
        added = run("add")
        assert (added["count"], added["out"]) == (2, "Added 2 records to queue\n")
        claimed = run("claim")
        assert [record["payload"] for record in claimed["records"]] == SURVEYS
        assert all(record.keys() >= {"id", "payload", "retry_count"} for record in claimed["records"])
        assert claimed["out"].count("Processing record ") == 2
        assert run("claim")["records"] == []

    def test_complete(self, run: Run, insert: Callable[..., None], conn: psycopg.Connection) -> None:
        insert(id=123)
        run("claim")
        run("complete")
        row = "select status, payload, input, completed_at is not null from conveyor.processing_queue"
        result = {"status": "success", "processed_count": 5}
        assert conn.execute(row).fetchone() == ("completed", result, {"n": 1}, True)

    @pytest.mark.parametrize("message", ["it broke", ""])
    def test_fail(self, run: Run, insert: Callable[..., None], conn: psycopg.Connection, message: str) -> None:
        def process_record(_record: dict[str, Any]) -> None:
            raise ValueError(message)

        insert(retry_count=1)
        [record] = run("claim")["records"]
        run("fail", record=record, process_record=process_record)
        row = "select status, error_message, retry_count from conveyor.processing_queue"
        assert conn.execute(row).fetchone() == ("failed", message, 2)

    def test_status(self, run: Run, insert: Callable[..., None]) -> None:
        for status in ("pending", "pending", "processing", "completed", "failed"):
            insert(status)
        insert(flow="other")
        assert run("status")["out"] == "Pending: 2\nTotal records: 6\n"
        status = run("status")["processor"].get_queue_status("survey_processor")
        assert shape(status) == shape(ast.literal_eval(BLOCKS["format of status"].strip()))
        by_flow = {"pending": 2, "processing": 1, "completed": 1, "failed": 1}
        assert status["by_flow"] == {"survey_processor": by_flow}
        totals = {f"{key}_records": n for key, n in by_flow.items()}
        assert status == totals | {"total_records": 5, "by_flow": status["by_flow"]}

    def test_clean_up(self, run: Run, insert: Callable[..., None], conn: psycopg.Connection) -> None:
        for minutes in (50, 130):
            claimed_at = datetime.now(UTC) - timedelta(minutes=minutes)
            insert("processing", flow_instance_id="gone", claimed_at=claimed_at)
        cleaned = run("clean up")
        assert (cleaned["cleaned"], cleaned["out"]) == (1, "Cleaned up 1 orphaned records\n")
        row = "select flow_instance_id, claimed_at, retry_count from conveyor.processing_queue where status = 'pending'"
        assert conn.execute(row).fetchall() == [(None, None, 1)]
        assert cleaned["processor"].cleanup_orphaned_records(0.5) == 1

    def test_reset(self, run: Run, insert: Callable[..., None]) -> None:
        for retries in (2, 3):
            insert("failed", retry_count=retries)
        reset = run("reset")
        assert (reset["reset"], reset["out"]) == (1, "Reset 1 failed records for retry\n")
        assert reset["processor"].get_queue_status()["failed_records"] == 1

    def test_health(self, run: Run, rpa_db: DatabaseManager, dsn: str, configure: Callable[..., None]) -> None:
        assert run("health")["out"].startswith("System Status: healthy\nDatabase Health: {'rpa_db': {")
        configure("SurveyHub", dsn)
        with DatabaseManager("SurveyHub") as source:
            health = DistributedProcessor(rpa_db, source).health_check()
        documented = ast.literal_eval(BLOCKS["format of health"].strip())
        assert health["status"] in documented["status"].split("|")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", health["timestamp"])
        contains(shape(health), shape(documented))

    def test_the_table_has_the_contracts_columns(self, conn: psycopg.Connection) -> None:
        described = conn.execute("select * from conveyor.processing_queue").description
        assert set(COLUMNS.split()) <= {column.name for column in described}


def contains(ours: Any, documented: Any) -> None:
    if not isinstance(documented, dict):
        assert ours is documented
        return
    for key in documented:
        contains(ours[key], documented[key])


class TestErrors:
    def test_health_never_raises(self) -> None:
        with DatabaseManager("rpa_db") as manager:
            health = DistributedProcessor(manager).health_check()
        assert health["status"] == "unhealthy"
        assert health.keys() >= {"databases", "queue_status", "instance_info", "timestamp"}

    def test_psycopg_raises_ours_by_sqlstate_wherever_the_statement_ran(self, conn: psycopg.Connection) -> None:
        conn.execute("select conveyor.add_record('f', '{}')")
        complete = "select conveyor.mark_record_completed(%s, '{}', 1)"
        with pytest.raises(ClaimLost) as lost:
            conn.execute(complete, [1])
        with pytest.raises(RecordNotFound):
            conn.execute(complete, [999_999])
        with pytest.raises(InvalidArgument):
            conn.execute("select conveyor.claim_records_batch(' ', 1)")
        assert lost.value.sqlstate == "WQ001"

    def test_they_are_of_the_contracts_types(self) -> None:
        assert all(issubclass(error, RuntimeError) for error in (ClaimLost, RecordNotFound, QueueError, SchemaMissing))
        assert issubclass(InvalidArgument, ValueError)
        assert issubclass(DatabaseUnavailable, ConnectionError)


class TestConfig:
    def test_variables(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        assert {key: run("variables")[key] for key in ("batch_size", "timeout")} == {"batch_size": 100, "timeout": 60}
        monkeypatch.setenv("DEVELOPMENT_RPA1_BATCH_SIZE", "50")
        monkeypatch.setenv("GLOBAL_TIMEOUT", "5")
        assert {key: run("variables")[key] for key in ("batch_size", "timeout")} == {"batch_size": 50, "timeout": 5}

    def test_secrets(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        config = run("variables")["config"]
        monkeypatch.setenv("DEVELOPMENT_GLOBAL_API_KEY", "hunter2")
        secrets = run("secrets", config=config)
        assert (secrets["api_key"], secrets["db_password"]) == ("hunter2", None)


class TestMonitoring:
    @pytest.fixture(autouse=True)
    def worked(self, processor: DistributedProcessor) -> None:
        processor.add_records_to_queue("survey_processor", SURVEYS)
        done, failed = processor.claim_records_batch("survey_processor", 2)
        processor.mark_record_completed(done["id"], {})
        processor.mark_record_failed(failed["id"], "it broke")

    def test_monitor(self, run: Run) -> None:
        assert run("monitor")["out"] == "Queue Health: critical\n"

    def test_diagnose(self, run: Run) -> None:
        [line] = run("diagnose")["out"].splitlines()
        assert line.startswith("Issue: critical: flow survey_processor: 1 of 2 records")

    def test_performance(self, run: Run) -> None:
        success, rate = run("performance")["out"].splitlines()
        assert success == "Success Rate: 50.0%"
        assert re.fullmatch(r"Processing Rate: 0\.3\d* records/hour", rate)


def test_the_import_paths_are_the_packages_own_objects() -> None:
    import pgconveyor.config
    import pgconveyor.database
    import pgconveyor.distributed

    assert DatabaseManager is pgconveyor.database.DatabaseManager
    assert DistributedProcessor is pgconveyor.distributed.DistributedProcessor
    assert ConfigManager is pgconveyor.config.ConfigManager
