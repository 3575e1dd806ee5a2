"""Any history of any verbs, beside a plain model of the queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import sql
from sql import Record, claim, ids, value


@dataclass
class Row:
    flow: str
    priority: int
    due: datetime
    status: str = "pending"
    retries: int = 0
    crashes: int = 0
    kind: str | None = None
    token: int | None = None
    live: bool = False  # its token is good
    ended: bool = False  # the next look for orphans takes it


BUDGET = {"plain": 5, "tough": 3}  # how many crashes; tough also has automatic retries, after 1 and 2 hours
FLOWS = st.sampled_from(list(BUDGET))
RESET = "status = 'pending', flow_instance_id = null, claimed_at = null"


class Model(RuleBasedStateMachine):
    conn: psycopg.Connection

    def __init__(self) -> None:
        super().__init__()
        self.conn.execute("truncate conveyor.processing_queue, conveyor.attempt")
        self.rows: dict[int, Row] = {}
        self.given = [Record(10**9, 7)]  # every claim ever handed out, and one of a record that never was
        self.said: dict[tuple[int, int], str] = {}
        self.keys: dict[tuple[str, str], int] = {}

    def those(self, flows: str, status: str) -> list[Row]:
        return [row for row in self.rows.values() if row.flow in flows and row.status == status]

    def draw(self, data: st.DataObject) -> list[Record]:
        return data.draw(st.lists(st.sampled_from(self.given[-9:]), min_size=1, max_size=5, unique_by=lambda r: r.id))

    def held(self, record: Record) -> Row | None:
        row = self.rows.get(record.id)
        # A reset by hand leaves the lease, but nobody holds the record any more.
        good = row and row.live and row.status == "processing" and row.token == record.claim_token
        return row if good else None

    @initialize()
    def fill(self) -> None:
        for flow in BUDGET:
            for priority in (0, 0, 1, 0, -1):
                self.add(flow, priority, -1, None)
            self.claim(flow, 4)

    @rule(flow=FLOWS, priority=st.integers(-1, 1), hours=st.sampled_from([0, -1, -2, 24]), key=st.none() | st.just("a"))
    def add(self, flow: str, priority: int, hours: int, key: str | None) -> None:
        run_at = sql.now(self.conn) + timedelta(hours=hours) if hours else None
        new = value(self.conn, "select conveyor.add_record(%s, '{}', %s::int2, %s, %s)", flow, priority, run_at, key)
        assert new == self.keys.get((flow, key)) if (flow, key) in self.keys else new not in self.rows
        self.keys |= {(flow, key): new} if key else {}
        self.rows.setdefault(new, Row(flow, priority, run_at or sql.row(self.conn, new)["created_at"]))

    def expected(self, due: list[tuple[int, datetime, int]], n: int) -> list[int]:
        """By priority; what crashed twice is alone, when nothing was taken before its level."""
        taken: list[int] = []
        for _, level in groupby(due, lambda row: row[0]):
            of_level = [i for _, _, i in level]
            if self.rows[of_level[0]].crashes >= 2 and not taken:
                return of_level[:1]
            taken += [i for i in of_level if self.rows[i].crashes < 2][: n - len(taken)]
        return taken

    @rule(flow=FLOWS, n=st.integers(1, 6))
    def claim(self, flow: str, n: int) -> None:
        now = sql.now(self.conn)
        pending = [(-r.priority, r.due, i) for i, r in self.rows.items() if (r.flow, r.status) == (flow, "pending")]
        got = claim(self.conn, flow, n)
        assert ids(got) == self.expected([row for row in sorted(pending) if row[1] <= now], n)
        for record in got:
            row = self.rows[record.id]
            row.status, row.token, row.live, row.ended = "processing", record.claim_token, True, False
            assert record.retry_count == row.retries
        self.given += got

    @rule(verb=st.sampled_from(sql.VERBS), heartbeat=st.booleans(), permanent=st.booleans(), data=st.data())
    def answer(self, verb: str, heartbeat: bool, permanent: bool, data: st.DataObject) -> None:
        records = self.draw(data)
        for record_id, lease in sql.extend(self.conn, records if heartbeat else []).items():
            assert bool(lease) == any(self.held(record) for record in records if record.id == record_id)
            if lease:
                self.rows[record_id].ended = False
        errors = [{"error": "boom", "permanent": permanent}] * len(records) if verb == "fail" else []
        outcomes = sql.answer(self.conn, verb, records, *errors)
        assert outcomes == [self.answered(verb, record, permanent) for record in records]

    def answered(self, verb: str, record: Record, permanent: bool) -> str:
        if not (row := self.held(record)):
            row = self.rows.get(record.id)
            gone = verb == "complete" and row and (row.status, row.token) != ("completed", record.claim_token)
            return "repeated" if self.said.get(record[:2]) == verb and not gone else "lost"
        self.said[record[:2]], row.live = verb, False
        row.status, row.kind = {"complete": "completed", "fail": "failed", "release": "pending"}[verb], "error"
        row.retries += verb == "fail"
        if verb == "fail" and row.flow == "tough" and row.retries <= 2 and not permanent:
            row.status, row.due = "pending", sql.row(self.conn, record.id)["run_at"]
            wait = (row.due - sql.now(self.conn)) / timedelta(hours=row.retries)
            assert 0.9 < wait < 1.2, "an hour, then two, and some jitter"
        return "done"

    @rule(by=st.sampled_from(["maintain", "plain", None]), data=st.data())
    def lose_leases(self, by: str | None, data: st.DataObject) -> None:
        lost = [record.id for record in self.draw(data) if self.held(record)]
        sql.expire(self.conn, lost)
        for record_id in lost:
            self.rows[record_id].ended = True
        orphans = [row for row in self.those("plain" if by == "plain" else "plain tough", "processing") if row.ended]
        count = sql.maintain(self.conn)["orphaned"] if by == "maintain" else sql.cleanup(self.conn, None, by)
        assert count == len(orphans)
        for row in orphans:
            row.retries, row.crashes, row.live, row.ended = row.retries + 1, row.crashes + 1, False, False
            row.status, row.kind = "failed" if row.crashes >= BUDGET[row.flow] else "pending", "crashed"

    @rule(how=st.sampled_from([RESET, "run_at = clock_timestamp()", "requeue", "reset"]), data=st.data())
    def intervene(self, how: str, data: st.DataObject) -> None:
        failed = [i for i, row in self.rows.items() if row.status == "failed" and how.startswith("re")]
        record_id = data.draw(st.sampled_from(failed or list(self.rows)))
        row = self.rows[record_id]
        if how == "requeue":
            assert value(self.conn, "select conveyor.requeue_records(%s)", [record_id]) == (row.status == "failed")
            if row.status == "failed":
                row.status, row.retries, row.crashes = "pending", 0, 0
        elif how == "reset":
            again = [row for row in self.those(row.flow, "failed") if row.kind == "error" and row.retries < 4]
            assert value(self.conn, "select conveyor.reset_failed_records(%s, 4)", row.flow) == len(again)
            for row in again:
                row.status = "pending"
        else:
            self.conn.execute(f"update conveyor.processing_queue set {how} where id = %s", [record_id])
            row.status = "pending" if how == RESET else row.status
            row.due = sql.row(self.conn, record_id)["run_at"] or row.due

    @invariant()
    def the_table_and_next_due_at_agree(self) -> None:
        query = """select id, status, retry_count, crash_count, lease_expires_at is not null, failure_kind
            from conveyor.processing_queue order by id"""
        for found, (record_id, r) in zip(self.conn.execute(query), self.rows.items(), strict=True):
            expected = (record_id, r.status, r.retries, r.crashes, r.live)
            assert found[: 6 if r.status == "failed" else 5] == expected + (r.kind,) * (r.status == "failed")
        for flow in BUDGET:
            due = min((row.due for row in self.those(flow, "pending")), default=None)
            said, now = sql.next_due_at(self.conn, flow), sql.now(self.conn)
            assert said <= now if due and due <= now else said == due

    def teardown(self) -> None:
        assert sql.problems(self.conn) == []


def test_any_history_agrees_with_a_plain_model(conn: psycopg.Connection) -> None:
    sql.configure(conn, "tough", retry_delay="1 hour", retry_backoff=2, max_retries=2, crash_budget=3)
    machine = type("Machine", (Model,), {"conn": conn})
    budget = {"max_examples": 100, "stateful_step_count": 25, "deadline": None, "derandomize": True}
    budget |= {"phases": [Phase.generate, Phase.shrink], "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(machine, settings=settings(**budget))
