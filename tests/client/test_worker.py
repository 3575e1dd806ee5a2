"""The worker: real processes that are drained, stopped, killed and cut off, and its handlers."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.handlers import PermanentError
from pgconveyor.install import install
from pgconveyor.worker import Summary, Worker
from witness import AUDIT, PROOF

COMPLETE = "select conveyor.mark_record_completed(%s, '{\"own\": true}', %s)"
LEASES = "select lease_expires_at from conveyor.processing_queue where status = 'processing'"
OTHERS = "from pg_stat_activity where datname = current_database() and application_name like 'pgconveyor%'"

Fn = Callable[..., Any]
Queue = Any  # of conftest.py


class Nasty(Exception):
    def __str__(self) -> str:
        raise LookupError("this error has no text")


RESULTS = [[1], "text", 5, {"x": object()}, {"x": float("nan")}, {"x": "\0"}]
TEXTS = {"plain": "it broke", "nul": "a\0b", "surrogate": "a\udcff", "long": "x" * 10**6, "empty": ""}
ERRORS = {name: ValueError(text) for name, text in TEXTS.items()}
ERRORS |= {"no text": Nasty(), "exit": SystemExit(3), "cancelled": asyncio.CancelledError()}


@pytest.fixture
def work(rpa_db: DatabaseManager, queue: Queue, caplog: pytest.LogCaptureFixture) -> Fn:
    """Handle `n` records in this process until none is ready; a worker that hangs is told to hurry."""
    caplog.set_level("CRITICAL", "pgconveyor.worker")  # xdist cannot report a log with half a surrogate pair

    def work(handler: Fn, n: int = 1, **options: object) -> Summary:
        queue.add(n)
        worker = Worker(rpa_db, {"f": handler}, once=True, grace=1, **options)
        hurry = threading.Timer(60, lambda: (worker.stop(), worker.stop()))
        hurry.start()
        try:
            return worker.run()
        finally:
            hurry.cancel()

    return work


class TestHandlers:
    def test_a_function_of_the_payload(self, work: Fn, queue: Queue) -> None:
        assert work(lambda payload: {"twice": payload["n"] * 2}, 250, batch=100) == Summary(completed=250)
        assert queue.rows("payload") == [({"twice": n * 2},) for n in range(250)]
        assert work(lambda _payload: None) == Summary(completed=1)
        assert queue.rows("status", "payload", "input")[-1] == ("completed", {}, {"n": 0})

    def test_a_function_of_record_and_context(self, work: Fn, queue: Queue) -> None:
        work(lambda record, context: {"was": record["payload"], "used": context.is_used, "flow": record["flow_name"]})
        assert queue.rows("payload") == [({"was": {"n": 0}, "used": False, "flow": "f"},)]

    @pytest.mark.parametrize("result", RESULTS, ids=["list", "text", "number", "object", "nan", "nul"])
    def test_a_result_that_cannot_be_stored_fails_the_record(self, work: Fn, queue: Queue, result: object) -> None:
        assert work(lambda payload: result if payload["n"] == 1 else {}, 3) == Summary(completed=2, failed=1)
        assert queue.rows("status") == [("completed",), ("failed",), ("completed",)]

    @pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
    def test_an_exception_fails_its_record_and_no_other(self, work: Fn, queue: Queue, error: BaseException) -> None:
        def handler(payload: dict) -> dict:
            if payload["n"] == 1:
                raise error
            return {}

        assert work(handler, 3) == Summary(completed=2, failed=1)
        assert queue.rows("status", "retry_count") == [("completed", 0), ("failed", 1), ("completed", 0)]
        assert queue.ask("select error_type from conveyor.attempt") == [(type(error).__name__,)]

    def test_a_permanent_error_is_not_retried(self, work: Fn, queue: Queue) -> None:
        queue.ask("""select conveyor.configure_flow('f', '{"retry_delay": "1 hour", "max_retries": 3}')""")

        def handler(payload: dict) -> None:
            raise PermanentError("never") if payload["n"] else ValueError("later")

        work(handler, 2)
        assert queue.rows("status") == [("pending",), ("failed",)]


class TestTransactionalHandlers:
    @pytest.fixture(autouse=True)
    def booking(self, conn: psycopg.Connection) -> None:
        conn.execute("create table booking (n integer)")

    @pytest.mark.parametrize("completes", [False, True], ids=["worker completes", "handler completes"])
    def test_write_and_completion_commit_together(self, work: Fn, queue: Queue, completes: bool) -> None:
        def handler(record: dict, context: Any) -> None:
            context.connection.execute("insert into booking values (%s)", [record["payload"]["n"]])
            if completes:
                context.connection.execute(COMPLETE, [record["id"], record["claim_token"]])
            assert (queue.ask("select n from booking"), queue.rows("status")) == ([], [("processing",)])

        assert work(handler) == Summary(completed=1)
        [(xmin,)] = queue.ask("select xmin::text from booking")
        assert queue.rows("xmin::text", "payload") == [(xmin, {"own": True} if completes else {})]

    def test_what_a_failing_handler_wrote_is_rolled_back(self, work: Fn, queue: Queue) -> None:
        def handler(record: dict, context: Any) -> dict:
            context.connection.execute("insert into booking values (%s)", [record["payload"]["n"]])
            if record["payload"]["n"] == 1:
                context.connection.execute("select 1 / 0")
            return {"x": object()} if record["payload"]["n"] == 2 else {}

        assert work(handler, 4, concurrency=2) == Summary(completed=2, failed=2)
        assert queue.ask("select n from booking order by n") == [(0,), (3,)]

    def test_it_is_rolled_back_when_the_claim_was_lost(self, work: Fn, queue: Queue, end_leases: Fn) -> None:
        def handler(record: dict, context: Any) -> None:
            context.connection.execute("insert into booking values (%s)", [record["retry_count"]])
            if record["retry_count"] == 0:
                end_leases()

        assert work(handler) == Summary(completed=1, lost=1)
        assert queue.ask("select n from booking") == [(1,)]


class TestLeases:
    def test_a_heartbeat_keeps_a_record_beyond_its_lease(self, start_worker: Fn, queue: Queue) -> None:
        queue.add(1)
        worker = start_worker("jobs:gated", "--lease", "2s", "--once")
        seen = {queue.wait(lambda: tuple(queue.ask(LEASES)))}
        queue.wait(lambda: seen.add(tuple(queue.ask(LEASES))) or len(seen) > 4)  # a third of a lease each
        (queue.path / "open").touch()
        assert worker.wait() == 0
        assert queue.rows("status", "crash_count", "retry_count") == [("completed", 0, 0)]

    def test_a_killed_workers_records_are_completed_by_others_once(self, start_worker: Fn, queue: Queue) -> None:
        queue.conn.execute(AUDIT)
        queue.add(60)
        options = ("jobs:booked", "--lease", "2s", "--concurrency", 2)
        victim = start_worker(*options, "--batch", 30, STUCK_AT="20")
        queue.wait((queue.path / "stuck").exists)
        others = [start_worker(*options, "--batch", 5) for _ in range(2)]
        victim.process.kill()
        queue.wait(lambda: queue.count("completed") == 60)
        assert queue.ask(PROOF) == [(60,)]
        assert queue.ask("select count(*) > 0 from audit where became = 'pending'") == [(True,)]
        assert queue.ask("select * from conveyor.check_integrity()") == []
        assert [other.process.terminate() or other.wait() for other in others] == [0, 0]

    def test_a_stopped_workers_late_answers_are_refused(self, start_worker: Fn, queue: Queue) -> None:
        queue.conn.execute(AUDIT)
        queue.add(6)
        slow = start_worker("jobs:gated", "--lease", "1s", "--concurrency", 6)
        queue.wait(lambda: len(list(queue.path.glob("running-*"))) == 6)
        slow.process.send_signal(signal.SIGSTOP)
        queue.wait(lambda: queue.processor.maintain() and queue.count("pending") == 6)
        assert start_worker("jobs:quick", "--once").wait() == 0
        before = queue.rows("*")
        (queue.path / "open").touch()
        slow.process.send_signal(signal.SIGCONT)
        slow.process.terminate()
        assert slow.wait() == 0
        assert queue.rows("*") == before
        assert queue.ask("select count(*) from audit where became = 'completed'") == [(6,)]


class TestStopping:
    def test_once_ends_when_none_is_ready(self, start_worker: Fn, queue: Queue) -> None:
        for done in (0, 20):
            queue.add(done)
            assert start_worker("jobs:quick", "--once", "--batch", 3).wait() == 0
            assert queue.count("completed") == done

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_drains(self, start_worker: Fn, queue: Queue, number: signal.Signals) -> None:
        queue.add(10)
        worker = start_worker("jobs:gated", "--concurrency", 2)
        queue.wait(lambda: len(list(queue.path.glob("running-*"))) == 2)
        worker.process.send_signal(number)
        queue.wait(lambda: queue.count("pending") == 8)
        (queue.path / "open").touch()
        assert worker.wait() == 0
        assert (queue.count("completed"), queue.count("pending")) == (2, 8)
        assert set(queue.rows("retry_count + crash_count")) == {(0,)}

    @pytest.mark.parametrize("handler", ["gated", "answered"])
    def test_a_second_signal_ends_at_once(self, start_worker: Fn, queue: Queue, handler: str) -> None:
        queue.add(3)
        worker = start_worker(f"jobs:{handler}", "--concurrency", 1)
        queue.wait((queue.path / "running-0").exists)
        worker.process.terminate()
        # Two signals before it looks are one.
        queue.wait(lambda: "stopping" in worker.log())
        worker.process.terminate()
        assert worker.wait() == 1
        assert "Traceback" not in worker.log()
        # What was answered in an open transaction may be left to its lease.
        assert set(queue.rows("status", "retry_count")[handler == "answered" :]) == {("pending", 0)}


class TestOutages:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    def test_a_worker_whose_connections_are_cut_goes_on(self, start_worker: Fn, queue: Queue) -> None:
        queue.conn.execute(AUDIT)
        queue.add(40)
        worker = start_worker("jobs:booked", "--batch", 20, "--concurrency", 2, "--lease", "2s", STUCK_AT="10")
        queue.wait((queue.path / "stuck").exists)
        assert len(queue.ask(f"select pg_terminate_backend(pid) {OTHERS}")) > 1
        (queue.path / "open").touch()
        queue.wait(lambda: queue.count("completed") == 40)
        assert queue.ask(PROOF) == [(40,)]
        assert worker.process.poll() is None

    def test_a_restarted_server_loses_nothing(self, start_worker: Fn, queue: Queue, embedded: EmbeddedServer) -> None:
        queue.add(200)
        worker = start_worker("jobs:gated", "--batch", 20, "--lease", "5s")
        queue.wait((queue.path / "running-0").exists)
        embedded.stop()
        (queue.path / "open").touch()
        embedded.start()
        queue.wait(lambda: queue.processor.health_check()["status"] == "healthy")
        queue.wait(lambda: queue.processor.get_queue_status()["completed_records"] == 200)
        worker.process.terminate()
        assert worker.wait() == 0
