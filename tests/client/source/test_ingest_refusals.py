"""What `pgconveyor ingest` refuses, and what it says: bad usage, bad keys, bad rows, a source that has changed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sql
from pgconveyor.database import DatabaseManager
from pgconveyor.documents import encode_object
from pgconveyor.source import Ingester, RowRefused, Source
from tds import TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

Run = Callable[..., str]
KEY = ("--table", "responses", "--key", "id")


@pytest.fixture
def table(hub: Any, rpa_db: DatabaseManager) -> Any:  # noqa: ARG001  configures the queue
    hub.execute_query("CREATE TABLE responses (id int, answer nvarchar(50), rv rowversion, big decimal(9,0))")
    hub.execute_query("INSERT INTO responses (id, answer) VALUES (1, N'a'), (2, N'b'), (3, N'c')")
    return hub


@pytest.fixture
def refused(command: Callable[..., Any], table: Any, conn: psycopg.Connection) -> Run:  # noqa: ARG001
    """The last line on standard error of a command that fails, and adds nothing."""

    def run(*arguments: object) -> str:
        done = command("ingest", "--source", "SurveyHub", "--flow", "f", *arguments)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert "Traceback" not in done.stderr
        assert sql.counts(conn) == {}
        return str(done.stderr.strip().splitlines()[-1])

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "t"], "give --key"),
        (["--key", "id"], "give either --table or --query"),
        (["--key", "id", "--table", "t", "--query", "SELECT 1"], "give either --table or --query, not both"),
        ([*KEY, "--batch", "0"], "0 is not in the range"),
        ([*KEY, "--overlap", "-1"], "-1 is not in the range"),
        ([*KEY, "--on-error", "ignore"], "'ignore' is not one of"),
        ([*KEY, "--watch", "soon"], "'soon': give a time"),
        ([*KEY, "--source", "rpa_db"], "rpa_db is no SQL Server"),
        ([*KEY, "--database", "SurveyHub"], "SurveyHub is a SQL Server"),
        ([*KEY, "--watch", "0"], "--watch is 0: give a time above that"),
        (["status"], "--source goes after status"),
    ],
)
def test_wrong_usage(table: Any, command: Callable[..., Any], arguments: list[str], said: str) -> None:  # noqa: ARG001
    done = command("ingest", "--source", "SurveyHub", "--flow", "f", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "nobody", "--key", "id"], "error: SurveyHub: Invalid object name"),
        (["--table", "responses", "--key", "nope"], "error: key is 'nope': give one of id, answer, rv, big"),
        (["--table", "responses", "--key", "answer"], "error: key 'answer' is of type nvarchar: give a rowversion or"),
        (["--table", "responses", "--key", "big"], "error: key 'big' is of type decimal: give a rowversion or a whole"),
        (["--table", "a..b.c.", "--key", "id"], "error: table is 'a..b.c.': give a name such as dbo.responses"),
        ([*KEY, "--where", "nope = 1"], "error: SurveyHub: Invalid column name"),
        (["--query", "SELECT id FROM", "--key", "id"], "no ORDER BY, no WITH"),
        ([*KEY, "--map", "nowhere:f"], "error: --map is 'nowhere:f': No module named 'nowhere'; is it in the current"),
        ([*KEY, "--map", "json"], "error: --map is 'json': give package.module:function"),
        ([*KEY, "--name", "x" * 201], "error: p_source is 'xxx"),
        (["--table", "responses", "--key", "id", "--name", " "], "error: p_source is ' '. Give a name"),
    ],
)
def test_what_cannot_be_read(refused: Run, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


class TestKeys:
    def test_null(self, table: Any, refused: Run) -> None:
        table.execute_query("INSERT INTO responses (answer) VALUES (N'x')")
        assert refused(*KEY).startswith("error: key 'id' is null in some row (found by [id] IS NULL): give another key")

    def test_twice(self, table: Any, refused: Run) -> None:
        table.execute_query("INSERT INTO responses (id) VALUES (2)")
        said = "error: key id 2 is in several rows (found by GROUP BY [id] HAVING COUNT(*) > 1): give a key that is"
        assert refused(*KEY).startswith(said)

    def test_twice_by_a_join(self, refused: Run) -> None:
        query = "SELECT r.rv, o.id FROM responses AS r CROSS JOIN responses AS o"
        said = r"error: key rv 0x00000000000007D[123] is in several rows \(found by GROUP BY \[rv\] HAVING COUNT"
        assert re.match(said, refused("--query", query, "--key", "rv"))

    def test_twice_later(self, table: Any, conn: psycopg.Connection, command: Callable[..., Any]) -> None:
        ingest = ("ingest", "--source", "SurveyHub", "--flow", "f", *KEY, "--batch", 2)
        assert command(*ingest).returncode == 0
        table.execute_query("INSERT INTO responses (id) VALUES (4), (5), (5), (6)")
        done = command(*ingest)
        assert (done.returncode, "key id 5 is in two rows of a page" in done.stderr) == (1, True)
        assert sql.value(conn, "select max((payload ->> 'id')::integer) from conveyor.processing_queue") <= 4

    @pytest.mark.parametrize("kind", ["id", "rv"])
    def test_backwards(self, table: Any, kind: str, command: Callable[..., Any], conn: psycopg.Connection) -> None:
        ingest = ("ingest", "--source", "SurveyHub", "--flow", "f", "--table", "responses", "--key", kind)
        assert command(*ingest, "--overlap", 1).returncode == 0
        conn.execute("update conveyor.source_watermark set read_to = 4711")  # as a source that was restored looks
        done = command(*ingest, "--overlap", 1)
        assert (done.returncode, "and the watermark is at" in done.stderr, "ingest reset" in done.stderr) == (
            1,
            True,
            True,
        )
        reset = (
            "ingest",
            "reset",
            "surveyhub.responses",
            "--flow",
            "f",
            "--to",
            3 if kind == "id" else "0x7d3",
            "--yes",
        )
        assert command(*reset).returncode == 0
        table.execute_query("INSERT INTO responses (id, answer) VALUES (4, N'd')")
        assert command(*ingest).stdout.startswith("1 rows of surveyhub.responses read, 1 new")


class TestDefinition:
    def test_another_under_the_same_name(self, table: Any, command: Callable[..., Any]) -> None:  # noqa: ARG002
        def ingest(*more: str) -> Any:
            return command("ingest", "--source", "SurveyHub", "--flow", "f", *KEY, *more)

        assert ingest().returncode == 0
        done = ingest("--where", "id > 1")
        assert (done.returncode, "was read by id" in done.stderr) == (1, True)
        assert "or give what is read now another name. If the rows are the same, reset_source" in done.stderr
        assert ingest("--where", "id > 1", "--name", "some").returncode == 0
        reset = ("ingest", "reset", "surveyhub.responses", "--flow", "f", "--to", "start", "--yes")
        assert command(*reset).returncode == 0
        assert ingest("--where", "id > 1").stdout.startswith("2 rows of surveyhub.responses read, 0 new")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "Missing option '--to'"),
            (["--to", "0xZZ"], "'0xZZ': give start, an id, or a rowversion such as 0x"),
            (["--to", str(2**63)], "give start, an id"),
        ],
    )
    def test_reset_to_nowhere(self, command: Callable[..., Any], arguments: list[str], said: str) -> None:
        done = command("ingest", "reset", "x", "--flow", "f", *arguments)
        assert (done.returncode, said in done.stderr) == (2, True)

    def test_reset_of_what_is_not_there(self, command: Callable[..., Any], rpa_db: Any) -> None:  # noqa: ARG002
        done = command("ingest", "reset", "nobody", "--flow", "f", "--to", "start", "--yes")
        assert (done.returncode, "p_source is 'nobody'" in done.stderr) == (1, True)


MAPPING = """
def raises(row):
    if row["id"] == 2:
        raise LookupError("no such person")
    return row

def returns(row):
    return row if row["id"] != 2 else None

def nul(row):
    return {"id": row["id"], "answer": "a\\0b" if row["id"] == 2 else "fine"}

def half(row):
    return {"id": row["id"], "answer": "a\\ud83d" if row["id"] == 2 else "fine"}
"""
REASONS = {
    "raises": "row surveyhub.responses:2: the mapping raised LookupError: no such person",
    "returns": "row surveyhub.responses:2: the mapping returned NoneType: return a dict",
    "nul": "row surveyhub.responses:2 has a NUL character: remove it, jsonb cannot hold it",
    "half": "row surveyhub.responses:2 has half a surrogate pair: remove or replace it",
}


@pytest.mark.parametrize("function", REASONS)
class TestRows:
    @pytest.fixture
    def ingest(
        self,
        table: Any,  # noqa: ARG002
        command: Callable[..., Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        function: str,
    ) -> Any:
        (tmp_path / "mapping.py").write_text(MAPPING)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "mapping", raising=False)
        common = ("ingest", "--source", "SurveyHub", "--flow", "f", *KEY, "--map", f"mapping:{function}")
        return lambda *more: command(*common, *more)

    def test_stop(self, ingest: Any, function: str, conn: psycopg.Connection) -> None:
        done = ingest()
        assert (done.returncode, sql.counts(conn)) == (1, {})
        said = done.stderr.strip().splitlines()[-1]
        assert said == f"error: {REASONS[function]}; it was not added, see --on-error and --clean"

    def test_skip(self, ingest: Any, function: str, conn: psycopg.Connection) -> None:
        done = ingest("--on-error", "skip")
        assert done.stdout == "3 rows of surveyhub.responses read, 2 new records in f, 1 skipped\n"
        assert f"{REASONS[function]}; skipped" in done.stderr
        assert sql.counts(conn) == {"pending": 2}

    def test_dead_letter(self, ingest: Any, function: str, conn: psycopg.Connection) -> None:
        done = ingest("--on-error", "dead-letter")
        assert done.stdout == "3 rows of surveyhub.responses read, 3 new records in f, 1 added as failed\n"
        query = "select payload - 'rv', error_message, dedup_key from conveyor.processing_queue where status = 'failed'"
        payload = {"id": 2, "answer": "b", "big": None}
        assert conn.execute(query).fetchall() == [(payload, REASONS[function], "surveyhub.responses:2")]
        assert ingest("--on-error", "dead-letter").stdout.startswith("3 rows of surveyhub.responses read, 0 new")

    def test_clean(self, ingest: Any, function: str, conn: psycopg.Connection) -> None:
        done = ingest("--clean")
        if function in ("raises", "returns"):
            assert done.returncode == 1
            return
        answers = sql.column(conn, "select payload ->> 'answer' from conveyor.processing_queue order by id")
        assert answers == [
            "fine",
            {"nul": "a\N{REPLACEMENT CHARACTER}b", "half": "a\N{REPLACEMENT CHARACTER}"}[function],
            "fine",
        ]


def test_a_payload_over_the_flows_limit_is_named_by_its_row(table: Any, refused: Run, conn: psycopg.Connection) -> None:
    table.execute_query(f"UPDATE responses SET answer = N'{'x' * 50}' WHERE id = 3")
    sql.configure(conn, "f", payload_limit=100)
    said = refused(*KEY)
    assert said.startswith("error: row surveyhub.responses:3 has 1")
    assert "payload_limit of the flow is 100" in said


def test_a_wrong_password_is_tried_once(configure: Callable[..., None], tds: TdsServer, refused: Run) -> None:
    configure("SurveyHub", tds.url(Encrypt="no").replace(":Str0ng", ":hunter2"), TYPE="sqlserver")
    before = len(tds.logins)
    said = refused(*KEY, "--watch", "1s")
    assert said.startswith("error: SurveyHub: Login failed for user 'sa'")
    assert len(tds.logins) == before + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"table": None}, "give either table or query"),
        ({"query": "SELECT 1"}, "give either table or query"),
        ({"key": " "}, "key is ' ': give a text that is not blank"),
        ({"where": 7}, "where is 7: give a text"),
        ({"table": "[a"}, "table is '[a': give a name"),
    ],
)
def test_a_source_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        Source(**{"database": "SurveyHub", "key": "id", "table": "responses"} | wrong)


def test_from_python(table: Any, rpa_db: DatabaseManager, conn: psycopg.Connection) -> None:
    source = Source(database="SurveyHub", table="[responses]", key="id")
    reader = source.reader(table)
    with pytest.raises(ValueError, match="on_error is 'never': give stop, skip or dead-letter"):
        Ingester(rpa_db, source, reader, "f", on_error="never")
    with Ingester(rpa_db, source, reader, "f", mapping=lambda row: {"n": row["id"]}) as ingester:
        assert ingester.run().added == 3
    assert sql.column(conn, "select payload from conveyor.processing_queue order by id") == [
        {"n": n} for n in (1, 2, 3)
    ]
    said = r"row surveyhub.responses:1: the mapping returned Document: return a dict; it was not added"
    mapping: Any = lambda _: encode_object({"a": 1}, "x")  # noqa: E731
    with Ingester(rpa_db, source, reader, "g", mapping=mapping) as ingester, pytest.raises(RowRefused, match=said):
        ingester.run()
