"""Several workers under one parent, for handlers that keep a processor busy."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from threading import Thread
from types import FrameType

from pgconveyor.claimer import jittered
from pgconveyor.worker import BACK_OFF

__all__ = ["Processes"]

logger = logging.getLogger(__name__)

_SPAWN = multiprocessing.get_context("spawn")
SETTLED = 60.0  # seconds after which a process that ends is replaced at once


class Processes:
    """Keeps `count` processes at a command; one that ends by itself is replaced, unless it never began."""

    def __init__(self, count: int, arguments: Sequence[str]) -> None:
        self._count, self._arguments = count, list(arguments)
        self._children: dict[SpawnProcess, tuple[Event, float]] = {}
        self._is_stopping = False

    def run(self) -> int:
        """Until all have ended. Returns 0 when all drained or were done, else 1, or 2 for wrong usage."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        for _ in range(self._count):
            self._start()
        worst, pause = 0, BACK_OFF[0]
        while self._children:
            wait([child.sentinel for child in self._children])
            for child in [child for child in self._children if child.exitcode is not None]:
                begun, started = self._children.pop(child)
                code = child.exitcode or 0
                if self._is_stopping and not begun.is_set():
                    continue
                if code == 0 or self._is_stopping:
                    worst = worst or (0 if code == 0 else 1)
                elif not begun.is_set():
                    worst = 2 if code == 2 else 1
                    self._forward(signal.SIGTERM)
                else:
                    pause = BACK_OFF[0] if time.monotonic() - started > SETTLED else min(pause * 2, BACK_OFF[1])
                    logger.error("worker process %d ended with %s; starting another", child.pid, _reason(code))
                    self._start(jittered(pause))
        return worst

    def _start(self, delay: float = 0.0) -> None:
        begun = _SPAWN.Event()
        child = _SPAWN.Process(target=_run, args=(self._arguments, begun, delay))
        child.start()
        self._children[child] = begun, time.monotonic()
        if self._is_stopping:  # told so after the decision to start it
            child.terminate()

    def _forward(self, number: int, _frame: FrameType | None = None) -> None:
        self._is_stopping = True
        for child in list(self._children):
            if child.exitcode is None and child.pid is not None:
                os.kill(child.pid, signal.SIGTERM if number == signal.SIGINT else number)


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _run(arguments: list[str], begun: Event, delay: float) -> None:
    from pgconveyor.cli import main

    # Ctrl-C goes to the whole group of the terminal: only what the parent passes on counts.
    os.setsid()
    Thread(target=_end_with_parent, daemon=True).start()
    time.sleep(delay)
    main(arguments, begun=begun.set)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
