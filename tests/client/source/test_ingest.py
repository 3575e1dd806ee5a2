"""`pgconveyor ingest`, as its users run it: from a table of a SQL Server into a flow, again and again."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
from pgconveyor.database import DatabaseManager
from tds import Fault, TdsServer

pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

Ingest = Callable[..., Any]
BASE = ("--source", "SurveyHub", "--table", "responses", "--flow", "f")


@pytest.fixture
def table(hub: Any, rpa_db: DatabaseManager) -> Any:  # noqa: ARG001  configures the queue
    hub.execute_query("CREATE TABLE responses (id int PRIMARY KEY, answer nvarchar(50), rv rowversion)")
    return hub


def fill(table: Any, first: int, last: int) -> None:
    rows = ", ".join(f"({n}, N'answer {n}')" for n in range(first, last + 1))
    table.execute_query(f"INSERT INTO responses (id, answer) VALUES {rows}")


@pytest.fixture
def ingest(table: Any, command: Callable[..., Any]) -> Ingest:  # noqa: ARG001
    """The command, with a table, a source and a flow; the exit code is 0 unless it says otherwise."""

    def ingest(*arguments: object, base: tuple[str, ...] = BASE, code: int = 0) -> Any:
        done = command("ingest", *base, *arguments)
        assert done.returncode == code, done
        return done

    return ingest


def answers(conn: psycopg.Connection) -> list[str]:
    return sql.column(conn, "select payload ->> 'answer' from conveyor.processing_queue order by id")


class TestKeys:
    def test_by_id_each_row_once(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        fill(table, 1, 25)
        said = ingest("--key", "id", "--batch", 10).stdout
        assert said == "25 rows of surveyhub.responses read, 25 new records in f\n"
        assert answers(conn) == [f"answer {n}" for n in range(1, 26)]
        fill(table, 26, 30)
        assert json.loads(ingest("--key", "id", "--json").stdout)["added"] == 5
        assert json.loads(ingest("--key", "id", "--json").stdout)["added"] == 0
        keys = sql.column(conn, "select dedup_key from conveyor.processing_queue order by id")
        assert keys == [f"surveyhub.responses:{n}" for n in range(1, 31)]

    def test_by_rowversion_each_version_once(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        fill(table, 1, 25)
        ingest("--key", "rv", "--batch", 10)
        table.execute_query("UPDATE responses SET answer = N'changed' WHERE id = 7")
        table.execute_query("UPDATE responses SET answer = N'changed again' WHERE id = 7")
        said = json.loads(ingest("--key", "rv", "--json").stdout)
        assert (said["read"], said["added"]) == (1, 1)  # what was overwritten before it was read nobody saw
        assert answers(conn)[-1] == "changed again"
        assert sql.value(conn, "select max(dedup_key) from conveyor.processing_queue").startswith(
            "surveyhub.responses:0x00000000000"
        )

    def test_without_gaps_nothing_is_read_twice(self, table: Any, ingest: Ingest, tds: TdsServer) -> None:
        fill(table, 1, 95)
        ingest("--key", "ID", "--batch", 10, "--overlap", 5)
        said = [params for text, params in tds.statements if "WITH TIES" in text]
        assert [each.get("@P2") for each in said] == [None, *range(10, 100, 10), 95]
        assert {each["@P1"] for each in said} == {10}

    def test_a_gap_is_read_again_as_long_as_it_is_near(
        self, table: Any, ingest: Ingest, tds: TdsServer, conn: psycopg.Connection
    ) -> None:
        fill(table, 1, 19)
        fill(table, 21, 40)
        ingest("--key", "id", "--batch", 10, "--overlap", 15)
        after = [params.get("@P2") for text, params in tds.statements if "WITH TIES" in text]
        assert after == [None, -5, 19, 19, 40]  # -5: whether there is a row 0 cannot be known
        assert len(answers(conn)) == 39

    def test_negative_and_large_ids(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        table.execute_query("CREATE TABLE big (n bigint PRIMARY KEY)")
        table.execute_query(f"INSERT INTO big VALUES ({-(2**62)}), (-5), (0), ({2**62 - 1})")
        base = ("--source", "SurveyHub", "--table", "[dbo].[big]", "--flow", "f", "--key", "n")
        for added in (4, 0):
            assert json.loads(ingest("--batch", 1, "--json", base=base).stdout)["added"] == added
        ids = sql.column(conn, "select (payload ->> 'n')::numeric from conveyor.processing_queue order by id")
        assert ids == [-(2**62), -5, 0, 2**62 - 1]

    def test_an_empty_table(self, ingest: Ingest) -> None:
        for key in ("id", "rv"):
            assert ingest("--key", key, "--name", key).stdout.startswith("0 rows")


class TestWhatIsRead:
    def test_a_query_and_a_condition(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        fill(table, 1, 9)
        query = "SELECT r.id AS n, r.answer FROM responses AS r WHERE r.id > 2 -- all the others"
        base = ("--source", "SurveyHub", "--query", query, "--flow", "f", "--key", "n")
        ingest("--where", "n % 2 = 0", "--name", "even", base=base)
        assert answers(conn) == [f"answer {n}" for n in (4, 6, 8)]
        assert sql.value(conn, "select min(dedup_key) from conveyor.processing_queue") == "even:4"

    def test_a_mapping_makes_the_payload(
        self, table: Any, ingest: Ingest, conn: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(table, 1, 3)
        module(tmp_path, monkeypatch, "def short(row): return {'n': row['id'], 'answer': row['answer'][-1]}")
        ingest("--key", "id", "--map", "mapping:short", "--priority", 5)
        assert sql.column(conn, "select payload from conveyor.processing_queue where priority = 5 order by id") == [
            {"n": n, "answer": str(n)} for n in (1, 2, 3)
        ]

    def test_a_flow_each_has_its_own_watermark(self, table: Any, ingest: Ingest) -> None:
        fill(table, 1, 3)
        for flow in ("f", "g"):
            base = ("--source", "SurveyHub", "--table", "responses", "--flow", flow, "--key", "id", "--json")
            assert json.loads(ingest(base=base).stdout)["added"] == 3

    def test_a_dry_run_writes_nothing(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        fill(table, 1, 25)
        said = ingest("--key", "id", "--batch", 10, "--dry-run").stdout
        assert said.startswith("25 rows of surveyhub.responses can be read, nothing was added; the first payload is\n{")
        assert sql.counts(conn) == {}
        assert sql.column(conn, "select source from conveyor.list_sources()") == []

    def test_large_rows_go_in_several_transactions(
        self, table: Any, ingest: Ingest, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgconveyor.packing.CHUNK_SIZE", 100)
        fill(table, 1, 25)
        ingest("--key", "id")
        assert answers(conn) == [f"answer {n}" for n in range(1, 26)]
        assert sql.value(conn, "select count(distinct xmin::text) from conveyor.processing_queue") > 5


def module(path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (path / "mapping.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(path)
    monkeypatch.delitem(sys.modules, "mapping", raising=False)


class TestOperators:
    def test_status_and_reset(self, table: Any, ingest: Ingest, conn: psycopg.Connection) -> None:
        fill(table, 1, 9)
        ingest("--key", "id")
        ingest("--key", "rv", "--name", "versions")
        shown = ingest("status", base=()).stdout
        assert re.search(r"(?m)^surveyhub.responses into f: 9 added, at 9, caught up at 20\d\d-", shown)
        assert re.search(r"(?m)^versions into f: 9 added, at 0x0000000000000[0-9A-F]{3}, caught up at ", shown)
        rows = json.loads(ingest("status", "--flow", "f", "--json", base=()).stdout)
        assert [(row["source"], row["key_kind"], row["rows_added"]) for row in rows] == [
            ("surveyhub.responses", "id", 9),
            ("versions", "rowversion", 9),
        ]
        reset = ("reset", "surveyhub.responses", "--flow", "f", "--to", "5")
        assert "add --yes" in ingest(*reset, base=()).stdout
        ingest(*reset, "--yes", base=())
        assert json.loads(ingest("--key", "id", "--json").stdout) == {
            "read": 4,
            "added": 0,
            "skipped": 0,
            "dead_lettered": 0,
            "read_to": 9,
            "dry_run": False,
        }
        conn.execute("delete from conveyor.processing_queue")
        ingest("reset", "versions", "--flow", "f", "--to", "start", "--yes", base=())
        assert json.loads(ingest("--key", "rv", "--name", "versions", "--json").stdout)["added"] == 9

    def test_forget(self, table: Any, ingest: Ingest) -> None:
        fill(table, 1, 9)
        ingest("--key", "id")
        forget = ("forget", "surveyhub.responses", "--flow", "f")
        assert "add --yes" in ingest(*forget, base=()).stdout
        assert ingest(*forget, "--yes", base=()).stdout == "surveyhub.responses of f is forgotten\n"
        assert ingest("status", base=()).stdout == "no source was read\n"
        assert json.loads(ingest("--key", "id", "--json").stdout)["added"] == 0  # the records are still there

    def test_status_without_sources(self, ingest: Ingest) -> None:
        assert ingest("status", base=()).stdout == "no source was read\n"

    def test_json_errors_are_documents(self, ingest: Ingest) -> None:
        document = json.loads(ingest("--key", "nope", "--json", code=1).stdout)
        assert document["status"] == "failed"
        assert document["context"] == {"flow_name": "f"}

    def test_watching_goes_on_when_what_passes_has_passed(
        self, table: Any, ingest: Ingest, tds: TdsServer, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgconveyor.source.BACK_OFF", (0.01, 0.01))
        monkeypatch.setattr("pgconveyor.sqlserver.BACK_OFF", 0.001)
        fill(table, 1, 25)
        tds.faults.append(Fault("WITH TIES.*id. > ", times=9, error=40613))
        ingest("--key", "id", "--batch", 10)
        assert len(answers(conn)) == 25


class TestProgress:
    def test_a_terminal_has_a_line_that_changes(self, table: Any, pgconveyor: Callable[..., Any]) -> None:
        fill(table, 1, 25)
        done = pgconveyor("ingest", *BASE, "--key", "id", FORCE_COLOR="1")
        assert done.returncode == 0
        assert re.search(
            r"ingest surveyhub.responses .*\b25 rows, [\d,]+ rows/s", re.sub(r"\x1b\[[\d;?]*\w", "", done.stderr)
        )

    def test_elsewhere_the_log_has_one_now_and_then(
        self, table: Any, ingest: Ingest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "pgconveyor")
        fill(table, 1, 25)
        ingest("--key", "id", "--batch", 10)
        assert "rows/s" not in caplog.text
        monkeypatch.setattr("pgconveyor.ingest.REPORT_EVERY", 0.0)
        ingest("--key", "id", "--batch", 10, "--name", "other")
        assert re.search(r"other: 10 rows, [\d,]+ rows/s, 15 keys behind", caplog.text)

    def test_logs_are_json_lines_when_asked_for(
        self, table: Any, pgconveyor: Callable[..., Any], tmp_path: Path
    ) -> None:
        fill(table, 1, 2)
        (tmp_path / "mapping.py").write_text("def nothing(row): return None")
        options = ("--key", "id", "--map", "mapping:nothing", "--on-error", "skip", "--log-format", "json")
        lines = [json.loads(line) for line in pgconveyor("ingest", *BASE, *options).stderr.splitlines()]
        assert [line["level"] for line in lines] == ["INFO", "WARNING", "WARNING"]
        assert lines[1]["message"].startswith("row surveyhub.responses:1: the mapping returned NoneType")


def test_a_producer_may_do_it(
    table: Any, ingest: Ingest, conn: psycopg.Connection, dsn: str, configure: Callable[..., None]
) -> None:
    user = f"producer_{conn.info.dbname}"
    conn.execute(f"create role {user} login password 'secret' in role conveyor_producer")
    configure("rpa_db", make_conninfo(dsn, user=user, password="secret"))
    fill(table, 1, 3)
    ingest("--key", "id")
    ingest("status", base=())
    assert ingest("reset", "surveyhub.responses", "--flow", "f", "--to", "start", "--yes", base=(), code=1)
    assert len(answers(conn)) == 3
    conn.execute(f"drop role {user}")
