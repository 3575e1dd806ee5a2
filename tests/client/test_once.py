"""A worker that runs once, from cron for example, also takes back what a dead one left."""

from __future__ import annotations

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.worker import Worker


def test_records_of_a_dead_worker_are_taken_back_and_done(rpa_db: DatabaseManager, conn: psycopg.Connection) -> None:
    conn.execute("select conveyor.add_record('f', '{}')")
    conn.execute("select conveyor.claim_records_batch('f', 1, 'dead')")
    conn.execute("update conveyor.processing_queue set lease_expires_at = clock_timestamp()")
    assert Worker(rpa_db, {"f": lambda _payload: {}}, once=True).run().completed == 1
    assert conn.execute("select status, crash_count from conveyor.processing_queue").fetchall() == [("completed", 1)]
