"""What the tests of the client share: managers on the test's database, the command, a server that may be stopped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from own_process import OwnProcess
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.embedded import EmbeddedServer

BINDIR = Path(os.environ["PGTEST_BINDIR"]) if os.environ.get("PGTEST_BINDIR") else None
SETTING = re.compile(r"(^|_)(GLOBAL|RPA1|RPA2|DISTRIBUTED_PROCESSOR)_|^PREFECT_|^PGCONVEYOR_")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in [name for name in os.environ if SETTING.search(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", os.devnull)


@pytest.fixture
def shown() -> Callable[[BaseException], str]:
    """All that a log could show of an error."""

    def shown(error: BaseException) -> str:
        chain, seen = [error], "".join(traceback.format_exception(error))
        while chain:
            exc = chain.pop()
            seen += str(exc) + repr(exc)
            chain += [link for link in (exc.__cause__, exc.__context__) if link is not None]
        return seen

    return shown


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Configure a database by the contract's names; further settings are `POOL_SIZE` and the like."""

    def configure(name: str, url: str, **settings: object) -> None:
        for key, value in {"TYPE": "postgresql", "CONNECTION_STRING": url, **settings}.items():
            monkeypatch.setenv(f"DEVELOPMENT_GLOBAL_{name.upper()}_{key}", str(value))

    return configure


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    """Configure a threshold of monitoring."""
    return lambda name, value: monkeypatch.setenv(f"DEVELOPMENT_GLOBAL_MONITORING_{name.upper()}", str(value))


@pytest.fixture
def rpa_db(dsn: str, configure: Callable[..., None]) -> Iterator[DatabaseManager]:
    configure("rpa_db", dsn)
    with DatabaseManager("rpa_db") as manager:
        yield manager


@pytest.fixture
def processor(rpa_db: DatabaseManager) -> DistributedProcessor:
    return DistributedProcessor(rpa_db)


@pytest.fixture
def other(rpa_db: DatabaseManager) -> Iterator[DistributedProcessor]:  # noqa: ARG001  configures the database
    """A second processor with connections of its own, as another process has."""
    with DatabaseManager("rpa_db") as manager:
        yield DistributedProcessor(manager)


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Wait for a condition, and return what it returned. A minute, because the machine may be busy."""

    def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.01)
        return value

    return wait_until


class Queue:
    """The queue as an operator sees it, and the directory in which workers run."""

    def __init__(self, conn: psycopg.Connection, processor: DistributedProcessor, wait: Any, path: Path) -> None:
        self.conn, self.processor, self.wait, self.path = conn, processor, wait, path

    def add(self, n: int) -> None:
        self.processor.add_records_to_queue("f", [{"n": i} for i in range(n)])

    def ask(self, query: str, *params: object) -> list[tuple]:
        return self.conn.execute(query, params or None).fetchall()

    def rows(self, *columns: str) -> list[tuple]:
        return self.ask(f"select {', '.join(columns)} from conveyor.processing_queue order by id")

    def count(self, status: str) -> int:
        return [row[0] for row in self.rows("status")].count(status)

    def wait_for(self, completed: int) -> None:
        self.wait(lambda: self.count("completed") == completed)


@pytest.fixture
def queue(
    conn: psycopg.Connection, processor: DistributedProcessor, wait_until: Callable[..., Any], tmp_path: Path
) -> Queue:
    return Queue(conn, processor, wait_until, tmp_path)


@pytest.fixture
def end_leases(conn: psycopg.Connection) -> Callable[[], None]:
    """Let every lease end now, and give the records back as `maintain` does."""

    def end_leases() -> None:
        conn.execute("update conveyor.processing_queue set lease_expires_at = now() where lease_expires_at is not null")
        conn.execute("select conveyor.maintain()")

    return end_leases


@pytest.fixture
def pgconveyor(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end, in a directory of the test's own."""

    def run(*arguments: object, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "pgconveyor", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def start_worker(rpa_db: DatabaseManager, tmp_path: Path) -> Iterator[Callable[..., OwnProcess]]:  # noqa: ARG001
    """Start real workers of flow `f` with a handler of jobs.py, in tmp_path; what still runs at the end is killed."""
    started: list[OwnProcess] = []
    shutil.copy(Path(__file__).with_name("jobs.py"), tmp_path)

    def start(handler: str, *options: object, **env: str) -> OwnProcess:
        command = [sys.executable, "-W", "error", "-m", "pgconveyor", "worker", "--flow", "f", "--handler", handler]
        command += ["--poll", "50ms", *map(str, options)]
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(OwnProcess(command, tmp_path, log, os.environ | env))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def sleeper(start_worker: Callable[..., OwnProcess]) -> Callable[..., OwnProcess]:
    """Start a worker that runs one record at a time and polls every hour."""

    def start(handler: str = "jobs:quick", *options: object, **env: str) -> OwnProcess:
        return start_worker(handler, "--poll", "1h", "--concurrency", 1, *options, **env)

    return start


# Seat -1 is the door. Quiet: asleep, and not only between two looks.
SLEEPERS = """
    select s.seat, l.pid, a.query_start, a.state = 'idle' and clock_timestamp() - a.state_change > '50 ms' as is_quiet
    from generate_series(-1, 7) as s (seat)
    join pg_locks as l on (l.classid::bigint << 32 | l.objid::bigint) = conveyor._wake_key(%s, %s, s.seat)
    join pg_database as d on d.oid = l.database and d.datname = current_database()
    join pg_stat_activity as a on a.pid = l.pid
    where l.locktype = 'advisory' and l.objsubid = 1 and l.mode = 'ExclusiveLock' and l.granted
    order by s.seat
"""


@pytest.fixture
def asleep(conn: psycopg.Connection, wait_until: Callable[..., Any]) -> Callable[..., dict[int, Any]]:
    """Wait until `count` sessions sleep at a place behind a closed door; when each spoke last, by pid, seat by seat."""

    def asleep(
        count: int = 1, *, flow: str = "f", reason: str = "empty", conn: psycopg.Connection = conn
    ) -> dict[int, Any]:
        def sleepers() -> dict[int, Any]:
            rows = conn.execute(SLEEPERS, [flow, reason]).fetchall()
            is_so = len(rows) == count + 1 and rows[0][0] == -1 and rows[0][1] == rows[1][1]
            return {pid: spoke for _, pid, spoke, _ in rows[1:]} if is_so and all(row[3] for row in rows) else {}

        return wait_until(sleepers)

    return asleep


@pytest.fixture
def directory() -> Iterator[Path]:
    """For a server. Not tmp_path, which as root lies below a directory that is closed to the server's account."""
    path = Path(tempfile.mkdtemp(prefix="pgconveyor-"))
    yield path
    EmbeddedServer(path).stop()
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedServer]:
    directory = tempfile.mkdtemp(prefix="pgconveyor-")
    settings = {"max_prepared_transactions": "2"}
    server = EmbeddedServer(directory, durable=False, settings=settings, bindir=BINDIR, die_with_parent=True)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def embedded(embedded_server: EmbeddedServer) -> EmbeddedServer:
    """A server that the test may stop and start, whose databases and roles of earlier tests are gone."""
    embedded_server.start()
    with psycopg.connect(embedded_server.dsn(), autocommit=True) as conn:
        left = "select datname from pg_database where not datistemplate and datname <> 'postgres'"
        for (name,) in conn.execute(left).fetchall():
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        for (name,) in conn.execute("select rolname from pg_roles where oid >= 16384").fetchall():
            conn.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(name)))
    return embedded_server
