"""JSON documents that PostgreSQL will take, made with errors that say which value is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["Document", "encode", "encode_object", "storable"]

# An escaped NUL that is not itself behind an escaped backslash: the one character that jsonb cannot hold.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Document(str):
    """JSON text that `encode` made; encoding it again gives it back."""

    __slots__ = ()


def encode(value: Any, what: str) -> Document:
    """The JSON text of a value. Raises `ValueError` that begins with `what` when PostgreSQL could not hold it."""
    if isinstance(value, Document):
        return value
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has half a surrogate pair: remove or replace it") from None
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"{what} is not JSON: {exc}") from None
    if r"\u0000" in text and _NUL.search(text):
        raise ValueError(f"{what} has a NUL character: remove it, jsonb cannot hold it")
    return Document(text)


def storable(text: str) -> str:
    """The text with what PostgreSQL cannot hold replaced: for messages, which must not be lost over it."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def encode_object(value: Any, what: str) -> Document:
    """Like `encode`, for a dict."""
    if not isinstance(value, dict | Document):
        raise ValueError(f"{what} is {type(value).__name__}: give a dict")
    return encode(value, what)
