"""Installing and removing beside running workers: nobody is held up, nothing is lost, errors say what to do."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
from pgconveyor.install import DB, install
from tools import psql_file
from witness import AUDIT, PROOF

Run = Callable[..., subprocess.CompletedProcess[str]]
Fn = Callable[..., Any]


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """A copy of `db/` that waits for locks not for ten seconds, but shortly."""
    db = Path(shutil.copytree(DB, tmp_path / "db"))
    for file, times in (("bootstrap.sql", ("'10s'", "'3s'")), ("uninstall.sql", ("'10 s'",))):
        text = (db / file).read_text()
        for time in times:
            assert time in text
            text = text.replace(time, "'500ms'")
        (db / file).write_text(text)
    return db


class TestWorkersGoOn:
    def test_a_worker_works_through_three_installs(
        self, dsn: str, conn: psycopg.Connection, queue: Any, start_worker: Fn
    ) -> None:
        conn.execute(AUDIT)
        worker = start_worker("jobs:booked", "--batch", "5", "--concurrency", "2")
        for done in (0, 200, 400):
            queue.add(200)
            queue.wait(lambda done=done: queue.count("completed") > done)
            with psycopg.connect(dsn) as installer:
                assert install(installer) == []
            assert worker.process.poll() is None, worker.log()
        queue.wait(lambda: queue.count("completed") == 600)
        worker.process.terminate()
        assert worker.wait() == 0
        assert queue.ask(PROOF) == [(600,)]
        assert queue.ask("select count(*) from conveyor.attempt") == [(0,)]
        assert [line for line in worker.log().splitlines() if "ERROR" in line or "WARNING" in line] == []
        assert "completed 600, failed 0" in worker.log()

    def test_nobody_waits_for_an_install_that_has_not_committed(self, dsn: str, connect: Fn) -> None:
        conn = connect(options="-c lock_timeout=1ms")
        record = sql.one(conn)
        with psycopg.connect(dsn) as installer, installer.transaction():
            assert install(installer) == []
            assert sql.complete(conn, [record]) == ["done"]
            assert sql.fail(conn, [sql.one(conn)]) == ["done"]
            assert sql.maintain(conn)["worked"] is True
            assert sql.value(conn, "select conveyor.get_queue_status() ->> 'total_records'") == "2"

    def test_an_install_waits_for_nobody_who_works(self, conn: psycopg.Connection, connect: Fn, hasty: Path) -> None:
        worker = connect()
        worker.execute("begin")
        record = sql.one(worker)
        assert install(conn, hasty) == []
        assert sql.complete(worker, [record]) == ["done"]
        worker.execute("commit")
        assert sql.counts(conn) == {"completed": 1}


class TestErrorsSayWhatToDo:
    @pytest.fixture
    def login(self, dsn: str, empty_dsn: str) -> Iterator[dict[str, str]]:
        """A role that was granted nothing."""
        with psycopg.connect(dsn, autocommit=True) as conn, psycopg.connect(empty_dsn, autocommit=True) as empty:
            user = f"app_{conn.info.dbname}"
            conn.execute(f"create role {user} login password 'x'")
            yield {"user": user, "password": "x"}
            empty.execute(f"drop owned by {user} cascade")
            conn.execute(f"drop role {user}")

    def test_a_lock_that_is_not_to_be_had_names_its_holder_and_holds_up_nobody(
        self, dsn: str, conn: psycopg.Connection, connect: Fn, hasty: Path
    ) -> None:
        name = max(path.stem for path in (DB / "migrations").glob("*.sql"))
        conn.execute("delete from conveyor.migration where name = %s", [name])
        add_column = "alter table conveyor.processing_queue add column remark text;"
        (hasty / "migrations" / f"{name}.sql").write_text(add_column)
        forgotten, worker = connect(application_name="forgotten"), connect()
        forgotten.execute("begin")
        forgotten.execute("select from conveyor.processing_queue")
        with psycopg.connect(dsn) as installer:
            with sql.blocked(conn, installer, lambda: install(installer, hasty)) as installing:
                # It waits behind the installer, and goes on when that one gives up.
                assert sql.claim(worker, "f") == []
            with pytest.raises(psycopg.errors.LockNotAvailable) as refused:
                installing.result()
        [note] = refused.value.__notes__
        assert f"Session {forgotten.info.backend_pid} (forgotten, idle in transaction" in note
        forgotten.execute("commit")
        assert install(conn, hasty) == [name]

    @pytest.mark.parametrize("by", ["python", "psql"])
    def test_another_installer_is_named_as_such(self, dsn: str, conn: psycopg.Connection, hasty: Path, by: str) -> None:
        conn.execute("select pg_advisory_lock(hashtextextended('conveyor.install', 0))")
        if by == "psql":
            assert "another session is installing" in psql_file(dsn, hasty / "install.sql").stderr
        else:
            with (
                psycopg.connect(dsn) as installer,
                pytest.raises(psycopg.errors.LockNotAvailable, match="another session is installing"),
            ):
                install(installer, hasty)

    @pytest.mark.parametrize("database", ["dsn", "empty_dsn"])
    def test_a_role_that_may_not_install_is_told_who_may(
        self, request: pytest.FixtureRequest, login: dict[str, str], database: str, configure: Fn, pgconveyor: Run
    ) -> None:
        configure("rpa_db", make_conninfo(request.getfixturevalue(database), **login))
        done = pgconveyor("install")
        assert (done.returncode, done.stdout) == (1, "")
        [error] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert ("Install as" in error) is True
        assert ("grant conveyor_owner to" if database == "dsn" else "grant create on database") in error

    def test_the_hint_of_a_warning_is_shown(
        self, empty_dsn: str, login: dict[str, str], configure: Fn, pgconveyor: Run
    ) -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as conn:
            conn.execute(f"grant create on database {conn.info.dbname} to {login['user']}")
        configure("rpa_db", make_conninfo(empty_dsn, **login))
        done = pgconveyor("install")
        assert done.returncode == 0
        warning, hint = done.stderr.splitlines()
        assert warning.startswith("WARNING: role")
        assert hint.startswith("HINT: Before the first install, grant conveyor_owner to")


class TestUninstall:
    def test_workers_that_are_busy_are_nobodys_victims(self, dsn: str, conn: psycopg.Connection, connect: Fn) -> None:
        sql.fill(conn, "f", 20000)
        refused: list[str | None] = []
        rounds = [0, 0, 0]

        def busy(number: int, own: psycopg.Connection) -> None:
            try:
                while True:
                    with own.transaction():
                        records = sql.claim(own, "f", 5)
                        sql.complete(own, records[:4])
                        sql.maintain(own)
                        sql.add(own, "f", 3)
                    rounds[number] += 1
            except psycopg.Error as error:
                refused.append(error.sqlstate)

        threads = [threading.Thread(target=busy, args=[n, connect()]) for n in range(3)]
        for thread in threads:
            thread.start()
        sql.wait_until(lambda: min(rounds) > 3)
        done = psql_file(dsn, DB / "uninstall.sql", "-v", "drop_data=1")
        for thread in threads:
            thread.join(30)
        assert (done.returncode, done.stderr) == (0, "")
        # What is gone is gone; nobody was called a deadlock (40P01).
        assert len(refused) == 3
        assert set(refused) <= {"3F000", "42883", "42P01", "XX000", "42704"}

    def test_it_gives_way_to_whoever_locks_the_tables_in_another_order(
        self, dsn: str, conn: psycopg.Connection, connect: Fn
    ) -> None:
        worker = connect()
        worker.execute("begin")
        sql.insert(worker, "f")
        waiting = "select count(*) from pg_locks where relation = 'conveyor.processing_queue'::regclass and not granted"
        with ThreadPoolExecutor(1) as thread:
            removing = thread.submit(psql_file, dsn, DB / "uninstall.sql", "-v", "drop_data=1")
            sql.wait_until(lambda: sql.value(conn, waiting) == 1)
            # It holds flow and waits for the queue; this holds the queue and waits for flow.
            assert len(sql.claim(worker, "f")) == 1
            worker.execute("commit")
            done = removing.result(30)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_forgotten_transaction_stops_it_and_nothing_is_dropped(
        self, dsn: str, conn: psycopg.Connection, connect: Fn, hasty: Path
    ) -> None:
        forgotten = connect()
        forgotten.execute("begin")
        forgotten.execute("select from conveyor.flow")
        done = psql_file(dsn, hasty / "uninstall.sql")
        assert done.returncode != 0
        assert "idle in transaction" in done.stderr
        assert sql.add(conn, "f") == [1]
