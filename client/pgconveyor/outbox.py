"""The answers of handler threads on their way to the main thread, which may be asleep on a connection as well."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue whose reader can wait for a file descriptor beside it. None only wakes."""

    def __init__(self) -> None:
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._is_watched = False

    def put(self, item: T | None) -> None:
        """May be called from a signal handler."""
        self._items.put(item)
        if self._is_watched and self._ends is not None:
            with suppress(BlockingIOError):
                self._ends[1].send(b"\0")

    def get(self, timeout: float) -> T | None:
        """Raises `queue.Empty` when nothing came in time."""
        return self._items.get(timeout=max(timeout, 0.0))

    def wait_beside(self, descriptor: int, timeout: float) -> None:
        """Until something is here, the descriptor can be read, or the time has passed."""
        if self._ends is None:
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)
        # In this order: what is put before the look at the queue is seen there, what is put after it sends a byte.
        self._is_watched = True
        try:
            if self._items.empty():
                with selectors.DefaultSelector() as selector:
                    selector.register(descriptor, selectors.EVENT_READ)
                    selector.register(self._ends[0], selectors.EVENT_READ)
                    selector.select(max(timeout, 0.0))
        finally:
            self._is_watched = False
        with suppress(BlockingIOError):
            while self._ends[0].recv(4096):
                pass

    def close(self) -> None:
        for end in self._ends or ():
            end.close()
