"""JSON documents that PostgreSQL will take, made with errors that say which value is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Document", "Unreadable", "cut", "decode", "encode", "encode_context", "encode_object", "storable"]

LARGEST = 2**28  # characters: no jsonb is larger, and from 1 GB on the server would end the connection
CONTEXT = 2**20  # characters: the server keeps 64 kB of jsonb, so this is cut there anyway

# An escaped NUL that is not itself behind an escaped backslash: the one character that jsonb cannot hold.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


class Document(str):
    """JSON text that `encode` made; encoding it again gives it back."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In place of a document that Python cannot hold: nested too deep, or with an integer of over 4300 digits."""

    reason: str


def decode(text: str | bytes) -> Any:
    """What a jsonb holds, or `Unreadable`: an exception here would keep the rest of a batch from being read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        return Unreadable(str(exc))


def encode(value: Any, what: str) -> Document:
    """
    The JSON text of a value, as `json.dumps` makes it: keys that are not text become text, tuples lists.

    Raises `ValueError` that begins with `what` when PostgreSQL could not hold it.
    """
    text = _text(value, what)
    if len(text) >= LARGEST:
        raise ValueError(f"{what} has {len(text)} characters of JSON: keep the data elsewhere and add where it is")
    return text


def _text(value: Any, what: str) -> Document:
    if isinstance(value, Document):
        return value
    try:
        text = _ENCODER.encode(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has half a surrogate pair: remove or replace it") from None
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"{what} is not JSON: {exc}") from None
    if r"\u0000" in text and _NUL.search(text):
        raise ValueError(f"{what} has a NUL character: remove it, jsonb cannot hold it")
    return Document(text)


def cut(text: str, most: int = 10_000) -> str:
    """The text in at most so many characters, as the server's `_cut` would cut it: 10 MB need not travel."""
    return text if len(text) <= most else f"{text[: most - 40]}... [cut: {len(text)} characters]"


def storable(text: str, most: int = 10_000) -> str:
    """The text, cut, with what PostgreSQL cannot hold replaced: for messages, which must not be lost over it."""
    return cut(text, most).replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def encode_context(value: Any, what: str) -> Document:
    """Like `encode`, but what is much too large is cut, not refused."""
    text = _text(value, what)
    return text if len(text) < CONTEXT else _text({"cut": cut(text)}, what)


def encode_object(value: Any, what: str) -> Document:
    """Like `encode`, for a dict."""
    if not isinstance(value, dict | Document):
        raise ValueError(f"{what} is {type(value).__name__}: give a dict")
    return encode(value, what)
