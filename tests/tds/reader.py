"""What a client sends: a cursor over its bytes, and the parameters of a call."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tds.types import DAY_1900, DAY_ONE, Declared, clock_size, declared

__all__ = ["Reader"]

# Types whose size is in their name, and those with a size before the value: by its largest.
FIXED = {
    0x30: "tinyint",
    0x32: "bit",
    0x34: "smallint",
    0x38: "int",
    0x7F: "bigint",
    0x3B: "real",
    0x3E: "float",
    0x3C: "money",
    0x7A: "smallmoney",
    0x3D: "datetime",
    0x3A: "smalldatetime",
}
SIZED = {
    0x26: {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"},
    0x68: {1: "bit"},
    0x6D: {4: "real", 8: "float"},
    0x6E: {4: "smallmoney", 8: "money"},
    0x6F: {4: "smalldatetime", 8: "datetime"},
    0x24: {16: "uniqueidentifier"},
}
SIZES = {"tinyint": 1, "bit": 1, "smallint": 2, "int": 4, "real": 4, "smallmoney": 4, "smalldatetime": 4}
STRINGS = {0xA7: "varchar", 0xAF: "char", 0xE7: "nvarchar", 0xEF: "nchar", 0xA5: "varbinary", 0xAD: "binary"}
LONG = {0x23: "varchar(max)", 0x63: "nvarchar(max)", 0x22: "varbinary(max)"}


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.data)

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("the message ends too early")
        self.at += count
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, size: int) -> str:
        """With its length before it, in characters."""
        return self.take(self.number(size) * 2).decode("utf-16-le", "surrogatepass")

    def parameter(self) -> tuple[str, Declared, Any]:
        name = self.text(1)
        self.take(1)  # whether it is output
        kind, value = self.value()
        return name, kind, value

    def value(self) -> tuple[Declared, Any]:
        """A type and a value of it; times are texts, as `canonical` reads them."""
        code = self.number(1)
        if code == 0x1F:
            return declared("int"), None
        if code in FIXED:
            kind = declared(FIXED[code])
            return kind, scalar(kind.base, self.take(SIZES.get(kind.base, 8)))
        if code in SIZED:
            largest, size = self.number(1), self.number(1)
            kind = declared(SIZED[code][largest])
            return kind, scalar(kind.base, self.take(size)) if size else None
        if code in (0x6A, 0x6C):
            _, precision, scale, size = (self.number(1) for _ in range(4))
            raw = self.take(size)
            number = Decimal(int.from_bytes(raw[1:], "little")) * (1 if raw[:1] == b"\1" else -1) if size else None
            return Declared("decimal", precision, scale), None if number is None else number.scaleb(-scale)
        if code in (0x28, 0x29, 0x2A, 0x2B):
            return self._time(code)
        if code in STRINGS:
            return self._string(code)
        if code in LONG:
            self.take(4 if code == 0x22 else 9)
            size = self.number(4)
            return declared(LONG[code]), None if size == 0xFFFFFFFF else decoded(LONG[code], self.take(size))
        raise ValueError(f"a parameter of type 0x{code:02x} is not understood")

    def _time(self, code: int) -> tuple[Declared, str | None]:
        scale = 0 if code == 0x28 else self.number(1)
        kind = Declared({0x28: "date", 0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}[code], scale=scale)
        raw = self.take(self.number(1))
        if not raw:
            return kind, None
        size = clock_size(scale) if code != 0x28 else 0
        ticks = int.from_bytes(raw[:size], "little") * 10 ** (7 - scale)
        clock = clock_of(*divmod(ticks, 10**7))
        if code == 0x29:
            return kind, clock
        day = date.fromordinal(int.from_bytes(raw[size : size + 3], "little") + DAY_ONE)
        if code == 0x28:
            return kind, day.isoformat()
        if code == 0x2A:
            return kind, f"{day} {clock}"
        minutes = struct.unpack("<h", raw[size + 3 :])[0]
        moment = datetime.fromisoformat(f"{day} {clock[:8]}") + timedelta(minutes=minutes)
        sign = "-" if minutes < 0 else "+"
        return kind, f"{moment}{clock[8:]} {sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"

    def _string(self, code: int) -> tuple[Declared, Any]:
        base, size = STRINGS[code], self.number(2)
        if code not in (0xA5, 0xAD):
            self.take(5)
        raw: bytes | None
        if size == 0xFFFF:
            raw = self._plp()
        else:
            length = self.number(2)
            raw = None if length == 0xFFFF else self.take(length)
        characters = -1 if size == 0xFFFF else max(1, size // 2 if base[0] == "n" else size)
        return Declared(base, characters), None if raw is None else decoded(base, raw)

    def _plp(self) -> bytes | None:
        if self.number(8) == 2**64 - 1:
            return None
        parts = bytearray()
        while size := self.number(4):
            parts += self.take(size)
        return bytes(parts)


def clock_of(seconds: int, ticks: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ticks:07d}"


def decoded(base: str, raw: bytes) -> Any:
    if "binary" in base:
        return raw
    return raw.decode("utf-16-le", "surrogatepass") if base[0] == "n" else raw.decode("cp1252", "replace")


def scalar(base: str, raw: bytes) -> Any:
    match base:
        case "bit":
            return bool(raw[0])
        case "real" | "float":
            return struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
        case "money":
            high, low = struct.unpack("<iI", raw)
            return Decimal(high * 2**32 + low).scaleb(-4)
        case "smallmoney":
            return Decimal(int.from_bytes(raw, "little", signed=True)).scaleb(-4)
        case "datetime":
            days, ticks = struct.unpack("<iI", raw)
            return f"{date.fromordinal(days + DAY_1900)} {clock_of(ticks // 300, ticks % 300 * 10**5 // 3)}"
        case "smalldatetime":
            days, minutes = struct.unpack("<HH", raw)
            return f"{date.fromordinal(days + DAY_1900)} {clock_of(60 * minutes, 0)}"
        case "uniqueidentifier":
            return UUID(bytes_le=raw)
        case _:
            return int.from_bytes(raw, "little", signed=base != "tinyint")
