"""Behind PgBouncer: a worker that shares its sessions polls, one that keeps its own is woken, and the rest works."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.embedded_process import free_port

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="THE TESTS BEHIND A POOLER DID NOT RUN: apt-get install pgbouncer"
)

CONFIG = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 10
logfile = {directory}/log
"""
SEATED = """
    select from pg_locks as l join pg_database as d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.granted
"""
LOOKS = "select last_value from conveyor.claim_token"  # each claim draws one
PARK = "select conveyor.park(array['f'], array['empty'], array[null]::integer[], array[false], %s)"


@pytest.fixture
def start_pooler(dsn: str) -> Iterator[Callable[[str], str]]:
    """Start a pooler in front of the test's database; its connection string. Root runs it as nobody."""
    directory = Path(tempfile.mkdtemp(prefix="pgconveyor-pooler-"))
    said = conninfo_to_dict(dsn)
    port = free_port(0)
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> str:
        server = " ".join(f"{key}={said[key]}" for key in ("host", "port", "user", "password") if said.get(key))
        config = directory / "pgbouncer.ini"
        config.write_text(CONFIG.format(server=server, port=port, mode=mode, directory=directory))
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody")
            shutil.chown(config, "nobody")
        command = [str(PGBOUNCER), "-q", str(config)]
        started.append(subprocess.Popen(command, user="nobody" if os.geteuid() == 0 else None))
        through = make_conninfo(dsn, host="127.0.0.1", port=port, password="any")
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(through).close()
            except psycopg.OperationalError:
                assert started[-1].poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.02)
            else:
                return through

    yield start
    for process in started:
        process.kill()
        process.wait()
    shutil.rmtree(directory)


class TestTransactions:
    @pytest.fixture
    def shared(self, start_pooler: Fn, configure: Fn) -> str:
        dsn = start_pooler("transaction")
        configure("rpa_db", dsn)
        return dsn

    def test_a_worker_says_once_that_it_polls_and_leaves_no_lock(
        self, start_worker: Fn, shared: str, configure: Fn, queue: Queue
    ) -> None:
        configure("rpa_db", shared)
        worker = start_worker("jobs:quick")
        before = queue.ask(LOOKS)[0][0]
        for count in range(1, 41):
            queue.ask("select conveyor.add_record('f', '{\"n\": 0}')")
            queue.wait(lambda count=count: queue.count("completed") == count)
        queue.ask("select conveyor.add_record('f', '{\"n\": 0}', p_run_at => clock_timestamp() + interval '0.3 s')")
        queue.wait(lambda: queue.count("completed") == 41)
        queue.wait(lambda: queue.ask(LOOKS)[0][0] > before + 60)
        assert queue.ask(SEATED) == []
        assert worker.log().count("a pooler shares the sessions") == 1
        worker.process.terminate()
        assert worker.wait() == 0
        assert (queue.ask(SEATED), worker.log().count("Traceback")) == ([], 0)

    def test_health_says_it(self, shared: str, rpa_db: DatabaseManager, configure: Fn) -> None:
        direct = DistributedProcessor(rpa_db).health_check()
        assert (direct["databases"]["rpa_db"]["shares_sessions"], direct["problems"]) == (False, [])
        configure("rpa_db", shared)
        with DatabaseManager("rpa_db", pool_size=1) as manager:
            health = DistributedProcessor(manager).health_check()
        assert health["databases"]["rpa_db"]["shares_sessions"]
        assert health["status"] == "healthy"
        assert "a pooler shares the sessions" in health["problems"][0]

    def test_a_seat_is_refused(self, shared: str, queue: Queue) -> None:
        with closing(psycopg.connect(shared, autocommit=True)) as conn:
            with pytest.raises(psycopg.DatabaseError) as refused:
                conn.execute(PARK, [conn.info.backend_pid])
            assert refused.value.sqlstate == "WQ003"
        assert queue.ask(SEATED) == []

    def test_the_client_prepares_nothing_that_another_session_lacks(self, shared: str) -> None:
        with DatabaseManager("rpa_db") as manager, closing(psycopg.connect(shared)) as other:
            processor = DistributedProcessor(manager)
            for turn in range(3):
                for _ in range(8):
                    processor.add_records_to_queue("f", [{"n": 0}])
                    [record] = processor.claim_records_batch("f", 1)
                    processor.mark_record_completed(record["id"], {})
                other.rollback() if turn % 2 else other.execute("select 1")  # whose session is the pool's no more
            assert processor.get_queue_status()["completed_records"] == 24


class TestSessions:
    def test_a_worker_keeps_its_session_and_is_woken(
        self, start_pooler: Fn, start_worker: Fn, configure: Fn, queue: Queue, asleep: Fn
    ) -> None:
        configure("rpa_db", start_pooler("session"))
        worker = start_worker("jobs:quick", "--poll", "1h")
        asleep()
        queue.add(1)
        queue.wait(lambda: queue.count("completed") == 1)
        asleep()
        worker.process.terminate()
        assert worker.wait() == 0
        queue.wait(lambda: queue.ask(SEATED) == [])
        assert "pooler" not in worker.log()
