"""scripts/ops with psql alone: a usage line without their variables, a dry run without apply=1."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import tools

OPS = Path(__file__).parents[2] / "scripts/ops"
SCRIPTS = sorted(path.stem for path in OPS.glob("*.sql"))

Psql = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def psql(dsn: str) -> Psql:
    def psql(script: str, **variables: object) -> subprocess.CompletedProcess[str]:
        given = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        return tools.psql(dsn, "-At", *given, "-f", OPS / f"{script}.sql")

    return psql


@pytest.fixture
def statuses(conn: psycopg.Connection) -> Callable[[], list[str]]:
    query = "select status from conveyor.processing_queue order by id"
    return lambda: [status for (status,) in conn.execute(query)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_its_variables_it_says_how_to_call_it(psql: Psql, script: str) -> None:
    done = psql(script)
    if script == "status":
        assert (done.returncode, "healthy" in done.stdout) == (0, True)
    else:
        assert (done.returncode, "usage: psql -X -d rpa_db -v flow=NAME" in done.stderr) == (3, True)


def test_failed_lists_a_page(psql: Psql, conn: psycopg.Connection) -> None:
    conn.execute(
        """
        insert into conveyor.processing_queue (flow_name, payload, status, error_message)
        select 'f', '{}', 'failed', 'error ' || g from generate_series(1, 60) as g
        """
    )
    assert len(psql("failed", flow="f").stdout.splitlines()) == 50
    assert psql("failed", flow="f", after=59).stdout == "60|0|0|error|error 60\n"


def test_stuck_records_are_taken_back_only_with_apply(
    psql: Psql, conn: psycopg.Connection, statuses: Callable[[], list[str]]
) -> None:
    conn.execute("select conveyor.add_records_to_queue('f', '[{}, {}]')")
    conn.execute("select conveyor.claim_records_batch('f', 2, 'gone')")
    conn.execute("update conveyor.processing_queue set lease_expires_at = clock_timestamp() where id = 1")
    dry = psql("stuck", flow="f")
    assert ("1|gone" in dry.stdout, "2|gone" in dry.stdout, "apply=1" in dry.stderr) == (True, False, True)
    assert statuses() == ["processing", "processing"]
    assert psql("stuck", flow="f", apply=1).returncode == 0
    assert statuses() == ["pending", "processing"]


def test_requeue_is_rolled_back_without_apply(
    psql: Psql, conn: psycopg.Connection, statuses: Callable[[], list[str]]
) -> None:
    conn.execute("insert into conveyor.processing_queue (flow_name, payload, status) values ('f', '{}', 'failed')")
    dry = psql("requeue", flow="f")
    assert (dry.stdout.splitlines()[1], "rolled back" in dry.stderr) == ("1", True)
    assert statuses() == ["failed"]
    psql("requeue", flow="f", apply=1)
    assert statuses() == ["pending"]


def test_purge_is_rolled_back_without_apply(
    psql: Psql, conn: psycopg.Connection, statuses: Callable[[], list[str]]
) -> None:
    conn.execute(
        """
        insert into conveyor.processing_queue (flow_name, payload, status, completed_at)
        values ('f', '{}', 'completed', now() - interval '2 days'), ('f', '{}', 'completed', now())
        """
    )
    assert "rolled back" in psql("purge", flow="f", older_than="1 day").stderr
    assert len(statuses()) == 2
    assert psql("purge", flow="f", older_than="1 day", apply=1).returncode == 0
    assert len(statuses()) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_calls_functions_and_touches_no_table(script: str) -> None:
    text = (OPS / f"{script}.sql").read_text()
    assert "conveyor.processing_queue" not in text
    assert "update " not in text.lower()
