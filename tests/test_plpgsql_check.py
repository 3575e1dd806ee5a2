"""plpgsql_check over every function, with all warnings on: on the server of Debian, which has a package of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import platformdirs
import psycopg
import pytest

import debian
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.install import install

pytestmark = pytest.mark.xdist_group("plpgsql_check")  # one server for the file

# Trigger functions are checked with each table and the transition tables of each trigger.
CHECK = """
    select p.proname, c.lineno, c.level, c.sqlstate, concat_ws(' ', p.proname || ':', c.message, c.detail)
    from pg_proc as p
    left join pg_trigger as t on t.tgfoid = p.oid
    cross join lateral plpgsql_check_function_tb(
        funcoid => p.oid, relid => coalesce(t.tgrelid, 0), oldtable => t.tgoldtable, newtable => t.tgnewtable,
        all_warnings => true, fatal_errors => false
    ) as c
    where p.pronamespace = 'conveyor'::regnamespace
        and p.prolang = (select l.oid from pg_language as l where l.lanname = 'plpgsql')
    order by p.proname, c.lineno
"""

# What it says and is left so: a pattern of "function: message detail", and why.
EXCEPTIONS = {
    r"^\w+: p_\w+ is null": "_raise_invalid is immutable: with constant arguments the checker itself runs it",
    r"^(_answer_outcomes|_count_differences): .* should be STABLE": "a stable one would read its caller's old snapshot",
    r"^next_due_at: .* should be STABLE": "it reads a setting of the session, which a claim may write meanwhile",
    r'never read variable "v_rang"': "an assignment calls a function at a quarter of the cost of perform",
    r': target type .* cast "regclass" value to "oid"': "once a call",
    r': target type .* cast "(integer|bigint)" value to "(bigint|integer)"': "once a call",
}


def packages() -> list[Path]:
    """Debian's package, and the server where it is missing: from our cache, else from Debian."""
    cache = platformdirs.user_cache_path("pgconveyor") / "plpgsql-check"
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as directory:
            debs = debian.fetch(Path(directory), "plpgsql-check", with_missing=True)
            kept = Path(directory) / "kept"
            kept.mkdir()
            for deb in debs:
                shutil.copy(deb, kept)
            with suppress(OSError):  # another process may have been quicker
                kept.rename(cache)
    return list(cache.glob("*.deb"))


@pytest.fixture(scope="module")
def checked() -> Iterator[psycopg.Connection]:
    """A session on a server with the queue and the extension."""
    with tempfile.TemporaryDirectory(prefix="pgconveyor-") as name, pytest.MonkeyPatch.context() as environment:
        directory = Path(name)
        directory.chmod(0o755)
        try:
            root = debian.unpack(packages(), directory / "packages")
            [library] = root.glob("usr/lib/postgresql/*/lib/plpgsql_check.so")
            [script] = root.glob("usr/share/postgresql/*/extension/plpgsql_check--*.sql")
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            pytest.skip(f"*** plpgsql_check CANNOT BE HAD, NOTHING WAS CHECKED: {error} {getattr(error, 'stderr', '')}")
        bindir = library.parents[1] / "bin"
        if not bindir.is_dir():
            bindir = Path("/", bindir.relative_to(root))
        libraries = [*root.glob("usr/lib/*-linux-gnu"), os.environ.get("LD_LIBRARY_PATH", "")]
        environment.setenv("LD_LIBRARY_PATH", ":".join(map(str, filter(None, libraries))))
        with (
            EmbeddedServer(directory / "server", durable=False, bindir=bindir, die_with_parent=True) as server,
            psycopg.connect(server.dsn(), autocommit=True) as conn,
        ):
            install(conn)
            # As "create extension" would, whose files would have to be in the server's own directory.
            text = re.sub(r"(?m)^\\.*$", "", script.read_text()).replace("@extschema@", "public")
            conn.execute(text.replace("MODULE_PATHNAME", str(library)).encode())
            yield conn


def test_it_finds_nothing_but_what_is_explained(checked: psycopg.Connection) -> None:
    found = checked.execute(CHECK).fetchall()
    wrong = [row for row in found if not any(re.search(pattern, row[-1]) for pattern in EXCEPTIONS)]
    assert wrong == [], "\n".join(map(str, wrong))
    stale = [pattern for pattern in EXCEPTIONS if not any(re.search(pattern, row[-1]) for row in found)]
    assert stale == [], "these exceptions are needed no more"


def test_it_would_find_a_mistake(checked: psycopg.Connection) -> None:
    with checked.transaction(force_rollback=True):
        checked.execute("""
            create function conveyor._wrong() returns integer language plpgsql set search_path = pg_catalog, pg_temp as
            $$ begin return (select q.no_such_column from conveyor.processing_queue as q); end $$
        """)
        assert ("_wrong", "error", "42703") in [(row[0], *row[2:4]) for row in checked.execute(CHECK)]
