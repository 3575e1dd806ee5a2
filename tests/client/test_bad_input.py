"""
Everything bad that a program may hand to the queue, in one table, and what is said of it: which argument, which value,
what to give instead. The same by SQL is in test_bad_sql.py, by the commands in test_bad_commands.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor as Processor
from pgconveyor.handlers import load

Queue = Any  # of conftest.py
Call = Callable[[Processor, Any], object]

DEEP: Any = functools.reduce(lambda inner, _: [inner], range(100_000), [])
TEXT = type("Text", (str,), {})


class NoOffset(tzinfo):
    utcoffset = tzname = dst = lambda *_: None


# Argument: the call, and for each bad value what the error says beside the argument's name, in order.
PYTHON: dict[str, tuple[Call, list[tuple[Any, str]]]] = {
    "flow_name": (
        lambda p, v: p.add_records_to_queue(v, [{}]),
        [
            ("", "'': give a name"),
            (" \n", "not blank"),
            (None, "None"),
            (5, "5"),
            (b"f", "b'f'"),
            ("a\0b", "NUL"),
            ("\ud800", "surrogate"),
            ("é" * 101, r"\(101 characters\).*1 to 100"),
            (" " * 10**6, "not blank"),
        ],
    ),
    "batch_size": (
        lambda p, v: p.claim_records_batch("f", v),
        [
            (0, "0: give a whole number from 1"),
            (-1, "-1"),
            (True, "True"),
            (1.5, "1.5"),
            ("5", "'5'"),
            (None, "None"),
            (10**9, "'1000000000'.*1 to 100000"),
            (10**10, "10000000000"),
        ],
    ),
    "lease": (
        lambda p, v: p.claim_records_batch("f", 1, lease=v),
        [
            (timedelta(0), "above zero"),
            (timedelta(-1), "-1"),
            (60, "60: give a timedelta"),
            (timedelta(40_000), "'40000 days'.*up to 100 years"),
            (timedelta.max, "100 years"),
        ],
    ),
    "records": (
        lambda p, v: p.add_records_to_queue("f", v),
        [
            ({"a": 1}, "dict: give a list"),
            ("abc", "str"),
            (None, "None"),
            (5, "int"),
            (MappingProxyType({}), "mappingproxy"),
        ],
    ),
    r"records\[2\]": (
        lambda p, v: p.add_records_to_queue("f", [{}, {}, v]),
        [
            ([1], "list: give a dict"),
            ("{}", "str"),
            (TEXT("{}"), "Text"),
            (None, "None"),
            (5, "int"),
            ((), "tuple"),
            (iter([{}]), "iterator"),
            (MappingProxyType({}), "mappingproxy"),
            ({"a": float("nan")}, "not JSON: Out of range"),
            ({"a": [float("-inf")]}, "not JSON: Out of range"),
            ({"a": "\0"}, "NUL"),
            ({"\0": 1}, "NUL"),
            ({"a": "\ud800"}, "surrogate"),
            ({"\udfff": 1}, "surrogate"),
            ({"a": b"x"}, "bytes"),
            ({"a": Decimal(1)}, "Decimal"),
            ({"a": datetime(2030, 1, 1)}, "datetime"),
            ({"a": {1}}, "set"),
            ({(1, 2): 3}, "tuple"),
            ({"a": DEEP}, "recursion"),
            ({"a": 10**5000}, "4300"),
            ({"a": (n for n in "ab")}, "generator"),
            ({"a": "x" * 900}, "9[0-9]+ bytes.*payload_limit.* 500.*elsewhere"),
        ],
    ),
    r"records\[1\]": (
        lambda p, v: p.add_records_to_queue("f", [{"k": "a"}, {"k": v}], dedup_key="k"),
        [
            (None, "no 'k'"),
            (True, "True.*str or an int"),
            (1.5, "1.5"),
            ([1], "1"),
            ({"a": 1}, "'a'"),
            ("", "not blank"),
            (" ", "not blank"),
            ("x" * 490, "limit"),
        ],
    ),
    "priority": (
        lambda p, v: p.add_records_to_queue("f", [{}], priority=v),
        [(True, "True"), (1.5, "1.5"), ("1", "'1'"), (None, "None"), (40_000, "-32768 to 32767"), (-32_769, "-32769")],
    ),
    "run_at": (
        lambda p, v: p.add_records_to_queue("f", [{}], run_at=v),
        [
            (datetime(2030, 1, 1), "time zone"),
            (datetime(2030, 1, 1, tzinfo=NoOffset()), "time zone"),
            (5, "5"),
            ("infinity", "'infinity'"),
            (datetime.max.replace(tzinfo=UTC), "'9999-12-31.*.*years 1 to 9999"),
            (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "BC'.*years 1 to 9999"),
        ],
    ),
    "dedup_key": (
        lambda p, v: p.add_records_to_queue("f", [{}], dedup_key=v),
        [(5, "5: give the name"), (True, "True")],
    ),
    "record_id": (
        lambda p, v: p.mark_record_completed(v, {}, token=1),
        [
            ("1", "'1': give a whole number from 1 "),
            (True, "True"),
            (None, "None"),
            (1.0, "1.0"),
            (0, "0"),
            (-1, "-1"),
            (2**63, str(2**63)),
        ],
    ),
    "token": (
        lambda p, v: p.mark_record_failed(1, "e", token=v),
        [(True, "True"), (1.5, "1.5"), ("1", "'1'"), (-1, "-1"), (2**63, str(2**63))],
    ),
    r"records\[1\] id": (
        lambda p, v: p.release_records([{"id": 1, "claim_token": 1}, {"id": v, "claim_token": 1}]),
        [("1", "'1': give"), (True, "True"), (1.5, "1.5"), (None, "None"), (2**63, str(2**63))],
    ),
    r"records\[0\] claim_token": (
        lambda p, v: p.extend_leases([{"id": 1, "claim_token": v}]),
        [("1", "'1': give"), (True, "True"), (1.5, "1.5"), (None, "None"), (2**63, str(2**63))],
    ),
    "records lack": (lambda p, v: p.extend_leases([v]), [({"id": 1}, "id or claim_token: give"), (1, ""), (None, "")]),
    "result": (
        lambda p, v: p.mark_record_completed(1, v, token=1),
        [
            (None, "NoneType: give a dict"),
            ([], "list"),
            ("{}", "str"),
            ({"x": object()}, "not JSON"),
            ({"x": "\0"}, "NUL"),
            ({"x": float("inf")}, "not JSON"),
            ({"x": DEEP}, "recursion"),
            ({"x": "\ud800"}, "surrogate"),
        ],
    ),
    r"answers\[1\]": (
        lambda p, v: p.mark_records_completed([({"id": i, "claim_token": 1}, r) for i, r in enumerate([{}, v])]),
        [(None, "NoneType: give a dict"), ({"x": {1}}, "set"), ({"x": "\0"}, "NUL")],
    ),
    "error": (
        lambda p, v: p.mark_record_failed(1, v, token=1),
        [(None, "NoneType: give a str"), (5, "int"), (ValueError("x"), "ValueError"), (b"x", "bytes")],
    ),
    r"failures\[0\]": (
        lambda p, v: p.mark_records_failed([({"id": 1, "claim_token": 1}, v)]),
        [
            ({}, "{}: give {error"),
            (None, "None"),
            ({"err": "x"}, "'err'"),
            ({"error": "x", "b": 1}, "'b'"),
            ({"error": 5}, r"\.error is int"),
            ({"error": "", "context": [1]}, r"\.context is \[1\]: give a dict"),
            ({"error": "", "context": {"x": object()}}, r"\.context.*object"),
            ({"error": "", "permanent": 1}, "True or"),
        ],
    ),
    "timeout_hours": (
        lambda p, v: p.cleanup_orphaned_records(v),
        [
            (0, "0: give hours above 0"),
            (-1, "-1"),
            (True, "True"),
            ("1", "'1'"),
            (None, "None"),
            (float("nan"), "nan"),
            (float("inf"), "Infinity.*above 0"),
            (float("-inf"), "-inf"),
            (Decimal(1), "Decimal"),
            (1e300, "above 0"),
        ],
    ),
    "max_retries": (
        lambda p, v: p.reset_failed_records("f", v),
        [(-1, "-1: give a whole number from 0"), (True, "True"), (1.5, "1.5"), ("3", "'3'"), (None, ""), (2**31, "")],
    ),
    "handler": (
        lambda _, v: load(v),
        [
            ("", "'': give package.module:function"),
            ("no_such_module:f", "no_such_module.*PYTHONPATH"),
            ("json", "'json'"),
            ("json:nothing", "no function 'nothing'"),
            ("json:", "'json:'"),
            ("json:__name__", "no function '__name__'"),
        ],
    ),
    "database_name": (
        lambda _, v: DatabaseManager(v),
        [("", "'': give the name"), (" ", "' '"), (None, "None"), (5, "5")],
    ),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python_names_the_argument_the_value_and_the_remedy(processor: Processor, queue: Queue, name: str) -> None:
    queue.conn.execute("""select conveyor.configure_flow('f', '{"payload_limit": 500}')""")
    call, rows = PYTHON[name]
    wrong = []
    for number, (value, said) in enumerate(rows):
        try:
            wrong.append((number, call(processor, value)))
        except ValueError as exc:
            if not re.search(f"{name}.*{said}", str(exc), re.S):
                wrong.append((number, str(exc)[:300]))
    assert wrong == []
    assert queue.rows("id") == []
