"""Standard mode: the worker's handlers over payloads in this process, with no queue and no database."""

from __future__ import annotations

import copy
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from own_process import hears_ctrl_c
from pgconveyor.database import DatabaseManager
from pgconveyor.standard import process

KEYS = {
    "flow_name",
    "mode",
    "records_processed",
    "completed",
    "failed",
    "success_rate_percent",
    "error_count",
    "errors",
}
Fn = Callable[..., Any]


def odd(payload: Any) -> dict[str, Any]:
    if payload["n"] % 2 == 0:
        raise LookupError(f"{payload['n']} is even")
    return {"n": payload["n"]}


def test_a_failed_record_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    summary = process("f", ({"n": n} for n in range(7)), odd, keep_results=True)
    [first, *_] = summary["errors"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first.pop("timestamp"))
    assert first == {
        "status": "failed",
        "error": "0 is even",
        "error_type": "LookupError",
        "context": {"flow_name": "f", "index": 0},
    }
    assert [error["context"]["index"] for error in summary["errors"]] == [0, 2, 4, 6]
    assert summary.pop("results") == [None, {"n": 1}, None, {"n": 3}, None, {"n": 5}, None]
    del summary["errors"]
    assert summary == {
        "flow_name": "f",
        "mode": "standard",
        "records_processed": 7,
        "completed": 3,
        "failed": 4,
        "success_rate_percent": 42.86,
        "error_count": 4,
    }
    assert [record.getMessage() for record in caplog.records][-1] == "f: records[6] failed: LookupError: 6 is even"


def test_no_records_are_a_summary_too() -> None:
    summary = process("f", [], odd)
    assert (summary.keys(), summary["records_processed"], summary["success_rate_percent"]) == (KEYS, 0, 100)


def test_of_many_failures_the_first_hundred_are_shown() -> None:
    summary = process("f", ({"n": 0} for _ in range(150)), odd)
    assert (summary["failed"], summary["error_count"], len(summary["errors"])) == (150, 150, 100)


def test_a_handler_of_record_and_context_gets_both() -> None:
    seen = []

    def handle(record: Any, context: Any) -> None:
        context.heartbeat()
        seen.append((record, context.record is record))

    assert process("f", [{"n": 1}], handle)["completed"] == 1
    [(record, is_same)] = seen
    assert (is_same, record["payload"], record["id"], record["claim_token"]) == (True, {"n": 1}, None, None)
    assert record["created_at"].utcoffset() is not None


@pytest.mark.parametrize("name", ["connection", "source"])
def test_without_a_database_the_context_says_how_to_give_one(name: str) -> None:
    summary = process("f", [{}], lambda _, context: getattr(context, name))
    [error] = summary["errors"]
    assert error["error_type"] == "ValueError"
    assert "=DatabaseManager(NAME))" in error["error"]


def test_what_is_written_on_the_connection_stays_only_if_the_record_is_completed(
    rpa_db: DatabaseManager, conn: psycopg.Connection
) -> None:
    conn.execute("create table booking (n integer primary key deferrable initially deferred)")

    def book(record: Any, context: Any) -> Any:
        n = record["payload"]["n"]
        context.connection.execute("insert into booking values (%s)", [n])
        context.source.execute_query("select 1")
        return odd({"n": n}) if n < 4 else {"n": {4}} if n == 4 else None

    records = [{"n": n} for n in (1, 2, 3, 3, 4, 5)]
    summary = process("f", records, book, database=rpa_db, source=rpa_db)
    assert conn.execute("select n from booking order by n").fetchall() == [(1,), (3,), (5,)]
    found = [(error["context"]["index"], error["error_type"]) for error in summary["errors"]]
    # The fourth is refused in its commit, the fifth is rolled back over its result.
    assert found == [(1, "LookupError"), (3, "UniqueViolation"), (4, "ValueError")]


def test_the_callers_records_stay_as_they_are() -> None:
    records = [{"n": [1], "t": (1, 2)}]
    before = copy.deepcopy(records)

    def change(payload: Any) -> Any:
        payload["n"].append(2)
        return payload

    assert process("f", records, change, keep_results=True)["results"] == [{"n": [1, 2], "t": [1, 2]}]
    assert records == before


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([1], r"records\[1\] is list: give a dict"),
        (None, r"records\[1\] is NoneType"),
        ({"at": {1}}, r"records\[1\] is not JSON"),
        ({"x": float("nan")}, r"records\[1\] is not JSON"),
        ({"x": "\0"}, "NUL"),
    ],
)
def test_a_payload_that_the_queue_would_refuse_fails_alone(record: Any, said: str) -> None:
    summary = process("f", [{}, record, {}], lambda _: None)
    assert (summary["completed"], summary["failed"]) == (2, 1)
    assert re.match(said, summary["errors"][0]["error"]) or said in summary["errors"][0]["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", [], odd), "flow_name is ''"),
        ((None, [], odd), "flow_name is None"),
        (("f", {"n": 1}, odd), "records is dict: give a list of dicts"),
        (("f", "text", odd), "records is str"),
        (("f", 5, odd), "records is int"),
        (("f", [], lambda: None), "must take"),
        (("f", [], "jobs:quick"), "cannot be inspected|must take"),
    ],
)
def test_a_bad_argument_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        process(*arguments)


class Told(BaseException):
    """As Prefect raises when it is told to stop."""


@contextmanager
def on_signal(function: Fn) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, function)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def exit_(*_: object) -> None:
    sys.exit("stop")


@pytest.mark.parametrize(
    ("stop", "kind", "ends"),
    [
        (lambda: sys.exit(0), "SystemExit", False),
        (lambda: sys.exit("usage: …"), "SystemExit", False),
        (lambda: os.kill(os.getpid(), signal.SIGUSR1), "SystemExit", True),
        (lambda: exec("raise KeyboardInterrupt"), "KeyboardInterrupt", True),
        (lambda: exec("raise Told", {"Told": Told}), "Told", True),
    ],
    ids=["exit", "exit with text", "exit by a signal", "interrupt", "anything else"],
)
def test_what_ends_a_record_and_what_the_run(stop: Fn, kind: str, ends: bool) -> None:
    def handle(payload: Any) -> None:
        if payload["n"] == 1:
            stop()

    records = iter([{"n": n} for n in range(4)])
    with on_signal(exit_):
        if not ends:
            summary = process("f", records, handle)
            assert (summary["completed"], summary["errors"][0]["error_type"]) == (3, kind)
            return
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            process("f", records, handle)
    assert type(raised.value).__name__ == kind
    assert raised.value.__notes__ == ["standard mode of flow 'f' ended early: 1 records completed, 0 failed"]
    assert next(records) == {"n": 2}, "the rest was not read"


def test_records_that_cannot_be_read_on_end_the_run() -> None:
    def records() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="gone") as raised:
        process("f", records(), odd)
    assert "1 records completed" in raised.value.__notes__[0]


CTRL_C = """
import sys, time
from pathlib import Path
from pgconveyor.standard import process

def handle(payload):
    if payload["n"] == 2:
        Path("running").touch()
        while True:
            time.sleep(0.01)  # a signal just before a sleep is seen after it

process("f", ({"n": n} for n in range(1000)), handle)
"""


def test_ctrl_c_stops_a_script(tmp_path: Path, wait_until: Fn) -> None:
    command, pipe = [sys.executable, "-c", CTRL_C], subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stderr=pipe, text=True, preexec_fn=hears_ctrl_c) as script:
        wait_until((tmp_path / "running").exists)
        script.send_signal(signal.SIGINT)
        _, said = script.communicate(timeout=60)
    assert script.returncode == -signal.SIGINT
    assert said.splitlines()[-2:] == [
        "KeyboardInterrupt",
        "standard mode of flow 'f' ended early: 2 records completed, 0 failed",
    ]


def test_no_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    process("f", [{"n": 2, "name": "hunter2"}], odd)
    assert "hunter2" not in caplog.text
