"""The command `pgconveyor ingest`: fill a flow from a SQL Server, and look after the watermarks."""

from __future__ import annotations

import json
import logging
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click
from click.core import ParameterSource
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from pgconveyor.conninfo import is_sqlserver
from pgconveyor.database import DatabaseManager
from pgconveyor.operate import progress, rows, say, value
from pgconveyor.options import SECONDS, database_option, json_option, yes_option

if TYPE_CHECKING:
    from pgconveyor.source import Source, Totals

__all__ = ["ingest"]

logger = logging.getLogger(__name__)

NOT_IN_BRACKETS = (102, 156, 319, 1033)  # incorrect syntax; near a keyword; WITH; ORDER BY
REPORT_EVERY = 10.0  # seconds, where standard error is no terminal


def _sqlserver(_ctx: click.Context, _param: click.Parameter, name: str | None) -> str | None:
    if name is not None and not is_sqlserver(name):
        raise click.BadParameter(f"{name} is no SQL Server: set its type to sqlserver, or name another database")
    return name


@click.group(invoke_without_command=True)
@click.option("--source", metavar="NAME", callback=_sqlserver, help="The SQL Server, as the configuration names it.")
@click.option("--table", help="What to read, such as dbo.responses.")
@click.option("--query", metavar="SQL", help="Or a query, without ORDER BY and WITH.")
@click.option("--key", metavar="COLUMN", help="A rowversion, or a whole number that grows: unique, never null.")
@click.option("--flow", metavar="NAME", help="Where the records go.")
@click.option("--where", metavar="SQL", help="Only rows for which this holds.")
@click.option("--name", help="Of the source: begins its dedup keys.  [default: that of the database and the table]")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Rows in one transaction."
)
@click.option(
    "--overlap",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    help="So many ids below the watermark are read again, for rows that were committed late.",
)
@click.option("--map", "mapping", metavar="MODULE:FUNCTION", help="Makes the payload from a row, both dicts.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip", "dead-letter"]),
    default="stop",
    show_default=True,
    help="What becomes of a row that cannot be a payload; dead-letter: a failed record.",
)
@click.option("--clean", is_flag=True, help="Replace characters that PostgreSQL cannot hold by U+FFFD.")
@click.option("--priority", type=click.IntRange(-32768, 32767), default=0, show_default=True, help="Of the records.")
@click.option("--watch", type=SECONDS, help="Look again after so long, until Ctrl-C or SIGTERM.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@database_option
@json_option
@click.pass_context
def ingest(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """
    Add the rows of a SQL Server to a flow, each once, and remember how far it has come.

    A page and its watermark are committed together: whatever ends it, the next run goes on after the last page. By a
    rowversion each version of a row is a record; by an id each row. See the README.

    Exit codes: 0 all was read, or --watch was stopped; 1 an error; 2 wrong usage; 130 or 143 stopped before the end.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    from pgconveyor.handlers import find
    from pgconveyor.logs import set_up
    from pgconveyor.source import Source

    missing = [f"--{name}" for name in ("source", "key", "flow") if not given[name]]
    if missing or (given["table"] is None) == (given["query"] is None):
        wanted = [*missing, *(["either --table or --query"] if not (given["table"] or given["query"]) else [])]
        raise click.UsageError(f"give {', '.join(wanted) or 'either --table or --query, not both'}")
    if given["watch"] == 0:
        raise click.UsageError("--watch is 0: give a time above that")
    set_up(given["log_format"], "info")
    what: dict[str, Any] = {word: given[word] for word in ("key", "table", "query", "where")}
    source = Source(database=given["source"], name=given["name"] or "", **what)
    options = {key: given[key] for key in ("batch", "overlap", "on_error", "clean", "priority", "dry_run")}
    if given["mapping"]:
        options["mapping"] = find(given["mapping"], "--map")
    with _refusals(source):
        _run(source, given["database"], given["flow"], given["watch"], as_json, options)


def _refuse_options(ctx: click.Context) -> None:
    """They would be ignored."""
    said = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if said:
        raise click.UsageError(f"--{said[0].removeprefix('as_')} goes after {ctx.invoked_subcommand}")


@contextmanager
def _refusals(source: Source) -> Iterator[None]:
    """What the SQL Server refuses is a line, as what the PostgreSQL does."""
    from pgconveyor.odbc import pyodbc
    from pgconveyor.sqlserver import number_of, reason_of

    try:
        yield
    except pyodbc().Error as exc:
        is_misplaced = source.query is not None and number_of(exc) in NOT_IN_BRACKETS
        hint = "; a query must do as a table in brackets: no ORDER BY, no WITH" if is_misplaced else ""
        raise RuntimeError(f"{source.database}: {reason_of(exc)}{hint}") from None


def _run(source: Source, database: str, flow: str, watch: float | None, as_json: bool, options: dict[str, Any]) -> None:
    from pgconveyor.source import Ingester
    from pgconveyor.sqlserver import SqlServerManager

    stopped = 0
    # Nothing is there to be finished yet, and Python would hear of it only when the driver returns.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with (
        DatabaseManager(database, pool_size=1) as queue,
        SqlServerManager(source.database) as hub,
        Ingester(queue, source, source.reader(hub), flow, **options) as this,
        _Report(source.name) as report,
    ):

        def on_signal(number: int, _frame: FrameType | None) -> None:
            nonlocal stopped
            signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
            stopped = number
            this.stop()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        done = this.run(watch=watch, progress=report)
    _say_done(source, flow, done, options["dry_run"], as_json)
    if stopped and watch is None and not this.is_done:
        raise SystemExit(128 + stopped)


def _say_done(source: Source, flow: str, done: Totals, dry_run: bool, as_json: bool) -> None:
    found = {"read": done.read, "added": done.added, "skipped": done.skipped, "dead_lettered": done.dead}
    text = f"{done.read} rows of {source.name} read, {done.added} new records in {flow}"
    text += f", {done.skipped} skipped" if done.skipped else ""
    text += f", {done.dead} added as failed" if done.dead else ""
    if dry_run:
        text = f"{done.read} rows of {source.name} can be read, nothing was added"
        text += f"; the first payload is\n{json.dumps(json.loads(done.first)[0])}" if done.first else ""
    say(as_json, {**found, "read_to": done.read_to, "dry_run": dry_run}, text)


class _Report:
    """How it goes: a line on a terminal that changes, else one in the log every ten seconds."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn(f"ingest {name}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
        self._progress = progress(*columns)
        self._task = self._progress.add_task("", total=None, said="")
        self._name, self._started, self._reported = name, time.monotonic(), time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, totals: Totals) -> None:
        now = time.monotonic()
        rate = totals.read / max(now - self._started, 0.001)
        said = f"{totals.read:,} rows, {rate:,.0f} rows/s" + (
            f", {totals.behind:,} keys behind" if totals.behind else ""
        )
        self._progress.update(self._task, said=said)
        if self._progress.disable and now - self._reported >= REPORT_EVERY:
            self._reported = now
            logger.info("%s: %s", self._name, said)


@ingest.command()
@click.option("--flow", metavar="NAME", help="Only of this flow.")
@database_option
@json_option
def status(flow: str | None, database: str, as_json: bool) -> None:
    """Show how far each source was read, and when nothing more was left."""
    found = rows(database, "select * from conveyor.list_sources(p_flow_name => %s)", [flow])
    if as_json:
        click.echo(json.dumps(found, default=str))
        return
    click.echo("\n".join(map(_line, found)) or "no source was read")


def _line(row: dict[str, Any]) -> str:
    place = "the start" if row["read_to"] is None else row["read_to"]
    if row["key_kind"] == "rowversion" and row["read_to"] is not None:
        place = f"0x{row['read_to']:016X}"
    caught_up = row["caught_up_at"]
    when = f"caught up at {caught_up:%Y-%m-%d %H:%M:%S%z}" if caught_up else "not caught up"
    return f"{row['source']} into {row['flow_name']}: {row['rows_added']:,} added, at {place}, {when}"


class _Position(click.ParamType[int | None]):
    name = "position"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        text = str(value).strip().lower()
        if text == "start":
            return None
        if re.fullmatch(r"0x[0-9a-f]{1,16}|-?[0-9]{1,19}", text):
            found = int(text, 16 if text.startswith("0x") else 10)
            if -(2**63) <= found < 2**63:
                return found
        return self.fail(f"{value!r:.100}: give start, an id, or a rowversion such as 0x00000000000007D1", param, ctx)


@ingest.command()
@click.argument("source")
@click.option("--flow", metavar="NAME", required=True, help="Whose source it is.")
@click.option("--to", "read_to", type=_Position(), required=True, help="start, an id, or a rowversion such as 0x07D1.")
@yes_option
@database_option
@json_option
def reset(source: str, flow: str, read_to: int | None, yes: bool, database: str, as_json: bool) -> None:
    """
    Set a watermark: rows above it are read again. Those whose records are still in the queue are passed over; what was
    purged comes again.

    SOURCE is its name, as ingest status shows it. Also when the same rows are to be read in another way, from the start
    if by another kind of key; other rows need another --name, for they may have the same keys.
    """
    where = "the start" if read_to is None else f"{read_to} (0x{read_to:016X})" if read_to >= 0 else str(read_to)
    if not yes:
        say(as_json, {"reset": False}, f"would set {source} of {flow} to {where}; add --yes to do it")
        return
    value(
        database,
        "select conveyor.reset_source(p_source => %s, p_flow_name => %s, p_read_to => %s::bigint)",
        [source, flow, read_to],
    )
    say(as_json, {"reset": True, "read_to": read_to}, f"{source} of {flow} will be read after {where}")


@ingest.command()
@click.argument("source")
@click.option("--flow", metavar="NAME", required=True, help="Whose source it is.")
@yes_option
@database_option
@json_option
def forget(source: str, flow: str, yes: bool, database: str, as_json: bool) -> None:
    """
    Forget a source that is read no more: its records stay, and all of them may be purged.

    SOURCE is its name, as ingest status shows it. Read again after all, it begins at the start.
    """
    if not yes:
        say(as_json, {"forgotten": False}, f"would forget {source} of {flow}; add --yes to do it")
        return
    value(database, "select conveyor.forget_source(p_source => %s, p_flow_name => %s)", [source, flow])
    say(as_json, {"forgotten": True}, f"{source} of {flow} is forgotten")
