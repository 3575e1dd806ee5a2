"""From the first packet to a session: encryption, user and database."""

from __future__ import annotations

import ssl
import struct
from dataclasses import dataclass
from typing import NoReturn

from tds import tokens
from tds.wire import PRELOGIN, Gone, Wire

__all__ = ["Login", "greet", "refuse"]

OFF, ON, NOT_SUPPORTED, REQUIRED = 0, 1, 2, 3
LOGIN7 = 0x10


@dataclass(frozen=True)
class Login:
    """What the client said of itself."""

    user: str
    password: str
    database: str
    application: str
    packet_size: int
    is_read_only: bool
    is_encrypted: bool


def greet(wire: Wire, tls: ssl.SSLContext | None) -> Login:
    kind, _, payload = wire.message()
    if kind != PRELOGIN:
        raise Gone
    agreed = NOT_SUPPORTED if tls is None else {REQUIRED: ON}.get(_encryption(payload), _encryption(payload))
    options = [(0, bytes([16, 0, 3, 0xE8, 0, 0])), (1, bytes([agreed])), (2, b"\0"), (3, b""), (4, b"\0")]
    head, body, start = b"", b"", 5 * len(options) + 1
    for number, value in options:
        head += struct.pack(">BHH", number, start + len(body), len(value))
        body += value
    wire.write(head + b"\xff" + body)
    wire.flush()
    if tls is not None and agreed in (OFF, ON):
        wire.shake_hands(tls)
    kind, _, payload = wire.message()
    if agreed == OFF:
        wire.is_encrypted = False  # the login alone was
    if kind != LOGIN7:
        raise Gone
    return _read(payload, agreed == ON)


def refuse(wire: Wire, number: int, message: str, severity: int) -> NoReturn:
    wire.write(tokens.informed(number, message, severity) + tokens.done(tokens.FAILED))
    wire.flush()
    raise Gone


def _encryption(payload: bytes) -> int:
    at = 0
    while payload[at] != 0xFF:
        number, start, _ = struct.unpack(">BHH", payload[at : at + 5])
        if number == 1:
            return int(payload[start]) & 0x0F
        at += 5
    return NOT_SUPPORTED


def _read(payload: bytes, is_encrypted: bool) -> Login:
    def text(at: int) -> bytes:
        start, size = struct.unpack_from("<HH", payload, at)
        return payload[start : start + 2 * size]

    # Each half of a byte is in the place of the other, and then some bits are turned.
    password = bytes(((byte ^ 0xA5) << 4 & 0xF0) | ((byte ^ 0xA5) >> 4) for byte in text(44))
    return Login(
        user=text(40).decode("utf-16-le"),
        password=password.decode("utf-16-le"),
        database=text(68).decode("utf-16-le"),
        application=text(48).decode("utf-16-le"),
        packet_size=min(max(struct.unpack_from("<I", payload, 8)[0] or 4096, 512), 32767),
        is_read_only=bool(payload[26] & 0x20),
        is_encrypted=is_encrypted,
    )
