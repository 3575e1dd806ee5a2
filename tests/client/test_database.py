"""DatabaseManager: configured by name, connects late, comes back, and never shows a password."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import EmbeddedServer

PASSWORD = "hunter2-and-more"
HEALTH_KEYS = {"database_name", "status", "connection", "query_test", "response_time_ms", "timestamp"}
SESSIONS = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
URL = "PRODUCTION_GLOBAL_RPA_DB_CONNECTION_STRING"
# What was set, and what the error shows of it.
MISTYPED = {
    "environment": ({"PRODUCTON_GLOBAL_RPA_DB_TYPE": "postgresql", URL: "?"}, "PRODUCTON_GLOBAL_RPA_DB_TYPE"),
    "name": ({"PRODUCTION_GLOBAL_RPADB_TYPE": "postgresql", URL: "?"}, "PRODUCTION_GLOBAL_RPADB_TYPE"),
    "key": ({"PRODUCTION_GLOBAL_RPA_DB_TYPE": "postgresql", URL.replace("NN", "N"): "?"}, "CONNECTION_STRING"),
    "left at embedded": ({"PRODUCTION_GLOBAL_RPA_DB_TYPE": "embedded", URL: "postgresql://u:p@h/db"}, "embedded"),
    "behind it embedded": ({"GLOBAL_RPA_DB_TYPE": "embedded", URL: "postgresql://u:p@h/db"}, "embedded"),
}
BAD_URLS = {
    "port": f"postgresql://u:{PASSWORD}@localhost:port/db",
    "bracket": f"postgresql://u:{PASSWORD}@[::1/db",
    "escape": f"postgresql://u:{PASSWORD}%zz@localhost/db",
    "option": f"postgresql://u:{PASSWORD}@localhost/db?no_such_option=1",
    "scheme": f"mysql://u:{PASSWORD}@localhost/db",
    "quote": f"host=localhost password='{PASSWORD}",
    "text": f"just {PASSWORD}",
    "empty": "",
}
UNREACHABLE = {
    "password": {"password": PASSWORD},
    "host": {"host": "no-such-host.invalid", "hostaddr": None, "password": PASSWORD},
    "port": {"host": "127.0.0.1", "hostaddr": None, "port": "1", "password": PASSWORD},
    "database": {"dbname": "no_such_database"},
}
Manager = DatabaseManager
Fn = Callable[..., Any]


@pytest.fixture
def manager() -> Iterator[DatabaseManager]:
    """A manager of whatever the test configures."""
    with DatabaseManager("rpa_db") as manager:
        yield manager


@pytest.fixture
def assert_unavailable(manager: Manager, shown: Fn, caplog: pytest.LogCaptureFixture) -> Fn:
    """A query raises, health tells, and nothing shows the password."""
    caplog.set_level(logging.DEBUG)

    def assert_unavailable(kinds: Any, match: str, password: str) -> None:
        with pytest.raises(kinds, match=match) as caught:
            manager.execute_query("select 1")
        health = manager.health_check()
        assert (health["status"], health["connection"]) == ("unhealthy", False)
        assert health.keys() - {"pool"} == HEALTH_KEYS | {"error"}
        assert password not in shown(caught.value) + caplog.text + json.dumps(health) + repr(manager)

    return assert_unavailable


class TestConfiguration:
    def test_it_connects_when_first_used(self, rpa_db: Manager, conn: psycopg.Connection) -> None:
        assert rpa_db.get_pool_status()["pool_size"] == 0
        assert conn.execute(f"select count(*) {SESSIONS}").fetchone() == (0,)
        rpa_db.execute_query("create table committed as select 1 as n")
        assert conn.execute("select n from committed").fetchone() == (1,)
        assert conn.execute(f"select count(*) > 0 {SESSIONS}").fetchone() == (True,)

    @pytest.mark.parametrize("name", ["", "  ", None, 5])
    def test_a_name_that_is_none_is_refused(self, name: Any) -> None:
        with pytest.raises(ValueError, match="database_name"):
            DatabaseManager(name)

    def test_unconfigured_it_says_how_to_configure_and_how_to_try_it_out(self, manager: Manager) -> None:
        with pytest.raises(ValueError, match="rpa_db") as caught:
            manager.execute_query("select 1")
        for part in ("DEVELOPMENT_GLOBAL_RPA_DB_TYPE", "DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING", "embedded"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("mistyped", MISTYPED)
    def test_a_mistyped_production_variable_is_an_error_with_a_hint(
        self, assert_unavailable: Fn, monkeypatch: pytest.MonkeyPatch, mistyped: str
    ) -> None:
        monkeypatch.setattr("pgconveyor.embedded.EmbeddedServer.start", lambda _: pytest.fail("a server was started"))
        monkeypatch.setenv("PREFECT_ENVIRONMENT", "production")
        settings, named = MISTYPED[mistyped]
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert_unavailable(ValueError, f"PRODUCTION_GLOBAL_RPA_DB_.*{named}", "u:p@")

    @pytest.mark.parametrize(
        "setting", ["TYPE=oracle", "POOL_SIZE=many", "POOL_SIZE=0", "POOL_TIMEOUT=soon", "POOL_TIMEOUT=-1"]
    )
    def test_a_setting_that_cannot_be_is_named(self, manager: Manager, dsn: str, configure: Fn, setting: str) -> None:
        name, value = setting.split("=")
        configure("rpa_db", dsn, **{name: value})
        with pytest.raises(ValueError, match=f"DEVELOPMENT_GLOBAL_RPA_DB_{name}.*{value}"):
            manager.execute_query("select 1")

    @pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
    def test_a_bad_url_is_an_error_without_the_password(self, configure: Fn, assert_unavailable: Fn, url: str) -> None:
        configure("rpa_db", url)
        assert_unavailable((ValueError, ConnectionError), "(?i)rpa_db", PASSWORD)

    @pytest.mark.parametrize(
        "password",
        ["eins1@zwei2", "eins1/zwei2", "eins1?zwei2@", "eins1@zwei2:drei3", "eins1,zwei2@drei3/vier4", "eins1"],
    )
    def test_no_part_of_a_password_that_needs_escapes_is_shown(
        self, configure: Fn, manager: Manager, shown: Fn, caplog: pytest.LogCaptureFixture, password: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        forgotten = "" if password == "eins1" else "@127.0.0.1:1"
        configure("rpa_db", f"postgresql://u:{password}{forgotten}/db")
        with pytest.raises(ValueError, match=r"RPA_DB_CONNECTION_STRING cannot be read.*%40 for @") as caught:
            manager.execute_query("select 1")
        seen = shown(caught.value) + caplog.text + json.dumps(manager.health_check())
        assert [part for part in ("eins1", "zwei2", "drei3", "vier4") if part in seen.replace("connection", "")] == []

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql:///db?host=/run/x&port=1",
            "postgres://u:p%40%2F@[::1]:1,127.0.0.1:2/db?application_name=a@b",
            "postgresql+psycopg://u@%2Frun%2Fx/db",
            "host=127.0.0.1 port=1 dbname=a@b/c",
        ],
    )
    def test_what_libpq_understands_without_doubt_is_taken(self, configure: Fn, manager: Manager, url: str) -> None:
        configure("rpa_db", url)
        assert conninfo_to_dict(manager.conninfo())

    @pytest.mark.parametrize("wrong", UNREACHABLE.values(), ids=UNREACHABLE)
    def test_what_cannot_be_reached_is_a_connection_error_without_the_password(
        self, dsn: str, configure: Fn, assert_unavailable: Fn, wrong: dict[str, Any]
    ) -> None:
        configure("rpa_db", make_conninfo(dsn, **wrong), POOL_TIMEOUT=1)
        assert_unavailable(ConnectionError, "rpa_db", wrong.get("password") or conninfo_to_dict(dsn)["password"])


class TestPool:
    def test_health_has_the_contracts_keys(self, rpa_db: Manager) -> None:
        health = rpa_db.health_check()
        assert health.keys() == HEALTH_KEYS | {"pool", "shares_sessions"}
        assert (health["pool"]["max_connections"], health["pool"]["waiting"]) == (10, 0)
        assert (health["database_name"], health["status"], health["connection"]) == ("rpa_db", "healthy", True)
        assert isinstance(health["response_time_ms"], float)

    def test_pool_status_counts_connections(self, dsn: str, configure: Fn, wait_until: Fn) -> None:
        configure("rpa_db", dsn, POOL_SIZE=4)
        with DatabaseManager("rpa_db") as manager:
            with manager.connection():  # the pool may be at work in the background
                wait_until(lambda: manager.get_pool_status()["checked_out"] == 1)
                status = manager.get_pool_status()
            wait_until(lambda: manager.get_pool_status()["checked_out"] == 0)
        assert (status["max_connections"], status["utilization_percent"], status["waiting"]) == (4, 25.0, 0)

    def test_a_pool_that_stays_busy_is_a_connection_error(self, dsn: str, configure: Fn) -> None:
        configure("rpa_db", dsn, POOL_SIZE=1, POOL_TIMEOUT=0.2)
        with DatabaseManager("rpa_db") as manager:
            named = (
                "all 1 .* in use for 0.2 s.*DEVELOPMENT_GLOBAL_RPA_DB_POOL_SIZE.*DEVELOPMENT_GLOBAL_RPA_DB_POOL_TIMEOUT"
            )
            with manager.connection(), pytest.raises(ConnectionError, match=named):
                manager.execute_query("select 1")
            assert manager.execute_query("select 1 as n") == [{"n": 1}]

    def test_a_timeout_that_is_given_is_stronger_than_the_setting(self, dsn: str, configure: Fn) -> None:
        configure("rpa_db", dsn, POOL_SIZE=1, POOL_TIMEOUT=60)
        with (
            DatabaseManager("rpa_db", pool_timeout=0.1) as manager,
            manager.connection(),
            pytest.raises(ConnectionError, match=r"in use for 0\.1 s"),
        ):
            manager.execute_query("select 1")
        with pytest.raises(ValueError, match="pool_timeout is 0"):
            DatabaseManager("rpa_db", pool_timeout=0)

    def test_threads_share_a_manager(self, dsn: str, configure: Fn) -> None:
        configure("rpa_db", dsn, POOL_SIZE=3)
        with DatabaseManager("rpa_db") as manager, ThreadPoolExecutor(12) as threads:
            manager.execute_query("create table t (n integer)")
            list(threads.map(lambda n: manager.execute_query("insert into t values (%s)", [n]), range(200)))
            assert manager.execute_query("select count(*), sum(n) from t") == [{"count": 200, "sum": 19900}]
            assert manager.get_pool_status()["pool_size"] <= 3

    def test_who_calls_one_after_the_other_needs_one_session(self, rpa_db: Manager) -> None:
        pids = {rpa_db.execute_query("select pg_backend_pid() as pid")[0]["pid"] for _ in range(20)}
        assert len(pids) == 1
        assert rpa_db.get_pool_status()["pool_size"] == 1

    def test_a_closed_manager_opens_again(self, rpa_db: Manager) -> None:
        for _ in range(2):
            assert rpa_db.execute_query("select 1 as n") == [{"n": 1}]
            rpa_db.close()
        assert rpa_db.get_pool_status()["pool_size"] == 0

    def test_lost_connections_are_replaced(self, rpa_db: Manager, conn: psycopg.Connection, wait_until: Fn) -> None:
        with pytest.raises(ConnectionError), rpa_db.connection() as lost:  # noqa: PT012
            conn.execute(f"select pg_terminate_backend(pid, 5000) {SESSIONS}")
            lost.execute("select 1")
        wait_until(lambda: rpa_db.health_check()["status"] == "healthy")
        assert rpa_db.execute_query("select 1 as n") == [{"n": 1}]


class TestEmbedded:
    def test_a_restarted_server_is_found_again(
        self, embedded: EmbeddedServer, configure: Fn, manager: Manager, assert_unavailable: Fn, wait_until: Fn
    ) -> None:
        dsn = embedded.dsn()
        configure("rpa_db", dsn, POOL_TIMEOUT=1)
        assert manager.health_check()["status"] == "healthy"
        embedded.stop()
        assert_unavailable(ConnectionError, "rpa_db", conninfo_to_dict(dsn)["password"])
        with pytest.raises(ConnectionError, match=r"could be made within 1 s: .*refused"):
            manager.execute_query("select 1")
        embedded.start()
        wait_until(lambda: manager.health_check()["status"] == "healthy")
        assert manager.execute_query("select 1 as n") == [{"n": 1}]

    def test_the_type_embedded_makes_a_server(self, directory: Path, configure: Fn, manager: Manager) -> None:
        configure("rpa_db", str(directory), TYPE="embedded")
        for rows in ([], [{"n": 1}]):
            manager.execute_query("create table if not exists kept (n integer)")
            assert manager.execute_query("select n from kept") == rows
            manager.execute_query("insert into kept values (1)")
            manager.close()
            assert EmbeddedServer(directory).stop()
