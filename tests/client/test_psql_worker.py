"""The worker in psql alone, as a login role that has conveyor_worker and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
import tools
from documents import ROOT
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

FOLDER = ROOT / "scripts/psql_worker"
GREETINGS = FOLDER / "greetings.sql"
RECORDS = "from jsonb_to_recordset(:'records') as r (id bigint, payload jsonb, claim_token bigint)\n"
GATE = 42  # an advisory lock: while the test holds it, work goes on

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def owner(embedded: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(embedded.ensure_database("rpa_db"), autocommit=True) as conn:
        install(conn)
        conn.execute("create role app login password 'x'")
        conn.execute("grant conveyor_worker to app")
        yield conn


@pytest.fixture
def app(owner: psycopg.Connection) -> str:
    """The worker's DSN."""
    return make_conninfo(owner.info.dsn, user="app", password="x")


@pytest.fixture
def start(app: str) -> Iterator[Start]:
    """Start a program with the worker's options; PATH has the tests' psql."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: object, **env: str) -> subprocess.Popen[str]:
        path = f"{Path(tools.tool('psql')).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path} | env
        started.append(
            subprocess.Popen(
                [*map(str, command), "-d", app],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def gated(tmp_path: Path, owner: psycopg.Connection) -> Path:
    """A copy whose work waits until the test opens the gate."""
    text = GREETINGS.read_text()
    assert RECORDS in text
    owner.execute("select pg_advisory_lock(%s)", [GATE])
    copy = tmp_path / "gated.sql"
    copy.write_text(
        text.replace(RECORDS, f"{RECORDS}    cross join (select pg_advisory_lock_shared({GATE})) as gate\n")
    )
    return copy


def greet(conn: psycopg.Connection, *payloads: str) -> None:
    conn.execute("select conveyor.add_records_to_queue('greetings', %s::jsonb)", [f"[{', '.join(payloads)}]"])


def open_gate(conn: psycopg.Connection) -> None:
    conn.execute("select pg_advisory_unlock(%s)", [GATE])


def rows(conn: psycopg.Connection, columns: str = "status, error_message") -> list[Any]:
    return conn.execute(f"select {columns} from conveyor.processing_queue order by id").fetchall()


def until_claimed(conn: psycopg.Connection, wait: Callable[..., Any]) -> None:
    wait(lambda: {status for (status,) in rows(conn, "status")} == {"processing"})


def test_a_batch_is_answered_the_good_and_the_bad(app: str, owner: psycopg.Connection) -> None:
    greet(owner, '{"name": "O\'Brien \\\\ é"}', '{"nom": "Ada"}', '{"name": "Grace"}', '{"name": "Alan"}')
    done = tools.psql(app, "-v", "batch=3", "-f", GREETINGS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "claimed 3 completed 2 failed 1 lost {}\n", "")
    assert rows(owner, "status, payload, error_message") == [
        ("completed", {"greeting": "Hello, O'Brien \\ é"}, None),
        ("failed", {"nom": "Ada"}, "the payload has no name"),
        ("completed", {"greeting": "Hello, Grace"}, None),
        ("pending", {"name": "Alan"}, None),
    ]


def test_it_goes_on_until_none_is_ready(start: Start, owner: psycopg.Connection) -> None:
    greet(owner, *['{"name": "Ada"}'] * 250)
    out, err = (process := start(FOLDER / "run", GREETINGS, ONCE="1")).communicate(timeout=60)
    assert (process.returncode, len(out.splitlines()), err) == (0, 3, "")
    assert sql.counts(owner) == {"completed": 250}


def test_a_record_that_fails_the_whole_statement_is_found(start: Start, tmp_path: Path, owner: Any) -> None:
    copy = tmp_path / "divide.sql"
    copy.write_text(GREETINGS.read_text().replace("r.payload ->> 'name')", "1 / (r.payload ->> 'n')::int)", 1))
    greet(owner, *(f'{{"name": "", "n": {n}}}' for n in (1, 2, 0, 3, 4, 0)))
    assert start(FOLDER / "run", copy, ONCE="1").wait(60) == 0
    good, bad = ("completed", None, 0), ("failed", "division by zero", 1)
    assert rows(owner, "status, error_message, retry_count") == [good, good, bad, good, good, bad]
    assert sql.column(owner, "select distinct error_type from conveyor.attempt where outcome = 'failed'") == ["22012"]


def test_a_claim_that_was_cancelled_meanwhile_is_lost_and_only_it(
    start: Start, gated: Path, owner: psycopg.Connection, wait_until: Callable[..., Any]
) -> None:
    greet(owner, '{"name": "Ada"}', '{"name": "Grace"}', "{}", "{}")
    worker = start("psql", "-X", "-f", gated)
    until_claimed(owner, wait_until)
    owner.execute("select conveyor.cancel_records('{1, 3}', 'not wanted')")
    open_gate(owner)
    assert worker.communicate(timeout=60)[0] == "claimed 4 completed 1 failed 1 lost {1,3}\n"
    cancelled = ("failed", "cancelled", "not wanted")
    assert rows(owner, "status, failure_kind, error_message") == [
        cancelled,
        ("completed", None, None),
        cancelled,
        ("failed", "error", "the payload has no name"),
    ]


def test_what_a_killed_one_held_is_done_by_the_next(
    start: Start, gated: Path, owner: psycopg.Connection, wait_until: Callable[..., Any]
) -> None:
    greet(owner, '{"name": "Ada"}', '{"name": "Grace"}')
    worker = start("psql", "-X", "-f", gated)
    until_claimed(owner, wait_until)
    worker.kill()
    worker.wait()
    open_gate(owner)
    sql.expire(owner, [1, 2])
    assert start(FOLDER / "run", GREETINGS, ONCE="1").wait(60) == 0
    assert rows(owner, "status, crash_count") == [("completed", 1)] * 2
    assert sql.problems(owner) == []


def test_told_to_stop_it_answers_what_it_has(
    start: Start, gated: Path, owner: psycopg.Connection, wait_until: Callable[..., Any]
) -> None:
    greet(owner, '{"name": "Ada"}')
    worker = start(FOLDER / "run", gated)
    until_claimed(owner, wait_until)
    worker.send_signal(signal.SIGTERM)
    open_gate(owner)
    assert worker.communicate(timeout=60)[1] == "stopped\n"
    assert (worker.returncode, rows(owner, "status")) == (0, [("completed",)])


def test_asleep_it_is_woken_and_told_to_stop_it_gives_up_its_seat(
    start: Start, tmp_path: Path, owner: psycopg.Connection, wait_until: Callable[..., Any]
) -> None:
    (tmp_path / "greetings.sql").write_text(GREETINGS.read_text())
    # So long that only a notification explains what happens.
    text = (FOLDER / "wait.sql").read_text()
    assert "generate_series(1, 50)" in text
    (tmp_path / "wait.sql").write_text(text.replace("generate_series(1, 50)", "generate_series(1, 1050)"))
    sleepers = "select application_name from conveyor.list_sleepers('greetings') where door_closed"
    worker = start(FOLDER / "run", tmp_path / "greetings.sql")
    for number in range(1, 3):
        greet(owner, '{"name": "Ada"}')
        wait_until(lambda number=number: sql.counts(owner) == {"completed": number})
        wait_until(lambda: sql.column(owner, sleepers) == ["psql worker"])
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    wait_until(lambda: sql.column(owner, sleepers) == [])


@pytest.mark.parametrize(("spoil", "code"), [("revoke conveyor_worker from app", 3), ("alter role app nologin", 2)])
def test_it_ends_with_psqls_code(start: Start, owner: psycopg.Connection, spoil: str, code: int) -> None:
    owner.execute(spoil)
    assert start(FOLDER / "run", GREETINGS).wait(60) == code


def test_without_a_file_it_says_how_to_call_it() -> None:
    done = subprocess.run([FOLDER / "run"], capture_output=True, text=True, check=False)
    assert (done.returncode, "usage: scripts/psql_worker/run FILE" in done.stderr) == (2, True)
