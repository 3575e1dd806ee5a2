"""Every type goes there and comes back as it was, as a real driver sees it."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tds.types import canonical, codec, declared, stored

# A type, a literal of T-SQL, and what pyodbc makes of it with FreeTDS.
VALUES = [
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "-2147483648", -(2**31)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("bit", "1", True),
    ("bit", "0", False),
    ("float", "0.1", 0.1),
    ("real", "0.5", 0.5),
    ("decimal(38,10)", "-1234567890123456789012345678.0123456789", Decimal("-1234567890123456789012345678.0123456789")),
    ("decimal(9,2)", "0.01", Decimal("0.01")),
    ("money", "922337203685477.5807", Decimal("922337203685477.5807")),
    ("money", "-0.0001", Decimal("-0.0001")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("date", "'0001-01-01'", date(1, 1, 1)),
    ("time(7)", "'23:59:59.9999999'", time(23, 59, 59, 999999)),
    ("time(0)", "'01:02:03'", time(1, 2, 3)),
    ("datetime2(7)", "'9999-12-31 23:59:59.1234567'", datetime(9999, 12, 31, 23, 59, 59, 123456)),
    ("datetime2(3)", "'2024-02-29T12:00:00.5'", datetime(2024, 2, 29, 12, 0, 0, 500000)),
    ("datetime", "'2024-01-02 03:04:05.007'", datetime(2024, 1, 2, 3, 4, 5, 7000)),
    ("smalldatetime", "'2024-01-02 03:04:31'", datetime(2024, 1, 2, 3, 5)),
    ("datetimeoffset(7)", "'2024-01-02 03:04:05.1234567 -05:30'", (2024, 1, 2, 3, 4, 5, 123456700, -5, -30)),
    ("uniqueidentifier", "'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
    ("varchar(10)", "'caf\u00e9'", "café"),
    ("char(5)", "'ab'", "ab   "),
    ("nvarchar(20)", "N'Zoë 🙂'", "Zoë 🙂"),
    ("nchar(3)", "N'ж'", "ж  "),
    ("nvarchar(max)", "N'it''s 100 %'", "it's 100 %"),
    ("varbinary(10)", "0x00ff", b"\x00\xff"),
    ("binary(4)", "0x01", b"\x01\x00\x00\x00"),
    ("varbinary(max)", "0x" + "ab" * 9000, b"\xab" * 9000),
]


@pytest.mark.parametrize(("kind", "literal", "value"), VALUES, ids=lambda v: str(v)[:30])
def test_a_value_and_a_null_come_back(cur: Any, kind: str, literal: str, value: Any) -> None:
    cur.execute(f"CREATE TABLE dbo.[Values] (id int PRIMARY KEY, v {kind} NULL)")
    cur.execute(f"INSERT INTO dbo.[Values] (id, v) VALUES (1, {literal}), (2, NULL)")
    assert [row[0] for row in cur.execute("SELECT v FROM [values] ORDER BY id")] == [value, None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 7),
        ("bigint", 2**40),
        ("bit", True),
        ("float", 2.5),
        ("decimal(18,4)", Decimal("12345678901234.5678")),
        ("nvarchar(50)", "Zoë 🙂"),
        ("datetime2(6)", datetime(2024, 1, 2, 3, 4, 5)),  # FreeTDS sends no fraction
        ("date", date(2024, 2, 29)),
        ("varbinary(10)", b"\x00\x01"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_a_parameter_is_the_value(cur: Any, kind: str, value: Any) -> None:
    cur.execute(f"CREATE TABLE t (v {kind})")
    cur.execute("INSERT INTO t (v) VALUES (?)", value)
    assert cur.execute("SELECT v FROM t WHERE v = ?", value).fetchval() == value


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "\udc00x", "🙂"])
def test_what_postgresql_cannot_hold_is_kept_and_sent(empty_dsn: str, text: str) -> None:
    """FreeTDS can neither send nor show it, so that is looked at without."""
    with psycopg.connect(empty_dsn) as conn:
        row = conn.execute("select %s::text", [stored(text)]).fetchone()
    assert row is not None
    _, encode, _ = codec(declared("nvarchar(10)"))
    size, data = encode(row[0])[:2], encode(row[0])[2:]
    assert data.decode("utf-16-le", "surrogatepass") == text.encode("utf-16-le", "surrogatepass").decode(
        "utf-16-le", "surrogatepass"
    )
    assert int.from_bytes(size, "little") == len(data)


def test_names_keep_their_case_and_are_found_in_any(cur: Any) -> None:
    cur.execute("CREATE TABLE dbo.Answers (AnswerId int, [Two words] nvarchar(5))")
    cur.execute("INSERT INTO ANSWERS (answerid, [two WORDS]) VALUES (1, 'x')")
    cur.execute("SELECT *, answerid AS Again FROM survey_hub.dbo.answers")
    assert [column[0] for column in cur.description] == ["AnswerId", "Two words", "Again"]
    columns = "SELECT column_name, data_type FROM INFORMATION_SCHEMA.COLUMNS WHERE table_name = 'answers' ORDER BY 1"
    assert [tuple(row) for row in cur.execute(columns)] == [("AnswerId", "int"), ("Two words", "nvarchar")]


def test_pages_by_key(cur: Any) -> None:
    cur.execute("CREATE TABLE t (id int IDENTITY(1,1) PRIMARY KEY, n int)")
    for n in range(25):
        cur.execute("INSERT INTO t (n) VALUES (?)", n)
    seen, last = [], 0
    while page := cur.execute("SELECT TOP (?) id, n FROM t WHERE id > ? ORDER BY id", 10, last).fetchall():
        seen += [row.n for row in page]
        last = page[-1].id
    assert seen == list(range(25))


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        ("datetime", "2024-01-02 03:04:05.999", "2024-01-02 03:04:06.0000000"),
        ("datetime2(3)", "2024-01-02T03:04:05.12345", "2024-01-02 03:04:05.1230000"),
        ("datetimeoffset(7)", "2024-01-01 01:00:00 +05:30", "2023-12-31 19:30:00.0000000|+0330"),
        ("time(2)", "01:02:03.456", "01:02:03.4500000"),
        ("date", "20240229", "2024-02-29"),
    ],
)
def test_times_are_kept_in_their_order_and_precision(kind: str, text: str, kept: str) -> None:
    assert canonical(declared(kind), text) == kept


@pytest.mark.parametrize(
    ("kind", "literal", "text"),
    [
        ("date", "'0001-01-01'", "0001-01-01"),
        ("time(7)", "'23:59:59.9999999'", "23:59:59.9999999"),
        ("time(0)", "'01:02:03'", "01:02:03"),
        ("datetime2(7)", "'9999-12-31 23:59:59.1234567'", "9999-12-31 23:59:59.1234567"),
        ("datetime2(3)", "'2024-02-29T12:00:00.5'", "2024-02-29 12:00:00.500"),
        ("datetime", "'2024-01-02 03:04:05.007'", "2024-01-02 03:04:05.007"),
        ("smalldatetime", "'2024-01-02 03:04:31'", "2024-01-02 03:05:00.000"),
        ("datetimeoffset(7)", "'2024-01-02 03:04:05.1234567 -05:30'", "2024-01-02 03:04:05.1234567 -05:30"),
        ("datetimeoffset(0)", "'2024-01-02 03:04:05 +00:00'", "2024-01-02 03:04:05 +00:00"),
    ],
)
def test_style_121_has_all_digits_of_a_time(cur: Any, kind: str, literal: str, text: str) -> None:
    cur.execute(f"CREATE TABLE t (v {kind} NULL)")
    cur.execute(f"INSERT INTO t VALUES ({literal}), (NULL)")
    query = "SELECT CONVERT(varchar(34), [v], 121) AS [v] FROM (SELECT * FROM t) AS source WHERE v IS NOT NULL"
    assert cur.execute(query).fetchval() == text


def test_a_query_is_described(cur: Any) -> None:
    cur.execute("CREATE TABLE t (Id int NOT NULL, Version rowversion, amount decimal(9,2), at datetime2(3))")
    query = "SELECT name, system_type_name, is_nullable FROM sys.dm_exec_describe_first_result_set(?, NULL, 0)"
    rows = cur.execute(f"{query} ORDER BY column_ordinal", "SELECT *, 1 AS one FROM t").fetchall()
    assert [tuple(row) for row in rows] == [
        ("Id", "int", 0),
        ("Version", "timestamp", 1),
        ("amount", "decimal(9,2)", 1),
        ("at", "datetime2(3)", 1),
        ("one", "int", 1),
    ]


def test_ties_come_together(cur: Any) -> None:
    cur.execute("CREATE TABLE t (n int)")
    cur.execute("INSERT INTO t VALUES (1), (2), (2), (3)")
    assert [row[0] for row in cur.execute("SELECT TOP (?) WITH TIES n FROM t ORDER BY n", 2)] == [1, 2, 2]
