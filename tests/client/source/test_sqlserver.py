"""`DatabaseManager` of a SQL Server: its methods, and what it does when the server or the way to it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner

from pgconveyor import sqlserver
from pgconveyor.cli import cli
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.worker import Worker
from tds import Fault, LoginFault, TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

COUNT = "SELECT COUNT(*) AS n FROM responses"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlserver, "BACK_OFF", 0.01)


class TestQueries:
    def test_rows_are_dicts_by_the_names_of_the_columns(self, responses: Any) -> None:
        rows = responses.execute_query("SELECT id, answer AS Answer FROM responses WHERE id < ? ORDER BY id", [2])
        assert rows == [{"id": 0, "Answer": "answer 0"}, {"id": 1, "Answer": "answer 1"}]
        assert responses.execute_query("UPDATE responses SET answer = ? WHERE id = ?", ["new", 1]) == []

    def test_a_transaction_is_all_or_nothing(self, responses: Any) -> None:
        insert = "INSERT INTO responses VALUES (?, N'x')"
        with pytest.raises(pyodbc.Error, match="2627"):
            responses.execute_transaction([(insert, [1000]), (insert, [1])])
        assert responses.execute_query(COUNT) == [{"n": 100}]
        rows = responses.execute_transaction([(insert, [1000]), (COUNT, None), ("SELECT 1 AS one", ())])
        assert rows == [{"n": 101}, {"one": 1}]

    def test_what_the_block_writes_is_committed_or_rolled_back(self, responses: Any) -> None:
        def fails() -> None:
            with responses.connection() as conn:
                conn.execute("DELETE FROM responses")
                raise LookupError

        with pytest.raises(LookupError):
            fails()
        with responses.connection() as conn:
            conn.execute("DELETE FROM responses WHERE id = 1")
        assert responses.execute_query(COUNT) == [{"n": 99}]

    @pytest.mark.parametrize("params", [{"a": 1}, "text"])
    def test_parameters_are_a_sequence(self, responses: Any, params: Any) -> None:
        with pytest.raises(ValueError, match=r"params is \w+: SQL Server takes \? and a sequence"):
            responses.execute_query("SELECT ?", params)

    def test_values_are_pythons(self, hub: Any) -> None:
        hub.execute_query("CREATE TABLE v (o datetimeoffset(7), d decimal(38,10), m money)")
        hub.execute_query("INSERT INTO v VALUES ('2024-01-02 03:04:05.1234567 -05:30', 0.1, 0.0001)")
        zone = timezone(-timedelta(hours=5, minutes=30))
        [row] = hub.execute_query("SELECT * FROM v")
        assert row["o"] == datetime(2024, 1, 2, 3, 4, 5, 123456, zone)
        assert (row["d"], row["m"]) == (Decimal("0.1000000000"), Decimal("0.0001"))
        assert row["o"].astimezone(UTC).hour == 8

    def test_a_stream_comes_in_pages(self, responses: Any) -> None:
        pages = list(responses.stream("SELECT id FROM responses WHERE id >= ? ORDER BY id", [5], page=40))
        assert [len(page) for page in pages] == [40, 40, 15]
        assert pages[0][0] == {"id": 5}


class TestPool:
    def test_connections_are_used_again_and_counted(self, responses: Any, tds: TdsServer) -> None:
        before = len(tds.logins)
        for _ in range(5):
            responses.execute_query(COUNT)
        assert len(tds.logins) == before
        with responses.connection():
            pool = responses.get_pool_status()
            assert (pool["checked_out"], pool["max_connections"], pool["utilization_percent"]) == (1, 10, 10.0)
        assert responses.get_pool_status()["checked_out"] == 0

    def test_threads_share_it(self, tds: TdsServer, configure: Callable[..., None]) -> None:
        configure("SurveyHub", tds.url(Encrypt="no"), TYPE="sqlserver", POOL_SIZE=2)
        with DatabaseManager("SurveyHub") as manager, ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda n: manager.execute_query("SELECT ? AS n", [n])[0]["n"], range(40)))
            assert found == list(range(40))
            assert manager.get_pool_status()["pool_size"] <= 2

    def test_one_that_stays_busy_names_its_variable(self, tds: TdsServer, configure: Callable[..., None]) -> None:
        configure("SurveyHub", tds.url(Encrypt="no"), TYPE="sqlserver", POOL_SIZE=1, POOL_TIMEOUT=0.1)
        said = r"SurveyHub: all 1 connections were in use for 0.1 s: raise DEVELOPMENT_GLOBAL_SURVEYHUB_POOL_SIZE"
        with DatabaseManager("SurveyHub") as hub, hub.connection(), pytest.raises(ConnectionError, match=said):
            hub.execute_query("SELECT 1")

    def test_a_rested_connection_is_tried_before_it_is_used(
        self, responses: Any, tds: TdsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlserver, "IDLE_CHECK", 0.0)
        responses.execute_query(COUNT)
        tds.drop_all()
        with responses.connection() as conn:
            assert conn.execute(COUNT).fetchval() == 100


class TestFailures:
    @pytest.mark.parametrize("number", [40613, 40501, 10928, 49918, 1205, 1222])
    def test_what_passes_is_tried_again(self, responses: Any, tds: TdsServer, number: int) -> None:
        tds.faults.append(fault := Fault("COUNT", times=2, error=number))
        assert responses.execute_query(COUNT) == [{"n": 100}]
        assert fault.times == 0

    @pytest.mark.parametrize("fault", [{"drop": "rst"}, {"drop": "fin"}, {"drop": "fin", "after_rows": 50}])
    def test_a_lost_connection_is_replaced(self, responses: Any, tds: TdsServer, fault: dict[str, Any]) -> None:
        tds.faults.append(Fault("ORDER BY id", times=2, **fault))
        assert len(responses.execute_query("SELECT id FROM responses ORDER BY id")) == 100

    def test_not_for_ever(self, responses: Any, tds: TdsServer) -> None:
        tds.faults.append(Fault("COUNT", times=99, drop="rst"))
        with pytest.raises(ConnectionError, match="SurveyHub: "):
            responses.execute_query(COUNT)
        assert tds.faults[0].times == 99 - sqlserver.ATTEMPTS

    @pytest.mark.parametrize("number", [208, 2627, 50000])
    def test_what_does_not_pass_is_raised_at_once(self, responses: Any, tds: TdsServer, number: int) -> None:
        tds.faults.append(fault := Fault("COUNT", times=9, error=number))
        with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
            responses.execute_query(COUNT)
        assert fault.times == 8

    def test_writes_are_not_repeated_when_they_were_committed(self, responses: Any, tds: TdsServer) -> None:
        tds.faults.append(Fault("INSERT INTO responses VALUES", drop="rst"))
        responses.execute_query("INSERT INTO responses VALUES (?, N'x')", [1000])
        assert responses.execute_query(COUNT) == [{"n": 101}]

    def test_a_wrong_password_is_tried_once(
        self, tds: TdsServer, configure: Callable[..., None], shown: Callable[[BaseException], str]
    ) -> None:
        configure("SurveyHub", tds.url(Encrypt="no").replace(":Str0ng", ":hunter2"), TYPE="sqlserver")
        with DatabaseManager("SurveyHub") as hub, pytest.raises(ConnectionError, match="Login failed") as caught:
            hub.execute_query("SELECT 1")
        assert "hunter2" not in shown(caught.value)
        assert len(tds.logins) == 1

    @pytest.mark.parametrize("fault", [{"error": 40613}, {"drops": True}])
    def test_a_login_that_meets_a_fail_over_is_tried_again(
        self, hub: Any, tds: TdsServer, fault: dict[str, Any]
    ) -> None:
        tds.login_faults.append(LoginFault(times=2, **fault))
        assert hub.execute_query("SELECT 1 AS one") == [{"one": 1}]

    def test_nobody_there_is_a_connection_error(self, configure: Callable[..., None]) -> None:
        configure("SurveyHub", "mssql+pyodbc://u:hunter2@127.0.0.1:1/db", TYPE="sqlserver")
        with DatabaseManager("SurveyHub") as hub:
            with pytest.raises(ConnectionError, match="SurveyHub: "):
                hub.execute_query("SELECT 1")
            health = hub.health_check()
        assert health["status"] == "unhealthy"
        assert "hunter2" not in str(health)

    @pytest.mark.parametrize("fault", [{"stalls": True, "after_rows": 50}, {"row_delay": 0.05}, {"stalls": True}])
    def test_a_read_that_is_late_is_tried_again(self, responses: Any, tds: TdsServer, fault: dict[str, Any]) -> None:
        tds.faults.append(Fault("ORDER BY id", times=2, **fault))
        rows = responses.read("SELECT id FROM responses WHERE id > ? ORDER BY id", [49], deadline=0.5)
        assert [row[0] for row in rows] == list(range(50, 100))
        tds.faults.append(Fault("ORDER BY id", times=9, **fault))
        with pytest.raises(sqlserver.PassingFailure, match=r"^SurveyHub: no whole answer within 0.1 s$"):
            responses.read("SELECT id FROM responses ORDER BY id", deadline=0.1)

    def test_a_read_that_meets_silence_is_tried_again(
        self, hub: Any, tds: TdsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlserver, "QUERY_TIMEOUT", 1)
        monkeypatch.setattr(sqlserver, "GRACE", -59)  # as if the server did not hear that its time is over
        tds.faults.append(fault := Fault("SELECT 7", stalls=True))
        assert [tuple(row) for row in hub.read("SELECT 7 AS n")] == [(7,)]
        assert fault.times == 0

    @pytest.mark.parametrize("fault", [{"stalls": True, "after_rows": 50}, {"row_delay": 0.05}, {"stalls": True}])
    def test_a_page_has_a_deadline(self, responses: Any, tds: TdsServer, fault: dict[str, Any]) -> None:
        tds.faults.append(Fault("ORDER BY id", **fault))
        with pytest.raises(ConnectionError, match=r"^SurveyHub: no whole answer within 0.5 s$"):
            list(responses.stream("SELECT id FROM responses ORDER BY id", deadline=0.5))
        assert responses.execute_query(COUNT) == [{"n": 100}]


def test_health_has_the_contracts_keys(hub: Any) -> None:
    health = hub.health_check()
    assert (health["status"], health["connection"], health["query_test"]) == ("healthy", True, True)
    assert health["response_time_ms"] >= 0
    assert health.keys() >= {"database_name", "timestamp"}


def test_a_handler_looks_things_up_while_it_works(responses: Any, processor: DistributedProcessor) -> None:
    processor.add_records_to_queue("f", [{"id": n} for n in range(20)])
    threads = set()

    def handle(record: dict[str, Any], context: Any) -> dict[str, Any]:
        threads.add(threading.get_ident())
        query = "SELECT answer FROM responses WHERE id = ?"
        [row] = context.source.execute_query(query, [record["payload"]["id"]])
        return row  # type: ignore[no-any-return]

    Worker("rpa_db", {"f": handle}, source=responses, once=True).run()
    assert processor.get_queue_status("f")["completed_records"] == 20


def test_the_processor_of_the_contract_has_both(responses: Any, processor: DistributedProcessor) -> None:
    health = DistributedProcessor(processor.rpa_db, responses).health_check()
    assert (health["status"], health["databases"].keys()) == ("healthy", {"rpa_db", "SurveyHub"})


def test_the_queue_cannot_be_in_it(hub: Any) -> None:
    with pytest.raises(ValueError, match=r"^rpa_db_manager is DatabaseManager\('SurveyHub'\), a SQL Server: give"):
        DistributedProcessor(hub)
    result = CliRunner().invoke(cli, ["status", "--database", "SurveyHub"])
    assert (result.exit_code, "SurveyHub is a SQL Server" in result.output) == (2, True)
