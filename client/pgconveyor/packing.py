"""Rows of a source as they go into the queue, and what becomes of those that cannot be payloads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgconveyor.distributed import CHUNK_SIZE
from pgconveyor.documents import encode, encode_object, storable
from pgconveyor.reader import Row

__all__ = ["ON_ERROR", "Chunk", "Packer", "RowMapping", "RowRefused"]

logger = logging.getLogger(__name__)

RowMapping = Callable[[dict[str, Any]], Mapping[str, Any]]

ON_ERROR = ("stop", "skip", "dead-letter")


class RowRefused(ValueError):
    """A row that cannot become a record; the message begins with the source and the row's key."""


@dataclass(slots=True)
class Chunk:
    """What one transaction adds: a JSON array of payloads, their dedup keys, failures as JSON; up to which key."""

    read_to: int | None
    document: str = "[]"
    dedup_keys: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rows: int = 0
    skipped: int = 0


class Packer:
    """`shown` is how the source shows a key; the rest as of `Ingester`."""

    def __init__(
        self, source: str, shown: Callable[[int], str], mapping: RowMapping | None, on_error: str, clean: bool
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error is {on_error!r}: give stop, skip or dead-letter")
        self._source, self._shown = source, shown
        self._mapping, self._on_error, self._clean = mapping, on_error, clean

    def pack(self, rows: Sequence[Row], read_to: int | None) -> list[Chunk]:
        """
        In one chunk unless they are large; `read_to` is the highest key before them.

        Raises `RowRefused` for a row that cannot be a payload, if that is to stop it.
        """
        return self._as_they_are(rows, read_to) or self._one_by_one(rows, read_to)

    def _as_they_are(self, rows: Sequence[Row], read_to: int | None) -> list[Chunk]:
        """Nothing where there is more to it than to write them down, which is sooner done for all at once."""
        if self._mapping is not None or not rows:
            return []
        try:
            document = encode([row for _, row in rows], "a page")
        except ValueError:
            return []
        names = [self._name(key) for key, _ in rows]
        whole = Chunk(_later(read_to, rows[-1][0]), document, names, rows=len(rows))
        return [whole] if len(document) < CHUNK_SIZE else []

    def _one_by_one(self, rows: Sequence[Row], read_to: int | None) -> list[Chunk]:
        chunks: list[Chunk] = []
        chunk, texts, size = Chunk(read_to), list[str](), 0
        for key, row in rows:
            name = self._name(key)
            try:
                texts.append(self._text(name, row))
                chunk.dedup_keys.append(name)
                size += len(texts[-1])
            except RowRefused as exc:
                size += self._refuse(exc, name, row, chunk)
            chunk.rows, chunk.read_to = chunk.rows + 1, _later(chunk.read_to, key)
            if size >= CHUNK_SIZE or key == rows[-1][0]:
                chunk.document = f"[{','.join(texts)}]"
                chunks.append(chunk)
                chunk, texts, size = Chunk(chunk.read_to), [], 0
        return chunks

    def _name(self, key: int) -> str:
        return f"{self._source}:{self._shown(key)}"

    def _text(self, name: str, row: dict[str, Any]) -> str:
        """The payload of a row."""
        mapped: Any = row
        if self._mapping is not None:
            try:
                mapped = self._mapping(dict(row))
            except Exception as exc:  # a mapping may fail in any way
                raise RowRefused(f"row {name}: the mapping raised {type(exc).__name__}: {exc}") from exc
            if not isinstance(mapped, dict):
                raise RowRefused(f"row {name}: the mapping returned {type(mapped).__name__}: return a dict")
        try:
            return encode_object(mapped, f"row {name}")
        except ValueError as exc:
            if not self._clean:
                raise RowRefused(str(exc)) from None
        try:
            return encode_object(cleaned(mapped), f"row {name}")
        except ValueError as exc:
            raise RowRefused(str(exc)) from None

    def _refuse(self, exc: RowRefused, name: str, row: dict[str, Any], chunk: Chunk) -> int:
        """How much longer the chunk becomes by it."""
        if self._on_error == "stop":
            raise RowRefused(f"{exc}; it was not added, see --on-error and --clean") from exc
        logger.warning("%s; %s", exc, "skipped" if self._on_error == "skip" else "added as failed")
        if self._on_error == "skip":
            chunk.skipped += 1
            return 0
        failure = {"payload": cleaned(row), "dedup_key": name, "error": storable(str(exc))}
        chunk.failures.append(encode(failure, f"row {name}"))
        return len(chunk.failures[-1])


def _later(read_to: int | None, key: int) -> int:
    return key if read_to is None else max(read_to, key)


def cleaned(value: Any) -> Any:
    """What PostgreSQL cannot hold is replaced, in all texts of a document."""
    if isinstance(value, str):
        without = value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        return without.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, list | tuple) else value
