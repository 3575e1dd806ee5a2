"""Columns of a SQL Server, and the JSON form of what is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pgconveyor.sqlserver import SqlServerManager

__all__ = ["Column", "describe", "payloads", "quoted"]

_DESCRIBE = """
    SELECT name, system_type_name, is_nullable
    FROM sys.dm_exec_describe_first_result_set(?, NULL, 0)
    WHERE is_hidden = 0
    ORDER BY column_ordinal
"""

Form = Callable[[Any], Any]


def _plain(value: Any) -> Any:
    return value


def _number(value: Any) -> str:
    """With its scale, and never in powers of ten."""
    return format(value, "f")


def _hex(value: bytes) -> str:
    """As SQL Server writes it."""
    return f"0x{value.hex().upper()}"


def _moment(text: str) -> str:
    return f"{text[:10]}T{text[11:].replace(' ', '')}"


def _lower(value: object) -> str:
    return str(value).lower()


# The README has this as a table. What is not here is refused: nothing is to change without a word.
FORMS: dict[str, Form] = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint", "float", "real"), _plain),
    **dict.fromkeys(("char", "varchar", "nchar", "nvarchar", "text", "ntext", "xml", "json"), _plain),
    **dict.fromkeys(("decimal", "numeric", "money", "smallmoney"), _number),
    **dict.fromkeys(("date", "time"), _plain),
    **dict.fromkeys(("datetime", "smalldatetime", "datetime2", "datetimeoffset"), _moment),
    **dict.fromkeys(("binary", "varbinary", "image", "timestamp"), _hex),
    "uniqueidentifier": _lower,
    "bit": bool,
}
TIMES = ("date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset")


@dataclass(frozen=True, slots=True)
class Column:
    """`kind` is the type without its arguments; a rowversion is called timestamp by the server."""

    name: str
    kind: str
    is_nullable: bool

    @property
    def form(self) -> Form:
        """What makes the JSON form of a value that is not null."""
        return FORMS[self.kind]

    @property
    def expression(self) -> str:
        name = quoted(self.name)
        # As text, because Python's times have six digits of a second and the server's seven.
        return f"CONVERT(varchar(34), {name}, 121) AS {name}" if self.kind in TIMES else name


def quoted(name: str) -> str:
    return f"[{name.replace(']', ']]')}]"


def describe(manager: SqlServerManager, query: str) -> list[Column]:
    """The columns of a query that the server has taken. Raises `ValueError` for one that has no JSON form."""
    return [_column(*row) for row in manager.read(_DESCRIBE, [query])]


def _column(name: str, type_name: str | None, is_nullable: Any) -> Column:
    kind = (type_name or "a type of its own").partition("(")[0]
    if kind not in FORMS:
        raise ValueError(f"column {name!r} is of type {kind}, which has no JSON form: CAST it in a query")
    return Column(name, kind, bool(is_nullable))


def payloads(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as JSON has them."""
    names = [column.name for column in columns]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for column in columns:
        if column.form is not _plain:
            name, form = column.name, column.form
            for row in found:
                if (value := row[name]) is not None:
                    row[name] = form(value)
    return found
