"""Upgrading and going back: the last release, kept in tests/releases, and what is installed today."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

import golden
import pgtap
from pgconveyor.install import DB, install
from tools import dump, outline, psql_file, tool

RELEASE = golden.last_release()


@pytest.fixture
def release(empty_dsn: str) -> str:
    """A database with the last release."""
    done = psql_file(empty_dsn, RELEASE / "install.sql")
    assert (done.returncode, done.stderr) == (0, "")
    return empty_dsn


def on_golden_major(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        return conn.info.server_version // 10000 == golden.MAJOR


def run_pgtap(dsn: str, file: Path) -> str:
    """Run a file by psql; what it said."""
    env = os.environ | {"PGOPTIONS": pgtap.OPTIONS}
    command = [tool("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", str(file)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_schema_is_the_one_that_was_agreed_on(dsn: str) -> None:
    if not on_golden_major(dsn):
        pytest.skip(f"the outline is of PostgreSQL {golden.MAJOR}")
    assert outline(dsn) == golden.SCHEMA.read_text(), "if it was changed on purpose: scripts/golden"


def test_the_release_is_the_one_that_was_agreed_on(release: str) -> None:
    if not on_golden_major(release):
        pytest.skip(f"the outline is of PostgreSQL {golden.MAJOR}")
    assert outline(release) == (RELEASE / "schema.sql").read_text()


def test_the_one_file_installs_what_the_manifest_does(empty_dsn: str, dsn: str, tmp_path: Path) -> None:
    (tmp_path / "install.sql").write_text(golden.one_file())
    for _ in range(2):
        done = psql_file(empty_dsn, tmp_path / "install.sql")
        assert (done.returncode, done.stderr) == (0, "")
    assert dump(empty_dsn) == dump(dsn)


@pytest.mark.parametrize("by", ["python", "psql"])
def test_an_upgrade_gives_what_a_fresh_install_gives(release: str, dsn: str, by: str) -> None:
    with psycopg.connect(release, autocommit=True) as conn:
        conn.execute("select conveyor.add_records_to_queue('f', '[{}, {}]')")
        if by == "python":
            install(conn)
        else:
            assert psql_file(release, DB / "install.sql").returncode == 0
        assert conn.execute("select conveyor.get_queue_status() ->> 'pending_records'").fetchone() == ("2",)
        assert conn.execute("select * from conveyor.check_integrity()").fetchall() == []
    assert dump(release) == dump(dsn)


def test_going_back_is_the_release_functions_over_todays_tables(dsn: str) -> None:
    done = psql_file(dsn, RELEASE / "install.sql")
    assert (done.returncode, done.stderr) == (0, "")
    with psycopg.connect(dsn) as conn:
        pgtap.load(conn)
    for name in golden.PGTAP:
        said = run_pgtap(dsn, RELEASE / "db" / f"{name}.sql")
        planned = re.search(r"(?m)^1\.\.(\d+)$", said)
        assert planned is not None, name
        assert len(re.findall(r"(?m)^ok \d+", said)) == int(planned[1]), f"{name}\n{said}"
