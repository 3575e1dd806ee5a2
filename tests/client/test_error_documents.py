"""`--json` of a command that fails: the contract's error document on standard output, the line beside it as ever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from pgconveyor.cli import main
from pgconveyor.database import DatabaseManager
from pgconveyor.operate import COMMANDS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        return int(end.value.code or 0), *capsys.readouterr()

    return run


# Exit code, the command, error type, what is said, context.
FAILURES: list[tuple[int, list[str], str, str, dict[str, Any]]] = [
    (1, ["show", "999"], "RecordNotFound", "record 999 does not exist", {"record_id": 999}),
    (1, ["status", "--flow", " "], "InvalidArgument", "p_flow_name is ' '. Give a name", {"flow_name": " "}),
    (1, ["enqueue", "f", "lines"], "ValueError", "line 1 is not JSON", {"flow_name": "f"}),
    (1, ["reset", ""], "InvalidArgument", "p_flow_name is ''", {"flow_name": ""}),
    (2, ["failed", "f", "--limit", "0"], "ValueError", "0 is not in the range", {"flow_name": "f"}),
    (2, ["failed", "f", "--no-such-option"], "ValueError", "No such option", {}),
    (2, ["show", "one"], "ValueError", "'one' is not a valid", {}),
    (2, ["requeue", "1", "0"], "ValueError", "0 is not in the range", {}),
    (2, ["no-such-command"], "ValueError", "No such command", {}),
]


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: ascii(" ".join(row[1])))
def test_a_failure_is_a_document(
    run: Run, rpa_db: DatabaseManager, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, row: Any
) -> None:
    del rpa_db  # configures the database
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines").write_text("{\n")
    code, arguments, error_type, said, context = row
    got, out, err = run(*arguments, "--json")
    document = json.loads(out)
    assert (got, document.pop("status"), document.pop("error_type")) == (code, "failed", error_type)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("timestamp"))
    assert document.pop("context") == context
    error = document.pop("error")
    assert document == {}
    assert said in error
    assert error in " ".join(err.split())
    got, out, plain = run(*arguments)
    assert out == ""
    assert code == 2 or plain == err, "the line is the same with --json and without"


def test_ids_are_in_the_context(run: Run, configure: Callable[..., None], dsn: str) -> None:
    configure("rpa_db", make_conninfo(dsn, host="127.0.0.1", port=1, password="hunter2"))
    code, out, err = run("requeue", "1", "2", "--json")
    document = json.loads(out)
    assert (code, document["error_type"], document["context"]) == (1, "DatabaseUnavailable", {"record_ids": [1, 2]})
    assert err == f"error: {document['error']}\n"
    assert "hunter2" not in out + err


@pytest.mark.parametrize("command", [c.name for c in COMMANDS if any(p.name == "as_json" for p in c.params)])
def test_each_command_with_json_says_so_when_the_database_is_away(
    run: Run, configure: Callable[..., None], command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines").write_text("{}\n")
    configure("rpa_db", "postgresql://u:hunter2@127.0.0.1:1/db")
    more = {"purge": ["f", "--older-than", "1d", "--yes"], "enqueue": ["f", "lines"], "failed": ["f"], "reset": ["f"]}
    more |= {name: ["1"] for name in ("show", "requeue", "cancel")}
    _, out, err = run(command, *more.get(command, []), "--json")
    document = json.loads(out)
    assert "hunter2" not in out + err
    if command == "health":  # which reports, and never fails
        assert (document["status"], err) == ("unhealthy", "")
    else:
        assert (document["status"], document["error_type"]) == ("failed", "DatabaseUnavailable")


def test_success_and_help_are_none(run: Run, rpa_db: DatabaseManager) -> None:
    del rpa_db
    code, out, err = run("status", "--json")
    assert (code, json.loads(out)["total_records"], err) == (0, 0, "")
    code, out, _ = run("status", "--help", "--json")
    assert (code, out.startswith("Usage:")) == (0, True)


def test_a_command_without_json_says_that(run: Run) -> None:
    code, out, err = run("pause", "f", "--json")
    document = json.loads(out)
    assert (code, document["error_type"]) == (2, "ValueError")
    assert document["error"] in err
    assert "No such option" in document["error"]
