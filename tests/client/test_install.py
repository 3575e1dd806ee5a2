"""Installing: psql and Python give the same, again is nothing, a failure leaves nothing, no superuser, from a wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import DB, install
from tools import dump, psql_file

ROOT = Path(__file__).parents[2]
MIGRATIONS = "select name, breaking from conveyor.migration order by name"
ALL = len(list((DB / "migrations").glob("*.sql")))


def live(conn: psycopg.Connection) -> int:
    """Take one record through its life, as whoever may use the queue; the number of records there."""
    conn.execute("select conveyor.add_record('f', '{}')")
    answer = "select conveyor.mark_record_completed(id, payload, claim_token) from conveyor.claim_records_batch('f', 1)"
    assert len(conn.execute(answer).fetchall()) == 1
    return conn.execute("select (conveyor.get_queue_status() ->> 'total_records')::integer").fetchone()[0]


def by_python(dsn: str, db: Path = DB) -> list[str]:
    with psycopg.connect(dsn) as conn:
        return install(conn, db)


def ask(dsn: str, query: str) -> list[tuple]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query).fetchall()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of `db/` that the test may break."""
    return Path(shutil.copytree(DB, tmp_path / "db"))


@pytest.fixture
def gate(copy: Path) -> Path:
    """A copy that waits in the middle, the roles made, until the advisory lock 42 of its database is free."""
    with (copy / "bootstrap.sql").open("a") as file:
        file.write("\nselect pg_advisory_xact_lock(42);\n")
    return copy


class TestTwoInstallers:
    def test_psql_and_python_give_the_same(self, dsn: str, empty_dsn: str) -> None:
        done = psql_file(empty_dsn, DB / "install.sql")
        assert (done.returncode, done.stderr) == (0, "")
        assert dump(empty_dsn) == dump(dsn)
        assert any("CREATE TABLE conveyor.processing_queue" in line for line in dump(dsn))
        for query in (MIGRATIONS, "select * from conveyor.error_code order by 1"):
            assert ask(empty_dsn, query) == ask(dsn, query) != []

    def test_twice_is_once(self, empty_dsn: str) -> None:
        first = by_python(empty_dsn)
        before = dump(empty_dsn), ask(empty_dsn, "select * from conveyor.migration")
        assert (
            first
            == [name for name, _ in ask(empty_dsn, MIGRATIONS)]
            == sorted(path.stem for path in (DB / "migrations").iterdir())
        )
        assert by_python(empty_dsn) == []
        done = psql_file(empty_dsn, DB / "install.sql")
        assert (done.returncode, done.stderr, by_python(empty_dsn)) == (0, "", [])
        assert (dump(empty_dsn), ask(empty_dsn, "select * from conveyor.migration")) == before

    def test_records_stay_through_an_upgrade(self, dsn: str, conn: psycopg.Connection) -> None:
        conn.execute("select conveyor.add_record('f', '{}')")
        assert by_python(dsn) == []
        assert live(conn) == 2

    @pytest.mark.parametrize("by", ["python", "psql"])
    def test_two_at_once_in_one_database(
        self, empty_dsn: str, gate: Path, wait_until: Callable[..., object], by: str
    ) -> None:
        second = (
            by_python if by == "python" else lambda dsn: psql_file(dsn, DB / "install.sql").check_returncode() or []
        )
        waiting = (
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = ("
            "select oid from pg_database where datname = current_database())"
        )
        with ThreadPoolExecutor(2) as threads, psycopg.connect(empty_dsn, autocommit=True) as conn:
            conn.execute("select pg_advisory_lock(42)")
            one = threads.submit(by_python, empty_dsn, gate)
            wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
            two = threads.submit(second, empty_dsn)
            wait_until(lambda: conn.execute(waiting).fetchone() == (2,))
            conn.execute("select pg_advisory_unlock(42)")
            assert (len(one.result(30)), two.result(30)) == (ALL, [])
        with psycopg.connect(empty_dsn) as conn:
            assert live(conn) == 1

    def test_two_at_once_in_two_databases_of_a_cluster_without_the_roles(
        self, embedded: EmbeddedServer, gate: Path, wait_until: Callable[..., object]
    ) -> None:
        a, b = embedded.ensure_database("a"), embedded.ensure_database("b")
        waiting = "select count(*) from pg_stat_activity where datname = '{}' and wait_event_type = 'Lock'"
        with ThreadPoolExecutor(2) as threads, psycopg.connect(a, autocommit=True) as conn:
            conn.execute("select pg_advisory_lock(42)")
            one = threads.submit(by_python, a, gate)
            wait_until(lambda: conn.execute(waiting.format("a")).fetchone() == (1,))
            two = threads.submit(by_python, b)
            wait_until(lambda: conn.execute(waiting.format("b")).fetchone() == (1,))
            conn.execute("select pg_advisory_unlock(42)")
            assert (len(one.result(30)), len(two.result(30))) == (ALL, ALL)
        assert dump(a) == dump(b)


class TestFailure:
    @pytest.mark.parametrize("by", ["python", "autocommit", "psql"])
    @pytest.mark.parametrize("file", ["grants.sql", "functions/maintain.sql", "migrations/0001_processing_queue.sql"])
    def test_a_broken_file_leaves_nothing_behind(self, empty_dsn: str, copy: Path, by: str, file: str) -> None:
        with (copy / file).open("a") as broken:
            broken.write("\nselect 1 / 0;\n")
        before = dump(empty_dsn)
        if by == "psql":
            assert psql_file(empty_dsn, copy / "install.sql").returncode != 0
        else:
            with psycopg.connect(empty_dsn, autocommit=by == "autocommit") as conn:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    install(conn, copy)
                assert install(conn) != []
            with psycopg.connect(empty_dsn) as conn:
                conn.execute("drop schema conveyor cascade")
        assert dump(empty_dsn) == before

    def test_a_broken_upgrade_leaves_what_was_there(self, dsn: str, copy: Path) -> None:
        function = copy / "functions" / "add_record.sql"
        function.write_text(function.read_text().replace("$$;", "-- changed\n$$;", 1))
        (copy / "grants.sql").write_text("select 1 / 0;")
        before = dump(dsn)
        with pytest.raises(psycopg.errors.DivisionByZero):
            by_python(dsn, copy)
        assert dump(dsn) == before

    def test_a_missing_file_is_an_error(self, empty_dsn: str, copy: Path) -> None:
        (copy / "functions" / "maintain.sql").unlink()
        with pytest.raises(FileNotFoundError, match="maintain"):
            by_python(empty_dsn, copy)
        assert ask(empty_dsn, "select to_regnamespace('conveyor')") == [(None,)]


class TestUninstall:
    def test_records_are_dropped_only_when_told(self, dsn: str, conn: psycopg.Connection) -> None:
        conn.execute("select conveyor.add_record('f', '{}')")
        refused = psql_file(dsn, DB / "uninstall.sql")
        assert refused.returncode != 0
        assert "drop_data=1" in refused.stderr
        assert conn.execute("select count(*) from conveyor.processing_queue").fetchone() == (1,)
        assert psql_file(dsn, DB / "uninstall.sql", "-v", "drop_data=1").returncode == 0
        assert ask(dsn, "select to_regnamespace('conveyor')") == [(None,)]
        assert len(by_python(dsn)) == ALL

    def test_an_empty_queue_goes_without_a_word(self, dsn: str, empty_dsn: str) -> None:
        assert psql_file(dsn, DB / "uninstall.sql").returncode == 0
        assert dump(dsn) == dump(empty_dsn)


class TestOwners:
    @pytest.fixture(params=[True, False], ids=["roles exist", "no roles yet"])
    def roles(self, request: pytest.FixtureRequest, embedded: EmbeddedServer) -> bool:
        if request.param:
            by_python(embedded.ensure_database("elsewhere"))
        return request.param

    @pytest.mark.parametrize("createrole", [True, False], ids=["createrole", "no createrole"])
    def test_the_owner_of_the_database_installs(self, embedded: EmbeddedServer, roles: bool, createrole: bool) -> None:
        with psycopg.connect(embedded.dsn(), autocommit=True) as conn:
            conn.execute(f"create role app login password 'x' nosuperuser {'' if createrole else 'no'}createrole")
            conn.execute("create database app owner app")
        dsn = make_conninfo(embedded.dsn("app"), user="app", password="x")
        warnings: list[str] = []
        with psycopg.connect(dsn) as conn:
            conn.add_notice_handler(lambda diag: warnings.append(diag.message_primary))
            assert len(install(conn)) == ALL
            if createrole and not roles:
                assert warnings == []
                [(owner,)] = conn.execute("select nspowner::regrole::text from pg_namespace where nspname = 'conveyor'")
                assert owner == "conveyor_owner"
            if not createrole:
                assert any("role" in warning for warning in warnings)
            assert install(conn) == []
            assert live(conn) == 1
            assert conn.execute("select conveyor.maintain() ->> 'worked'").fetchone() == ("true",)
            public = (
                "select count(*) from pg_proc as p where p.pronamespace = 'conveyor'::regnamespace"
                " and has_function_privilege('public', p.oid, 'execute')"
            )
            assert conn.execute(public).fetchone() == (0,)
        by_python(embedded.dsn("app"))  # by a role that may create roles: the grants that were left out
        worker = "select has_function_privilege('conveyor_worker', 'conveyor.maintain()', 'execute')"
        assert ask(embedded.dsn("app"), worker) == [(True,)]


def test_the_wheel_has_the_sql_and_installs_without_the_checkout(
    empty_dsn: str, dsn: str, tmp_path: Path, configure: Callable[..., None]
) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    subprocess.run([*pip, "wheel", "--no-deps", *isolation, "-w", tmp_path / "dist", ROOT], check=True)
    [wheel] = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sql = {f"pgconveyor/db/{path.relative_to(ROOT / 'db')}" for path in (ROOT / "db").rglob("*.sql")}
    assert sql | {"pgconveyor/py.typed", "core/distributed.py", "core/py.typed"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"pgconveyor", "core"}

    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", tmp_path / "site", wheel], check=True)
    configure("rpa_db", empty_dsn)
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = "import pgconveyor, core; print(pgconveyor.__file__, core.__file__)"
    for path in subprocess.check_output([sys.executable, "-c", where], env=env, cwd=tmp_path, text=True).split():
        assert Path(path).is_relative_to(tmp_path / "site")
    subprocess.run([sys.executable, "-m", "pgconveyor", "install"], env=env, cwd=tmp_path, check=True)
    assert dump(empty_dsn) == dump(dsn)
