"""What a user reads when the server refuses: what it said and advises, and what to do, in one line."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgconveyor.cli import main
from pgconveyor.database import DatabaseManager
from pgconveyor.remedies import in_short

Configure = Callable[..., None]


def test_a_missing_grant_names_the_role_and_what_to_grant(rpa_db: DatabaseManager) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught, rpa_db.connection() as conn:  # noqa: PT012
        conn.execute("create role no_rights")
        conn.execute("set local role no_rights")
        conn.execute("select conveyor.get_queue_status()")
    said = in_short(caught.value)
    assert "permission denied for schema conveyor" in said
    assert f'grant conveyor_worker to "{conn.info.user}"' in said
    assert "\n" not in said


def test_a_lock_that_is_not_got_says_who_holds_it(rpa_db: DatabaseManager, conn: psycopg.Connection) -> None:
    def add() -> None:
        with rpa_db.connection() as ours:
            ours.execute("set local lock_timeout = '10ms'")
            ours.execute("select conveyor.add_record('f', '{}')")

    with conn.transaction():
        conn.execute("lock table conveyor.processing_queue")
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            add()
    assert "CONTEXT" in str(caught.value)
    assert in_short(caught.value).startswith("canceling statement due to lock timeout. another session holds the lock")
    assert "CONTEXT" not in in_short(caught.value)


def test_a_hint_of_the_server_is_shown_and_its_context_is_not(rpa_db: DatabaseManager) -> None:
    refuse = "do $$ begin raise exception 'no' using hint = 'ask\nagain', detail = 'because', errcode = 'WQ001'; end $$"
    with pytest.raises(psycopg.DatabaseError) as caught:
        rpa_db.execute_query(refuse)
    assert in_short(caught.value) == "no. ask again"


def test_a_missing_database_says_how_to_make_it(
    dsn: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("rpa_db", make_conninfo(dsn, dbname="not there"))
    with pytest.raises(SystemExit):
        main(["install"])
    said = capsys.readouterr().err
    assert 'does not exist: make it with `createdb "not there"`, then run `pgconveyor install`' in said
    assert said.count("\n") == 1


def test_health_reports_in_one_line(rpa_db: DatabaseManager, dsn: str, configure: Configure) -> None:
    configure("rpa_db", make_conninfo(dsn, port="1"))
    assert "\n" not in rpa_db.health_check()["error"]
    assert "refused" in rpa_db.health_check()["error"]
