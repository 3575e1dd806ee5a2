"""How often a worker calls `maintain()`: as the database says, which is not often when nothing is to be done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.worker import Worker

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

# A call is counted, and answered with so many seconds.
COUNTING = """
    create table called (n integer);
    create or replace function conveyor.maintain() returns jsonb language sql security definer as $$
        insert into public.called values (1) returning jsonb_build_object('again_in', {again_in})
    $$
"""


@pytest.fixture
def calls(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Fn:
    """Let `maintain` answer so; how often it was called. The worker asks itself 100 times a second."""
    monkeypatch.setattr("pgconveyor.worker.MAINTAIN_EVERY", 0.01)

    def calls(again_in: float) -> Callable[[], int]:
        queue.conn.execute(COUNTING.format(again_in=again_in))
        queue.conn.execute("alter table called owner to conveyor_owner")
        return lambda: len(queue.ask("select from called"))

    return calls


@contextmanager
def working(manager: DatabaseManager, **options: Any) -> Iterator[None]:
    worker = Worker(manager, {"f": lambda _payload: {}}, poll=3600, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def test_asleep_it_leaves_housekeeping_alone_until_it_has_worked(
    rpa_db: DatabaseManager, queue: Queue, asleep: Fn, calls: Fn
) -> None:
    called = calls(3600)
    with working(rpa_db, lease=7200):
        asleep()
        assert called() == 1, "when it began"
        queue.add(1)
        queue.wait(lambda: called() == 2)
        asleep()
        assert called() == 2


@pytest.mark.parametrize(("again_in", "lease"), [(0.02, 3600), (3600, 1)], ids=["the database's word", "its own lease"])
def test_it_calls_again_in_time(
    rpa_db: DatabaseManager, queue: Queue, calls: Fn, again_in: float, lease: float
) -> None:
    called = calls(again_in)
    with working(rpa_db, lease=lease):
        queue.wait(lambda: called() > 2)
