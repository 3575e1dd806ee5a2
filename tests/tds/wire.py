"""Packets of TDS over a socket, tunnelled TLS included."""

from __future__ import annotations

import functools
import socket
import ssl
import struct
import subprocess
import tempfile
from pathlib import Path
from threading import Lock

__all__ = ["Gone", "Wire", "throw_away_certificate"]

REPLY, PRELOGIN = 4, 0x12
HEADER = struct.Struct(">BBHHBB")


class Gone(Exception):
    """The client went away, or was sent away."""


@functools.cache
def throw_away_certificate() -> ssl.SSLContext | None:
    """One for all servers of the process. None where there is no openssl: then nothing is encrypted."""
    with tempfile.TemporaryDirectory(prefix="tds-") as directory:
        return _certificate(Path(directory))


def _certificate(directory: Path) -> ssl.SSLContext | None:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # TDS 7 tunnels the handshake, which then has to be over when it says so: 1.3 sends tickets afterwards.
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(certificate, key)
    return context


class Wire:
    """Read by one thread, written by one other."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.packet_size = 4096
        self.is_encrypted = False
        self._sock, self._lock = sock, Lock()
        self._read, self._out, self._number = bytearray(), bytearray(), 0
        self._tls: ssl.SSLObject | None = None
        self._in_tls, self._out_tls = ssl.MemoryBIO(), ssl.MemoryBIO()

    def message(self) -> tuple[int, int, bytes]:
        """Type, status and payload of the next one."""
        payload, status = bytearray(), None
        while True:
            self._fill(8)
            kind, flags, size = self._read[0], self._read[1], int.from_bytes(self._read[2:4], "big")
            self._fill(size)
            payload += self._read[8:size]
            del self._read[:size]
            status = flags if status is None else status
            if flags & 1:
                return kind, status, bytes(payload)

    def write(self, data: bytes) -> None:
        """Buffered; sent when there are some packets of it."""
        self._out += data
        if len(self._out) > 16 * self.packet_size:
            self._send(self._packets(REPLY, len(self._out) - len(self._out) % (self.packet_size - 8), is_last=False))

    def flush(self, *, is_last: bool = True, kind: int = REPLY) -> None:
        """Send what is buffered; unless it is the last of an answer, more will follow."""
        self._send(self._packets(kind, len(self._out), is_last=is_last))

    def shake_hands(self, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_bio(self._in_tls, self._out_tls, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._tunnel()
                self._in_tls.write(self.message()[2])
            except ssl.SSLError:
                raise Gone from None
        self._tunnel()
        self._in_tls.write(bytes(self._read))
        self._read.clear()
        self.is_encrypted = True

    def end(self, how: str = "fin") -> None:
        """By "rst" what is on its way is lost, by "fin" it arrives."""
        try:
            if how == "rst":
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._sock.shutdown(socket.SHUT_RD)
            else:
                self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def _packets(self, kind: int, size: int, *, is_last: bool) -> bytes:
        room, packets = self.packet_size - 8, bytearray()
        starts = range(0, size, room) if size else range(is_last)
        for at in starts:
            part = self._out[at : min(at + room, size)]
            ends = is_last and at + room >= size
            self._number = self._number % 255 + 1
            packets += HEADER.pack(kind, ends, len(part) + 8, 0, self._number, 0) + part
        if is_last:
            self._number = 0
        del self._out[:size]
        return bytes(packets)

    def _tunnel(self) -> None:
        if self._out_tls.pending:
            self._out += self._out_tls.read()
            self.flush(kind=PRELOGIN)

    def _fill(self, size: int) -> None:
        while len(self._read) < size:
            if self.is_encrypted and self._tls is not None and (data := self._decrypted(self._tls)):
                self._read += data
                continue
            try:
                data = self._sock.recv(65536)
            except OSError:
                raise Gone from None
            if not data:
                raise Gone
            if self.is_encrypted:
                with self._lock:
                    self._in_tls.write(data)
            else:
                self._read += data

    def _decrypted(self, tls: ssl.SSLObject) -> bytes:
        with self._lock:
            try:
                return tls.read(65536)
            except ssl.SSLWantReadError:
                return b""
            except ssl.SSLError:
                raise Gone from None

    def _send(self, data: bytes) -> None:
        if self.is_encrypted and self._tls is not None and data:
            with self._lock:
                self._tls.write(data)
                data = self._out_tls.read()
        try:
            self._sock.sendall(data)
        except OSError:
            raise Gone from None
