"""Which setting drives what: batch sizes, the explicit clean-up, the reset command; and what stays literal."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from core.distributed import DistributedProcessor
from pgconveyor import tunables
from pgconveyor.cli import cli
from pgconveyor.database import DatabaseManager

BATCH_SIZES = [
    "DEVELOPMENT_RPA1_DISTRIBUTED_BATCH_SIZE",
    "DEVELOPMENT_RPA1_BATCH_SIZE",
    "DEVELOPMENT_DISTRIBUTED_PROCESSOR_DEFAULT_BATCH_SIZE",
]
TIMEOUT = "DEVELOPMENT_DISTRIBUTED_PROCESSOR_CLEANUP_TIMEOUT_HOURS"
RETRIES = "DEVELOPMENT_DISTRIBUTED_PROCESSOR_MAX_RETRIES"


@pytest.mark.parametrize("given", list(product([True, False], repeat=4)), ids=str)
def test_the_batch_size_of_a_flow(monkeypatch: pytest.MonkeyPatch, given: tuple[bool, ...]) -> None:
    argument = 1 if given[0] else None
    for number, (name, is_set) in enumerate(zip(BATCH_SIZES, given[1:], strict=True), 2):
        if is_set:
            monkeypatch.setenv(name, str(number))
    expected = next((number for number, is_set in enumerate(given, 1) if is_set), 100)
    assert tunables.batch_size_of("rpa1", argument) == expected
    assert tunables.batch_size_of("rpa2", argument) == next(n for n in (argument, 4 if given[3] else None, 100) if n)


@pytest.mark.parametrize("name", BATCH_SIZES)
@pytest.mark.parametrize("text", ["0", "-1", "100001", "many", "1.5", ""])
def test_a_batch_size_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=f"^{name} is '{text}': give a "):
        tunables.batch_size_of("rpa1")
    assert tunables.batch_size_of("rpa1", 5) == 5


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), (None, False)])
def test_whether_a_flow_uses_the_queue(monkeypatch: pytest.MonkeyPatch, text: str | None, value: bool) -> None:
    if text is not None:
        monkeypatch.setenv("DEVELOPMENT_RPA1_USE_DISTRIBUTED_PROCESSING", text)
    assert tunables.uses_queue("rpa1") is value
    assert tunables.uses_queue("rpa2") is False


def test_the_signatures_keep_their_literal_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "7")
    monkeypatch.setenv(RETRIES, "7")
    cleanup, reset = DistributedProcessor.cleanup_orphaned_records, DistributedProcessor.reset_failed_records
    assert inspect.signature(cleanup).parameters["timeout_hours"].default == 1
    assert inspect.signature(reset).parameters["max_retries"].default == 3


@pytest.fixture
def count(rpa_db: DatabaseManager) -> Callable[..., Any]:  # noqa: ARG001  configures the database
    """The one number that a command prints."""

    def count(*arguments: str) -> Any:
        result = CliRunner().invoke(cli, [*arguments, "--json"])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        [number] = json.loads(result.stdout).values()
        return number

    return count


def claim_two_hours_ago(conn: psycopg.Connection) -> None:
    conn.execute("select conveyor.add_record('f', '{}')")
    conn.execute("select conveyor.claim_records_batch('f', 1, p_lease => '1 day')")
    conn.execute("update conveyor.processing_queue set claimed_at = now() - interval '2 hours'")


class TestCleanup:
    @pytest.mark.parametrize(("hours", "taken"), [(None, 0), ("3", 0), ("1", 1), ("1.5", 1)])
    def test_the_command_goes_by_the_setting(
        self,
        conn: psycopg.Connection,
        count: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        hours: str | None,
        taken: int,
    ) -> None:
        claim_two_hours_ago(conn)
        if hours is not None:
            monkeypatch.setenv(TIMEOUT, hours)
        assert count("cleanup") == taken

    def test_an_argument_is_stronger(
        self, conn: psycopg.Connection, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim_two_hours_ago(conn)
        monkeypatch.setenv(TIMEOUT, "1")
        assert count("cleanup", "--timeout", "3h") == 0

    def test_maintain_never_does(
        self, conn: psycopg.Connection, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim_two_hours_ago(conn)
        monkeypatch.setenv(TIMEOUT, "1")
        result = CliRunner().invoke(cli, ["maintain", "--json"])
        assert json.loads(result.stdout)["orphaned"] == 0
        assert count("cleanup") == 1

    @pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
    def test_a_wrong_one_is_named(self, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv(TIMEOUT, text)
        with pytest.raises(ValueError, match=f"^{TIMEOUT} is '{text}'"):
            count("cleanup")


class TestReset:
    @pytest.mark.parametrize(
        ("setting", "options", "reset"), [(None, [], 1), ("2", [], 0), ("3", [], 1), ("2", ["--max-retries", "9"], 1)]
    )
    def test_the_command_goes_by_the_setting(
        self,
        conn: psycopg.Connection,
        count: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        setting: str | None,
        options: list[str],
        reset: int,
    ) -> None:
        insert = (
            "insert into conveyor.processing_queue (flow_name, payload, status, retry_count) values ('f', '{}', %s, 2)"
        )
        conn.execute(insert, ["failed"])
        if setting is not None:
            monkeypatch.setenv(RETRIES, setting)
        assert count("reset", "f", *options) == reset

    @pytest.mark.parametrize("text", ["-1", "three", "1e3", str(2**31)])
    def test_a_wrong_one_is_named(self, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv(RETRIES, text)
        with pytest.raises(ValueError, match=f"^{RETRIES} is '{text}'"):
            count("reset", "f")
