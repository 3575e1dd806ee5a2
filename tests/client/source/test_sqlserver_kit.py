"""Which SQL Server is chosen, that a database is lent, and that nothing replaces in silence what was asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

import sql
import sqlserver_kit
from documents import ROOT
from pgconveyor.odbc import choose_driver, odbc_string, words_of
from sqlserver_kit import IMAGE, Choice
from tds import TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

NOBODY = "mssql+pyodbc://u:hunter2@127.0.0.1:1/db"


class Engine(BaseHTTPRequestHandler):
    """As much of an engine of containers as is asked about images; it can neither pull one nor start any."""

    images: list[str]
    asked: list[str]

    def do_GET(self) -> None:
        image = {"Id": "sha256:1", "RepoTags": self.images}
        found = {"_ping": "OK", "version": {"ApiVersion": "1.44"}, "images/json": [image]}
        self._answer(200, found.get(re.sub(r"^/(v[\d.]+/)?|\?.*", "", self.path), image))

    def do_POST(self) -> None:
        self._answer(500, {"message": "it cannot"})

    def log_message(self, *_: object) -> None:
        self.asked.append(f"{self.command} {re.sub('[?].*', '', self.path)}")

    def _answer(self, code: int, body: object) -> None:
        self.log_request(code)
        self.send_response_only(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    servers = []

    def start(*images: str) -> list[str]:
        """What it was asked."""
        handler = type("", (Engine,), {"images": list(images), "asked": []})
        servers.append(server := ThreadingHTTPServer(("127.0.0.1", 0), handler))
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        return handler.asked  # type: ignore[attr-defined,no-any-return]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    for name in ("TEST_SQLSERVER_URL", "REQUIRE_REAL_SQLSERVER"):
        monkeypatch.delenv(name, raising=False)


class TestChoice:
    def test_a_url_comes_first(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = engine(IMAGE)
        monkeypatch.setenv("TEST_SQLSERVER_URL", NOBODY)
        monkeypatch.setenv("REQUIRE_REAL_SQLSERVER", "1")
        assert sqlserver_kit.choose() == Choice("url", "TEST_SQLSERVER_URL")
        assert asked == []
        with sqlserver_kit.start(sqlserver_kit.choose()) as url:
            assert url == NOBODY

    def test_then_a_container_where_the_image_is(self, engine: Any) -> None:
        engine(IMAGE)
        assert sqlserver_kit.choose() == Choice("docker", IMAGE)

    def test_which_is_not_pulled(self, engine: Any) -> None:
        asked = engine("postgres:18")
        assert sqlserver_kit.choose().provider == "ours"
        assert IMAGE in sqlserver_kit.choose().why
        assert [request for request in asked if not request.startswith("GET")] == []

    def test_but_when_a_real_one_is_required(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = engine("postgres:18")
        monkeypatch.setenv("REQUIRE_REAL_SQLSERVER", "1")
        with pytest.raises(RuntimeError, match="it cannot"):
            sqlserver_kit.choose()
        assert asked[-1].startswith("POST /v1.44/images/create")

    def test_one_that_does_not_start_is_told_of(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        engine(IMAGE)
        choice = sqlserver_kit.choose()
        with (
            pytest.warns(UserWarning, match=r"^no container of SQL Server, so ours: .*it cannot"),
            sqlserver_kit.start(choice) as url,
        ):
            assert url is None
        monkeypatch.setenv("REQUIRE_REAL_SQLSERVER", "1")
        with pytest.raises(Exception, match="it cannot"), sqlserver_kit.start(choice):
            raise AssertionError

    def test_then_ours(self) -> None:
        assert sqlserver_kit.choose().provider == "ours"
        with sqlserver_kit.start(sqlserver_kit.choose()) as url:
            assert url is None


class TestLoan:
    @pytest.fixture
    def url(self, empty_dsn: str) -> Iterator[str]:
        """A server in a process of its own."""
        command = [sys.executable, "-m", "tds", empty_dsn]
        env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0

    def test_each_has_its_own_which_is_gone_afterwards(self, url: str) -> None:
        with ExitStack() as stack:
            with sqlserver_kit.lend(url) as first, sqlserver_kit.lend(url) as second:
                for own in (first, second):
                    stack.enter_context(closing(dial(own))).execute("CREATE TABLE t (n int)")
            for own in (first, second):
                with pytest.raises(pyodbc.Error, match="18456"):
                    dial(own)

    def test_a_database_that_an_option_names_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"^TEST_SQLSERVER_URL says its database in an option"):
            sqlserver_kit.lend(f"{NOBODY}?DATABASE=x").__enter__()

    def test_one_that_cannot_be_reached_is_an_error(self, shown: Callable[[BaseException], str]) -> None:
        said = r"^TEST_SQLSERVER_URL: 127\.0\.0\.1 cannot be used: "
        with pytest.raises(ConnectionError, match=said) as caught:
            sqlserver_kit.lend(NOBODY).__enter__()
        assert "hunter2" not in shown(caught.value)


def dial(url: str) -> Any:
    words = words_of(url, "url")
    return pyodbc.connect(odbc_string(words, choose_driver(pyodbc.drivers(), None), "test"), autocommit=True)


class TestRun:
    """Of pytest itself."""

    def run(self, server_dsn: str, **env: str) -> tuple[int, str]:
        tests = "tests/client/source/test_sqlserver.py"
        options = ["-v", "-n", "1", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options, f"{tests}::TestQueries"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PGTEST_PROVIDER": "dsn", "TEST_PG_DSN": server_dsn} | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def test_the_tests_are_run_on_what_the_url_says(self, server_dsn: str, tds: TdsServer) -> None:
        code, said = self.run(server_dsn, TEST_SQLSERVER_URL=tds.url())
        assert code == 0, said
        assert "sqlserver: url (TEST_SQLSERVER_URL)" in said
        made = [text.split()[-1] for text, _ in tds.statements if text.startswith("CREATE DATABASE")]
        assert len(made) == int(re.findall(r"(\d+) passed", said)[0]) > 1
        assert {login.database for login in tds.logins} == {*made, "survey_hub"}
        with psycopg.connect(server_dsn) as conn:
            assert not {f"tds_{name}" for name in made} & set(sql.column(conn, "select datname from pg_database"))

    def test_one_that_cannot_be_reached_is_an_error(self, server_dsn: str) -> None:
        code, said = self.run(server_dsn, TEST_SQLSERVER_URL=NOBODY)
        assert (code, "PASSED" in said, "SKIPPED" in said) == (1, False, False), said
        assert "TEST_SQLSERVER_URL: 127.0.0.1 cannot be used" in said

    def test_where_a_real_one_is_required_there_must_be_one(self, server_dsn: str) -> None:
        code, said = self.run(server_dsn, REQUIRE_REAL_SQLSERVER="1")
        assert code == pytest.ExitCode.USAGE_ERROR
        assert "REQUIRE_REAL_SQLSERVER is set, but there is no SQL Server: TEST_SQLSERVER_URL is not set, and" in said
