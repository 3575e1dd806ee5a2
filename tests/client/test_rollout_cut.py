"""Enqueueing whose connection is lost: what is certain, what nobody knows; no record is done twice, or never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.client.conftest import Queue

import cut
from pgconveyor.errors import DatabaseUnavailable
from pgconveyor.rollout import CommitUnknown, process

RECORDS = [{"k": f"k{n}", "n": n} for n in range(8)]

DIE_AT_ONCE = """
    create function die() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
    create trigger die after insert on conveyor.processing_queue for each statement execute function die();
"""


@pytest.fixture(autouse=True)
def uses_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVELOPMENT_F_USE_DISTRIBUTED_PROCESSING", "true")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_without_an_answer_is_repeated_and_adds_each_record_once(
    queue: Queue, dsn: str, configure: Callable[..., None], when: cut.When
) -> None:
    seen: list[Any] = []
    with cut.at_commit(dsn, when) as url:
        configure("rpa_db", url)
        with pytest.raises(CommitUnknown, match="8 records may be in the queue, or not: call again"):
            process("f", RECORDS, seen.append, key="k", fall_back=True)
    added = {"before": 0, "after": 8}[when]
    queue.wait(lambda: queue.count("pending") == added)
    configure("rpa_db", dsn)
    summary = process("f", RECORDS, seen.append, key="k", fall_back=True)
    assert (summary["records_enqueued"], summary["records_known"]) == (8 - added, added)
    assert (seen, queue.count("pending")) == ([], 8)


def test_without_a_key_it_says_to_look_first(dsn: str, configure: Callable[..., None]) -> None:
    with cut.at_commit(dsn, "after") as url:
        configure("rpa_db", url)
        with pytest.raises(CommitUnknown, match="look for them before you call again"):
            process("f", RECORDS, dict)


@pytest.mark.parametrize("fall_back", [False, True])
def test_a_statement_that_was_not_finished_has_added_nothing_for_sure(
    queue: Queue, conn: psycopg.Connection, fall_back: bool
) -> None:
    conn.execute(DIE_AT_ONCE)
    seen: list[Any] = []
    if fall_back:
        assert process("f", RECORDS, seen.append, key="k", fall_back=True)["fell_back"] is True
    else:
        with pytest.raises(DatabaseUnavailable) as raised:
            process("f", RECORDS, seen.append, key="k")
        assert not isinstance(raised.value, CommitUnknown)
    assert (seen, queue.rows("id")) == (RECORDS if fall_back else [], [])
