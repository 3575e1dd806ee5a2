"""Whose fault an error is: a manager speaks for its own database alone."""

from __future__ import annotations

import psycopg
import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.errors import DatabaseUnavailable


def test_another_databases_error_is_not_blamed_on_this_one(rpa_db: DatabaseManager) -> None:
    with pytest.raises(psycopg.OperationalError), rpa_db.connection():
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")


def test_an_error_that_leaves_the_connection_alive_is_psycopgs(rpa_db: DatabaseManager) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled), rpa_db.connection() as conn:  # noqa: PT012
        conn.execute("set local statement_timeout = '10ms'")
        conn.execute("select pg_sleep(10)")


def test_a_connection_that_the_server_ended_is_a_connection_error(
    rpa_db: DatabaseManager, conn: psycopg.Connection
) -> None:
    with pytest.raises(DatabaseUnavailable, match="rpa_db"), rpa_db.connection() as ours:  # noqa: PT012
        conn.execute("select pg_terminate_backend(%s)", [ours.info.backend_pid])
        ours.execute("select 1")


def test_a_session_that_ends_while_a_pool_is_opened_is_a_connection_error(
    rpa_db: DatabaseManager, conn: psycopg.Connection
) -> None:
    conn.execute("""
        create or replace function conveyor.check_client(p_migrations text[]) returns void language plpgsql
        security invoker set search_path = pg_catalog as 'begin perform pg_terminate_backend(pg_backend_pid()); end'
    """)
    with pytest.raises(DatabaseUnavailable, match="rpa_db: "):
        rpa_db.execute_query("select 1")
