"""What the README promises and no other file holds."""

from __future__ import annotations

import os
import subprocess

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import sql
import tools
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

QUEUE = "conveyor.processing_queue"


def counted(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        return sql.value(conn, "select (conveyor.get_queue_status() ->> 'total_records')::integer")


def restore(source: str, target: str, *options: str) -> None:
    """The data alone, into a schema that is installed."""
    with psycopg.connect(target, autocommit=True) as conn:
        conn.execute("truncate conveyor.error_code, conveyor.migration, conveyor.count_delta")
    dump = [tools.tool("pg_dump"), "--data-only", *options, "-d", source]
    data = subprocess.check_output(dump, text=True, timeout=60, env=os.environ)
    # A setting that only pg_dump's own major knows.
    done = tools.psql(target, "-q", "-v", "ON_ERROR_STOP=1", said=data.replace("SET transaction_timeout = 0;", ""))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("options", "counts"), [([], 6), (["--disable-triggers"], 3)], ids=["triggers", "no triggers"])
def test_restored_data_is_counted_twice_unless_triggers_are_off(
    dsn: str, empty_dsn: str, conn: psycopg.Connection, options: list[str], counts: int
) -> None:
    sql.add(conn, "f", 3)
    with psycopg.connect(empty_dsn) as target:
        install(target)
    restore(dsn, empty_dsn, *options)
    assert counted(empty_dsn) == counts
    with psycopg.connect(empty_dsn) as target:
        target.execute("select from conveyor.check_integrity(p_repair => true)")
    assert counted(empty_dsn) == 3


def test_sessions_of_different_time_zones_agree(connect: sql.Connect) -> None:
    claimer, reaper = connect(), connect()
    claimer.execute("set timezone = 'America/New_York'")
    reaper.execute("set timezone = 'Asia/Tokyo'")
    sql.add(claimer, "f", 2)
    sql.insert(claimer, "f", created_at=sql.now(reaper))
    held = sql.claim(claimer, "f", 3)
    assert len(held) == 3
    assert (sql.maintain(reaper)["orphaned"], sql.cleanup(reaper, 0.01)) == (0, 0)
    sql.expire(claimer, sql.ids(held))
    assert sql.maintain(reaper)["orphaned"] == 3


@pytest.mark.parametrize("command", [f"delete from {QUEUE}", f"truncate {QUEUE}"])
def test_after_delete_and_truncate_only_their_attempts_are_left_over(conn: psycopg.Connection, command: str) -> None:
    sql.add(conn, "f", 2)
    sql.release(conn, sql.claim(conn, "f", 2))
    conn.execute(command)
    assert [problem for problem, *_ in sql.problems(conn)] == ["attempt of no record"] * 2
    conn.execute("select from conveyor.check_integrity(p_repair => true)")
    assert sql.problems(conn) == []


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_held_record_that_is_settled_by_hand_keeps_its_lease_until_repaired(
    conn: psycopg.Connection, status: str
) -> None:
    record = sql.one(conn)
    conn.execute(f"update {QUEUE} set status = %s", [status])
    assert [problem for problem, *_ in sql.problems(conn)] == ["answered, but still leased"]
    assert (sql.maintain(conn)["orphaned"], sql.claim(conn, "f")) == (0, [])
    conn.execute("select from conveyor.check_integrity(p_repair => true)")
    assert sql.problems(conn) == []
    assert sql.row(conn, record.id)["status"] == status


def test_explicit_ids_run_out_of_step_until_repaired(conn: psycopg.Connection) -> None:
    conn.execute(f"insert into {QUEUE} (id, flow_name, payload) values (1, 'f', '{{}}'), (50, 'f', '{{}}')")
    assert [problem for problem, *_ in sql.problems(conn)] == ["ids run out of step"]
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.add(conn, "f")
    conn.execute("select from conveyor.check_integrity(p_repair => true)")
    assert sql.problems(conn) == []
    assert sql.add(conn, "f") == [51]


def test_raw_sql_needs_the_owners_rights_which_can_be_had(embedded: EmbeddedServer) -> None:
    dsn = embedded.ensure_database("raw")
    with psycopg.connect(dsn) as conn:
        install(conn)
        conn.execute("create role me login password 'x'")
    with psycopg.connect(make_conninfo(dsn, user="me", password="x"), autocommit=True) as conn:
        insert = f"insert into {QUEUE} (flow_name, payload) values ('f', '{{}}')"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(insert)
        with psycopg.connect(dsn) as owner:
            owner.execute("grant conveyor_owner to me")
        conn.execute("set role conveyor_owner")
        conn.execute(insert)
        conn.execute(f"truncate {QUEUE}")
