"""Types as columns are declared, their bytes on the wire (MS-TDS 2.2.5.4 to 2.2.5.6), and how PostgreSQL keeps them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache
from typing import Any
from uuid import UUID

__all__ = ["COLLATION", "Declared", "canonical", "declared", "of_storage", "shown", "stored"]

COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS
DAY_ONE, DAY_1900 = date(1, 1, 1).toordinal(), date(1900, 1, 1).toordinal()

Encode = Callable[[Any], bytes]

INTEGERS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
TIMES = ("date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset")
TEXTS = {"varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF}
ALIASES = {
    "numeric": "decimal",
    "integer": "int",
    "timestamp": "rowversion",
    "sysname": "nvarchar(128)",
    "text": "varchar(max)",
    "ntext": "nvarchar(max)",
    "image": "varbinary(max)",
}

# How PostgreSQL keeps them. Times are texts, because it has six digits and they have seven.
STORAGE = {
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "bit": "smallint",
    "float": "float8",
    "real": "float4",
    "money": "numeric(19, 4)",
    "smallmoney": "numeric(10, 4)",
    "uniqueidentifier": "uuid",
    "binary": "bytea",
    "varbinary": "bytea",
    "rowversion": "bytea",
}

# What jsonb and text of PostgreSQL cannot hold lies in a private plane there.
_PRIVATE = {0: 0x10FFF0} | {unit: unit + 0x100000 for unit in range(0xD800, 0xE000)}
_BACK = {private: unit for unit, private in _PRIVATE.items()}


def stored(text: str) -> str:
    return text.translate(_PRIVATE)


def shown(text: str) -> str:
    return text.translate(_BACK)


@dataclass(frozen=True)
class Declared:
    """A type with its arguments; `length` is -1 for max."""

    base: str
    length: int = 0
    scale: int = 0

    @property
    def storage(self) -> str:
        if self.base == "decimal":
            return f"numeric({self.length}, {self.scale})"
        return STORAGE.get(self.base, 'text collate "C"')

    @property
    def text(self) -> str:
        match self.base:
            case "decimal":
                return f"decimal({self.length},{self.scale})"
            case "time" | "datetime2" | "datetimeoffset":
                return f"{self.base}({self.scale})"
            case "varchar" | "char" | "nvarchar" | "nchar" | "binary" | "varbinary":
                return f"{self.base}({'max' if self.length < 0 else self.length})"
            case _:
                return self.base


@lru_cache(maxsize=1000)
def declared(text: str) -> Declared:
    """Raises `ValueError` for a type that is not known."""
    found = re.fullmatch(r"\s*\[?(\w+)\]?\s*(?:\(\s*(\w+)\s*(?:,\s*(\d+)\s*)?\))?\s*", text.lower())
    base, first, second = found.groups() if found else (text, None, None)
    alias = ALIASES.get(base, base)
    if "(" in alias:
        return declared(alias)
    number = -1 if first == "max" else int(first or 0)
    if alias == "decimal":
        return Declared(alias, number or 18, int(second or 0))
    if alias in ("time", "datetime2", "datetimeoffset"):
        return Declared(alias, scale=7 if first is None else number)
    if alias in TEXTS or alias in ("binary", "varbinary"):
        return Declared(alias, number or 1)
    if alias in INTEGERS or alias in TIMES or alias in STORAGE or alias == "xml":
        return Declared("real" if alias == "float" and 0 < number <= 24 else alias)
    raise ValueError(f"type {text} is not known")


def of_storage(name: str) -> Declared:
    """Of an expression: by the type that PostgreSQL gives it."""
    known = {
        "int2": "smallint",
        "int4": "int",
        "int8": "bigint",
        "bool": "bit",
        "float4": "real",
        "float8": "float",
        "numeric": "decimal(38,6)",
        "bytea": "varbinary(8000)",
        "uuid": "uniqueidentifier",
        "date": "date",
    }
    return declared(known.get(name, "nvarchar(4000)"))


def canonical(kind: Declared, value: Any) -> Any:
    """A value for a column of the type, as it is kept there."""
    if value is None or kind.base not in TIMES:
        return stored(value) if isinstance(value, str) else value
    text = str(value).strip()
    found = re.fullmatch(
        r"(?:(\d{4})-?(\d\d)-?(\d\d))?[T ]?(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)? ?([+-]\d\d:\d\d|Z)?", text
    )
    if found is None:
        raise ValueError(f"Conversion failed when converting date and/or time from character string {text!r}")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    moment = datetime(int(year or 1900), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0))
    digits = (fraction or "").ljust(7, "0")[:7]
    ticks = int(second or 0) * 10**7 + int(digits)
    match kind.base:
        case "date":
            return moment.date().isoformat()
        case "datetime":
            thirds = round(ticks * 3 / 10**5)
            moment, ticks = moment + timedelta(seconds=thirds // 300), round(thirds % 300 * 10**5 / 3)
            return f"{moment}.{ticks:07d}"
        case "smalldatetime":
            return f"{moment + timedelta(minutes=ticks >= 3 * 10**8)}.0000000"
    step = 10 ** (7 - kind.scale)
    ticks = ticks // step * step
    clock = f"{moment:%H:%M}:{ticks // 10**7:02d}.{ticks % 10**7:07d}"
    if kind.base == "time":
        return clock
    if kind.base == "datetime2":
        return f"{moment.date()} {clock}"
    minutes = 0 if offset in (None, "Z") else int(offset[:3]) * 60 + int(offset[0] + offset[4:])
    utc = moment - timedelta(minutes=minutes)
    return f"{utc.isoformat(' ', 'minutes')}:{clock[6:]}|{minutes:+05d}"


def clock_size(scale: int) -> int:
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def _days(text: str) -> int:
    return date.fromisoformat(text[:10]).toordinal()


def _clock(text: str, scale: int) -> bytes:
    """`HH:MM:SS.fffffff` in units of the scale."""
    ticks = (int(text[:2]) * 3600 + int(text[3:5]) * 60 + int(text[6:8])) * 10**7 + int(text[9:16])
    units: int = ticks // 10 ** (7 - scale)
    return units.to_bytes(clock_size(scale), "little")


def _sized(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def _plp(raw: bytes) -> bytes:
    size = struct.pack("<Q", len(raw))
    return size + (struct.pack("<I", len(raw)) + raw if raw else b"") + b"\0\0\0\0"


def _scaled(value: Any, scale: int) -> int:
    with localcontext() as context:
        context.prec = 60
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
        return int(exact.scaleb(scale).to_integral_value(ROUND_HALF_UP))


@lru_cache(maxsize=1000)
def codec(kind: Declared) -> tuple[bytes, Encode, bytes]:
    """TYPE_INFO, how a value that is not null is written, and what a null is."""
    base, length, scale = kind.base, kind.length, kind.scale
    if base in INTEGERS:
        size = INTEGERS[base]
        return bytes([0x26, size]), lambda v: bytes([size]) + int(v).to_bytes(size, "little", signed=size > 1), b"\0"
    if base == "bit":
        return b"\x68\x01", lambda v: b"\x01\x01" if v else b"\x01\x00", b"\0"
    if base in ("float", "real"):
        form = struct.Struct("<f" if base == "real" else "<d")
        return bytes([0x6D, form.size]), lambda v: bytes([form.size]) + form.pack(v), b"\0"
    if base == "decimal":
        size = 4 if length <= 9 else 8 if length <= 19 else 12 if length <= 28 else 16

        def number(v: Any) -> bytes:
            whole = _scaled(v, scale)
            return bytes([size + 1, whole >= 0]) + abs(whole).to_bytes(size, "little")

        return bytes([0x6A, size + 1, length, scale]), number, b"\0"
    if base == "money":
        # The upper half comes first.
        return b"\x6e\x08", lambda v: b"\x08" + struct.pack("<iI", *divmod(_scaled(v, 4), 2**32)), b"\0"
    if base == "smallmoney":
        return b"\x6e\x04", lambda v: b"\x04" + struct.pack("<i", _scaled(v, 4)), b"\0"
    if base == "uniqueidentifier":
        return b"\x24\x10", lambda v: b"\x10" + (v if isinstance(v, UUID) else UUID(str(v))).bytes_le, b"\0"
    if base in TIMES:
        return _codec_of_time(base, scale)
    if base in TEXTS:
        return _codec_of_text(base, length)
    if base == "xml":
        return b"\xf1\0", lambda v: _plp(shown(v).encode("utf-16-le", "surrogatepass")), b"\xff" * 8
    if length < 0:
        return b"\xa5\xff\xff", lambda v: _plp(bytes(v)), b"\xff" * 8
    code, size = (0xA5, length) if base == "varbinary" else (0xAD, 8 if base == "rowversion" else length)

    def binary(v: Any) -> bytes:
        raw = bytes(v)[:size]
        return struct.pack("<H", size if code == 0xAD else len(raw)) + (raw.ljust(size, b"\0") if code == 0xAD else raw)

    return bytes([code]) + struct.pack("<H", size), binary, b"\xff\xff"


def _codec_of_time(base: str, scale: int) -> tuple[bytes, Encode, bytes]:
    def day(v: str) -> bytes:
        return (_days(v) - DAY_ONE).to_bytes(3, "little")

    def offset(v: str) -> bytes:
        moment, minutes = v.split("|")
        return _sized(_clock(moment[11:], scale) + day(moment) + struct.pack("<h", int(minutes)))

    def ticks(v: str) -> bytes:
        seconds = int(v[11:13]) * 3600 + int(v[14:16]) * 60 + int(v[17:19])
        return b"\x08" + struct.pack("<iI", _days(v) - DAY_1900, seconds * 300 + round(int(v[20:27]) * 3 / 10**5))

    def minutes(v: str) -> bytes:
        return b"\x04" + struct.pack("<HH", _days(v) - DAY_1900, int(v[11:13]) * 60 + int(v[14:16]))

    match base:
        case "date":
            return b"\x28", lambda v: b"\x03" + day(str(v)), b"\0"
        case "time":
            return bytes([0x29, scale]), lambda v: _sized(_clock(v, scale)), b"\0"
        case "datetime2":
            return bytes([0x2A, scale]), lambda v: _sized(_clock(v[11:], scale) + day(v)), b"\0"
        case "datetimeoffset":
            return bytes([0x2B, scale]), offset, b"\0"
        case "datetime":
            return b"\x6f\x08", ticks, b"\0"
        case _:
            return b"\x6f\x04", minutes, b"\0"


def _codec_of_text(base: str, length: int) -> tuple[bytes, Encode, bytes]:
    is_wide = base[0] == "n"

    def raw(v: Any) -> bytes:
        text = shown(str(v))
        return text.encode("utf-16-le", "surrogatepass") if is_wide else text.encode("cp1252", "replace")

    if length < 0:
        return bytes([TEXTS[base]]) + b"\xff\xff" + COLLATION, lambda v: _plp(raw(v)), b"\xff" * 8
    size = 2 * length if is_wide else length
    blank = " ".encode("utf-16-le") if is_wide else b" "

    def text(v: Any) -> bytes:
        data = raw(v)[:size]
        if base in ("char", "nchar"):
            data += blank * ((size - len(data)) // len(blank))
        return struct.pack("<H", len(data)) + data

    return bytes([TEXTS[base]]) + struct.pack("<H", size) + COLLATION, text, b"\xff\xff"
