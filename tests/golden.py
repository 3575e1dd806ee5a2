"""The schema as files, so that a change of it is seen in review, and the last release as tests install it.

scripts/golden              write tests/releases/schema.sql: the outline of what db/ installs
scripts/golden --release    also write tests/releases/VERSION: db/install.sql with all it includes as one file,
                            its outline, and pgTAP files that its functions pass
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import psycopg

import server
from pgconveyor.install import DB, install
from tools import outline

ROOT = Path(__file__).parents[1]
RELEASES = ROOT / "tests" / "releases"
SCHEMA = RELEASES / "schema.sql"
# The pgTAP files that a release keeps: one a part of the life of a record; all of them would take as long as tests/db
# again.
PGTAP = [
    "add_records_to_queue",
    "claim_records_batch",
    "extend_leases",
    "mark_records_completed",
    "mark_records_failed",
    "release_records",
    "cleanup_orphaned_records",
    "reset_failed_records",
    "cancel_records",
    "get_queue_status",
    "maintain",
    "check_integrity",
]
MAJOR = 18  # of the server that the outlines are of: pg_dump words some things as the server does


def last_release() -> Path:
    """The directory of the newest release."""
    return max(RELEASES.glob("*/"), key=lambda path: [int(part) for part in path.name.split(".")])


def one_file(db: Path = DB) -> str:
    """The manifest with its `\\ir` lines replaced by what they include; psql runs it as it runs the manifest."""
    lines: list[str] = []
    migration = ""
    for line in (db / "install.sql").read_text().splitlines():
        match line.split():
            case ["\\set", "migration", name]:
                migration = name
                lines.append(line)
            case ["\\ir", "apply_migration.sql"]:
                lines += _applying(db, migration)
            case ["\\ir", path]:
                lines += (db / path).read_text().splitlines()
            case _:
                lines.append(line)
    return "\n".join(lines) + "\n"


def _applying(db: Path, migration: str) -> list[str]:
    text = (db / "apply_migration.sql").read_text()
    run = "    \\set file migrations/ :migration .sql\n    \\ir :file\n"
    assert run in text
    return text.replace(run, (db / "migrations" / f"{migration}.sql").read_text()).splitlines()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(path.relative_to(ROOT))


def main() -> None:
    started = server.start()
    try:
        with psycopg.connect(started.dsn) as conn:
            assert conn.info.server_version // 10000 == MAJOR, f"the outlines are of PostgreSQL {MAJOR}"
            install(conn)
        now = outline(started.dsn)
    finally:
        started.stop()
    _write(SCHEMA, now)
    if "--release" in sys.argv[1:]:
        with (ROOT / "pyproject.toml").open("rb") as file:
            release = RELEASES / tomllib.load(file)["project"]["version"]
        shutil.rmtree(release, ignore_errors=True)
        _write(release / "install.sql", one_file())
        _write(release / "schema.sql", now)
        (release / "db").mkdir()
        for name in PGTAP:
            shutil.copy(ROOT / "tests" / "db" / f"{name}.sql", release / "db")


if __name__ == "__main__":
    main()
