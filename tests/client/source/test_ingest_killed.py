"""A real `pgconveyor ingest` that is killed or stopped at a moment that a server chooses, and started again."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest_kit import KEYS, Survey
from own_process import OwnProcess
from tds import Fault, LoginFault, TdsServer

PAGE = "WITH TIES"
ROWS = 35  # three pages and a short one
STOPS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])

# A page waits here for a lock of the test.
HOLD = """
    create function public.hold() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin perform pg_advisory_xact_lock_shared(2708); return null; end $$;
"""
HOLDS = {
    "before its commit": "trigger hold after insert on conveyor.processing_queue for each statement",
    "in its commit": """constraint trigger hold after insert on conveyor.processing_queue
        deferrable initially deferred for each row""",
}
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"

Start = Callable[..., OwnProcess]
Reached = Callable[[Fault | LoginFault], None]
Held = Callable[[str], AbstractContextManager[Callable[[int], None]]]


@pytest.fixture
def start(survey: Survey, tmp_path: Path) -> Iterator[Start]:
    """Start the command; what still runs at the end is killed."""
    started: list[OwnProcess] = []

    def start(*options: object) -> OwnProcess:
        command = [sys.executable, "-W", "error", "-m", "pgconveyor", "ingest", "--source", "SurveyHub"]
        command += ["--table", "responses", "--key", KEYS[survey.key_kind], "--flow", "f", "--batch", "10"]
        command += map(str, options)
        started.append(OwnProcess(command, tmp_path, tmp_path / f"ingest-{len(started)}.log", dict(os.environ)))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def rows(survey: Survey) -> list[dict[str, Any]]:
    survey.add(range(ROWS))
    return survey.rows()


@pytest.fixture
def reached(wait_until: Callable[..., Any]) -> Reached:
    """Wait until a fault has come to its statement."""
    return lambda fault: wait_until(lambda: fault.times == 0)


@pytest.fixture
def held(survey: Survey, wait_until: Callable[..., Any]) -> Held:
    """Pages wait while they are written; what is given waits until so many sessions do."""

    @contextmanager
    def held(when: str) -> Iterator[Callable[[int], None]]:
        survey.conn.execute(HOLD)
        survey.conn.execute(f"create {HOLDS[when]} execute function public.hold()")
        survey.conn.execute("select pg_advisory_lock(2708)")
        yield lambda count: wait_until(lambda: survey.conn.execute(WAITING).fetchone() == (count,))
        survey.conn.execute("select pg_advisory_unlock(2708)")

    return held


def after(tds: TdsServer, good: int, fault: Fault) -> Fault:
    """After so many good statements of its kind."""
    tds.faults += [Fault(fault.match, times=good), fault]
    return fault


def ended(process: OwnProcess, code: int) -> None:
    """By itself and without fuss."""
    assert (process.wait(30), "Traceback" in process.log()) == (code, False), process.log()
    assert len(process.log().splitlines()) <= 2, process.log()


class TestKilled:
    @pytest.mark.parametrize("where", [{}, {"after_rows": 4}, {"after_rows": 10}])
    @pytest.mark.parametrize("good", [0, 2])
    def test_while_a_page_comes(
        self,
        survey: Survey,
        rows: Any,
        start: Start,
        tds: TdsServer,
        reached: Reached,
        where: dict[str, Any],
        good: int,
    ) -> None:
        fault = after(tds, good, Fault(PAGE, stalls=True, **where))
        process = start()
        reached(fault)
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert start().wait() == 0
        assert survey.queued() == rows

    @pytest.mark.parametrize("when", HOLDS)
    def test_while_a_page_is_written(self, survey: Survey, rows: Any, start: Start, held: Held, when: str) -> None:
        """The server goes on with the statement of a client that is no more, and commits if it was told to."""
        with held(when) as are_held:
            process = start()
            are_held(1)
            process.send(signal.SIGKILL)
            process.wait()
            again = start()
            are_held(2)
        assert again.wait() == 0
        assert survey.queued() == rows


class TestStopped:
    @STOPS
    @pytest.mark.parametrize("fault", [{"stalls": True}, {"stalls": True, "after_rows": 4}, {"row_delay": 1.0}])
    def test_while_a_page_comes(
        self,
        survey: Survey,
        rows: Any,
        start: Start,
        tds: TdsServer,
        reached: Reached,
        number: signal.Signals,
        fault: dict[str, Any],
    ) -> None:
        slow = after(tds, 2, Fault(PAGE, **fault))
        process = start()
        reached(slow)
        process.send(number)
        ended(process, 128 + number)
        assert survey.queued() in (rows[:10], rows[:20])
        slow.release.set()
        assert start().wait() == 0
        assert survey.queued() == rows

    @STOPS
    @pytest.mark.parametrize("match", ["GROUP BY|MIN_ACTIVE", r"MAX\("])
    def test_while_another_statement_stalls(
        self, start: Start, tds: TdsServer, reached: Reached, number: signal.Signals, match: str
    ) -> None:
        tds.faults.append(fault := Fault(match, stalls=True))
        process = start()
        reached(fault)
        process.send(number)
        ended(process, 128 + number)

    @STOPS
    def test_while_a_login_stalls(self, start: Start, tds: TdsServer, reached: Reached, number: signal.Signals) -> None:
        tds.login_faults.append(fault := LoginFault(stalls=True))
        process = start()
        reached(fault)
        process.send(number)
        ended(process, -number)

    @STOPS
    def test_before_it_began(self, start: Start, tds: TdsServer, reached: Reached, number: signal.Signals) -> None:
        tds.faults.append(fault := Fault(r"TOP \(0\)", stalls=True))
        process = start()
        reached(fault)
        process.send(number)
        ended(process, -number)

    @STOPS
    @pytest.mark.usefixtures("rows")
    def test_twice_where_the_server_does_not_hear_it(
        self, start: Start, tds: TdsServer, reached: Reached, wait_until: Callable[..., Any], number: signal.Signals
    ) -> None:
        fault = after(tds, 2, Fault(PAGE, row_delay=600))
        process = start()
        reached(fault)
        process.send(number)
        status = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> number - 1 & 1)
        process.send(number)
        ended(process, -number)

    @STOPS
    @pytest.mark.parametrize("when", HOLDS)
    def test_while_a_page_is_written(
        self, survey: Survey, rows: Any, start: Start, held: Held, number: signal.Signals, when: str
    ) -> None:
        """The page is finished."""
        with held(when) as are_held:
            process = start("--json")
            are_held(1)
            process.send(number)
        ended(process, 128 + number)
        added = json.loads(process.log().splitlines()[-1])["added"]
        assert (added % 10, survey.queued()) == (0, rows[:added])
        assert start().wait() == 0
        assert survey.queued() == rows


class TestWatching:
    @STOPS
    def test_between_two_looks(
        self, survey: Survey, rows: Any, start: Start, wait_until: Callable[..., Any], number: signal.Signals
    ) -> None:
        process = start("--watch", "1h")
        caught_up = "select from conveyor.list_sources() where caught_up_at is not null"
        wait_until(lambda: survey.conn.execute(caught_up).fetchall())
        process.send(number)
        ended(process, 0)
        assert survey.queued() == rows

    @STOPS
    def test_while_a_later_look_stalls(
        self, survey: Survey, rows: Any, start: Start, tds: TdsServer, reached: Reached, number: signal.Signals
    ) -> None:
        fault = after(tds, 6, Fault(PAGE, stalls=True))
        process = start("--watch", "10ms")
        reached(fault)
        process.send(number)
        ended(process, 0)
        assert survey.queued() == rows
