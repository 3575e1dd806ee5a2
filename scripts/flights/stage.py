"""What the demo makes and takes away again, whatever ends it: a directory, a server, programs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from pgconveyor.embedded import EmbeddedServer
from pgconveyor.embedded_process import interrupt_after

T = TypeVar("T")

HERE = Path(__file__).parent
FLOW = "flights"
LEASE = "3s"
WORKERS = 3
WORKER = [
    *("pgconveyor", "worker", "--flow", FLOW, "--handler", "handler:handle"),
    *("--lease", LEASE, "--poll", "500ms", "--batch", "50"),
]
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoFailed(Exception):
    """The demo could not be run to its end."""


class Ended(BaseException):
    """A signal ended the demo."""


class Signals:
    """
    The first of the signals that end programs raises `Ended`; later ones change nothing.

    While `held`, it waits: what is being started then, nobody would know of otherwise.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.is_held = True
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            self._raise()

    def _raise(self) -> None:
        if self.received is not None and not self.is_held:
            raise Ended

    @contextmanager
    def held(self) -> Iterator[None]:
        self.is_held = True
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        self.is_held = False
        self._raise()


class Program:
    """A module of Python that runs beside the demo, and ends with it, even with a killed one. Its output is its log."""

    def __init__(self, directory: Path, name: str, command: Sequence[str], more: Mapping[str, str]) -> None:
        self.name, self.log = name, directory / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=HERE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | more,
                preexec_fn=interrupt_after(os.getpid()),
            )

    def said(self, pattern: str) -> str | None:
        """What the group of the pattern is in the log."""
        found = re.search(pattern, self.log.read_text())
        return found[1] if found else None

    def check(self) -> None:
        if self.process.poll() is not None:
            raise DemoFailed(f"{self.name} ended by itself:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def until(what: str, ready: Callable[[], T | None], seconds: float = 30.0) -> T:
    """The first true answer of `ready`. Raises `DemoFailed` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ready():
            return answer
        time.sleep(0.02)
    raise DemoFailed(f"waited {seconds:.0f} s in vain until {what}")


def install() -> None:
    command = [sys.executable, "-m", "pgconveyor", "install", "--search-path"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DemoFailed(f"the queue could not be installed:\n{done.stdout}{done.stderr}")


class Stage:
    """What the demo makes, and has to take away again."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.directory = Path(tempfile.mkdtemp(prefix="pgconveyor-demo-"))
        self.server = EmbeddedServer(self.directory, die_with_parent=True)
        self.programs: list[Program] = []

    def build(self) -> str:
        """Start the server. Returns how to reach the queue's database, which is configured and empty."""
        with self.signals.held():
            self.server.start()
        self.server.ensure_database("rpa_db")
        os.environ["PREFECT_ENVIRONMENT"] = "development"
        os.environ["DEVELOPMENT_GLOBAL_RPA_DB_TYPE"] = "postgresql"
        dsn = os.environ["DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING"] = self.server.conninfo("rpa_db")
        return dsn

    def run(self, name: str, command: Sequence[str], **more: str) -> Program:
        """Start a program, with more in its environment."""
        with self.signals.held():
            self.programs.append(Program(self.directory, name, command, more))
        return self.programs[-1]

    def start_workers(self) -> list[Program]:
        return [self.run(f"worker-{number}", WORKER) for number in range(1, WORKERS + 1)]

    def stop(self, programs: list[Program]) -> None:
        for program in programs:
            program.process.terminate()
        for program in programs:
            program.process.wait(timeout=60)

    def clear(self, keep: bool) -> None:
        for program in self.programs:
            program.kill()
        self.server.stop()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
