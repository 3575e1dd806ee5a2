"""What the embedded server asks of the operating system: files, locks, ports, processes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
STOP_TIMEOUT = 60.0
PR_SET_PDEATHSIG = 1
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def serves(pid: int, data: Path) -> bool:
    if sys.platform != "linux":
        ps = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
        return os.fsencode(data) in subprocess.run(ps, check=False, capture_output=True).stdout  # noqa: S603
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except PermissionError:  # root in a container, without CAP_SYS_PTRACE
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise RuntimeError(f"no free TCP port on {HOST}")


def interrupt_after(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    # subprocess calls this after setuid, as it must: a change of uid clears the signal.
    def request() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return request


def interrupt(child: subprocess.Popen[bytes], parent: int) -> None:
    if os.getpid() == parent:  # forks of the parent run its exit handlers too
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_TIMEOUT)
