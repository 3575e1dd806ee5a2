"""Everything bad that an SQL client may hand to the queue, and what is said of it (in Python: test_bad_input.py)."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

Queue = Any  # of conftest.py

# By a login that may do what a worker may: the statement, and for each bad value SQLSTATE and message, with the hint.
SQL: dict[str, tuple[str, list[tuple[Any, str, str]]]] = {
    "flow": (
        "select conveyor.add_record(%s, '{}')",
        [
            ("", "22023", "p_flow_name is ''. Give a name"),
            (" \t", "22023", "not blank"),
            (None, "22023", "is null"),
            ("é" * 101, "22023", r"\(101 characters\). Give a name of 1 to 100"),
            (" " * 10**6, "22023", "1000000 char"),
        ],
    ),
    "payload": (
        "select conveyor.add_record('f', %s::jsonb)",
        [
            (None, "22023", "p_payload is null. Give a JSON object"),
            ("[1]", "22023", "'.1.'"),
            ('"x"', "22023", "x"),
            ('{"a": NaN}', "22P02", 'Token "NaN"'),
            (r'{"a": "\u0000"}', "22P05", "u0000"),
            ("", "22P02", "json"),
            (r'{"a": "\ud800"}', "22P02", "surrogate"),
            ('{"a": 1e400000}', "22003", "overflows numeric"),
            ('{"a": ' + "[" * 10**6 + "]" * 10**6 + "}", "54001", "stack depth"),
            (
                '{"a": "' + "x" * 900 + '"}',
                "22023",
                "p_payload has 9.. bytes, .* is 500. Keep the data elsewhere .* raise",
            ),
        ],
    ),
    "payloads": (
        "select conveyor.add_records_to_queue('f', %s::jsonb)",
        [
            (None, "22023", "p_payloads is null"),
            ("{}", "22023", "'{}'. Give a JSON array"),
            ("5", "22023", "'5'"),
            ("[{}, {}, 3]", "22023", r"p_payloads\[2\] is '3'. Give a JSON object; none was added"),
            ('[{}, {"a": "' + "x" * 900 + '"}]', "22023", r"p_payloads\[1\] has 9.. bytes, .* is 500. Keep .* raise"),
        ],
    ),
    "priority": (
        "select conveyor.add_record('f', '{}', %s)",
        [(None, "22023", "p_priority is null. Give a number"), ("40000", "22003", "smallint"), ("x", "22P02", "'?x")],
    ),
    "run_at": (
        "select conveyor.add_record('f', '{}', p_run_at => %s)",
        [
            ("infinity", "22023", "p_run_at is 'infinity'. Give a time in the years 1 to 9999"),
            ("x", "22007", "x"),
            ("-infinity", "22023", "null for at once"),
            ("294276-12-31", "22023", "'294276"),
            ("294277-1-1", "22008", ""),
            ("4713-01-01 BC", "22023", "BC'"),
        ],
    ),
    "dedup_key": (
        "select conveyor.add_record('f', '{}', p_dedup_key => %s)",
        [
            ("", "22023", "p_dedup_key is ''. Give a key of at most 1024 bytes"),
            (" ", "22023", "not blank"),
            ("é" * 513, "22023", r"\(513 characters\)"),
            ("x" * 10_000, "22023", "a hash"),
        ],
    ),
    "dedup_keys": (
        "select conveyor.add_records_to_queue('f', '[{}, {}]', p_dedup_keys => %s::text[])",
        [
            (["a", ""], "22023", r"p_dedup_keys\[1\] is ''"),
            (["x" * 3000, "a"], "22023", r"p_dedup_keys\[0\] is 'x"),
            (["a"], "22023", "number of p_dedup_keys is '1'. Give one key, or null, for each of the 2"),
        ],
    ),
    "batch_size": (
        "select conveyor.claim_records_batch('f', %s)",
        [
            ("0", "22023", "p_batch_size is '0'. Give a number from 1 to 100000"),
            ("-1", "22023", "-1"),
            (None, "22023", ""),
            ("1000000000", "22023", "100000"),
            ("10000000000", "22003", "integer"),
        ],
    ),
    "lease": (
        "select conveyor.claim_records_batch('f', 1, p_lease => %s)",
        [
            ("0", "22023", "p_lease is '00:00:00'. Give an interval above zero, up to 100 years"),
            ("-1 s", "22023", "-00"),
            ("101 years", "22023", "101 years"),
            ("x", "22007", "x"),
        ],
    ),
    "result": (
        "select conveyor.mark_record_completed(1, %s::jsonb, 1)",
        [("{", "22P02", "json"), ("NaN", "22P02", "NaN")],
    ),
    "id": (
        "select conveyor.mark_record_completed(%s, '{}', 1)",
        [
            ("999", "WQ002", "record 999 does not exist. The id is wrong"),
            (None, "WQ002", "null"),
            ("-1", "WQ002", "-1"),
            ("9223372036854775808", "22003", "bigint"),
        ],
    ),
    "error": ("select conveyor.mark_record_failed(1, %s, 1)", [(None, "22023", "p_error is null. Give a text")]),
    "errors": (
        "select conveyor.mark_records_failed('{1}', %s, '{1}')",
        [
            ("[]", "22023", "number of p_errors is '0'. Give one element for each of the 1 ids"),
            ("{}", "22023", "array"),
            ('["no"]', "22023", r"p_errors\[0\] is .*. Give an object"),
            ('[{"error": 1}]', "22023", r"p_errors\[0\]"),
        ],
    ),
    "tokens": (
        "select conveyor.release_records('{1,2}', %s)",
        [
            ("{1}", "22023", "p_tokens is '.1.'. Give one claim token for each of the 2 ids"),
            (None, "22023", "null"),
            ("{{1,2},{3,4}}", "22023", "2 ids"),
            ("{1,9223372036854775808}", "22003", "bigint"),
        ],
    ),
    "timeout": (
        "select conveyor.cleanup_orphaned_records(%s)",
        [
            ("0", "22023", "p_timeout_hours is '0'. Give hours above 0"),
            ("-1", "22023", "-1"),
            ("NaN", "22023", "NaN"),
            ("Infinity", "22023", "Infinity"),
            ("1000001", "22023", "1000001"),
            ("x", "22P02", "numeric"),
        ],
    ),
    "governing": ("select conveyor.configure_flow('f', %s)", [("{}", "42501", "permission denied for function")]),
}


@pytest.mark.parametrize("name", SQL)
def test_the_argument_the_value_and_the_remedy_are_named(queue: Queue, name: str) -> None:
    statement, rows = SQL[name]
    wrong: list[tuple] = []
    queue.conn.execute("""select conveyor.configure_flow('f', '{"payload_limit": 500}')""")
    queue.conn.execute("set role conveyor_worker")
    for number, (value, state, said) in enumerate(rows):
        try:
            wrong.append((number, queue.ask(statement, value)))
        except psycopg.Error as exc:
            text = f"{exc.diag.message_primary}. {exc.diag.message_hint or exc.diag.message_detail}"
            if exc.sqlstate != state or not re.search(said, text, re.S):
                wrong.append((number, exc.sqlstate, text[:300]))
    assert wrong == []
    queue.conn.execute("reset role")
    assert queue.rows("id") == []
