"""A Prefect server of the tests' own, on loopback, and code that runs with Prefect in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pgconveyor.prefect_values import is_installed

# For tests of flows, which all share one server.
marks = [
    pytest.mark.skipif(not is_installed(), reason="Prefect is not installed: pip install -e '.[dev,prefect]'"),
    pytest.mark.xdist_group("prefect_flows"),
    pytest.mark.timeout(300),
]

SECONDS = 200  # for a server to come up; 11 to 26 were measured

# The first keeps the server from looking up an outside host, which the second does not.
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


def environment(home: Path, **settings: str) -> dict[str, str]:
    """This process's, with no setting of Prefect but these."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return plain | QUIET | {"PREFECT_HOME": str(home)} | settings


def run(code: str, home: Path, *arguments: str, **settings: str) -> None:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment(home, **settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The URL of its API."""
    with started(home) as (url, _):
        yield url


@contextmanager
def started(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Likewise, and its process, which leads a group of its own."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--host", "127.0.0.1"]
    command += ["--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + SECONDS
        while not _is_up(url):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.1)
        yield url, process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(20)


def ask(url: str, path: str, document: object = None) -> Any:
    """What the API answers: to a GET, or when there is a document, a POST of it."""
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url + path, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def _is_up(url: str) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(f"{url}/health", timeout=5).status == 200)
    return False
