"""
The T-SQL that is understood, as PostgreSQL has it: CREATE and DROP of DATABASE and TABLE, INSERT of values, UPDATE,
DELETE, SELECT with what sqlglot translates, transactions, SET (ignored but for IMPLICIT_TRANSACTIONS), and a few
functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tds.store import MADE, SqlError, Store, of_database, prepare
from tds.types import Declared, canonical, declared, stored

__all__ = ["Statement", "statements"]

GLOBALS = {
    "VERSION": "'Microsoft SQL Server for tests'",
    "SERVERNAME": "'TEST'",
    "SPID": "51",
    "TRANCOUNT": "0",
    "ROWCOUNT": "0",
    "ERROR": "0",
}
TRANSACTIONS = re.compile(
    r"\s*(?:IF\s+@@TRANCOUNT\s*>\s*0\s+)?(BEGIN|COMMIT|ROLLBACK)(?:\s+TRAN(?:SACTION)?|\s+WORK)?\b(?:\s+\w+)?\s*",
    re.IGNORECASE,
)
DATABASES = re.compile(
    r"\s*(?:(CREATE|DROP)\s+DATABASE\s+(\w+)"
    r"|ALTER\s+DATABASE\s+(\w+)\s+SET\s+SINGLE_USER\s+WITH\s+ROLLBACK\s+IMMEDIATE)\s*",
    re.I,
)
IMPLICIT = re.compile(r"\s*SET\s+IMPLICIT_TRANSACTIONS\s+(ON|OFF)\s*", re.I)
IGNORED = re.compile(r"\s*(?:SET|USE|WAITFOR)\b.*", re.I | re.S)

# PostgreSQL's driver reads % itself, so parameters stand in for themselves until the text is made.
MARK = "\N{SECTION SIGN}"

DESCRIBE = re.compile(r"sys\.dm_exec_describe_first_result_set\s*\(\s*@(\w+)\s*,\s*NULL\s*,\s*0\s*\)", re.I)


@dataclass(frozen=True)
class Statement:
    """Either what to do in the transaction, or a text for PostgreSQL with its parameters."""

    verb: str = ""
    query: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    has_rows: bool = False


def statements(text: str, params: Mapping[str, tuple[Declared, Any]], store: Store) -> Iterator[Statement]:
    """One after another: what is later may depend on tables that are made before."""
    values = {name.lstrip("@").lower(): canonical(*pair) for name, pair in params.items()}
    values = {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}  # bit
    if TRANSACTIONS.fullmatch(text.rstrip("; \n")):
        yield Statement(TRANSACTIONS.fullmatch(text.rstrip("; \n"))[1].lower())  # type: ignore[index]
        return
    if found := DATABASES.fullmatch(text.rstrip("; \n")):
        yield from _database((found[1] or "").upper(), (found[2] or found[3]).lower(), store)
        return
    if found := IMPLICIT.fullmatch(text.rstrip("; \n")):
        store.opens_by_itself = found[1].upper() == "ON"
        return
    if IGNORED.fullmatch(text) and ";" not in text:
        return
    for name, literal in GLOBALS.items():
        text = re.sub(rf"@@{name}\b", literal, text, flags=re.IGNORECASE)
    text = DESCRIBE.sub(lambda found: _description(values[found[1].lower()], store), text)
    for tree in _parsed(text):
        if isinstance(tree, exp.Transaction | exp.Commit | exp.Rollback):
            yield Statement({"transaction": "begin"}.get(tree.key, tree.key))
        elif isinstance(tree, exp.Create) and tree.kind == "TABLE":
            yield from _create(tree)
        elif isinstance(tree, exp.Drop):
            yield from _drop(tree)
        elif isinstance(tree, exp.Query | exp.Insert | exp.Update | exp.Delete | exp.TruncateTable):
            yield _translated(tree, dict(values), store)
        elif isinstance(tree, exp.Command | exp.Execute):
            raise SqlError(2812, f"Could not find stored procedure '{tree.sql('tsql')[:100]}'.")
        elif tree is not None and not isinstance(tree, exp.Set | exp.Use):
            raise SqlError(50000, f"the server for tests does not know {tree.key}")


@lru_cache(maxsize=100)
def _parsed(text: str) -> list[Any]:
    """Trees, which are copied before they are changed."""
    try:
        return list(sqlglot.parse(stored(text), read="tsql"))
    except SqlglotError as exc:
        raise SqlError(102, f"Incorrect syntax: {str(exc)[:200]}", 15) from None


def _description(text: str, store: Store) -> str:
    """What `sys.dm_exec_describe_first_result_set` has for a query, as a table of values."""
    [tree] = _parsed(text)
    rows = [
        f"(N'{name}', N'{kind.text.replace('rowversion', 'timestamp')}', {is_nullable:d}, 0, {number})"
        for number, (name, kind, is_nullable) in enumerate(store.described(_translated(tree, {}, store).query), 1)
    ]
    names = "name, system_type_name, is_nullable, is_hidden, column_ordinal"
    return f"(VALUES {', '.join(rows)}) AS described ({names})"


def _database(verb: str, name: str, store: Store) -> Iterator[Statement]:
    if verb:
        template = "template template0" if verb == "CREATE" else ""
        yield Statement(query=f'{verb} database "{MADE}{name}" {template}')
    else:
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %(name)s"
        yield Statement(query=f"{others} and pid <> pg_backend_pid()", params={"name": f"{MADE}{name}"})
    if verb == "CREATE":
        prepare(of_database(store.dsn, name))


def _create(tree: exp.Create) -> Iterator[Statement]:
    table = tree.this.this.name.lower()
    lines, inserts, version = [], [], None
    for item in tree.this.expressions:
        if not isinstance(item, exp.ColumnDef):
            lines.append(_lowered(item.copy()).sql("postgres"))
            continue
        kind = declared(item.args["kind"].sql("tsql"))
        constraints = [constraint.kind for constraint in item.constraints]
        words = [f'"{item.name.lower()}" {kind.storage}', *filter(None, map(_constraint, constraints))]
        lines.append(" ".join(words))
        version = item.name.lower() if kind.base == "rowversion" else version
        insert = "insert into tds.declared values (%(table)s, %(name)s, %(shown)s, %(kind)s)"
        names = {"table": table, "name": item.name.lower(), "shown": item.name, "kind": kind.text}
        inserts.append(Statement(query=insert, params=names))
    yield Statement(query=f'create table "{table}" ({", ".join(lines)})')
    yield from inserts
    if version:
        stamp = f"for each row execute function tds.stamp('{version}')"
        yield Statement(query=f'create trigger stamp before insert or update on "{table}" {stamp}')


def _constraint(kind: Any) -> str:
    match kind:
        case exp.GeneratedAsIdentityColumnConstraint():
            return "generated by default as identity"
        case exp.PrimaryKeyColumnConstraint():
            return "primary key"
        case exp.UniqueColumnConstraint():
            return "unique"
        case exp.NotNullColumnConstraint():
            return "" if kind.args.get("allow_null") else "not null"
        case exp.DefaultColumnConstraint():
            return f"default {kind.this.sql('postgres')}"
        case _:
            raise SqlError(50000, f"the server for tests does not know the constraint {kind.key}")


def _drop(tree: exp.Drop) -> Iterator[Statement]:
    table = tree.this.name.lower()
    yield Statement(query="delete from tds.declared where table_name = %(table)s", params={"table": table})
    yield Statement(query=f'drop table {"if exists " if tree.args.get("exists") else ""}"{table}"')


def _translated(tree: Any, values: dict[str, Any], store: Store) -> Statement:
    """Of a query the text is kept as long as no table is made or dropped: a reader sends the same for each page."""
    if not isinstance(tree, exp.Query) or tree.find(exp.Anonymous, exp.CurrentTimestamp) is not None:
        return _translate(tree.copy(), values, store)
    kept = store.translations()
    if id(tree) not in kept:
        kept[id(tree)] = tree, _translate(tree.copy(), values, store).query  # the tree, so that its id stays its own
    return Statement(query=kept[id(tree)][1], params=values, has_rows=True)


def _translate(tree: Any, values: dict[str, Any], store: Store) -> Statement:
    if isinstance(tree, exp.Insert | exp.Update):
        _convert(tree, values, store)
    tree = _lowered(tree)
    kinds = {name: kind for table in tree.find_all(exp.Table) for name, kind in store.kinds(table.name).items()}
    _ordered(tree, store)
    tree = tree.transform(lambda node: _node(node, store, kinds))
    text = tree.sql("postgres").replace("%", "%%")
    text = re.sub(r"LIMIT (\S+) WITH TIES", r"FETCH FIRST (\1) ROWS WITH TIES", text)
    text = re.sub(rf"{MARK}(\w+){MARK}", r"%(\1)s", text)
    return Statement(query=text, params=values, has_rows=isinstance(tree, exp.Query))


def _ordered(tree: exp.Expression, store: Store) -> None:
    """Nulls come first, and where there are none that is not said: an index could not serve it."""
    required = {name for table in tree.find_all(exp.Table) for name in store.required(table.name)}
    for ordered in tree.find_all(exp.Ordered):
        if ordered.this.name in required:
            ordered.set("nulls_first", False)


def _convert(tree: exp.Insert | exp.Update, values: dict[str, Any], store: Store) -> None:
    """Texts and parameters that go into columns become what is kept there."""
    target = tree.find(exp.Table)
    kinds = store.kinds(target.name.lower()) if target else {}
    pairs: list[tuple[str, exp.Expression]] = []
    if isinstance(tree, exp.Update):
        pairs = [(e.this.name, e.expression) for e in tree.expressions if isinstance(e, exp.EQ)]
    elif isinstance(tree.expression, exp.Values):
        names = [column.name for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else list(kinds)
        pairs = [pair for row in tree.expression.expressions for pair in zip(names, row.expressions, strict=False)]
    for name, value in pairs:
        kind = kinds.get(name.lower())
        try:
            if kind and (value.is_string or isinstance(value, exp.National)):
                value.replace(exp.Literal.string(canonical(kind, value.name)))
            elif kind and isinstance(value, exp.Parameter):
                key = value.name.lower()
                # The same parameter may go into two columns.
                values[f"{key}_{name.lower()}"] = canonical(kind, values[key])
                value.replace(exp.Parameter(this=exp.var(f"{key}_{name.lower()}")))
        except ValueError as exc:
            raise SqlError(241, str(exc)) from None


def _lowered(tree: exp.Expression) -> exp.Expression:
    """Names are the same in any case; tables are where they are looked for, whatever stands before them."""
    for table in list(tree.find_all(exp.Table)):
        schema = table.db.lower()
        if schema == "information_schema" and table.name.lower() == "columns":
            table.set("db", exp.to_identifier("tds"))
        elif schema in ("sys", "information_schema"):
            raise SqlError(208, f"Invalid object name '{table.db}.{table.name}'.")
        else:
            table.set("db", None)
        table.set("catalog", None)
    for column in tree.find_all(exp.Column):
        column.set("db", None)
        column.set("catalog", None)
    for identifier in tree.find_all(exp.Identifier):
        if not isinstance(identifier.parent, exp.Alias):
            identifier.set("this", identifier.name.lower())
        identifier.set("quoted", True)
    return tree


def _node(node: exp.Expression, store: Store, kinds: Mapping[str, Declared]) -> exp.Expression:
    match node:
        case exp.Convert() if node.args["style"] and node.args["style"].name == "121" and node.expression.name in kinds:
            kind = kinds[node.expression.name]
            values = [node.expression, exp.Literal.string(kind.base), exp.Literal.number(kind.scale)]
            return exp.Anonymous(this="tds.style_121", expressions=values)
        case exp.Parameter():
            return exp.var(f"{MARK}{node.name.lower()}{MARK}")
        case exp.National():
            return exp.Literal.string(node.name)
        case exp.HexString():
            return _bytes(node.name)
        case exp.CurrentTimestamp():
            return exp.Literal.string(canonical(declared("datetime2"), datetime.now(UTC).replace(tzinfo=None)))
        case exp.Anonymous():
            return _function(node, store)
        case _:
            return node


def _bytes(digits: str) -> exp.Expression:
    even = digits if len(digits) % 2 == 0 else f"0{digits}"
    return exp.Anonymous(this="decode", expressions=[exp.Literal.string(even), exp.Literal.string("hex")])


def _function(node: exp.Anonymous, store: Store) -> exp.Expression:
    match node.name.upper():
        case "MIN_ACTIVE_ROWVERSION":
            # Before the statement sees its rows: what commits between may have a lower version than was active then.
            [(version,)] = store.ask("select encode(tds.min_active_version(), 'hex')")
            return _bytes(version)
        case "DB_NAME":
            return exp.Literal.string(store.database)
        case "DATALENGTH":
            return exp.Anonymous(this="octet_length", expressions=node.expressions)
        case "SYSUTCDATETIME" | "SYSDATETIME" | "GETUTCDATE":
            return _node(exp.CurrentTimestamp(), store, {})
        case _:
            return node
