"""The parts of an answer (MS-TDS 2.2.7)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tds.types import COLLATION, Declared, codec

__all__ = [
    "ATTENTION",
    "COUNT",
    "FAILED",
    "MORE",
    "changed",
    "columns",
    "done",
    "informed",
    "logged_in",
    "return_value",
]

MORE, FAILED, COUNT, ATTENTION = 1, 2, 0x10, 0x20


def _text(text: str, size: str) -> bytes:
    data = text.encode("utf-16-le", "surrogatepass")
    return struct.pack(size, len(data) // 2) + data


def changed(kind: int, new: bytes | str, old: bytes | str) -> bytes:
    """ENVCHANGE."""
    parts = [_text(v, "<B") if isinstance(v, str) else bytes([len(v)]) + v for v in (new, old)]
    body = bytes([kind]) + b"".join(parts)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def informed(number: int, message: str, severity: int, *, state: int = 1, is_error: bool = True) -> bytes:
    """ERROR or INFO."""
    body = struct.pack("<iBB", number, state, severity) + _text(message[:2000], "<H") + _text("TEST", "<B") + b"\0"
    body += struct.pack("<I", 1)
    return (b"\xaa" if is_error else b"\xab") + struct.pack("<H", len(body)) + body


def done(status: int = 0, rows: int = 0, *, token: int = 0xFD, command: int = 0) -> bytes:
    """DONE, DONEPROC (0xFE) or DONEINPROC (0xFF)."""
    return bytes([token]) + struct.pack("<HHQ", status, command, rows)


def columns(named: Sequence[tuple[str, Declared]]) -> bytes:
    """COLMETADATA."""
    parts = [b"\x81" + struct.pack("<H", len(named))]
    for name, kind in named:
        user_type = 80 if kind.base == "rowversion" else 0
        parts.append(struct.pack("<IH", user_type, 9) + codec(kind)[0] + _text(name, "<B"))
    return b"".join(parts)


def return_value(handle: int) -> bytes:
    """RETURNVALUE of a procedure that prepared a statement."""
    return b"\xac\0\0\0\1" + struct.pack("<IH", 0, 0) + b"\x26\x04\x04" + struct.pack("<i", handle)


def logged_in(database: str, packet_size: int) -> bytes:
    """All that follows a login that was accepted."""
    acknowledged = b"\x01\x74\x00\x00\x04" + _text("Microsoft SQL Server\0\0", "<B") + bytes([16, 0, 0x03, 0xE8])
    return b"".join(
        [
            changed(1, database, "master"),
            informed(5701, f"Changed database context to '{database}'.", 0, state=2, is_error=False),
            changed(7, COLLATION, b""),
            changed(2, "us_english", ""),
            informed(5703, "Changed language setting to us_english.", 0, is_error=False),
            b"\xad" + struct.pack("<H", len(acknowledged)) + acknowledged,
            changed(4, str(packet_size), "4096"),
            done(),
        ]
    )
