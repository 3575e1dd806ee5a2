"""What a test lets go wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from threading import Event

__all__ = ["Fault", "LoginFault"]


@dataclass
class Fault:
    """
    Befalls the next `times` statements that `match` is found in; after `after_rows` rows, or before anything (None).

    An `error` number is sent, or the connection ends: by `drop` "rst" or "fin", after the bytes `torn`. With neither it
    is only a delay: until `release` is set, if `stalls`, else `row_delay` seconds before each row.
    """

    match: str = ""
    times: int = 1
    after_rows: int | None = None
    error: int | None = None
    message: str = "injected"
    severity: int = 16
    drop: str | None = None
    torn: bytes = b""
    stalls: bool = False
    row_delay: float = 0.0
    release: Event = field(default_factory=Event)

    def befalls(self, sql: str) -> bool:
        return self.times > 0 and re.search(self.match, sql, re.IGNORECASE | re.DOTALL) is not None


@dataclass
class LoginFault:
    """Befalls the next `times` logins: an error, no answer at all, or the end of the connection."""

    times: int = 1
    error: int | None = None
    message: str = "Login failed."
    severity: int = 14
    stalls: bool = False
    drops: bool = False
    release: Event = field(default_factory=Event)
