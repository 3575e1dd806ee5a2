"""One connection: its requests, in turn, and what it is told."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psycopg

from tds import tokens
from tds.faults import Fault
from tds.login import Login
from tds.reader import Reader
from tds.store import SqlError, Store
from tds.tsql import statements
from tds.types import Declared, codec
from tds.wire import Gone, Wire

if TYPE_CHECKING:
    from tds.server import TdsServer

__all__ = ["Session"]

BATCH, RPC, ATTENTION, TRANSACTION = 1, 3, 6, 14
PROCEDURES = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}

Params = dict[str, tuple[Declared, Any]]
Message = tuple[int, int, bytes]


class Cancelled(Exception):
    """The client does not want the answer any more."""


class Session:
    def __init__(self, server: TdsServer, wire: Wire, login: Login, store: Store) -> None:
        self.login, self.wire = login, wire
        self._server, self._store = server, store
        self._inbox: SimpleQueue[Message | None] = SimpleQueue()
        self._cancelled = Event()
        self._prepared: dict[int, tuple[str, list[str]]] = {}
        self._handles = itertools.count(1)
        self._transactions = itertools.count(1)
        self._transaction = 0

    def serve(self) -> None:
        """Until the client goes away."""
        Thread(target=self._listen, daemon=True).start()
        while (message := self._inbox.get()) is not None:
            kind, status, payload = message
            try:
                self._answer(kind, status, payload)
            except Cancelled:
                while message is not None and message[0] != ATTENTION:
                    message = self._inbox.get()
                self._acknowledge()

    def _listen(self) -> None:
        """Beside the answers, because the client may say that it does not want the rest."""
        message: Message | None = None
        try:
            while True:
                message = self.wire.message()
                if message[0] == ATTENTION:
                    self._cancelled.set()
                    self._store.conn.cancel_safe()
                self._inbox.put(message)
        except (Gone, psycopg.Error):
            self._cancelled.set()
            self._inbox.put(None)

    def _acknowledge(self) -> None:
        self._cancelled.clear()
        self.wire.write(tokens.done(tokens.ATTENTION))
        self.wire.flush()

    def _answer(self, kind: int, status: int, payload: bytes) -> None:
        if kind == ATTENTION:
            self._acknowledge()
            return
        if status & 0x18:  # a pool of the client's asks for a session as new
            self._store.end("rollback")
            self._prepared.clear()
            self.wire.write(b"\xe3\3\0\x12\0\0")
        body = payload[struct.unpack_from("<I", payload)[0] :]
        if kind == BATCH:
            self._run(body.decode("utf-16-le", "surrogatepass"), {}, in_procedure=False)
        elif kind == RPC:
            self._call_all(Reader(body))
        elif kind == TRANSACTION:
            self._manage(Reader(body))
        else:
            self._fail(SqlError(50000, f"the server for tests does not know requests of type {kind}"), tokens.done)
        self.wire.flush()

    def _manage(self, reader: Reader) -> None:
        """A request of the driver's for autocommit off."""
        kind, old = reader.number(2), struct.pack("<Q", self._transaction)
        if kind == 5:
            self._store.begin()
            self._transaction = next(self._transactions)
            self.wire.write(tokens.changed(8, struct.pack("<Q", self._transaction), b""))
        elif kind in (7, 8):
            self._store.end("commit" if kind == 7 else "rollback")
            self.wire.write(tokens.changed(9 if kind == 7 else 10, b"", old))
            reader.take(reader.number(1))
            if not reader.is_done and reader.number(1) & 1:
                self._store.begin()
                self._transaction = next(self._transactions)
                self.wire.write(tokens.changed(8, struct.pack("<Q", self._transaction), b""))
        self.wire.write(tokens.done())

    def _call_all(self, reader: Reader) -> None:
        while not reader.is_done:
            size = reader.number(2)
            is_known = size == 0xFFFF
            name = PROCEDURES.get(reader.number(2), "?") if is_known else reader.take(2 * size).decode("utf-16-le")
            reader.take(2)
            arguments = []
            while not reader.is_done and reader.data[reader.at] not in (0x80, 0xFF):
                arguments.append(reader.parameter())
            has_more = not reader.is_done
            if has_more:
                reader.take(1)
            self._call(name.replace("[", "").replace("]", "").split(".")[-1].lower(), arguments, has_more)

    def _call(self, name: str, arguments: list[tuple[str, Declared, Any]], has_more: bool) -> None:
        values = [value for _, _, value in arguments]
        is_done, handle = True, None
        match name:
            case "sp_executesql":
                is_done = self._execute(values[0], values[1] if len(values) > 1 else "", arguments[2:])
            case "sp_prepexec" | "sp_prepare":
                handle = next(self._handles)
                self._prepared[handle] = values[2], _names(values[1])
                is_done = name == "sp_prepare" or self._execute(values[2], values[1], arguments[3:])
            case "sp_execute":
                text, names = self._prepared.get(values[0], ("", []))
                is_done = self._run(text, _bound(names, arguments[1:]), in_procedure=True)
            case "sp_unprepare":
                self._prepared.pop(values[0], None)
            case _:
                self._fail(SqlError(2812, f"Could not find stored procedure '{name}'."), None)
                is_done = False
        self.wire.write(b"\x79" + struct.pack("<i", not is_done))
        if handle is not None:
            self.wire.write(tokens.return_value(handle))
        status = (0 if is_done else tokens.FAILED) | (tokens.MORE if has_more else 0)
        self.wire.write(tokens.done(status, token=0xFE))

    def _execute(self, text: str, names: str | None, arguments: list[tuple[str, Declared, Any]]) -> bool:
        return self._run(text, _bound(_names(names), arguments), in_procedure=True)

    def _run(self, text: str, params: Params, *, in_procedure: bool) -> bool:
        """Statement by statement; False when one failed, and no later one was tried."""
        more, token = (tokens.MORE, 0xFF) if in_procedure else (0, 0xFD)
        self._server.statements.append((text, {name: value for name, (_, value) in params.items()}))
        fault = self._server.fault_for(text)
        # The last DONE alone says that it is the last: it is written when nothing has followed.
        last: bytes | None = None
        try:
            if fault and fault.after_rows is None:
                self._befall(fault)
            for statement in statements(text, params, self._store):
                if last is not None:
                    self.wire.write(_with_more(last))
                if statement.verb:
                    self._store.begin() if statement.verb == "begin" else self._store.end(statement.verb)
                    last = tokens.done(more, token=token)
                    continue
                with self._store.statement():
                    if statement.has_rows:
                        rows = self._store.rows(statement.query, statement.params)
                        last = tokens.done(more | tokens.COUNT, self._send(rows, fault), token=token, command=0xC1)
                    else:
                        count = max(self._store.change(statement.query, statement.params), 0)
                        last = tokens.done(more | tokens.COUNT, count, token=token)
        except SqlError as exc:
            if self._cancelled.is_set():
                raise Cancelled from None
            self._fail(exc, lambda status: tokens.done(status | more, token=token))
            return False
        self.wire.write(last if last is not None else b"" if in_procedure else tokens.done())
        return True

    def _send(self, rows: Iterator[Any], fault: Fault | None) -> int:
        described = next(rows)
        self.wire.write(tokens.columns(described))
        encoders = [_or_null(codec(kind)) for _, kind in described]
        count = 0
        for row in rows:
            if fault:
                self._befall_row(fault, count)
            if self._cancelled.is_set():
                raise Cancelled
            self.wire.write(b"\xd1" + b"".join([encode(value) for encode, value in zip(encoders, row, strict=True)]))
            count += 1
        if fault and fault.after_rows == count:
            self._befall(fault)
        return count

    def _befall_row(self, fault: Fault, count: int) -> None:
        if fault.row_delay:
            self.wire.flush(is_last=False)
            self._wait(lambda: fault.release.wait(fault.row_delay))
        if fault.after_rows == count:
            self._befall(fault)

    def _befall(self, fault: Fault) -> None:
        if fault.stalls:
            self.wire.flush(is_last=False)
            self._wait(lambda: fault.release.wait(0.05))
            while not fault.release.is_set():
                self._wait(lambda: fault.release.wait(0.05))
        if fault.drop:
            self.wire.write(fault.torn)
            self.wire.flush(is_last=False)
            self.wire.end(fault.drop)
            raise Gone
        if fault.error is not None:
            raise SqlError(fault.error, fault.message, fault.severity)

    def _wait(self, pause: Callable[[], object]) -> None:
        pause()
        if self._cancelled.is_set():
            raise Cancelled

    def _fail(self, exc: SqlError, done: Callable[[int], bytes] | None) -> None:
        self.wire.write(tokens.informed(exc.number, exc.message, exc.severity))
        if done:
            self.wire.write(done(tokens.FAILED))


def _with_more(done: bytes) -> bytes:
    return done[:1] + bytes([done[1] | tokens.MORE]) + done[2:]


def _or_null(of_type: tuple[bytes, Callable[[Any], bytes], bytes]) -> Callable[[Any], bytes]:
    _, encode, null = of_type
    return lambda value: null if value is None else encode(value)


def _names(declaration: str | None) -> list[str]:
    return re.findall(r"(?:^|,)\s*(@\w+)\s", f"{declaration or ''} ")


def _bound(names: list[str], arguments: list[tuple[str, Declared, Any]]) -> Params:
    pairs = itertools.zip_longest(names[: len(arguments)], arguments)
    return {name or given or f"@P{i + 1}": (kind, value) for i, (name, (given, kind, value)) in enumerate(pairs)}
