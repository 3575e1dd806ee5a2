"""A connection that is cut at its commit: a server between client and PostgreSQL, which forwards until then."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

GOODBYE = b"X\x00\x00\x00\x04"  # read after the commit was answered
When = Literal["before", "after"]  # before the server gets the commit, or after it has answered


@contextmanager
def at_commit(dsn: str, when: When, only: int | None = None) -> Iterator[str]:
    """
    The connection string of a way to the same database on which every commit loses its connection, or the one with the
    number `only`, counted from 1.
    """
    commits = itertools.count(1)

    def ends(said: bytes) -> bool:
        return b"COMMIT" in said and (only is None or next(commits) == only)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_serve, args=(listener, dsn, when, ends), daemon=True).start()
        port = listener.getsockname()[1]
        yield make_conninfo(dsn, host="127.0.0.1", hostaddr="", port=port, sslmode="disable", gssencmode="disable")
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, dsn: str, when: When, ends: Callable[[bytes], bool]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            Thread(target=_forward, args=(client, dsn, when, ends), daemon=True).start()


def _forward(client: socket.socket, dsn: str, when: When, ends: Callable[[bytes], bool]) -> None:
    with suppress(OSError), client, _connect(dsn) as server:
        answers = Thread(target=_copy, args=(server, client), daemon=True)
        answers.start()
        while (said := client.recv(2**16)) and not ends(said):
            server.sendall(said)
        if said and when == "after":
            client.shutdown(socket.SHUT_WR)  # answers go nowhere from here on
            server.sendall(said + GOODBYE)
        else:
            server.shutdown(socket.SHUT_RDWR)
        answers.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while said := source.recv(2**16):
            with suppress(OSError):
                target.sendall(said)


def _connect(dsn: str) -> socket.socket:
    where = conninfo_to_dict(dsn)
    host, port = str(where.get("hostaddr") or where.get("host") or "127.0.0.1"), int(where.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server
