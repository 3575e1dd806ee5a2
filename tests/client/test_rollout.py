"""From standard to the queue, by settings: which records go where, and what happens when the queue is away."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.conftest import Queue

from pgconveyor.database import DatabaseManager
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.handlers import handler
from pgconveyor.rollout import CommitUnknown, goes_to_queue, process
from pgconveyor.worker import Worker

Settings = Callable[..., None]

SURVEYS = [{"survey_id": f"SURV-{n:03}", "n": n} for n in range(40)]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    def settings(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"DEVELOPMENT_RPA1_{name.upper()}", str(value))

    return settings


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def handle(seen: list[Any]) -> Callable[[Any], Any]:
    def handle(payload: dict[str, Any]) -> dict[str, Any]:
        seen.append(payload["n"])
        if payload["n"] == 5:
            raise LookupError("five")
        return {"twice": 2 * payload["n"]}

    return handle


def test_off_is_standard_and_needs_no_database(handle: Any, seen: list[Any]) -> None:
    summary = process("rpa1", SURVEYS, handle, key="survey_id")
    assert (summary["mode"], summary["completed"], summary["failed"]) == ("standard", 39, 1)
    assert (summary["records_enqueued"], summary["records_known"], summary["fell_back"]) == (0, 0, False)
    assert seen == list(range(40))


def test_on_enqueues_all_and_what_is_known_once(settings: Settings, queue: Queue, handle: Any, seen: list[Any]) -> None:
    settings(use_distributed_processing="true")
    for added in (40, 0):
        summary = process("rpa1", SURVEYS, handle, key="survey_id")
        assert (summary["mode"], summary["records_enqueued"], summary["records_known"]) == (
            "distributed",
            added,
            40 - added,
        )
    assert seen == []
    assert queue.processor.get_queue_status("rpa1")["pending_records"] == 40


def test_one_handler_does_both_parts(settings: Settings, queue: Queue, handle: Any, seen: list[Any]) -> None:
    settings(use_distributed_processing="true", distributed_percent="50")
    handler("rpa1")(handle)
    summary = process("rpa1", SURVEYS, handle, key="survey_id", keep_results=True)
    here = list(seen)
    assert summary["mode"] == "mixed"
    assert 5 < len(here) < 35
    Worker("rpa_db", {"rpa1": handle}, once=True).run()
    assert sorted(seen) == list(range(40))
    there = {payload["twice"] // 2 for (payload,) in queue.rows("payload") if "twice" in payload}
    assert there | set(here) | {5} == set(range(40))
    assert not there & set(here)
    assert [result and result["twice"] // 2 for result in summary["results"]] == [n if n != 5 else None for n in here]


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 100), st.floats(0, 100))
def test_a_higher_percentage_only_moves_keys_to_the_queue(flow: str, key: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert goes_to_queue(flow, key, low) <= goes_to_queue(flow, key, high)
    assert (goes_to_queue(flow, key, 0), goes_to_queue(flow, key, 100)) == (False, True)


def test_a_key_goes_the_same_way_in_each_release_and_about_so_many_do() -> None:
    keys = [f"SURV-{n:03}" for n in range(1000)]
    assert [n for n in range(30) if goes_to_queue("rpa1", keys[n], 20)] == [5, 6, 13, 25]
    assert 150 < sum(goes_to_queue("rpa1", key, 20) for key in keys) < 250
    assert [goes_to_queue("rpa2", key, 20) for key in keys] != [goes_to_queue("rpa1", key, 20) for key in keys]


def test_a_function_of_the_record_may_be_the_key(
    settings: Settings, queue: Queue, handle: Any, seen: list[Any]
) -> None:
    settings(use_distributed_processing="true", distributed_percent="50")
    process("rpa1", SURVEYS, handle, key=lambda record: record["n"] // 10)
    # Tens go together, and none is passed over though they share a key.
    assert {n // 10 for n in seen}.isdisjoint({payload["n"] // 10 for (payload,) in queue.rows("payload")})
    assert len(seen) + len(queue.rows("id")) == 40


@pytest.mark.parametrize(
    ("records", "key", "words"),
    [
        (SURVEYS, None, "key is None, and 50 % of 'rpa1' go to the queue: give a field's name"),
        ([*SURVEYS, SURVEYS[3]], "survey_id", "records[40] and records[3] have the same 'survey_id', 'SURV-003'"),
        ([{"n": 1}], "survey_id", "records[0] has no 'survey_id'"),
        ([{"survey_id": 1.5}], "survey_id", "records[0] has 1.5 as 'survey_id'"),
        ([{}, 5], lambda _record: 1, "records[1] is int: give a dict"),
        ([{}], lambda _record: None, "records[0] has the key None: let key return a str or an int"),
        ({}, "n", "records is dict: give a list of dicts"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_done(
    settings: Settings, queue: Queue, handle: Any, seen: list[Any], records: Any, key: Any, words: str
) -> None:
    settings(use_distributed_processing="true", distributed_percent="50")
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        process("rpa1", records, handle, key=key)
    assert (seen, queue.rows("id")) == ([], [])


@pytest.mark.parametrize("percent", ["-1", "101", "half", "nan"])
def test_a_wrong_percentage_is_named(settings: Settings, handle: Any, percent: str) -> None:
    settings(use_distributed_processing="true", distributed_percent=percent)
    with pytest.raises(ValueError, match=f"DEVELOPMENT_RPA1_DISTRIBUTED_PERCENT is '{percent}': give a number"):
        process("rpa1", SURVEYS, handle, key="survey_id")


class TestAway:
    """The database cannot be reached, or has no queue."""

    @pytest.fixture(params=["nowhere", "no queue"])
    def away(self, request: pytest.FixtureRequest, configure: Callable[..., None], settings: Settings) -> None:
        nowhere = "postgresql://u:hunter2@127.0.0.1:1/db?connect_timeout=5"
        configure("rpa_db", nowhere if request.param == "nowhere" else request.getfixturevalue("empty_dsn"))
        settings(use_distributed_processing="true", distributed_percent="50")

    @pytest.mark.usefixtures("away")
    def test_it_is_an_error_and_nothing_is_done(self, handle: Any, seen: list[Any]) -> None:
        with pytest.raises((ConnectionError, RuntimeError), match="rpa_db"):
            process("rpa1", SURVEYS, handle, key="survey_id")
        assert seen == []

    @pytest.mark.usefixtures("away")
    @pytest.mark.parametrize("by", ["argument", "setting"])
    def test_by_choice_all_is_done_here_once_with_one_warning(
        self, handle: Any, seen: list[Any], settings: Settings, caplog: pytest.LogCaptureFixture, by: str
    ) -> None:
        if by == "setting":
            settings(fall_back_to_standard="yes")
        given = {"fall_back": True} if by == "argument" else {}
        with caplog.at_level(logging.WARNING, "pgconveyor.rollout"):
            summary = process("rpa1", SURVEYS, handle, key="survey_id", **given)
        assert (summary["mode"], summary["fell_back"], summary["records_processed"]) == ("standard", True, 40)
        assert seen == list(range(40))
        assert len([r for r in caplog.records if r.name == "pgconveyor.rollout"]) == 1
        assert "hunter2" not in caplog.text


class TestLostCommit:
    """The session ends in its commit: the records may be there, or not."""

    @pytest.fixture(autouse=True)
    def ends_in_commit(self, conn: psycopg.Connection, settings: Settings) -> None:
        settings(use_distributed_processing="true")
        conn.execute("""
            create function die() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
            begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
            create constraint trigger die after insert on conveyor.processing_queue
            deferrable initially deferred for each row execute function die();
        """)

    @pytest.mark.parametrize("fall_back", [False, True])
    def test_nobody_falls_back(self, handle: Any, seen: list[Any], rpa_db: DatabaseManager, fall_back: bool) -> None:
        with pytest.raises(CommitUnknown, match="40 records may be in the queue, or not: call again"):
            process("rpa1", SURVEYS, handle, key="survey_id", fall_back=fall_back, database=rpa_db)
        assert seen == []

    def test_calling_again_enqueues_each_once(
        self, handle: Any, rpa_db: DatabaseManager, conn: psycopg.Connection, queue: Queue
    ) -> None:
        with pytest.raises(DatabaseUnavailable):
            process("rpa1", SURVEYS, handle, key="survey_id", database=rpa_db)
        conn.execute("drop trigger die on conveyor.processing_queue")
        for added in (40, 0):
            assert process("rpa1", SURVEYS, handle, key="survey_id", database=rpa_db)["records_enqueued"] == added
        assert queue.processor.get_queue_status("rpa1")["pending_records"] == 40
