"""A worker among hanging, deadly and many handlers, with a database that goes away, and what it logs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.handlers import Handler
from pgconveyor.install import install
from pgconveyor.worker import Summary, Worker

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

DEADLY = """
import os
from pathlib import Path

def deadly(payload):
    if payload["n"] == 3:
        os._exit(1)
    return {}

def failing(payload):
    raise ValueError("it broke\\nin two lines")
"""


@pytest.fixture(autouse=True)
def more_jobs(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(DEADLY)


@pytest.fixture
def run(rpa_db: DatabaseManager) -> Fn:
    def run(handlers: Mapping[str, Handler], **options: Any) -> Summary:
        worker = Worker(rpa_db, handlers, once=True, **{"grace": 1} | options)
        hurry = threading.Timer(60, lambda: (worker.stop(), worker.stop()))
        hurry.start()
        try:
            return worker.run()
        finally:
            hurry.cancel()

    return run


class TestFlows:
    def test_each_flow_has_its_handler_and_none_starves(self, run: Fn, queue: Queue) -> None:
        queue.processor.add_records_to_queue("long", [{"n": n} for n in range(300)])
        queue.processor.add_records_to_queue("short", [{"n": n} for n in range(20)])
        seen: list[str] = []
        handlers = {name: lambda _payload, name=name: seen.append(name) for name in ("long", "short", "empty")}
        assert run(handlers, concurrency=1, batch=6) == Summary(completed=320)
        assert (seen.count("long"), seen.count("short")) == (300, 20)
        assert len(seen) - 1 - seen[::-1].index("short") < 80

    def test_one_handler_may_serve_all(self, start_worker: Fn, queue: Queue) -> None:
        queue.add(3)
        queue.processor.add_records_to_queue("g", [{"n": 3}])
        assert start_worker("jobs:quick", "--flow", "g", "--once").wait() == 0
        assert queue.rows("flow_name", "status") == [("f", "completed")] * 3 + [("g", "completed")]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--flow", "f"], "twice"),
            (["--flow", "g", "--flow", "h", "--handler", "jobs:quick"], "2 --handler for 3 --flow"),
        ],
    )
    def test_what_does_not_match_is_wrong_usage(self, start_worker: Fn, options: list[str], words: str) -> None:
        worker = start_worker("jobs:quick", *options)
        assert worker.wait() == 2
        assert words in worker.log()


class TestHangingHandlers:
    def test_another_worker_takes_over_and_the_late_answer_is_refused_once(
        self, start_worker: Fn, queue: Queue
    ) -> None:
        queue.add(1)
        hung = start_worker("jobs:gated", "--handler-timeout", "200ms", "--lease", "1s", "--concurrency", 2)
        queue.wait((queue.path / "running-0").exists)
        queue.ask("select conveyor.pause_flow('f')")  # or the same worker might claim it again
        queue.wait(lambda: "is given up" in hung.log())
        queue.wait(lambda: queue.processor.maintain() and queue.count("processing") == 0)
        hung.process.send_signal(signal.SIGSTOP)
        queue.ask("select conveyor.resume_flow('f')")
        assert start_worker("jobs:quick", "--once").wait() == 0
        assert queue.count("completed") == 1
        before = queue.rows("*")
        (queue.path / "open").touch()
        hung.process.send_signal(signal.SIGCONT)
        queue.wait(lambda: "too late" in hung.log())
        hung.process.terminate()
        assert hung.wait() == 0
        assert queue.rows("*") == before
        assert (hung.log().count("too late"), hung.log().count("is given up")) == (1, 1)

    def test_a_worker_whose_handlers_all_hang_ends(self, start_worker: Fn, queue: Queue) -> None:
        queue.add(3)
        worker = start_worker("jobs:gated", "--handler-timeout", "200ms", "--concurrency", 2)
        assert worker.wait() == 1
        assert "every handler was given up" in worker.log()
        assert queue.rows("status", "retry_count") == [("pending", 0)] * 3

    def test_a_heartbeat_is_a_sign_of_life(self, run: Fn, queue: Queue, wait_until: Fn) -> None:
        queue.add(1)

        def handler(_record: dict, context: Any) -> None:
            end = time.monotonic() + 1.0
            wait_until(lambda: context.heartbeat() or time.monotonic() > end)

        assert run({"f": handler}, handler_timeout=0.3) == Summary(completed=1)

    def test_a_heartbeat_says_that_the_claim_was_lost(self, run: Fn, queue: Queue, end_leases: Fn) -> None:
        queue.add(1)

        def handler(record: dict, context: Any) -> dict:
            if not record["retry_count"]:
                end_leases()
            context.heartbeat()
            return {"lived": True}

        assert run({"f": handler}) == Summary(completed=1, lost=1)
        assert queue.rows("payload", "retry_count") == [({"lived": True}, 1)]


def test_who_was_fast_and_meets_a_long_record_leaves_the_others_alone(
    rpa_db: DatabaseManager, start_worker: Fn, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgconveyor.worker.AHEAD", 0.2)
    gate = threading.Event()
    worker = Worker(rpa_db, {"f": lambda payload: {"ended": payload["n"] < 100 or gate.wait(100)}}, concurrency=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        queue.add(101)
        queue.wait(lambda: (queue.count("completed"), queue.count("processing")) == (100, 1))
        met = time.monotonic()
        queue.wait(lambda: time.monotonic() > met + 0.2)
        queue.add(50)
        start_worker("jobs:quick")
        queue.wait(lambda: queue.count("completed") == 150)
    finally:
        gate.set()
        worker.stop()
        thread.join()


class TestDeadlyRecords:
    def test_a_record_that_kills_its_workers_takes_no_other_with_it(
        self, start_worker: Fn, queue: Queue, end_leases: Fn
    ) -> None:
        queue.add(40)
        for deaths in range(5):
            assert start_worker("more:deadly", "--once", "--concurrency", 4).wait() == 1, deaths
            end_leases()
        assert start_worker("more:deadly", "--once").wait() == 0
        assert queue.rows("status") == [("failed" if n == 3 else "completed",) for n in range(40)]
        assert queue.rows("failure_kind", "crash_count")[3] == ("crashed", 5)
        assert max(queue.rows("crash_count")[:3] + queue.rows("crash_count")[4:]) <= (2,)
        health = queue.processor.health_check()
        assert (health["status"], "claims kept ending" in health["problems"][0]) == ("degraded", True)


class TestSource:
    def test_a_handler_reads_the_source(self, run: Fn, queue: Queue, dsn: str, configure: Fn) -> None:
        queue.add(1)
        configure("other", dsn)
        with DatabaseManager("other") as source:
            handler = lambda _record, context: context.source.execute_query("select 7 as seven")[0]  # noqa: E731
            assert run({"f": handler}, source=source) == Summary(completed=1)
        assert queue.rows("payload") == [({"seven": 7},)]

    def test_without_one_the_error_says_how_to_give_it(self, run: Fn, queue: Queue) -> None:
        queue.add(1)
        assert run({"f": lambda _record, context: context.source}) == Summary(failed=1)
        assert "--source" in queue.rows("error_message")[0][0]


class TestLogs:
    @pytest.mark.parametrize(("level", "payload_is_shown"), [("info", False), ("debug", True)])
    def test_one_document_a_line(self, start_worker: Fn, queue: Queue, level: str, payload_is_shown: bool) -> None:
        queue.processor.add_records_to_queue("f", [{"n": 0, "secret": "xyzzy"}])
        worker = start_worker("more:failing", "--once", "--log-format", "json", "--log-level", level)
        assert worker.wait() == 0
        events = [json.loads(line) for line in worker.log().splitlines()]
        [failed] = [event for event in events if "failed: ValueError" in event["message"]]
        assert (failed["level"], failed["flow"]) == ("WARNING", "f")
        assert failed["message"].endswith("it broke in two lines")
        assert [(failed["record_id"],)] == queue.rows("id")
        assert ("xyzzy" in worker.log()) == payload_is_shown


class TestServerAway:
    @pytest.fixture
    def dsn(self, embedded: EmbeddedServer) -> str:
        with psycopg.connect(embedded.dsn()) as conn:
            install(conn)
        return embedded.dsn()

    @pytest.mark.parametrize(("grace", "signals"), [("1s", 1), ("100s", 2)], ids=["grace ends", "told to hurry"])
    def test_a_worker_can_be_stopped(
        self, start_worker: Fn, queue: Queue, embedded: EmbeddedServer, grace: str, signals: int
    ) -> None:
        queue.add(1)
        worker = start_worker("jobs:gated", "--grace", grace, "--lease", "2s")
        queue.wait((queue.path / "running-0").exists)
        embedded.stop()
        (queue.path / "open").touch()
        queue.wait(lambda: "trying again" in worker.log())
        for number in range(signals):
            queue.wait(lambda number=number: worker.log().count("told to stop") == number)
            worker.process.terminate()
        assert worker.wait() == 1
        assert "Traceback" not in worker.log()
        embedded.start()
        queue.wait(lambda: queue.processor.health_check()["status"] == "healthy")
        assert queue.processor.get_queue_status()["processing_records"] == 1
