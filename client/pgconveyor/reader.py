"""Reads a source in the order of its key, a page at a time; never by OFFSET."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from pgconveyor.columns import Column, describe, payloads, quoted
from pgconveyor.sqlserver import SqlServerManager

__all__ = ["Reader", "Row", "Window"]

INTEGERS = ("tinyint", "smallint", "int", "bigint")
LOWEST = -(2**63)  # of a bigint: identities may begin there, and the overlap below it
CHECK_DEADLINE = 600.0  # seconds: looking for duplicates reads all keys

Row = tuple[int, dict[str, Any]]  # the key, a rowversion as a number, and the row as JSON has it


class Reader:
    """
    Pages of `relation`, a table or a query in brackets, by `key`, the name of one of its columns.

    Raises `ValueError` for a key that cannot be one, and for a column that has no JSON form; `pyodbc.Error` for what
    the server refuses.
    """

    def __init__(self, manager: SqlServerManager, relation: str, key: str, where: str | None = None) -> None:
        self.manager = manager
        self._from = f"FROM {relation} WHERE ({where or '1 = 1'}\n)"
        # It is run, though for no row: the description of a query that is wrong has no rows, and does not say why.
        manager.read(f"SELECT TOP (0) * {self._from}")
        self.columns = describe(manager, f"SELECT * {self._from}")
        self.key = self._key_column(key)
        self.key_kind = "rowversion" if self.key.kind == "timestamp" else "id"
        # A table has no two rows with one rowversion; a join may.
        self._is_unique = self.key_kind == "rowversion" and not relation.startswith("(")
        self._key_at = self.columns.index(self.key)
        self._key = quoted(self.key.name)

    def page(self, after: int | None, count: int, bound: int | None) -> list[Row]:
        """
        The first `count` rows above `after`, and below `bound`.

        Raises `ValueError` when two have the same key: one of them might be on the next page, and passed over. For this
        to be seen, rows that tie with the last one come too.
        """
        if after is not None and after < (LOWEST if self.key_kind == "id" else 0):
            after = None
        limited = "".join(f" AND {self._key} {sign} ?" for sign, key in ((">", after), ("<", bound)) if key is not None)
        columns = ", ".join(column.expression for column in self.columns)
        query = f"SELECT TOP (?) WITH TIES {columns} {self._from}{limited} ORDER BY {self._key}"
        limits = [self._parameter(key) for key in (after, bound) if key is not None]
        rows = self.manager.read(query, [count, *limits])
        keys = [self._number(row[self._key_at]) for row in rows]
        for one, next_one in pairwise(keys):
            if one >= next_one:
                raise ValueError(f"{self._named(next_one)} is in two rows of a page: give a key that is unique")
        return list(zip(keys, payloads(self.columns, rows), strict=True))

    def shown(self, key: int) -> str:
        """As the server shows it."""
        return str(key) if self.key_kind == "id" else f"0x{key:016X}"

    def bound(self) -> int | None:
        """
        What rowversions must be below to be read: transactions that are still running may have lower ones than others
        that have ended. Asked for before the page, whose snapshot is then a later one.
        """
        if self.key_kind == "id":
            return None
        [[version]] = self.manager.read("SELECT MIN_ACTIVE_ROWVERSION()")
        return self._number(version)

    def highest(self, bound: int | None) -> int | None:
        """Below the bound: above it there may be rows that somebody else has locked."""
        limited, limits = ("", []) if bound is None else (f" AND {self._key} < ?", [self._parameter(bound)])
        [[key]] = self.manager.read(f"SELECT MAX({self._key}) {self._from}{limited}", limits)
        return None if key is None else self._number(key)

    def check_keys(self, *, is_new: bool) -> None:
        """Raises `ValueError` for a key that is null somewhere or, looked for in a source that is new, comes twice."""
        if self.key.is_nullable:
            query = f"SELECT TOP (1) 1 {self._from} AND {self._key} IS NULL"
            rows = self.manager.read(query, deadline=CHECK_DEADLINE)
            if rows:
                raise ValueError(
                    f"key {self.key.name!r} is null in some row (found by {self._key} IS NULL): give another key, or"
                    " leave such rows out by --where"
                )
        if is_new and not self._is_unique:
            query = f"SELECT TOP (1) {self._key} {self._from} GROUP BY {self._key} HAVING COUNT(*) > 1"
            rows = self.manager.read(query, deadline=CHECK_DEADLINE)
            for (key,) in rows:
                raise ValueError(
                    f"{self._named(self._number(key))} is in several rows (found by GROUP BY {self._key} HAVING"
                    " COUNT(*) > 1): give a key that is unique"
                )

    def check_place(self, read_to: int | None, highest: int | None, bound: int | None, overlap: int) -> None:
        """Raises `ValueError` for a source that lies behind its watermark: what comes next there would not be seen."""
        last = highest if bound is None else bound - 1
        if read_to is not None and last is not None and last < read_to - overlap:
            raise ValueError(
                f"{self._named(last)} is the highest, and the watermark is at {self.shown(read_to)}: rows were deleted,"
                " or keys given anew. Set it there by ingest reset; for keys that come again give another --name"
            )

    def _key_column(self, name: str) -> Column:
        found = [column for column in self.columns if column.name.lower() == name.lower()]
        if not found:
            raise ValueError(f"key is {name!r}: give one of {', '.join(column.name for column in self.columns)}")
        if found[0].kind not in (*INTEGERS, "timestamp"):
            raise ValueError(f"key {name!r} is of type {found[0].kind}: give a rowversion or a whole number")
        return found[0]

    def _number(self, key: Any) -> int:
        return key if isinstance(key, int) else int.from_bytes(key)

    def _parameter(self, key: int) -> Any:
        return key if self.key_kind == "id" else key.to_bytes(8)

    def _named(self, key: int) -> str:
        return f"key {self.key.name} {self.shown(key)}"


class Window:
    """
    Where reading stands. Keys above `low` are read, again if need be: below `high` there may be some that were handed
    out and not committed when the others were read. Only those that were not seen can be such; where keys have no gaps
    nothing is read twice.
    """

    def __init__(self, read_to: int | None, read_after: int | None, overlap: int) -> None:
        self.high, self.low = read_to, read_after
        self._overlap = overlap
        self._seen = set[int]()

    @property
    def known(self) -> int:
        """How many rows a page brings that were read before."""
        return len(self._seen)

    def fresh(self, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if row[0] not in self._seen]

    def note(self, keys: Sequence[int]) -> None:
        """That the rows with these ascending keys were read."""
        if not keys:
            return
        self.high = keys[-1] if self.high is None else max(self.high, keys[-1])
        floor = self.high - self._overlap
        low = floor if self.low is None else max(self.low, floor)
        self._seen.update(keys)
        while low + 1 in self._seen:
            low += 1
        self.low = low
        self._seen = {key for key in self._seen if key > low}
