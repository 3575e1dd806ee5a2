"""Transactions of every kind that make records claimable, with pauses in them: for waking_attack.py."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.types.json import Jsonb

QUEUE = "conveyor.processing_queue"
INSERT = f"""
    insert into {QUEUE} (flow_name, payload, status, run_at)
    select %s, '{{"n": 0}}', %s, clock_timestamp() + make_interval(secs => %s) from generate_series(1, %s)
    returning id
"""
BETWEEN = (0, 0, 0.001, 0.003, 0.01, 0.03)  # seconds at most between two statements
BEFORE_COMMIT = (0, 0, 0, 0.002, 0.005, 0.02, 0.05, 0.2)


def pause(most: tuple[float, ...]) -> None:
    time.sleep(random.choice(most) * random.random())


class Producer:
    """Makes records of a flow claimable, in one of many ways."""

    def __init__(self, conn: psycopg.Connection, flow: str, kind: str, until: int) -> None:
        self.conn, self.flow, self.kind, self.until, self.is_refused = conn, flow, kind, until, False

    def run(self) -> None:
        pause(BETWEEN)
        getattr(self, self.kind)()

    @contextmanager
    def transaction(self, level: str = "read committed", end: str = "commit") -> Iterator[None]:
        self.conn.execute(f"begin isolation level {level}")
        yield
        pause(BEFORE_COMMIT)
        self.conn.execute(end)

    def insert(self, status: str = "pending", due_in: float = 0.0, count: int = 1) -> list[int]:
        rows = self.conn.execute(INSERT, [self.flow, status, due_in, count]).fetchall()
        pause(BETWEEN)
        return [row[0] for row in rows]

    def function(self) -> None:
        with self.transaction():
            self.conn.execute("select conveyor.add_record(%s, '{\"n\": 0}')", [self.flow])

    def held(self) -> None:
        with self.transaction():
            self.conn.execute("select conveyor.add_record(%s, %s)", [self.flow, Jsonb({"until": self.until})])

    def raw(self) -> None:
        with self.transaction():
            self.insert()

    def batch(self) -> None:
        with self.transaction():
            self.insert(count=4)

    def copy(self) -> None:
        with self.transaction(), self.conn.cursor().copy(f"copy {QUEUE} (flow_name, payload) from stdin") as copy:
            for _ in range(3):
                pause(BETWEEN)
                copy.write_row((self.flow, '{"n": 0}'))

    def reset(self) -> None:
        self.insert("failed")
        with self.transaction():
            self.conn.execute("select conveyor.reset_failed_records(%s)", [self.flow])

    def requeue(self) -> None:
        ids = self.insert("failed", count=2)
        with self.transaction():
            self.conn.execute("select conveyor.requeue_records(%s)", [ids])

    def touch(self) -> None:
        """Pending before and after, but due now."""
        ids = self.insert(due_in=3600)
        with self.transaction():
            self.conn.execute(f"update {QUEUE} set run_at = clock_timestamp() where id = any (%s)", [ids])

    def delayed(self) -> None:
        with self.transaction():
            self.insert(due_in=random.random() * 0.3)

    def savepoint(self) -> None:
        with self.transaction():
            if random.random() < 0.5:
                self.insert()
            self.conn.execute("savepoint s")
            self.insert()
            self.conn.execute("rollback to savepoint s")
            pause(BETWEEN)
            self.insert()

    def taken_back(self) -> None:
        with self.transaction(end="rollback"):
            self.insert()

    def old_snapshot(self) -> None:
        with self.transaction("repeatable read"):
            self.conn.execute(f"select from {QUEUE} limit 1")
            pause(BEFORE_COMMIT)
            self.insert()

    def release(self) -> None:
        with self.transaction():
            self.insert()
            claimed = self.conn.execute(
                "select id, claim_token from conveyor.claim_records_batch(%s, 1)", [self.flow]
            ).fetchall()
        if claimed:
            with self.transaction():
                self.conn.execute("select conveyor.release_records(array[%s], array[%s])", claimed[0])

    def paused(self) -> None:
        self.conn.execute("select conveyor.pause_flow(%s)", [self.flow])
        pause(BEFORE_COMMIT)
        self.insert()
        with self.transaction():
            self.conn.execute("select conveyor.resume_flow(%s)", [self.flow])

    def prepared(self) -> None:
        """Refused, and then rolled back, when it had to notify, or where the server prepares nothing."""
        name = f"attack {self.conn.info.backend_pid}"
        try:
            with self.transaction(end=f"prepare transaction '{name}'"):
                self.insert()
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.ObjectNotInPrerequisiteState):
            self.is_refused = True
            return
        pause(BEFORE_COMMIT)
        self.conn.execute(f"commit prepared '{name}'")


HELPERS = ("run", "transaction", "insert", "held")
KINDS = [name for name in vars(Producer) if not name.startswith("_") and name not in HELPERS]
