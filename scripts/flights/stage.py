"""What the demo makes and takes away again, whatever ends it: a directory, a server, workers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pgconveyor.embedded import EmbeddedServer

HERE = Path(__file__).parent
FLOW = "flights"
LEASE = "3s"
WORKERS = 3
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


class WorkerProcess:
    """One `pgconveyor worker`, as an operator would start it; its log names the instance it is."""

    def __init__(self, number: int, directory: Path) -> None:
        self.log = directory / f"worker-{number}.log"
        command = [
            *(sys.executable, "-m", "pgconveyor", "worker", "--flow", FLOW, "--handler", "handler:handle"),
            *("--lease", LEASE, "--poll", "500ms", "--batch", "50"),
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=subprocess.STDOUT)

    def instance(self) -> str | None:
        found = re.search(r"working on \S+ as (\S+)", self.log.read_text())
        return found[1] if found else None

    def check(self) -> None:
        if self.process.poll() is not None:
            raise DemoFailed(f"a worker ended by itself:\n{self.log.read_text()[-2000:]}")


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
        self.workers: list[WorkerProcess] = []

    def build(self) -> str:
        """Start the server. Returns how to reach the queue's database, which is configured and empty."""
        with self.signals.held():
            self.server.start()
        self.server.ensure_database("rpa_db")
        os.environ["PREFECT_ENVIRONMENT"] = "development"
        os.environ["DEVELOPMENT_GLOBAL_RPA_DB_TYPE"] = "postgresql"
        dsn = os.environ["DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING"] = self.server.conninfo("rpa_db")
        return dsn

    def start_workers(self) -> None:
        for number in range(1, WORKERS + 1):
            with self.signals.held():
                self.workers.append(WorkerProcess(number, self.directory))

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.wait(timeout=60)

    def clear(self, keep: bool) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.server.stop()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
