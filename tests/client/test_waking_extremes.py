"""Very many flows and very many sleeps; two-phase commit; producers that must not notify."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install
from sleepers import FIRST, WATCHING, Sleeper, locks
from sql import Connect, add, claim, value, wait_until

GID = f"wake {os.getpid()}"  # one namespace for the whole server
MANY = """
    insert into conveyor.processing_queue (flow_name, payload)
    select case n when 1 then 'f' else 'flow-' || n end, '{}' from generate_series(1, %s) as g (n)
"""


@pytest.fixture
def sleeper(connect: Connect) -> Sleeper:
    return Sleeper(connect)


@pytest.fixture
def prepare(connect: Connect) -> Iterator[Callable[..., None]]:
    """Add a record in a transaction that is prepared, in a session that then ends."""
    conn = connect()
    if value(conn, "show max_prepared_transactions") == "0":
        pytest.skip("two-phase commit is NOT TESTED: this server has max_prepared_transactions = 0")

    def prepare(*, wake: str = "") -> None:
        with closing(connect()) as producer:
            producer.execute("select set_config('conveyor.wake', %s, false)", [wake])
            producer.execute("begin")
            add(producer, "f")
            producer.execute(f"prepare transaction '{GID}'")

    yield prepare
    if value(conn, "select count(*) from pg_prepared_xacts where gid = %s", GID):
        conn.execute(f"rollback prepared '{GID}'")


# Two-phase commit


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_prepared_transaction_keeps_the_door_open(
    conn: psycopg.Connection, sleeper: Sleeper, prepare: Callable[..., None], end: str
) -> None:
    prepare()
    assert [sleeper.settle(), sleeper.park()] == [WATCHING, WATCHING]
    conn.execute(f"{end} prepared '{GID}'")
    assert sleeper.park() == FIRST
    assert len(claim(sleeper.conn, "f")) == (end == "commit")
    assert sleeper.rung() == []


def test_nobody_can_prepare_who_has_notified(sleeper: Sleeper, prepare: Callable[..., None]) -> None:
    sleeper.settle()
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="PREPARE"):
        prepare()
    assert sleeper.rung() == []


def test_who_never_wakes_can_prepare_at_any_time(
    conn: psycopg.Connection, sleeper: Sleeper, prepare: Callable[..., None]
) -> None:
    sleeper.settle()
    prepare(wake="never")
    conn.execute(f"commit prepared '{GID}'")
    assert sleeper.rung() == []
    assert len(claim(sleeper.conn, "f")) == 1, "the poll finds it"


def test_a_prepared_transaction_keeps_the_door_open_over_a_restart(embedded: EmbeddedServer) -> None:
    dsn = embedded.ensure_database("prepared")
    connect = lambda: psycopg.connect(dsn, autocommit=True)  # noqa: E731
    with closing(connect()) as conn:
        with psycopg.connect(dsn) as installer:
            install(installer)
        conn.execute("begin")
        add(conn, "f")
        conn.execute(f"prepare transaction '{GID}'")
    embedded.stop()
    embedded.start()
    dsn = embedded.dsn("prepared")
    with closing(connect()) as conn:
        sleeper = Sleeper(connect)
        with closing(sleeper.conn):
            held = sleeper.settle()
            conn.execute(f"commit prepared '{GID}'")
            assert (held, sleeper.park()) == (WATCHING, FIRST)
            assert len(claim(sleeper.conn, "f")) == 1


# conveyor.wake


@pytest.mark.parametrize("flows", [1, 2, 64])
@pytest.mark.parametrize("wake", ["", "never"])
def test_a_producer_keeps_the_door_open_whether_it_wakes_or_not(
    connect: Connect, sleeper: Sleeper, wake: str, flows: int
) -> None:
    producer = connect()
    producer.execute("select set_config('conveyor.wake', %s, false)", [wake])
    producer.execute("begin")
    producer.execute(MANY, [flows])
    assert locks(producer, producer.info.backend_pid) == flows
    assert sleeper.settle() == WATCHING
    producer.execute("commit")
    assert sleeper.park() == FIRST


@pytest.mark.parametrize("flows", [1, 2, 64, 65])
def test_who_never_wakes_notifies_nobody(connect: Connect, sleeper: Sleeper, flows: int) -> None:
    producer = connect()
    producer.execute("set conveyor.wake = 'never'")
    sleeper.settle()
    producer.execute(MANY, [flows])
    assert sleeper.rung() == []
    producer.execute("reset conveyor.wake")
    producer.execute(MANY, [flows])
    assert sleeper.rung() == ["f empty 0"]


# Very many


@pytest.mark.parametrize("flows", [65, 10_000])
def test_a_statement_on_very_many_flows_notifies_without_a_lock(connect: Connect, sleeper: Sleeper, flows: int) -> None:
    """It asks nobody, so it also notifies where the door is open."""
    producer = connect()
    assert sleeper.settle() == FIRST
    producer.execute("begin")
    producer.execute(MANY, [flows])
    assert locks(producer, producer.info.backend_pid) == 0
    other = Sleeper(connect, ("flow-2", "empty"))
    assert other.settle() == FIRST, "nothing keeps the door open"
    other.park(opens=True)
    producer.execute("commit")
    assert (sleeper.rung(), other.rung()) == (["f empty 0"], ["flow-2 empty 0"])


def test_ten_thousand_sleeps_write_to_no_table(conn: psycopg.Connection, connect: Connect) -> None:
    with closing(connect()) as session:
        session.execute("""
            do $$
            declare
                v_seat integer;
            begin
                for i in 1 .. 10000 loop
                    select p.seat into strict v_seat
                    from conveyor.park('{f,g}', '{empty,paused}', '{null,null}', '{f,f}', null) as p
                    where p.flow_name = 'f';
                    commit;
                    perform conveyor.leave('{f,g}', '{empty,paused}', '{1,1}', 10);
                    commit;
                end loop;
            end;
            $$
        """)
        session.execute("insert into conveyor.flow (flow_name) values ('mark')")
    written = """
        select t.relname, t.n_tup_ins, t.n_tup_upd + t.n_tup_del
        from pg_stat_user_tables as t
        where t.schemaname = 'conveyor' and t.n_tup_ins + t.n_tup_upd + t.n_tup_del > 0
    """
    wait_until(lambda: conn.execute(written).fetchall())
    assert conn.execute(written).fetchall() == [("flow", 1, 0)], "the mark, and nothing else"
