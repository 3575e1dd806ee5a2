"""`install --adopt`: the records of a table made by the contract's DDL come over, all of them, once, and countable."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import DB, install
from tools import psql_file

Adopt = Callable[..., list[str]]

OLD = "public.processing_queue"
QUEUE = "conveyor.processing_queue"
DDL = """  -- as the contract has it
CREATE TABLE processing_queue (
    id SERIAL PRIMARY KEY,
    flow_name VARCHAR(100) NOT NULL,
    payload JSONB NOT NULL,
    status VARCHAR(20) DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    flow_instance_id VARCHAR(100),
    claimed_at TIMESTAMP,
    completed_at TIMESTAMP,
    error_message TEXT,
    retry_count INTEGER DEFAULT 0,
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);
"""
COLUMNS = "id, flow_name, payload, status, flow_instance_id, error_message, retry_count"

# One record in each state, one with every null that the DDL allows, and a gap before the last id.
ROWS = """
insert into processing_queue values
    (1, 'survey', '{"n": 1}', 'pending', null, null, null, null, 0, '2024-07-01 12:00', '2024-07-01 12:00'),
    (2, 'survey', '{"n": 2}', 'processing', 'c-1', '2024-07-01 12:05', null, null, 1, '2024-07-01 12:00',
        '2024-07-01 12:05'),
    (3, 'survey', '{"ok": true}', 'completed', 'c-1', '2024-01-01 12:05', '2024-01-01 12:06', null, 0,
        '2024-01-01 12:00', '2024-01-01 12:06'),
    (4, 'invoice', '{"n": 4}', 'failed', 'c-2', '2024-07-01 12:05', null, 'it broke', 2, '2024-07-01 12:00',
        '2024-07-01 12:06'),
    (70, 'invoice', 'null', null, null, null, null, null, null, null, null)
"""


@pytest.fixture
def old(empty_dsn: str) -> psycopg.Connection:
    """A session on a database with the contract's table, filled, and without the queue."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(DDL)
        conn.execute(ROWS)
        yield conn


@pytest.fixture
def said() -> list[str]:
    """What the installs of the test reported."""
    return []


@pytest.fixture
def adopt(empty_dsn: str, old: psycopg.Connection, said: list[str]) -> Adopt:  # noqa: ARG001
    def adopt(table: str = OLD, **options: str) -> list[str]:
        with psycopg.connect(empty_dsn, options="-c lock_timeout=10s") as conn:
            conn.add_notice_handler(lambda diag: said.append(f"{diag.message_primary} {diag.message_hint}"))
            return install(conn, adopt=table, **options)

    return adopt


def counts(conn: psycopg.Connection) -> dict[str, int]:
    status = sql.value(conn, "select conveyor.get_queue_status()")
    return {state: status[f"{state}_records"] for state in ("pending", "processing", "completed", "failed", "total")}


def test_every_record_comes_over(old: psycopg.Connection, adopt: Adopt, said: list[str]) -> None:
    before = old.execute(f"select {COLUMNS} from {OLD} where id <= 4 order by id").fetchall()
    assert len(adopt()) > 0
    assert old.execute(f"select {COLUMNS} from {QUEUE} where id <= 4 order by id").fetchall() == before
    filled = "payload, status, retry_count, created_at = updated_at, created_at > now() - interval '1 minute'"
    row = old.execute(f"select {filled} from {QUEUE} where id = 70").fetchone()
    assert row == (None, "pending", 0, True, True)
    assert counts(old) == {"pending": 2, "processing": 1, "completed": 1, "failed": 1, "total": 5}
    assert sql.column(old, "select problem from conveyor.check_integrity()") == []
    [report] = [text for text in said if text.startswith("adopted")]
    assert "5 records" in report
    assert "2 pending, 1 processing, 1 completed, 1 failed" in report
    assert "UTC" in report
    assert "processing_queue_adopted" in report


@pytest.mark.parametrize(("zone", "summer", "winter"), [("UTC", 12, 12), ("Europe/Berlin", 10, 11)])
def test_times_are_read_in_the_zone(old: psycopg.Connection, adopt: Adopt, zone: str, summer: int, winter: int) -> None:
    old.execute("alter table processing_queue alter column updated_at type timestamptz using '2024-07-01 09:00+00'")
    adopt(timezone=zone)
    times = old.execute(f"select created_at, updated_at from {QUEUE} where id in (1, 3) order by id").fetchall()
    nine = datetime(2024, 7, 1, 9, tzinfo=UTC)
    assert times == [
        (datetime(2024, 7, 1, summer, tzinfo=UTC), nine),
        (datetime(2024, 1, 1, winter, tzinfo=UTC), nine),
    ]


def test_the_queue_goes_on_where_the_table_stopped(old: psycopg.Connection, adopt: Adopt) -> None:
    adopt()
    assert sql.add(old, "survey") == [71]
    assert sql.ids(sql.claim(old, "survey", 10)) == [1, 71]
    assert sql.value(old, "select conveyor.maintain() ->> 'orphaned'") == "1"
    assert sql.value(old, f"select status from {QUEUE} where id = 2") == "pending"
    assert sql.value(old, "select conveyor.reset_failed_records('invoice')") == 1


def test_twice_is_once_and_nothing_is_dropped(old: psycopg.Connection, adopt: Adopt, said: list[str]) -> None:
    rows = old.execute("select * from processing_queue order by id").fetchall()
    adopt()
    once = counts(old)
    said.clear()
    assert adopt() == []
    assert counts(old) == once
    assert "adopted before" in said[0]
    assert old.execute("select * from public.processing_queue_adopted order by id").fetchall() == rows
    # A writer that was forgotten is told; it does not fill a table that nobody reads.
    with pytest.raises(psycopg.errors.UndefinedTable):
        old.execute("insert into public.processing_queue (flow_name, payload) values ('f', '{}')")


def test_a_queue_in_use_adopts_beside_its_own_records(old: psycopg.Connection, adopt: Adopt) -> None:
    install(old)
    old.execute("alter table conveyor.processing_queue alter column id restart with 100")
    sql.add(old, "survey", 3)
    adopt()
    assert counts(old)["total"] == 8
    assert sql.add(old, "survey") == [103]


def test_writers_of_the_old_table_are_waited_for(empty_dsn: str, old: psycopg.Connection) -> None:
    with psycopg.connect(empty_dsn) as conn, psycopg.connect(empty_dsn, autocommit=True) as watch:
        old.execute("begin")
        old.execute("insert into processing_queue (id, flow_name, payload) values (50, 'late', '{}')")
        with sql.blocked(watch, conn, lambda: install(conn, adopt=OLD)):
            old.execute("commit")
    assert sql.value(old, f"select count(*) from {QUEUE} where id = 50") == 1


def test_columns_left_behind_and_times_in_the_future_are_told(
    old: psycopg.Connection, adopt: Adopt, said: list[str]
) -> None:
    old.execute("alter table processing_queue add column owner text default 'ada', add column shift integer")
    old.execute("update processing_queue set created_at = (now() at time zone 'utc') + interval '1 hour' where id = 1")
    adopt()
    assert any("stayed behind: owner, shift" in text for text in said)
    assert any("1 pending records were created in the future" in text and "UTC" in text for text in said)
    assert sql.value(old, "select distinct owner from processing_queue_adopted") == "ada"


REFUSED = {
    "no table": ("select", {"table": "public.nothing"}, "public.nothing"),
    "a view": ("create view v as select * from processing_queue", {"table": "v"}, "v cannot"),
    "columns": ("alter table processing_queue drop column claimed_at, drop column status", {}, "status, claimed_at"),
    "zone": ("select", {"timezone": "Europe/Atlantis"}, "'Europe/Atlantis'"),
    "zone of posix": ("select", {"timezone": "ATLANTIS5"}, "'ATLANTIS5'"),
    "blank flow": ("update processing_queue set flow_name = ' ' where id in (2, 70)", {}, "2, 70"),
    "long flow": (
        "alter table processing_queue alter column flow_name type text;"
        "update processing_queue set flow_name = repeat('x', 101) where id = 3",
        {},
        ": 3",
    ),
    "retries": ("update processing_queue set retry_count = -1 where id = 4", {}, ": 4"),
    "taken name": ("create table processing_queue_adopted ()", {}, "processing_queue_adopted"),
    "payload": ("alter table processing_queue alter column payload type text using 'not json'", {}, "json"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_taken_over_is_refused(old: psycopg.Connection, adopt: Adopt, why: str) -> None:
    change, options, names = REFUSED[why]
    old.execute(change)
    rows = old.execute("select * from processing_queue order by id").fetchall()
    with pytest.raises(psycopg.Error, match=re.escape(names)):
        adopt(**options)
    assert old.execute("select * from processing_queue order by id").fetchall() == rows
    assert sql.value(old, "select to_regnamespace('conveyor')") is None


def test_an_id_that_is_taken_is_refused(old: psycopg.Connection, adopt: Adopt) -> None:
    install(old)
    sql.add(old, "mine", 2)
    with pytest.raises(psycopg.errors.UniqueViolation, match="1, 2"):
        adopt()
    assert counts(old)["total"] == 2
    assert sql.value(old, f"select count(*) from {OLD}") == 5


def test_an_owner_without_superuser_adopts_and_policies_hide_nothing(embedded: EmbeddedServer) -> None:
    with psycopg.connect(embedded.dsn(), autocommit=True) as conn:
        conn.execute("create role app createrole; create role person login noinherit password 'x' in role app")
        conn.execute("create database app owner app")
    # A person who installs as the owner of the database: who may use the queue's tables, and the old one.
    dsn = make_conninfo(embedded.dsn("app"), user="person", password="x", options="-c role=app")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create schema old; set search_path = old")
        conn.execute(DDL)
        conn.execute(ROWS)
        conn.execute("alter table processing_queue enable row level security, force row level security")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            install(conn, adopt="old.processing_queue")
        conn.execute("alter table processing_queue no force row level security")
        install(conn, adopt="old.processing_queue")
        assert counts(conn)["total"] == 5
        owner = "select tableowner from pg_tables where schemaname = 'conveyor' and tablename = 'processing_queue'"
        assert sql.value(conn, owner) == "conveyor_owner"


def test_psql_does_the_same(empty_dsn: str, old: psycopg.Connection) -> None:
    done = psql_file(empty_dsn, DB / "install.sql", "-v", f"adopt={OLD}", "-v", "timezone=Europe/Berlin")
    assert done.returncode == 0, done.stderr
    assert "2 pending, 1 processing, 1 completed, 1 failed" in done.stderr
    assert counts(old)["total"] == 5
    assert sql.value(old, f"select created_at = '2024-07-01 10:00+00' from {QUEUE} where id = 1") is True


def test_the_command(
    empty_dsn: str,
    old: psycopg.Connection,  # noqa: ARG001
    configure: Callable[..., None],
    pgconveyor: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    configure("rpa_db", empty_dsn)
    done = pgconveyor("install")
    assert done.returncode == 0
    assert "pgconveyor install --adopt public.processing_queue" in done.stderr
    wrong = pgconveyor("install", "--adopt", OLD, "--timezone", "Nowhere")
    assert (wrong.returncode, wrong.stderr.splitlines()[-1].startswith("error:")) == (1, True)
    assert "Europe/Berlin" in wrong.stderr
    done = pgconveyor("install", "--adopt", OLD)
    assert done.returncode == 0
    assert "adopted 5 records" in done.stderr
    assert "can be dropped" in done.stderr
    done = pgconveyor("install")
    assert (done.returncode, done.stderr) == (0, "")
