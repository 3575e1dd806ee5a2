"""What a handler may return and raise means the same in standard mode and in a worker."""

from __future__ import annotations

import decimal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.client.conftest import Queue

from pgconveyor.handlers import PermanentError
from pgconveyor.standard import process
from pgconveyor.worker import Worker


class Nameless(Exception):
    def __str__(self) -> str:
        raise TypeError("no text")


def mutates(payload: Any) -> dict[str, Any]:
    payload["list"].append(payload.pop("n"))
    return {"list": payload["list"]}


def returns(value: Any) -> Callable[[Any], Any]:
    return lambda _payload: value


def raises(error: BaseException) -> Callable[[Any], Any]:
    def handle(_payload: Any) -> Any:
        raise error

    return handle


loop: dict[str, Any] = {}
loop["again"] = loop

HANDLERS: dict[str, Callable[..., Any]] = {
    "dict": returns({"a": (1, 2), 3: None}),
    "None": returns(None),
    "record and context": lambda record, context: {"same": context.record is record, "n": record["payload"]["n"]},
    "mutates": mutates,
    "list": returns([1]),
    "text": returns("done"),
    "number": returns(0),
    "datetime": returns({"at": datetime(2024, 1, 1, tzinfo=UTC)}),
    "decimal": returns({"x": decimal.Decimal(1)}),
    "set": returns({"x": {1}}),
    "nan": returns({"x": float("nan")}),
    "nul": returns({"x": "\0"}),
    "surrogate": returns({"x": "\ud800"}),
    "loop": returns(loop),
    "error": raises(LookupError("no such survey")),
    "permanent": raises(PermanentError("never")),
    "no text": raises(AssertionError()),
    "nameless": raises(Nameless()),
    "long": raises(ValueError("x" * 20_000)),
    "odd": raises(ValueError("\0 \ud800")),
    "group": raises(ExceptionGroup("two", [ValueError("a"), TypeError("b")])),
    "exit": raises(SystemExit(3)),
    "sys.exit": lambda _payload: sys.exit("usage: …"),
}


@pytest.mark.parametrize("kind", HANDLERS)
def test_a_handler_means_the_same_in_both_modes(queue: Queue, kind: str) -> None:
    payload = {"n": 1, "list": [0]}
    summary = process("f", [payload, payload], HANDLERS[kind], keep_results=True)
    assert payload == {"n": 1, "list": [0]}

    queue.processor.add_records_to_queue("f", [payload])
    Worker(queue.processor.rpa_db, {"f": HANDLERS[kind]}, once=True).run()
    [(status, kept, asked)] = queue.rows("status", "payload", "input")
    if status == "completed":
        assert (summary["completed"], summary["results"]) == (2, [kept, kept])
        assert asked == payload
    else:
        [failure] = queue.ask("select error, error_type from conveyor.attempt")
        assert [(error["error"], error["error_type"]) for error in summary["errors"]] == [failure] * 2
    assert status == ("completed" if list(HANDLERS).index(kind) < 4 else "failed")
