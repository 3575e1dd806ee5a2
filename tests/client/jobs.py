"""Handlers of the workers that tests start; each runs in the directory of its test."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def until(name: str) -> None:
    deadline = time.monotonic() + 60
    while not Path(name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def quick(payload: dict[str, Any]) -> dict[str, Any]:
    return {"n": payload["n"]}


def gated(payload: dict[str, Any]) -> dict[str, Any]:
    Path(f"running-{payload['n']}").touch()
    until("open")
    return {"n": payload["n"]}


def booked(record: dict[str, Any], context: Any) -> dict[str, Any]:
    context.connection.execute("insert into booking values (%s, %s)", [record["id"], os.getpid()])
    if record["payload"]["n"] == int(os.environ.get("STUCK_AT", "-1")):
        Path("stuck").touch()
        until("open")
    return {"pid": os.getpid()}


def answered(record: dict[str, Any], context: Any) -> None:
    complete = "select conveyor.mark_record_completed(%s, '{}', %s)"
    context.connection.execute(complete, [record["id"], record["claim_token"]])
    gated(record["payload"])
