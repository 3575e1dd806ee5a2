"""A session's data: one session of PostgreSQL, with the errors that SQL Server has for its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from tds.types import Declared, declared, of_storage

__all__ = ["MADE", "SqlError", "Store", "of_database", "prepare"]

SQL = (Path(__file__).parent / "store.sql").read_text()

MADE = "tds_"

ERRORS = {
    "42P01": (208, "Invalid object name"),
    "42703": (207, "Invalid column name"),
    "42702": (209, "Ambiguous column name"),
    "42601": (102, "Incorrect syntax"),
    "42P04": (1801, "Database already exists"),
    "3D000": (3701, "Cannot drop the database, because it does not exist"),
    "55006": (3702, "Cannot drop the database because it is currently in use"),
    "25001": (226, "Statement not allowed within a multi-statement transaction"),
    "42P07": (2714, "There is already an object with this name in the database"),
    "23505": (2627, "Violation of PRIMARY KEY or UNIQUE KEY constraint"),
    "23502": (515, "Cannot insert the value NULL"),
    "22012": (8134, "Divide by zero error encountered"),
    "22003": (8115, "Arithmetic overflow error"),
    "22P02": (245, "Conversion failed"),
    "42804": (245, "Conversion failed"),
    "42883": (402, "The data types are incompatible"),
    "22001": (2628, "String or binary data would be truncated"),
    "40P01": (1205, "Transaction was deadlocked and has been chosen as the deadlock victim. Rerun the transaction"),
    "55P03": (1222, "Lock request time out period exceeded"),
}

# Where a column of a result comes from says the protocol; how it was declared this.
ORIGIN = """
    select d.kind, d.shown, not a.attnotnull
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid
    join tds.declared as d on d.table_name = c.relname and d.column_name = a.attname
    where a.attrelid = %s and a.attnum = %s
"""


class SqlError(Exception):
    def __init__(self, number: int, message: str, severity: int = 16) -> None:
        super().__init__(message)
        self.number, self.message, self.severity = number, message, severity


def of_database(dsn: str, name: str) -> str:
    """Where one is kept that was made by CREATE DATABASE: by its name no other of PostgreSQL's can be reached."""
    return make_conninfo(dsn, dbname=f"{MADE}{name}")


def prepare(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(SQL.encode())


class Store:
    def __init__(self, dsn: str, database: str) -> None:
        self.dsn, self.database = dsn, database
        self.conn = psycopg.connect(dsn, autocommit=True, application_name="tds")
        self.conn.prepare_threshold = None
        self.opens_by_itself = False  # SET IMPLICIT_TRANSACTIONS ON
        self._translations: dict[int, tuple[Any, str]] = {}
        self._translations_of: list[tuple[Any, ...]] = []

    @property
    def is_in_transaction(self) -> bool:
        return self.conn.info.transaction_status is not TransactionStatus.IDLE

    def begin(self) -> None:
        if not self.is_in_transaction:
            self.conn.execute("begin")

    def end(self, verb: str) -> None:
        if self.is_in_transaction:
            self.conn.execute(verb.encode())

    def ask(self, query: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        return self.conn.execute(query.encode(), params).fetchall()

    def kinds(self, table: str) -> dict[str, Declared]:
        rows = self.ask("select column_name, kind from tds.declared where table_name = %s", [table])
        return {name: declared(kind) for name, kind in rows}

    def translations(self) -> dict[int, tuple[Any, str]]:
        """Of queries, by the ids of their trees; forgotten when a table is made or dropped."""
        tables = self.ask("select count(*), max(xmin::text::bigint) from tds.declared")
        if tables != self._translations_of:
            self._translations, self._translations_of = {}, tables
        return self._translations

    def required(self, table: str) -> set[str]:
        query = "select attname from pg_attribute where attrelid = to_regclass(quote_ident(%s)) and attnotnull"
        return {name for (name,) in self.ask(query, [table])}

    def described(self, query: str) -> list[tuple[str, Declared, bool]]:
        """The columns of a query, which is not run: names, types, and whether there may be nulls."""
        cur = self.conn.execute(f"select * from ({query}) as described limit 0".encode(), {})
        return self._described(cur)

    @contextmanager
    def statement(self) -> Iterator[None]:
        """A statement that fails is undone alone, and not its transaction, as PostgreSQL would have it."""
        if self.opens_by_itself:
            self.begin()
        is_inner = self.is_in_transaction
        if is_inner:
            self.conn.execute("savepoint statement")
        try:
            yield
        except psycopg.Error as exc:
            if self.conn.closed:
                raise SqlError(596, "Cannot continue, because the session is in the kill state", 21) from exc
            if exc.sqlstate == "40P01":
                self.end("rollback")  # the victim loses all of it
            elif is_inner:
                self.conn.execute("rollback to savepoint statement")
            number, text = ERRORS.get(exc.sqlstate or "", (50000, "The server for tests could not run this"))
            severity = 15 if number == 102 else 13 if number == 1205 else 14 if number == 2627 else 16
            raise SqlError(number, f"{text}: {exc.diag.message_primary}", severity) from exc
        else:
            if is_inner:
                self.conn.execute("release savepoint statement")

    def change(self, query: str, params: Mapping[str, Any]) -> int:
        return self.conn.execute(query.encode(), params).rowcount

    def rows(self, query: str, params: Mapping[str, Any]) -> Iterator[Any]:
        """First the columns, by name and declared type, then the rows, as they come: there may be millions."""
        is_alone = not self.is_in_transaction
        self.begin()
        try:
            with self.conn.cursor("page") as cur:
                cur.itersize = 2000
                cur.execute(query.encode(), params)
                yield [(name, kind) for name, kind, _ in self._described(cur)]
                yield from cur
        finally:
            if is_alone and not self.conn.closed:
                self.end("commit")

    def _described(self, cur: psycopg.Cursor[Any]) -> list[tuple[str, Declared, bool]]:
        result = cur.pgresult
        assert result is not None
        assert cur.description is not None
        origins = [(result.ftable(i), result.ftablecol(i)) for i in range(result.nfields)]
        return [self._column(*pair) for pair in zip(cur.description, origins, strict=True)]

    def _column(self, column: psycopg.Column, origin: tuple[int, int]) -> tuple[str, Declared, bool]:
        name = "" if column.name == "?column?" else column.name
        for kind, shown, is_nullable in self.ask(ORIGIN, origin) if origin[0] else []:
            return (shown if name == shown.lower() else name), declared(kind), is_nullable
        known = psycopg.adapters.types.get(column.type_code)
        return name, of_storage(known.name if known else "text"), True
