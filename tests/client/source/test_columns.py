"""Each type of SQL Server and its JSON form; the README has the same as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from documents import ROOT
from pgconveyor.columns import FORMS, Column
from pgconveyor.reader import Reader
from tds import TdsServer
from tds.types import stored

pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

VALUES = [
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "-2147483648", -(2**31)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("bit", "1", True),
    ("float", "0.1", 0.1),
    ("real", "0.5", 0.5),
    ("decimal(38,10)", "-1234567890123456789012345678.0123456789", "-1234567890123456789012345678.0123456789"),
    ("decimal(9,3)", "1.5", "1.500"),
    ("decimal(38,20)", "0.00000000000000000001", "0.00000000000000000001"),
    ("numeric(5,0)", "7", "7"),
    ("money", "922337203685477.5807", "922337203685477.5807"),
    ("smallmoney", "-0.1", "-0.1000"),
    ("date", "'0001-01-01'", "0001-01-01"),
    ("time(7)", "'23:59:59.9999999'", "23:59:59.9999999"),
    ("time(0)", "'01:02:03'", "01:02:03"),
    ("datetime2(7)", "'9999-12-31 23:59:59.1234567'", "9999-12-31T23:59:59.1234567"),
    ("datetime2(0)", "'2024-02-29T12:00:00'", "2024-02-29T12:00:00"),
    ("datetime", "'2024-01-02 03:04:05.007'", "2024-01-02T03:04:05.007"),
    ("smalldatetime", "'2024-01-02 03:04'", "2024-01-02T03:04:00.000"),
    ("datetimeoffset(7)", "'2024-01-02 03:04:05.1234567 -05:30'", "2024-01-02T03:04:05.1234567-05:30"),
    ("datetimeoffset(0)", "'2024-01-02 03:04:05 +00:00'", "2024-01-02T03:04:05+00:00"),
    ("uniqueidentifier", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ("varchar(10)", "'caf\u00e9'", "café"),
    ("char(5)", "'ab'", "ab   "),
    ("nvarchar(20)", "N'Zoë 🙂'", "Zoë 🙂"),
    ("nchar(3)", "N'ж'", "ж  "),
    ("nvarchar(max)", "N'it''s \\100 % \"so\"'", 'it\'s \\100 % "so"'),
    ("varbinary(10)", "0x00ff", "0x00FF"),
    ("binary(4)", "0x01", "0x01000000"),
    ("varbinary(max)", "0x" + "ab" * 9000, "0x" + "AB" * 9000),
    ("rowversion", "DEFAULT", "0x00000000000007D1"),
]


@pytest.mark.parametrize(("kind", "literal", "form"), VALUES, ids=[value[0] for value in VALUES])
def test_a_value_and_a_null_have_a_json_form(hub: Any, kind: str, literal: str, form: Any) -> None:
    hub.execute_query(f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    if kind == "rowversion":
        hub.execute_query("INSERT INTO t (id) VALUES (1)")
    else:
        hub.execute_query(f"INSERT INTO t (id, v) VALUES (1, {literal}), (2, NULL)")
    rows = [row for _, row in Reader(hub, "t AS source", "id").page(None, 10, None)]
    assert rows == [{"id": n + 1, "v": value} for n, value in enumerate([form, None][: len(rows)])]
    assert json.loads(json.dumps(rows)) == rows


def test_what_postgresql_cannot_hold_comes_as_it_is(hub: Any, tds: TdsServer, empty_dsn: str) -> None:  # noqa: ARG001
    """Half of a surrogate pair and NUL: what becomes of the row is for --on-error and --clean to say."""
    hub.execute_query("CREATE TABLE t (id int PRIMARY KEY, a nvarchar(50), b nvarchar(max))")
    hub.execute_query("INSERT INTO t VALUES (1, N'fine', N'Zoë 🙂')")
    with psycopg.connect(empty_dsn) as conn:  # where the server for tests keeps it: no driver could send it
        conn.execute("insert into t values (2, %s, %s)", [stored("a\ud83d"), stored("b\0\udc00c")])
    texts = [(row["a"], row["b"]) for _, row in Reader(hub, "t AS source", "id").page(None, 10, None)]
    assert texts == [("fine", "Zoë 🙂"), ("a\ud83d", "b\0\udc00c")]
    assert hub.execute_query("SELECT b FROM t WHERE id = 1") == [{"b": "Zoë 🙂"}]


def test_each_form_is_in_the_readmes_table_and_was_tried() -> None:
    readme = Path(ROOT / "README.md").read_text()
    tried = {value[0].partition("(")[0].replace("rowversion", "timestamp") for value in VALUES}
    assert set(FORMS) - tried == {"text", "ntext", "xml", "json", "image"}  # as nvarchar(max) and varbinary(max)
    assert [kind for kind in FORMS if f"`{kind.replace('timestamp', 'rowversion')}`" not in readme] == []


@pytest.mark.parametrize(("type_name", "kind"), [("sql_variant", "sql_variant"), (None, "a type of its own")])
def test_a_column_without_a_form_is_refused(
    hub: Any, monkeypatch: pytest.MonkeyPatch, type_name: str | None, kind: str
) -> None:
    # As a real server describes it; ours has no such types.
    monkeypatch.setattr(hub, "read", lambda *_args, **_options: [("id", "int", 0), ("v", type_name, 1)])
    with pytest.raises(ValueError, match=f"^column 'v' is of type {kind}, which has no JSON form: CAST it in a query$"):
        Reader(hub, "t AS source", "id")


def test_a_bracket_in_a_name_is_quoted() -> None:
    assert Column("a]b", "int", False).expression == "[a]]b]"
    assert Column("when", "date", False).expression == "CONVERT(varchar(34), [when], 121) AS [when]"
