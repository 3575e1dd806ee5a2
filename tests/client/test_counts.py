"""Counts that equal count(*), without counting: what is installed, read, folded, truncated, and seen by others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

import sql
from pgconveyor.install import DB, install
from sql import Connect, add, answer, claim, complete, configure, fill, maintain, value

QUEUE = "conveyor.processing_queue"
DELTAS = "select count(*) from conveyor.count_delta"


def reported(conn: psycopg.Connection) -> dict[tuple[str, str], int]:
    flows = value(conn, "select conveyor.get_queue_status()")["by_flow"]
    return {(flow, status): n for flow, counts in flows.items() for status, n in counts.items() if n}


def counted(conn: psycopg.Connection) -> dict[tuple[str, str], int]:
    rows = conn.execute(f"select flow_name, status, count(*) from {QUEUE} group by 1, 2").fetchall()
    return {(flow, status): n for flow, status, n in rows}


def differences(conn: psycopg.Connection) -> list[object]:
    return conn.execute("select * from conveyor._count_differences()").fetchall()


def fold(conn: psycopg.Connection) -> int:
    return value(conn, "select conveyor._fold_counts()")


def every_state(conn: psycopg.Connection, n: int) -> None:
    conn.execute(
        f"""
        insert into {QUEUE} (flow_name, payload, status)
        select 'flow ' || g.n %% 3, '{{}}', (array['pending', 'processing', 'completed', 'failed'])[1 + g.n %% 4]
        from generate_series(1, %s) as g (n)
        """,
        [n],
    )


@pytest.fixture
def before(empty_dsn: str, tmp_path: Path) -> Iterator[Connect]:
    """Sessions on a database that has the table as the first migration made it, and none of the functions."""
    db = tmp_path / "db"
    shutil.copytree(DB, db)
    manifest = db / "install.sql"
    begin, rest = manifest.read_text().split("\\set migration 0002", 1)
    manifest.write_text(begin + "commit;\n")
    assert "functions/" in rest
    with ExitStack() as stack:

        def connect() -> psycopg.Connection:
            conn = psycopg.connect(empty_dsn, autocommit=True, options="-c lock_timeout=10s")
            return stack.enter_context(closing(conn))

        assert install(connect(), db) == ["0001_processing_queue"]
        yield connect


def test_rows_that_were_there_before_are_counted_once(before: Connect) -> None:
    conn = before()
    every_state(conn, 1000)
    assert install(conn)[0] == "0002_exact_counts"
    assert reported(conn) == counted(conn)
    assert sum(reported(conn).values()) == 1000
    maintain(conn)
    assert install(conn) == []
    assert reported(conn) == counted(conn)
    assert value(conn, "select count(*) from conveyor.flow_minute") == 0


def test_rows_of_a_writer_that_has_not_committed_are_waited_for(before: Connect) -> None:
    conn, writer, watch = before(), before(), before()
    every_state(conn, 100)
    writer.execute("begin")
    every_state(writer, 50)
    with sql.blocked(watch, conn, lambda: install(conn)):
        writer.execute("commit")
    assert reported(conn) == counted(conn)
    assert sum(reported(conn).values()) == 150


def rows_read(conn: psycopg.Connection, tables: list[str], call: Callable[[], object]) -> int:
    """Make a call in a transaction of its own; how many rows of the tables it read."""
    query = """
        select sum(t.seq_tup_read + coalesce(t.idx_tup_fetch, 0))
        from pg_stat_xact_user_tables as t
        where t.schemaname = 'conveyor' and t.relname = any (%s)
    """
    with conn.transaction():
        before = value(conn, query, tables)  # may have what earlier transactions read
        call()
        return value(conn, query, tables) - before


def test_the_status_reads_no_history(conn: psycopg.Connection) -> None:
    fill(conn, "f", 50000)
    conn.execute(f"update {QUEUE} set status = 'completed'")
    add(conn, "g", 5)
    maintain(conn)
    assert sum(reported(conn).values()) == 50005
    assert rows_read(conn, ["processing_queue"], lambda: reported(conn)) == 0
    assert 0 < rows_read(conn, ["count_delta", "flow", "attempt", "flow_minute"], lambda: reported(conn)) < 100


def test_a_fold_reads_each_delta_once_also_by_a_plan_made_for_an_empty_table(conn: psycopg.Connection) -> None:
    """Else a fold takes the square of the time: each row is compared with the place of each other."""
    for _ in range(8):
        add(conn, "f")
        maintain(conn)
    add(conn, "f", 5000)
    assert rows_read(conn, ["count_delta"], lambda: maintain(conn)) < 7500


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_truncate_with_an_older_snapshot_is_refused(conn: psycopg.Connection, isolation: str) -> None:
    every_state(conn, 20)
    conn.execute(f"begin isolation level {isolation}")
    with pytest.raises(
        psycopg.errors.FeatureNotSupported, match=f"truncate of the queue in isolation {isolation}"
    ) as raised:
        conn.execute(f"truncate {QUEUE}")
    assert "read committed" in str(raised.value.diag.message_hint)
    conn.execute("rollback")
    assert reported(conn) == counted(conn) != {}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_truncate_counts_when_it_commits(connect: Connect, end: str) -> None:
    conn, other = connect(), connect()
    every_state(conn, 20)
    before = reported(conn)
    conn.execute("begin")
    conn.execute(f"truncate {QUEUE}")
    assert reported(conn) == {}
    add(conn, "f", 2)
    assert reported(conn) == {("f", "pending"): 2}
    assert reported(other) == before
    conn.execute(end)
    assert reported(other) == counted(other) == ({("f", "pending"): 2} if end == "commit" else before)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_truncate_while_a_fold_is_open_loses_nothing(connect: Connect, end: str) -> None:
    folder, conn = connect(), connect()
    every_state(conn, 20)
    folder.execute("begin")
    assert fold(folder) > 0
    conn.execute(f"truncate {QUEUE}")
    assert reported(conn) == {}
    folder.execute(end)
    add(conn, "f")
    assert reported(conn) == counted(conn) == {("f", "pending"): 1}
    fold(conn)
    assert reported(conn) == {("f", "pending"): 1}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_folders_at_once_neither_waits_and_nothing_is_lost(connect: Connect, end: str) -> None:
    first, second, conn = connect(), connect(options="-c lock_timeout=500"), connect()
    every_state(conn, 20)
    first.execute("begin")
    assert fold(first) > 0
    assert fold(second) == 0, "the other has them"
    every_state(conn, 20)
    assert fold(second) > 0
    assert differences(conn) == differences(first) == []
    first.execute(end)
    assert reported(conn) == counted(conn)
    add(conn, "f")
    fold(conn)
    assert reported(conn) == counted(conn)
    assert value(conn, DELTAS) == len({flow for flow, _ in counted(conn)})


def test_of_many_folders_at_once_each_answer_is_told_once(connect: Connect) -> None:
    sessions = [connect() for _ in range(4)]
    conn = sessions[0]
    for _ in range(3):
        add(conn, "f", 100)
        for record in claim(conn, "f", 100):
            complete(conn, [record])
        sql.together(*(lambda c=c: fold(c) for c in sessions))
        assert reported(conn) == counted(conn)
    assert value(conn, "select sum(completed) from conveyor.flow_minute") == 300


def test_verbs_fill_the_minutes_with_how_long_records_waited_and_ran(conn: psycopg.Connection) -> None:
    configure(conn, "f", retry_delay="1 h", max_retries=1)
    add(conn, "f", 4)
    add(conn, "g", 1)
    conn.execute(f"update {QUEUE} set created_at = created_at - interval '1 hour'")
    held, other = claim(conn, "f", 4), claim(conn, "g", 1)
    conn.execute(f"update {QUEUE} set claimed_at = claimed_at - interval '1 minute'")
    complete(conn, held[:1])
    complete(conn, [*held[1:2], *other])  # of two flows at once
    answer(conn, "fail", held[2:3], {"error": "boom"})  # will be tried again: no end
    answer(conn, "fail", held[3:], {"error": "boom", "permanent": True})
    maintain(conn)
    query = "select sum(completed), sum(failed), sum(wait_seconds), sum(run_seconds) from conveyor.flow_minute"
    [(completed, failed, wait, run)] = conn.execute(query).fetchall()
    assert (completed, failed) == (3, 1)
    assert wait == pytest.approx(3 * 3540, abs=60)
    assert run == pytest.approx(3 * 60, abs=30)


def test_what_moves_nothing_writes_no_delta(conn: psycopg.Connection) -> None:
    add(conn, "f", 3)
    held = claim(conn, "f", 2)
    before = value(conn, DELTAS)
    assert None not in sql.extend(conn, held).values()
    conn.execute(f"update {QUEUE} set payload = '{{\"n\": 1}}', updated_at = clock_timestamp()")
    conn.execute(f"update {QUEUE} set status = 'failed' where id = -1")
    conn.execute(f"delete from {QUEUE} where id = -1")
    conn.execute(f"insert into {QUEUE} (flow_name, payload) select 'f', '{{}}' where false")
    assert claim(conn, "empty", 5) == []
    assert value(conn, DELTAS) == before
    complete(conn, held)
    assert value(conn, DELTAS) == before + 1, "one for each statement and flow"


def test_a_reader_with_an_old_snapshot_sees_the_counts_of_its_snapshot(connect: Connect) -> None:
    reader, conn = connect(), connect()
    fill(conn, "f", 50)
    fill(conn, "gone", 5)
    reader.execute("begin isolation level repeatable read")
    before = reported(reader)
    held = claim(conn, "f", 20)
    complete(conn, held[:10])
    conn.execute(f"delete from {QUEUE} where flow_name = 'gone'")
    fold(conn)
    fill(conn, "new", 5)
    fold(conn)
    assert reported(reader) == counted(reader) == before
    assert differences(reader) == []
    reader.execute("commit")
    assert reported(reader) == counted(conn) != before
