"""`install --search-path`: the schema is appended to what new sessions of the database get, and to nothing else."""

from __future__ import annotations

import psycopg
import pytest

from pgconveyor.install import install, set_search_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '"$user", public, conveyor'),
        ("''", "conveyor"),
        ('app, "odd, name"', 'app, "odd, name", conveyor'),
        ("app, conveyor", "app, conveyor"),
    ],
)
def test_the_schema_is_appended_once(empty_dsn: str, before: str | None, after: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        install(conn)
        if before is not None:
            database = conn.info.dbname
            conn.execute(f'alter database "{database}" set search_path = {before}')
    # What this session was told to use is nobody else's business.
    with psycopg.connect(empty_dsn, autocommit=True, options="-c search_path=mine") as conn:
        set_search_path(conn)
        set_search_path(conn)
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("show search_path").fetchone() == (after,)
        assert conn.execute("select count(*) from processing_queue").fetchone() == (0,)
