"""Everything bad that an operator may type, or pipe in, or configure: exit code, and one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgconveyor.cli import main
from pgconveyor.database import DatabaseManager
from pgconveyor.errors import DatabaseUnavailable, SchemaMissing

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process: its exit code, and what it wrote to standard error. A failure prints no more."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        printed, code = capsys.readouterr(), int(end.value.code or 0)
        assert (code == 0) == (printed.out != "")
        return code, printed.err

    return run


# A line that is wrong, as the third of a file whose second is blank; and what is said of it.
LINES: dict[str, tuple[bytes, str]] = {
    "half": (b"{", "is not JSON: "),
    "array": (b"[1]", r"is '\[1\]': give a JSON object"),
    "text": (b'"x"', "give a JSON object"),
    "NaN": (b'{"a": NaN}', "is not JSON: Out of range"),
    "bare NaN": (b"NaN", "give a JSON object"),
    "huge number": (b'{"a": 1e400000}', "is not JSON: Out of range"),
    "huge integer": (b'{"a": 1' + b"0" * 5000 + b"}", "4300"),
    "NUL": (rb'{"a": "\u0000"}', "has a NUL character: remove it"),
    "raw NUL": (b'{"a": "\0"}', "is not JSON: Invalid control character"),
    "surrogate": (rb'{"a": "\ud800"}', "half a surrogate pair: remove or replace it"),
    "Latin-1": ('{"a": "é"}'.encode("latin-1"), "is not UTF-8"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
    "large": (b'{"k": 1, "a": "' + b"x" * 600 + b'"}', "has 6.. bytes, and the payload_limit of the flow is 500. Keep"),
    "no key": (b"{}", "has no 'k'"),
    "blank key": (b'{"k": ""}', "dedup_key is ''. Give a key of at most 1024 bytes"),
    "bad key": (b'{"k": [1]}', "give a str or an int"),
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("before", [1, 1500], ids=["first document", "second document"])
def test_a_bad_line_is_named(
    run: Run, rpa_db: DatabaseManager, conn: psycopg.Connection, tmp_path: Path, kind: str, before: int
) -> None:
    del rpa_db  # configures the database
    conn.execute("""select conveyor.configure_flow('f', '{"payload_limit": 500}')""")
    line, said = LINES[kind]
    good = b"".join(b'{"k": "\xc3\xa9%d"}\n' % n for n in range(before))
    (tmp_path / "lines").write_bytes(good + b" \n" + line + b'\n{"k": "last"}\n')
    code, error = run("enqueue", "f", "lines", "--dedup-key", "k")
    assert (code, error.count("\n")) == (1, 1)
    assert re.match(f"error: line {before + 2}(, | ).*{said}", error), error
    assert conn.execute("select count(*) from conveyor.processing_queue").fetchone() == (0,)


# Exit code (1: refused, 2: wrong usage), the command, what is said.
COMMANDS: list[tuple[int, list[str], str]] = [
    (1, ["enqueue", "", "lines"], "flow_name is '': give a name"),
    (1, ["enqueue", " ", "lines"], "not blank"),
    (1, ["enqueue", "é" * 101, "lines"], r"\(101 characters\). Give a name of 1 to 100"),
    (2, ["enqueue", "f", "no-such-file"], "no-such-file"),
    (2, ["enqueue", "f", "lines", "--priority", "40000"], "40000 is not in the range -32768<=x<=32767"),
    (2, ["enqueue", "f", "lines", "--run-at", "tomorrow"], "'tomorrow'"),
    (2, ["enqueue", "f", "lines", "--run-at", "2030-01-01T00:00:00"], "2030"),
    (1, ["enqueue", "f", "lines", "--dedup-key", "k"], "line 1 has no 'k'"),
    (1, ["status", "--flow", ""], "p_flow_name is ''. Give a name"),
    (1, ["failed", " "], "p_flow_name is ' '. Give a name"),
    (2, ["failed", "f", "--limit", "0"], "0 is not in the range 1<=x<=10000"),
    (2, ["failed", "f", "--after", str(2**63)], "is not in the range"),
    (1, ["show", "999"], "record 999 does not exist. The id is wrong"),
    (2, ["show", "0"], "0 is not in the range"),
    (2, ["show", str(2**63)], "is not in the range"),
    (2, ["show", "one"], "'one'"),
    (2, ["requeue"], "Missing argument"),
    (2, ["requeue", "1", str(2**63)], "is not in the range"),
    (2, ["cancel", "-1"], "-1|No such option"),
    (2, ["reset", "f", "--max-retries", "-1"], "-1 is not in the range"),
    (2, ["reset", "f", "--max-retries", str(2**31)], "is not in the range"),
    (1, ["reset", ""], "p_flow_name is ''"),
    (1, ["cleanup", "--timeout", "0s"], "p_timeout_hours is '0"),
    (2, ["cleanup", "--timeout", "-1h"], "give a time such as 60s"),
    (2, ["cleanup", "--timeout", "1000000d"], "'1000000d': give at most 36000d"),
    (2, ["cleanup", "--timeout", "9" * 400], "give at most 36000d"),
    (2, ["maintain", "--every", "often"], "'often': give a time such as 60s"),
    (1, ["pause", ""], "p_flow_name is ''"),
    (1, ["resume", ""], "p_flow_name is ''"),
    (2, ["purge", "f"], "--older-than"),
    (2, ["purge", "f", "--older-than", "0.5y"], "'0.5y': give a time"),
    (2, ["purge", "f", "--older-than", "1d", "--batch", "0"], "0 is not in the range"),
    (2, ["configure", "f"], "KEY=VALUE"),
    (2, ["configure", "f", "lease"], "'lease': give KEY=VALUE"),
    (1, ["configure", "", "lease=5min"], "p_flow_name is ''"),
    (1, ["configure", "f", "leese=5"], "p_settings.leese is '5'. Give one of the keys lease, .*payload_limit"),
    (1, ["configure", "f", "lease=0"], "p_settings.lease is '0'. Give an interval above zero"),
    (1, ["configure", "f", "lease=NaN"], "p_settings.lease is '\"NaN\"'. Give an interval"),
    (
        1,
        ["configure", "f", "retry_backoff=1e999"],
        "p_settings.retry_backoff is '\"1e999\"'. Give a number from 1 to 100",
    ),
    (1, ["configure", "f", "max_retries=1.5"], "p_settings.max_retries is '1.5'. Give a whole number"),
    (1, ["configure", "f", "keep_input=yes"], "p_settings.keep_input is '\"yes\"'. Give true or false"),
    (1, ["configure", "f", "payload_limit=0"], "p_settings.payload_limit is '0'. Give a whole number of bytes"),
    (1, ["configure", "f", "payload_limit=16 mice"], 'p_settings.payload_limit is .*16 mice.*such as "16MB"'),
    (1, ["worker", "--flow", "f", "--handler", "no_such_module:f"], "no_such_module.*PYTHONPATH"),
    (1, ["worker", "--flow", "f", "--handler", "json:nothing"], "json has no function 'nothing'"),
    (1, ["worker", "--flow", "f", "--handler", "json"], "give package.module:function"),
    (1, ["worker", "--flow", "", "--handler", "json:loads"], "flow_name is ''"),
    (2, ["worker", "--flow", "f", "--handler", "json:loads", "--batch", "0"], "0 is not in the range"),
    (2, ["worker", "--flow", "f", "--handler", "json:loads", "--concurrency", "0"], "0 is not in the range"),
    (2, ["worker", "--flow", "f", "--handler", "json:loads", "--lease", "1000000d"], "give at most 36000d"),
    (
        1,
        ["worker", "--flow", "f", "--handler", "json:loads", "--lease", "0s"],
        "lease is 0.0: give seconds from 1 to 86400",
    ),
    (2, ["worker", "--flow", "f", "--handler", "json:loads", "--concurrency", "1000000"], "not in the range"),
    (2, ["worker", "--flow", "f", "--handler", "json:loads", "--batch", "1000000"], "not in the range"),
    (1, ["worker", "--flow", "f", "--handler", "json:loads", "--grace", "2d"], "grace is 172800.0"),
    (1, ["worker", "--flow", "f", "--handler", "json:loads", "--handler-timeout", "0s"], "handler_timeout is 0.0"),
]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: ascii(" ".join(row[1]))[:60])
def test_a_bad_argument_is_refused_in_a_line(
    run: Run, conn: psycopg.Connection, rpa_db: DatabaseManager, tmp_path: Path, row: tuple[int, list[str], str]
) -> None:
    del rpa_db  # configures the database
    (tmp_path / "lines").write_text("{}\n")
    wanted, arguments, said = row
    code, error = run(*arguments)
    assert (code, re.search(said, error) is not None) == (wanted, True), error
    assert code == 2 or error.startswith("error: ")
    assert code == 2 or error.count("\n") == 1
    written = "select (select count(*) from conveyor.processing_queue) + (select count(*) from conveyor.flow)"
    assert conn.execute(written).fetchone() == (0,)


def test_a_size_may_be_a_word(run: Run, conn: psycopg.Connection, rpa_db: DatabaseManager) -> None:
    del rpa_db
    for text, size in [("512kB", 524288), ("16777216", 16777216), ("null", None)]:
        assert run("configure", "f", f"payload_limit={text}") == (0, "")
        assert conn.execute("select payload_limit from conveyor.flow").fetchone() == (size,)


# What of the connection string is wrong, and what is said of it.
DSNS: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "password": ({"password": "hunter2"}, DatabaseUnavailable, "password authentication failed"),
    "host": ({"host": "no-such-host.invalid", "password": "hunter2"}, DatabaseUnavailable, "no-such-host.invalid"),
    "port": ({"host": "127.0.0.1", "port": 1, "password": "hunter2"}, DatabaseUnavailable, "port 1 failed"),
    "database": ({"dbname": "no_such_database"}, DatabaseUnavailable, '"no_such_database" does not exist'),
    "schema": ({}, SchemaMissing, "run `pgconveyor install`"),
}


@pytest.mark.parametrize("wrong", DSNS)
def test_a_connection_that_leads_nowhere(run: Run, configure: Any, empty_dsn: str, shown: Any, wrong: str) -> None:
    changes, error, said = DSNS[wrong]
    dsn = make_conninfo(empty_dsn, **changes)
    if wrong == "password":
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            pass
        else:
            pytest.skip("this server asks for no password")
    configure("rpa_db", dsn)
    with DatabaseManager("rpa_db") as manager, pytest.raises(error, match=f"rpa_db: .*{said}") as caught:
        manager.execute_query("select conveyor.get_queue_status()")
    assert isinstance(caught.value, ConnectionError | RuntimeError)
    assert "hunter2" not in shown(caught.value)
    for arguments in (["status"], ["pause", "f"], ["worker", "--flow", "f", "--handler", "json:loads", "--once"]):
        code, line = run(*arguments)
        assert (code, line.count("\n"), re.search(said, line) is not None) == (1, 1, True), line
        assert "hunter2" not in line
