"""The server: it listens, and serves each connection in a thread."""

from __future__ import annotations

import os
import socket
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import quote, urlencode

import psycopg

from tds import tokens
from tds.faults import Fault, LoginFault
from tds.login import Login, greet, refuse
from tds.session import Session
from tds.store import Store, of_database, prepare
from tds.wire import Gone, Wire, throw_away_certificate

__all__ = ["TdsServer"]

DATABASE = "survey_hub"


class TdsServer:
    """
    A context. `dsn` is an empty database of PostgreSQL. Tests add to `faults` and `login_faults`, and read `statements`
    (text and parameters) and `logins`.
    """

    def __init__(self, dsn: str, *, port: int = 0, user: str = "sa", password: str = "Str0ng!Pa:ss") -> None:
        self.user, self.password = user, password
        self.faults: list[Fault] = []
        self.login_faults: list[LoginFault] = []
        self.statements: list[tuple[str, dict[str, Any]]] = []
        self.logins: list[Login] = []
        self._dsn = dsn
        self._lock = Lock()
        self._wires: set[Wire] = set()
        prepare(dsn)
        self._tls = throw_away_certificate()
        self._sock = socket.create_server(("127.0.0.1", port))
        self.port = int(self._sock.getsockname()[1])

    def __enter__(self) -> Self:
        Thread(target=self._accept, name="tds", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() is not told by a close alone.
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self.drop_all()

    def url(self, **query: str) -> str:
        """As the contract writes it; with TEST_ODBC_DRIVER for another driver than the one that would be chosen."""
        if driver := os.environ.get("TEST_ODBC_DRIVER"):
            query.setdefault("driver", driver)
        query.setdefault("TrustServerCertificate", "yes")  # it is signed by nobody
        options = f"?{urlencode(query)}"
        password = quote(self.password, safe="")
        return f"mssql+pyodbc://{self.user}:{password}@127.0.0.1:{self.port}/{DATABASE}{options}"

    def drop_all(self) -> None:
        for wire in list(self._wires):
            wire.end("rst")

    def fault_for(self, text: str) -> Fault | None:
        with self._lock:
            found = next((fault for fault in self.faults if fault.befalls(text)), None)
            if found:
                found.times -= 1
            return found

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            Thread(target=self._serve, args=[Wire(sock)], name="tds", daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        self._wires.add(wire)
        try:
            login = greet(wire, self._tls)
            self.logins.append(login)
            self._check(wire, login)
            store = self._open(wire, login)
            try:
                wire.write(tokens.logged_in(store.database, login.packet_size))
                wire.packet_size = login.packet_size
                wire.flush()
                Session(self, wire, login, store).serve()
            finally:
                store.conn.close()
        except (Gone, psycopg.Error):
            pass
        finally:
            self._wires.discard(wire)
            wire.end()

    def _check(self, wire: Wire, login: Login) -> None:
        with self._lock:
            fault = next((fault for fault in self.login_faults if fault.times > 0), None)
            if fault:
                fault.times -= 1
        if fault:
            if fault.stalls:
                fault.release.wait()
            if fault.drops or fault.stalls:
                raise Gone
            if fault.error is not None:
                refuse(wire, fault.error, fault.message, fault.severity)
        if (login.user, login.password) != (self.user, self.password):
            refuse(wire, 18456, f"Login failed for user '{login.user}'.", 14)

    def _open(self, wire: Wire, login: Login) -> Store:
        name = login.database.lower()
        if name in ("", DATABASE, "master"):
            return Store(self._dsn, DATABASE)
        try:
            return Store(of_database(self._dsn, name), name)
        except psycopg.OperationalError:
            wire.write(tokens.informed(4060, f'Cannot open database "{login.database}" requested by the login.', 11))
            refuse(wire, 18456, f"Login failed for user '{login.user}'.", 14)
