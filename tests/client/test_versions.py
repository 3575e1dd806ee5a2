"""Old and new side by side: `install --check`, migrations of a newer version, and those that break older clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgconveyor.database import DatabaseManager
from pgconveyor.difference import difference
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.errors import ClientOutdated, SchemaMissing
from pgconveyor.install import DB, install
from tools import dump, psql_file

Check = Callable[..., tuple[int, str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
LAST = sorted(path.stem for path in (DB / "migrations").glob("*.sql"))[-1]

ADDS = "alter table conveyor.flow add column remark text;\n"
BREAKS = "insert into conveyor.migration (name, breaking) values ('9999_next', true);\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DB, tmp_path / "db"))


@pytest.fixture
def newer(copy: Path) -> Callable[[str], Path]:
    """A copy of `db/` with one more migration, and a function that was changed with it."""

    def newer(migration: str) -> Path:
        (copy / "migrations" / "9999_next.sql").write_text(migration)
        manifest = copy / "install.sql"
        last = f"\\set migration {LAST}\n\\ir apply_migration.sql\n"
        text = manifest.read_text()
        assert last in text
        manifest.write_text(text.replace(last, f"{last}\\set migration 9999_next\n\\ir apply_migration.sql\n"))
        function = copy / "functions" / "pause_flow.sql"
        function.write_text(function.read_text().replace("begin\n", "begin  -- of a newer version\n", 1))
        return copy

    return newer


def breaking(dsn: str) -> list[tuple]:
    with psycopg.connect(dsn) as conn:
        return conn.execute("select name from conveyor.migration where breaking").fetchall()


def version_of_pause_flow(dsn: str) -> str:
    with psycopg.connect(dsn) as conn:
        [(source,)] = conn.execute("select prosrc from pg_proc where proname = 'pause_flow'")
    return "newer" if "of a newer version" in source else "ours"


class TestCheck:
    @pytest.fixture
    def check(self, dsn: str, configure: Callable[..., None], pgconveyor: Run) -> Check:
        def check(target: str = dsn) -> tuple[int, str]:
            configure("rpa_db", target)
            before = dump(dsn)
            done = pgconveyor("install", "--check")
            assert dump(dsn) == before
            assert len((done.stdout + done.stderr).splitlines()) == 1, done
            return done.returncode, done.stdout + done.stderr

        return check

    def test_up_to_date_is_0(self, check: Check) -> None:
        assert check() == (0, "up to date\n")

    def test_no_queue_is_3_and_names_the_migrations(self, check: Check, empty_dsn: str) -> None:
        code, text = check(empty_dsn)
        assert (code, f"migration {LAST}" in text) == (3, True)
        with psycopg.connect(empty_dsn) as conn:
            assert conn.execute("select to_regnamespace('conveyor')").fetchone() == (None,)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ("drop function conveyor.get_record", "get_record"),
            ("alter function conveyor.get_record set work_mem = '1MB'", "get_record"),
            ("comment on function conveyor.get_record is 'mine'", "get_record"),
            ("grant execute on function conveyor.maintain to public", "maintain"),
            ("revoke execute on function conveyor.maintain from conveyor_worker", "maintain"),
            ("revoke usage on schema conveyor from conveyor_viewer", "rights on the schema"),
            ("update conveyor.error_code set meaning = 'x' where sqlstate = 'WQ001'", "WQ001"),
        ],
    )
    def test_what_differs_is_3_and_named(self, check: Check, conn: psycopg.Connection, change: str, named: str) -> None:
        conn.execute(change)
        code, text = check()
        assert (code, text.count(named)) == (3, 1), text
        assert text.count(",") == 0, "nothing else is named"
        install(conn)
        assert check()[0] == 0

    def test_what_it_cannot_know_is_1(self, dsn: str, conn: psycopg.Connection, check: Check) -> None:
        role = f"nobody_{conn.info.dbname}"
        conn.execute(f"create role {role} login password 'x'")
        try:
            code, text = check(make_conninfo(dsn, user=role, password="x"))
            assert (code, "Install as" in text) == (1, True), text
        finally:
            conn.execute(f"drop role {role}")
        assert check("postgresql://u:hunter2@127.0.0.1:1/db")[0] == 1

    def test_an_installer_at_work_is_waited_for_only_shortly(self, dsn: str, conn: psycopg.Connection) -> None:
        conn.execute("select pg_advisory_lock(hashtextextended('conveyor.install', 0))")
        with psycopg.connect(dsn) as other, pytest.raises(psycopg.errors.LockNotAvailable) as refused:
            difference(other)
        assert f"Session {conn.info.backend_pid} " in refused.value.__notes__[0]

    def test_it_is_given_alone(self, pgconveyor: Run) -> None:
        assert pgconveyor("install", "--check", "--search-path").returncode == 2

    def test_a_newer_version_that_only_adds_is_named_and_then_forgiven(
        self, conn: psycopg.Connection, newer: Callable[[str], Path]
    ) -> None:
        assert difference(conn, newer(ADDS)).pending == ["migration 9999_next"]
        install(conn, newer(ADDS))
        found = difference(conn)
        assert ([name.split("(")[0] for name in found.pending], found.unknown) == (
            ["conveyor.pause_flow"],
            ["9999_next"],
        )
        install(conn)
        assert difference(conn) == ([], ["9999_next"])


class TestNewerSchema:
    @pytest.fixture(params=["python", "psql"])
    def installer(self, request: pytest.FixtureRequest) -> Callable[[str, Path], str]:
        """Install with one or the other; the error, if any."""

        def installer(dsn: str, db: Path) -> str:
            if request.param == "psql":
                return psql_file(dsn, db / "install.sql").stderr
            with psycopg.connect(dsn) as conn:
                try:
                    install(conn, db)
                except ClientOutdated as error:
                    return str(error)
            return ""

        return installer

    def test_going_back_puts_the_older_functions_over_newer_tables(
        self, dsn: str, newer: Callable[[str], Path], installer: Callable[[str, Path], str]
    ) -> None:
        assert installer(dsn, newer(ADDS)) == ""
        assert (version_of_pause_flow(dsn), breaking(dsn)) == ("newer", [])
        assert installer(dsn, DB) == ""
        assert version_of_pause_flow(dsn) == "ours"
        assert installer(dsn, newer(ADDS)) == ""
        assert version_of_pause_flow(dsn) == "newer"

    def test_not_over_a_migration_that_is_marked_breaking(
        self, dsn: str, newer: Callable[[str], Path], installer: Callable[[str, Path], str]
    ) -> None:
        assert installer(dsn, newer(BREAKS + ADDS)) == ""
        assert breaking(dsn) == [("9999_next",)]
        before = dump(dsn)
        refusal = installer(dsn, DB)
        assert "9999_next" in refusal
        assert "Upgrade pgconveyor" in refusal
        assert dump(dsn) == before
        assert installer(dsn, newer(BREAKS + ADDS)) == ""


class TestClient:
    @pytest.fixture
    def broken(self, conn: psycopg.Connection) -> None:
        conn.execute(BREAKS)

    def test_it_works_with_migrations_that_only_add(
        self, conn: psycopg.Connection, processor: DistributedProcessor
    ) -> None:
        conn.execute("insert into conveyor.migration (name) values ('9999_next')")
        assert processor.add_records_to_queue("f", [{}]) == 1

    @pytest.mark.usefixtures("broken")
    def test_it_refuses_one_that_breaks_until_it_is_upgraded(
        self, conn: psycopg.Connection, processor: DistributedProcessor
    ) -> None:
        for _ in range(2):
            with pytest.raises(SchemaMissing, match="9999_next") as refused:
                processor.claim_records_batch("f", 1)
            assert "Upgrade pgconveyor" in str(refused.value)
        assert type(refused.value) is ClientOutdated
        assert processor.health_check()["status"] == "unhealthy"
        conn.execute("delete from conveyor.migration where breaking")
        assert processor.claim_records_batch("f", 1) == []

    @pytest.mark.usefixtures("broken")
    def test_the_commands_say_so_in_one_line(self, dsn: str, configure: Callable[..., None], pgconveyor: Run) -> None:
        configure("rpa_db", dsn)
        work = "worker --flow f --handler posixpath:basename"
        for command in ("install", "install --check", "status", work):
            done = pgconveyor(*command.split())
            assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
            assert "9999_next" in done.stderr
            assert "Upgrade pgconveyor" in done.stderr

    def test_it_is_asked_once_for_a_pool_and_not_for_a_call(
        self, conn: psycopg.Connection, processor: DistributedProcessor
    ) -> None:
        processor.get_queue_status()
        conn.execute(BREAKS)
        assert processor.add_records_to_queue("f", [{}]) == 1

    def test_other_databases_are_none_of_its_business(self, empty_dsn: str, configure: Callable[..., None]) -> None:
        configure("other", empty_dsn)
        with DatabaseManager("other") as manager:
            assert manager.execute_query("select 1 as one") == [{"one": 1}]

    def test_a_login_without_rights_on_the_queue_may_connect(
        self, dsn: str, conn: psycopg.Connection, configure: Callable[..., None]
    ) -> None:
        role = f"stranger_{conn.info.dbname}"
        conn.execute(f"create role {role} login password 'x'")
        configure("rpa_db", make_conninfo(dsn, user=role, password="x"))
        try:
            with DatabaseManager("rpa_db") as manager:
                assert manager.execute_query("select 1 as one") == [{"one": 1}]
        finally:
            conn.execute(f"drop role {role}")


def test_a_breaking_migration_marks_itself_and_no_other() -> None:
    for path in (DB / "migrations").glob("*.sql"):
        marks = [line for line in path.read_text().splitlines() if "conveyor.migration" in line]
        assert all(f"'{path.stem}'" in line for line in marks), path.name
