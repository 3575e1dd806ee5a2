"""The text of a setting as a whole number, a number, true or false, or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Setting", "cast", "kind_of"]

_TRUE = {"true", "1", "yes", "on", "enabled"}
_FALSE = {"false", "0", "no", "off", "disabled"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that was found: its value, a text unless Prefect has other JSON, and where it is."""

    source: str  # environment, the path of the file, Prefect Variable or Prefect Secret
    name: str
    value: Any = field(repr=False)

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @property
    def label(self) -> str:
        """Its name in an error."""
        return f"{self.source} {self.name}" if self.source.startswith("Prefect ") else self.name


def kind_of(default: object) -> type | None:
    """The type to which a default asks to cast; bool before int, because True is an int."""
    return next((kind for kind in (bool, int, float) if isinstance(default, kind)), None)


def cast(found: Setting, kind: type, *, shown: bool = True) -> Any:
    """
    As `bool`, `int`, `float`, or with `object` any JSON.

    Raises `ValueError` with the name and, when it may be `shown`, the value.
    """
    if kind is object and not isinstance(found.value, str):
        return found.value
    wanted, parse = _KINDS[kind]
    with suppress(ValueError, RecursionError):
        return parse(found.text.strip())
    # Not raised inside an except clause: its context would show a secret.
    raise ValueError(
        f"{found.label} is {found.text!r:.100}: give {wanted}" if shown else f"{found.label} is not {wanted}"
    )


def _to_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE


def _to_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(text)  # int() takes 1_0 and other digits
    return int(text)


def _to_float(text: str) -> float:
    number = float(text)
    if "_" in text or not math.isfinite(number):
        raise ValueError(text)
    return number


def _to_json(text: str) -> Any:
    return json.loads(text, parse_constant=_to_int)  # NaN and Infinity are none


_KINDS: dict[type, tuple[str, Callable[[str], Any]]] = {
    bool: ("true or false", _to_bool),
    int: ("a whole number", _to_int),
    float: ("a number", _to_float),
    object: ("JSON", _to_json),
}
