"""Counts against count(*) while everything that can go wrong goes on. ATTACK_SECONDS makes it longer."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest
from psycopg.types.json import Jsonb

import sql
from sql import Connect, claim, column, fill, maintain, value

QUEUE = "conveyor.processing_queue"
SECONDS = float(os.environ.get("ATTACK_SECONDS", "4"))  # for each of two attacks
STATUSES = ("pending", "processing", "completed", "failed")
SOME = f"array(select ctid from {QUEUE} where flow_name = %s order by random() limit %s for update skip locked)"
REFUSED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)

Status = dict[str, dict[str, int]]


def reported(conn: psycopg.Connection) -> Status:
    """The counts by flow, the totals checked against them."""
    status = value(conn, "select conveyor.get_queue_status()")
    flows: Status = status["by_flow"]
    totals = {name: sum(flow[name] for flow in flows.values()) for name in STATUSES}
    assert {name: status[f"{name}_records"] for name in STATUSES} == totals
    assert status["total_records"] == sum(totals.values())
    return flows


def counted(conn: psycopg.Connection) -> Status:
    flows: Status = {}
    for flow, status, n in conn.execute(f"select flow_name, status, count(*) from {QUEUE} group by 1, 2").fetchall():
        flows.setdefault(flow, dict.fromkeys(STATUSES, 0))[status] = n
    return flows


def differences(conn: psycopg.Connection) -> list[object]:
    return conn.execute("select * from conveyor._count_differences()").fetchall()


class Writer:
    """A session that does anything to the queue, in transactions of all kinds, which end in all ways."""

    def __init__(self, connect: Connect, seed: int, *, truncates: bool) -> None:
        self.conn = connect()
        self.conn.execute("set lock_timeout = '300ms'")
        self.rng = random.Random(seed)
        self.actions = [self.add, self.insert, self.copy, self.work, self.work, self.move, self.delete, self.operate]
        self.actions += [self.upsert, self.fold]
        self.truncates = truncates
        self.isolation = "read committed"
        self.prepared: list[str] = []
        self.done = 0

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            self.isolation = self.rng.choice(["read committed"] * 3 + ["repeatable read"])
            try:
                self.transaction()
            except REFUSED:
                self.conn.execute("rollback")
                self.end_prepared()  # which may be what was in the way
        self.end_prepared()

    def transaction(self) -> None:
        if self.rng.random() < 0.3:
            self.isolation = "read committed"
            return self.act()
        self.conn.execute(f"begin isolation level {self.isolation}")
        for _ in range(self.rng.choice([1, 1, 2, 4])):
            self.act_in_savepoint() if self.rng.random() < 0.3 else self.act()
            if self.isolation == "read committed" and self.rng.random() < 0.2:
                assert differences(self.conn) == [], "within the transaction that wrote"
        if self.rng.random() < 0.1:
            self.prepared.append(uuid.uuid4().hex)
            self.conn.execute(f"prepare transaction '{self.prepared[-1]}'")
        else:
            self.conn.execute(self.rng.choice(["commit", "commit", "commit", "rollback"]))
        if self.rng.random() < 0.5:
            self.end_prepared()
        return None

    def end_prepared(self) -> None:
        while self.prepared:
            end = self.rng.choice(["commit", "rollback"])
            self.conn.execute(f"{end} prepared '{self.prepared.pop()}'")

    def act_in_savepoint(self) -> None:
        self.conn.execute("savepoint s")
        self.act()
        self.conn.execute(self.rng.choice(["release s", "rollback to s"]))

    def act(self) -> None:
        self.done += 1
        if self.truncates and self.isolation == "read committed" and self.rng.random() < 0.01:
            self.conn.execute(f"truncate {QUEUE}")
        else:
            self.rng.choice(self.actions)(self.rng.choice("abc"))

    def add(self, flow: str) -> None:
        query = "select conveyor.add_records_to_queue(%s, %s)"
        self.conn.execute(query, [flow, Jsonb([{}] * self.rng.randrange(1, 20))])

    def insert(self, flow: str) -> None:
        query = f"insert into {QUEUE} (flow_name, payload, status) select %s, '{{}}', s from unnest(%s::text[]) as s"
        self.conn.execute(query, [flow, self.rng.choices(STATUSES, k=self.rng.randrange(1, 9))])

    def copy(self, flow: str) -> None:
        with self.conn.cursor().copy(f"copy {QUEUE} (flow_name, payload, status) from stdin") as copy:
            for status in self.rng.choices(STATUSES, k=self.rng.randrange(1, 9)):
                copy.write_row((flow, "{}", status))

    def upsert(self, flow: str) -> None:
        query = (
            f"insert into {QUEUE} (flow_name, payload, dedup_key) select %s, '{{}}', k from generate_series(1, 4) as k "
            "on conflict (flow_name, dedup_key) where dedup_key is not null do update set status = excluded.status"
        )
        self.conn.execute(query, [flow])

    def work(self, flow: str) -> None:
        held = claim(self.conn, flow, self.rng.choice([1, 5, 30]))
        if held:
            sql.extend(self.conn, held)
            sql.answer(self.conn, self.rng.choice([*sql.VERBS, "complete", "complete"]), held)

    def move(self, flow: str) -> None:
        query = f"update {QUEUE} set flow_name = %s, dedup_key = null, status = %s where ctid = any ({SOME})"
        self.conn.execute(query, [self.rng.choice("abc"), self.rng.choice(STATUSES), flow, self.rng.randrange(1, 9)])

    def delete(self, flow: str) -> None:
        self.conn.execute(f"delete from {QUEUE} where ctid = any ({SOME})", [flow, 25])

    def operate(self, flow: str) -> None:
        some = column(self.conn, f"select id from {QUEUE} where flow_name = %s limit 9", flow)
        calls: list[tuple[str, list[object]]] = [
            ("cancel_records(%s::bigint[])", [some]),
            ("requeue_records(%s::bigint[])", [some]),
            ("reset_failed_records(%s)", [flow]),
            ("purge_records(%s, '0', 40)", [flow]),
            ("cleanup_orphaned_records(0.0001)", []),
        ]
        call, args = self.rng.choice(calls)
        self.conn.execute(f"select conveyor.{call}", args)

    def fold(self, _flow: str) -> None:
        self.conn.execute(f"select conveyor.{self.rng.choice(['maintain', '_fold_counts'])}()")


def check(conn: psycopg.Connection, until: float, isolation: str) -> int:
    """Compare until then; how often."""
    checks = 0
    while time.monotonic() < until:
        with conn.transaction():
            conn.execute(f"set transaction isolation level {isolation}")
            for _ in range(3):
                assert differences(conn) == []
                checks += 1
    return checks


# A truncate takes rows from older snapshots, too: PostgreSQL's own exception. So each has its own checkers.
@pytest.mark.parametrize(("truncates", "isolation"), [(True, "read committed"), (False, "repeatable read")])
def test_under_fire_the_counts_are_exact_in_every_snapshot(connect: Connect, truncates: bool, isolation: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    until = time.monotonic() + SECONDS
    writers = [Writer(connect, seed + n, truncates=truncates) for n in range(4)]
    checkers = [connect(), connect()]
    calls: list[Callable[[], object]] = [lambda w=w: w.run(until) for w in writers]
    *_, first, second = sql.together(*calls, *(lambda c=c: check(c, until, isolation) for c in checkers))
    conn = checkers[0]
    assert reported(conn) == counted(conn)
    maintain(conn)
    assert reported(conn) == counted(conn)
    assert differences(conn) == []
    print(f"{sum(w.done for w in writers)} actions, {first + second} comparisons")
    assert first + second > 25 * SECONDS
    assert sum(w.done for w in writers) > 25 * SECONDS


def test_copy_and_merge_are_counted(conn: psycopg.Connection) -> None:
    with conn.cursor().copy(f"copy {QUEUE} (flow_name, payload, status) from stdin") as copy:
        for status in ["pending", "pending", "completed", "failed"]:
            copy.write_row(("f", "{}", status))
    assert reported(conn) == counted(conn) != {}
    if conn.info.server_version >= 150000:
        found = sql.ids(claim(conn, "f"))
        conn.execute(
            f"""
            merge into {QUEUE} as q using unnest(%s || array[-1, -2]::bigint[]) as n (id) on q.id = n.id
            when matched then update set status = 'failed', flow_name = 'merged'
            when not matched and n.id = -1 then insert (id, flow_name, payload) values (n.id, 'new', '{{}}')
            """,
            [found],
        )
        assert reported(conn) == counted(conn)
        assert reported(conn)["merged"]["failed"] == reported(conn)["new"]["pending"] == 1


def test_what_was_written_as_a_replica_is_found_and_mended(conn: psycopg.Connection) -> None:
    fill(conn, "f", 20)
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        fill(conn, "f", 20)
    assert {problem for problem, *_ in sql.problems(conn)} == {"counts are off"}
    conn.execute("select conveyor.check_integrity(true)")
    assert sql.problems(conn) == []
    assert reported(conn) == counted(conn)
