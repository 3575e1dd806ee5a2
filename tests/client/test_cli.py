"""The command: install, settings from a file, the embedded server, and errors of one line."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgconveyor.embedded import EmbeddedServer, wheel_binaries

Run = Callable[..., subprocess.CompletedProcess[str]]
Configure = Callable[..., None]


def ask(dsn: str, query: str) -> tuple:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query).fetchone()


def is_installed(dsn: str) -> bool:
    return ask(dsn, "select to_regclass('conveyor.processing_queue') is not null")[0]


class TestInstall:
    def test_twice_is_once(self, pgconveyor: Run, configure: Configure, empty_dsn: str) -> None:
        configure("rpa_db", empty_dsn)
        first = pgconveyor("install")
        assert (first.returncode, first.stderr, is_installed(empty_dsn)) == (0, "", True)
        before = ask(empty_dsn, "select array_agg(m::text) from conveyor.migration as m")
        second = pgconveyor("install")
        assert (second.returncode, second.stderr) == (0, "")
        assert ask(empty_dsn, "select array_agg(m::text) from conveyor.migration as m") == before

    def test_the_search_path_gets_the_schema_appended(
        self, pgconveyor: Run, configure: Configure, empty_dsn: str
    ) -> None:
        configure("rpa_db", empty_dsn)
        for _ in range(2):
            assert pgconveyor("install", "--search-path").returncode == 0
            assert ask(empty_dsn, "show search_path") == ('"$user", public, conveyor',)
        with psycopg.connect(empty_dsn) as conn:
            assert conn.execute("select count(*) from processing_queue").fetchone() == (0,)
            conn.execute("create table mine (n integer)")
            assert conn.execute("select 'mine'::regclass = 'public.mine'::regclass").fetchone() == (True,)

    def test_a_search_path_of_the_databases_own_is_kept(
        self, pgconveyor: Run, configure: Configure, empty_dsn: str
    ) -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as conn:
            conn.execute('create schema "my App"')
            conn.execute(f'alter database {conn.info.dbname} set search_path = "my App", public')
        configure("rpa_db", empty_dsn)
        assert pgconveyor("install", "--search-path").returncode == 0
        assert ask(empty_dsn, "show search_path") == ('"my App", public, conveyor',)

    def test_without_the_option_the_search_path_stays(
        self, pgconveyor: Run, configure: Configure, empty_dsn: str
    ) -> None:
        configure("rpa_db", empty_dsn)
        assert pgconveyor("install").returncode == 0
        assert ask(empty_dsn, "show search_path") == ('"$user", public',)

    def test_database_names_another_one(self, pgconveyor: Run, configure: Configure, empty_dsn: str) -> None:
        configure("orders", empty_dsn)
        assert pgconveyor("install", "--database", "orders").returncode == 0
        assert is_installed(empty_dsn)

    def test_the_settings_may_be_in_a_file(self, pgconveyor: Run, empty_dsn: str, tmp_path: Path) -> None:
        names = (
            "DEVELOPMENT_GLOBAL_RPA_DB_TYPE=postgresql",
            f"DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING='{empty_dsn}'",
        )
        (tmp_path / ".env").write_text("\n".join(names))
        assert pgconveyor("install").returncode == 1
        assert not is_installed(empty_dsn)
        assert pgconveyor("--env-file", ".env", "install").returncode == 0
        assert is_installed(empty_dsn)


class TestErrors:
    @pytest.mark.parametrize(
        "arguments",
        [["no-such-command"], ["install", "--no-such-option"], ["worker"], ["--env-file", "absent", "install"]],
    )
    def test_wrong_usage_is_2(self, pgconveyor: Run, arguments: list[str]) -> None:
        done = pgconveyor(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert arguments[0].strip("-") in done.stderr or "--flow" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "url", [None, "postgresql://u:hunter2@127.0.0.1:1/db", "postgresql://u:hunter2@[::1/db", "nonsense hunter2"]
    )
    def test_a_known_error_is_one_line_and_1(self, pgconveyor: Run, configure: Configure, url: str | None) -> None:
        if url:
            configure("rpa_db", url)
        done = pgconveyor("install")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert "rpa_db" in done.stderr.lower()
        assert "hunter2" not in done.stderr

    def test_what_the_server_refuses_is_one_line(self, pgconveyor: Run, configure: Configure, empty_dsn: str) -> None:
        with psycopg.connect(empty_dsn) as conn:
            conn.execute("create schema conveyor; create table conveyor.processing_queue (id integer)")
        configure("rpa_db", empty_dsn)
        done = pgconveyor("install")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "processing_queue" in done.stderr

    @pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["install", "--help"], ["embedded", "start", "-h"]])
    def test_help_is_0(self, pgconveyor: Run, arguments: list[str]) -> None:
        done = pgconveyor(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Usage:")

    def test_the_console_script_and_the_version(self) -> None:
        script = shutil.which("pgconveyor", path=f"{Path(os.sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert subprocess.check_output([script, "--version"], text=True).startswith("pgconveyor")


class TestWorker:
    @pytest.fixture(autouse=True)
    def jobs(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.py").write_text("number = 5\ndef quick(payload): pass\ndef three(a, b, c): pass\n")

    @pytest.mark.parametrize("path", ["jobs", "jobs:", "nowhere:quick", "jobs:nothing", "jobs:number", "jobs:three"])
    def test_a_handlers_path_that_leads_nowhere_is_one_line(self, pgconveyor: Run, path: str) -> None:
        done = pgconveyor("worker", "--flow", "f", "--handler", path, "--once")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert path.split(":")[-1] in done.stderr

    def test_a_worker_that_cannot_begin_says_why(self, pgconveyor: Run, empty_dsn: str, configure: Configure) -> None:
        def fails() -> str:
            done = pgconveyor("worker", "--flow", "f", "--handler", "jobs:quick", "--once")
            assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
            return done.stderr

        configure("rpa_db", empty_dsn)
        assert "pgconveyor install" in fails()
        configure("rpa_db", "postgresql://u:hunter2@127.0.0.1:1/db")
        assert "hunter2" not in fails()

    def test_the_help_explains_every_option(self, pgconveyor: Run) -> None:
        text = pgconveyor("worker", "--help").stdout
        for option in ("--flow", "--handler", "--concurrency", "--batch", "--lease", "--once", "--database", "SIGTERM"):
            assert option in text


class TestEmbedded:
    def test_start_status_stop(self, pgconveyor: Run, directory: Path) -> None:
        screen = ""

        def embedded(verb: str) -> int:
            nonlocal screen
            done = pgconveyor("embedded", verb, "--directory", directory)
            screen += done.stdout + done.stderr
            return done.returncode

        assert embedded("status") == 3
        assert (embedded("start"), embedded("start"), embedded("status")) == (0, 0, 0)
        with psycopg.connect(EmbeddedServer(directory).dsn()) as conn:
            conn.execute("create table kept as select 1 as n")
        assert (embedded("stop"), embedded("status"), embedded("stop"), embedded("start")) == (0, 3, 0, 0)
        assert ask(EmbeddedServer(directory).dsn(), "select n from kept") == (1,)
        password = (directory / "password").read_text().strip()
        assert [secret for secret in (password, "Traceback") if secret in screen] == []

    def test_the_configured_directory_is_meant_and_psql_gets_in_by_the_line_that_is_shown(
        self, pgconveyor: Run, configure: Configure, directory: Path
    ) -> None:
        place = directory / "it's a server"
        directory.chmod(0o755)
        configure("orders", place, TYPE="embedded")
        assert "not running" in pgconveyor("embedded", "status", "--database", "orders").stdout
        try:
            for verb in ("start", "status"):
                done = pgconveyor("embedded", verb, "--database", "orders")
                assert (done.returncode, done.stderr) == (0, "")
            assert f"data in {place.resolve()}\n" in done.stdout
            [line] = [line for line in done.stdout.splitlines() if line.startswith("psql ")]
            psql = shutil.which("psql") or str(wheel_binaries() / "psql")
            ask = f"{shlex.quote(psql)}{line.removeprefix('psql')} -XAtc 'select current_database()'"
            assert subprocess.check_output(ask, shell=True, text=True) == "orders\n"
            assert stat.S_IMODE((place / "pgpass").stat().st_mode) == 0o600
        finally:
            assert pgconveyor("embedded", "stop", "--database", "orders").stdout == "stopped\n"

    def test_a_directory_that_cannot_be_is_one_line(self, pgconveyor: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = pgconveyor("embedded", "start", "--directory", tmp_path / "file" / "below")
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
