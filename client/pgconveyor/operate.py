"""The operators' commands: each calls one function of the schema, and prints what it returned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import IO, Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pgconveyor import tunables
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.documents import encode
from pgconveyor.monitoring import distributed_processing_diagnostics
from pgconveyor.options import SECONDS, database_option, json_option, yes_option

__all__ = ["COMMANDS"]

console = Console(highlight=False)

flow_argument = click.argument("flow", is_eager=True)  # known when another argument is refused
RECORD_ID = click.IntRange(1, 2**63 - 1)
ids_argument = click.argument("ids", metavar="ID…", type=RECORD_ID, nargs=-1, required=True)


def value(database: str, query: str, params: Iterable[Any] = ()) -> Any:
    """The one value that a function returns."""
    with DatabaseManager(database, pool_size=1) as manager:
        [row] = manager.execute_query(query, list(params))
    [found] = row.values()
    return found


def rows(database: str, query: str, params: Iterable[Any] = ()) -> list[dict[str, Any]]:
    with DatabaseManager(database, pool_size=1) as manager:
        return manager.execute_query(query, list(params))


def say(as_json: bool, data: Any, text: str) -> None:
    click.echo(json.dumps(data, default=str) if as_json else text)


@click.command()
@flow_argument
@click.argument("source", type=click.File(encoding="utf-8", errors="surrogateescape"), default="-")
@click.option("--priority", type=click.IntRange(-32768, 32767), default=0, show_default=True, help="Higher goes first.")
@click.option(
    "--run-at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="Not before, such as 2030-01-31T08:00:00+0000."
)
@click.option(
    "--dedup-key", metavar="FIELD", help="The field that is unique in the flow; known records are passed over."
)
@database_option
@json_option
def enqueue(
    flow: str,
    source: IO[str],
    priority: int,
    run_at: datetime | None,
    dedup_key: str | None,
    database: str,
    as_json: bool,
) -> None:
    """
    Add records: a JSON object a line, from a file or from standard input.

    All of them or none: a line that is wrong is named, and nothing is added.
    """
    with DatabaseManager(database, pool_size=1) as manager, _counter("enqueue") as counted:
        added = DistributedProcessor(manager).add_named_records(
            flow, counted(_objects(source)), priority=priority, run_at=run_at, dedup_key=dedup_key
        )
    say(as_json, {"added": added}, f"{added} new records in {flow}")


def _objects(lines: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is not blank, by its name."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            name = f"line {number}"
            try:
                record = json.loads(line if line.isascii() else line.encode())
            except UnicodeEncodeError:
                raise ValueError(f"{name} is not UTF-8; nothing was added") from None
            except (ValueError, RecursionError) as exc:
                raise ValueError(f"{name} is not JSON: {exc}; nothing was added") from None
            if not isinstance(record, dict):
                raise ValueError(f"{name} is {line.strip()[:60]!r}: give a JSON object; nothing was added")
            yield name, record


def progress(*columns: ProgressColumn) -> Progress:
    """On standard error until it is over; nothing where that is no terminal."""
    screen = Console(stderr=True)
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)


class _counter:
    """A count on the terminal of what passes by; nothing where standard error is no terminal."""

    def __init__(self, what: str) -> None:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = progress(*columns)

    def __enter__(self) -> Callable[[Iterable[Any]], Iterator[Any]]:
        self._progress.start()
        return lambda items: iter(self._progress.track(items, total=None))

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


@click.command()
@click.option("--flow", metavar="NAME", help="Only this flow.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@database_option
@json_option
def status(flow: str | None, watch: bool, database: str, as_json: bool) -> None:
    """Show how many records are in which state, and how many workers sleep until there are some."""
    query = """
        select conveyor.get_queue_status(p_flow_name => %s) || jsonb_build_object(
            'sleepers',
            (select coalesce(jsonb_agg(s.*), '[]') from conveyor.list_sleepers(p_flow_name => %s) as s)
        )
    """
    if as_json or not watch:
        found = value(database, query, [flow, flow])
        if as_json:
            click.echo(json.dumps(found))
        else:
            console.print(_status_table(found))
        return
    with DatabaseManager(database, pool_size=1) as manager, Live(console=console, auto_refresh=False) as live:
        while True:
            [row] = manager.execute_query(query, [flow, flow])
            [found] = row.values()
            live.update(Group(_status_table(found), f"{datetime.now():%H:%M:%S}, Ctrl-C ends"), refresh=True)
            time.sleep(2)


def _status_table(found: dict[str, Any]) -> Table:
    states = ("pending", "processing", "completed", "failed")
    table = Table(width=min(console.width, 80), show_footer=True)
    table.add_column("flow", "total", overflow="fold", ratio=1)
    for state in states:
        table.add_column(state, f"{found[f'{state}_records']:,}", justify="right")
    table.add_column("asleep", justify="right")
    for name, counts in sorted(found["by_flow"].items()):
        table.add_row(name, *(f"{counts[state]:,}" for state in states), _asleep(name, found["sleepers"]))
    return table


def _asleep(flow: str, sleepers: list[dict[str, Any]]) -> str:
    """How many sleep; an open door means that they look every few milliseconds just now."""
    of_flow = [sleeper for sleeper in sleepers if sleeper["flow_name"] == flow]
    is_open = of_flow and not any(sleeper["door_closed"] for sleeper in of_flow)
    return f"{len(of_flow)}{', door open' if is_open else ''}"


@click.command()
@flow_argument
@click.option(
    "--after",
    metavar="ID",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    help="Begin after this record: the next page.",
)
@click.option("--limit", type=click.IntRange(1, 10000), default=20, show_default=True, help="How many.")
@database_option
@json_option
def failed(flow: str, after: int, limit: int, database: str, as_json: bool) -> None:
    """List failed records with their errors, oldest first."""
    query = """
        select id, failure_kind, retry_count, crash_count, error_message
        from conveyor.list_records(
            p_flow_name => %s, p_status => 'failed', p_after_id => %s::bigint, p_limit => %s::integer
        )
    """
    found = rows(database, query, [flow, after, limit])
    if as_json:
        click.echo(json.dumps(found, default=str))
        return
    table = Table(width=min(console.width, 80))
    for column in ("id", "kind", "retries", "crashes"):
        table.add_column(column, justify="right" if column != "kind" else "left", no_wrap=True)
    table.add_column("error", ratio=1, overflow="ellipsis", no_wrap=True)
    for row in found:
        message = str(row["error_message"] or "").splitlines() or [""]
        table.add_row(
            str(row["id"]), row["failure_kind"] or "error", str(row["retry_count"]), str(row["crash_count"]), message[0]
        )
    console.print(table)
    if len(found) == limit:
        click.echo(f"more with --after {found[-1]['id']}")


@click.command()
@click.argument("record_id", metavar="ID", type=RECORD_ID)
@database_option
@json_option
def show(record_id: int, database: str, as_json: bool) -> None:
    """Show a record with its attempts, and why it is not being claimed."""
    record = value(database, "select conveyor.get_record(p_id => %s::bigint)", [record_id])
    why = value(database, "select conveyor.why_not_claimed(p_id => %s::bigint)", [record_id])
    say(as_json, record | {"why_not_claimed": why}, json.dumps(record, indent=2, default=str) + f"\n{why}")


@click.command()
@flow_argument
@click.option(
    "--max-retries",
    type=click.IntRange(0, 2**31 - 1),
    help="Only records with fewer retries.  [default: distributed_processor's max_retries, else 3]",
)
@database_option
@json_option
def reset(flow: str, max_retries: int | None, database: str, as_json: bool) -> None:
    """Put failed records of a flow back to pending, counts kept."""
    query = "select conveyor.reset_failed_records(p_flow_name => %s, p_max_retries => %s::integer)"
    count = value(database, query, [flow, tunables.max_retries() if max_retries is None else max_retries])
    say(as_json, {"reset": count}, f"{count} records are pending again")


@click.command()
@ids_argument
@database_option
@json_option
def requeue(ids: tuple[int, ...], database: str, as_json: bool) -> None:
    """Put failed records of any kind back to pending, counts zeroed."""
    count = value(database, "select conveyor.requeue_records(p_ids => %s::bigint[])", [list(ids)])
    say(as_json, {"requeued": count}, f"{count} of {len(ids)} records are pending again")


@click.command()
@ids_argument
@click.option("--reason", help="Why; kept with the record.")
@yes_option
@database_option
@json_option
def cancel(ids: tuple[int, ...], reason: str | None, yes: bool, database: str, as_json: bool) -> None:
    """Give up pending and claimed records; without --yes only says which."""
    if not yes:
        query = "select conveyor.why_not_claimed(p_id => u.id) as now from unnest(%s::bigint[]) as u (id)"
        found = [row["now"] for row in rows(database, query, [list(ids)])]
        say(as_json, {"would_cancel": found}, "\n".join([*found, "nothing was cancelled; add --yes to do it"]))
        return
    count = value(
        database, "select conveyor.cancel_records(p_ids => %s::bigint[], p_reason => %s)", [list(ids), reason]
    )
    say(as_json, {"cancelled": count}, f"{count} of {len(ids)} records are cancelled")


@click.command()
@click.option(
    "--timeout",
    type=SECONDS,
    help="Also what was silent for so long, whatever its lease says."
    "  [default: distributed_processor's cleanup_timeout_hours]",
)
@click.option("--flow", metavar="NAME", help="Only this flow.")
@database_option
@json_option
def cleanup(timeout: float | None, flow: str | None, database: str, as_json: bool) -> None:
    """Take back records whose lease has ended."""
    query = "select conveyor.cleanup_orphaned_records(p_timeout_hours => %s::numeric, p_flow_name => %s)"
    hours = tunables.cleanup_timeout_hours() if timeout is None else timeout / 3600
    count = value(database, query, [hours, flow])
    say(as_json, {"cleaned_up": count}, f"{count} records were taken back")


@click.command()
@click.option("--every", type=SECONDS, help="Again and again, with this pause, until Ctrl-C or SIGTERM.")
@database_option
@json_option
def maintain(every: float | None, database: str, as_json: bool) -> None:
    """Do the housekeeping that workers do: ended leases, counts, retention."""
    with DatabaseManager(database, pool_size=1) as manager:
        processor = DistributedProcessor(manager)
        while True:
            try:
                report = processor.maintain()
                say(as_json, report, ", ".join(f"{key} {report[key]}" for key in report))
            except ConnectionError as exc:
                if every is None:
                    raise
                click.echo(f"{exc}; trying again", err=True)
            if every is None:
                return
            time.sleep(every)


@click.command()
@flow_argument
@click.argument("settings", metavar="KEY=VALUE…", nargs=-1, required=True)
@database_option
def configure(flow: str, settings: tuple[str, ...], database: str) -> None:
    """
    Set what a flow does: lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention,
    payload_limit.

    For example: configure survey_processor lease=10min max_retries=5 retention=null payload_limit=1MB
    """
    document: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"{setting!r}: give KEY=VALUE")
        document[key] = _setting(text)
    value(
        database,
        "select conveyor.configure_flow(p_flow_name => %s, p_settings => %s::jsonb)",
        [flow, encode(document, "settings")],
    )
    click.echo(f"{flow}: {', '.join(f'{key} = {json.dumps(document[key])}' for key in document)}")


def _setting(text: str) -> Any:
    """JSON, or a word such as 5min: NaN and 1e999, which Python alone takes for numbers, are words."""
    try:
        value = json.loads(text)
        encode(value, "value")
    except (ValueError, RecursionError):
        return text
    return value


@click.command()
@flow_argument
@database_option
def pause(flow: str, database: str) -> None:
    """Let nothing more of a flow be claimed; what runs goes on."""
    value(database, "select conveyor.pause_flow(p_flow_name => %s)", [flow])
    click.echo(f"{flow} is paused")


@click.command()
@flow_argument
@database_option
def resume(flow: str, database: str) -> None:
    """Let a paused flow be claimed again."""
    value(database, "select conveyor.resume_flow(p_flow_name => %s)", [flow])
    click.echo(f"{flow} runs")


@click.command()
@flow_argument
@click.option("--older-than", type=SECONDS, required=True, help="Completed longer ago than this, such as 720h.")
@click.option(
    "--batch", type=click.IntRange(1, 1000000), default=10000, show_default=True, help="Records in one transaction."
)
@yes_option
@database_option
@json_option
def purge(flow: str, older_than: float, batch: int, yes: bool, database: str, as_json: bool) -> None:
    """Delete completed records for good, in batches; without --yes only says what it would do."""
    if not yes:
        text = f"would delete the records of {flow} that were completed over {older_than:g} s ago; add --yes to do it"
        say(as_json, {"purged": 0}, text)
        return
    query = """
        select conveyor.purge_records(
            p_flow_name => %s, p_older_than => make_interval(secs => %s), p_limit => %s::integer
        ) as count
    """
    total = 0
    with DatabaseManager(database, pool_size=1) as manager:
        while True:
            [row] = manager.execute_query(query, [flow, older_than, batch])
            total += row["count"]
            if row["count"] < batch:
                break
            click.echo(f"{total} so far", err=True)
    say(as_json, {"purged": total}, f"{total} records were deleted")


@click.command()
@database_option
@json_option
def health(database: str, as_json: bool) -> None:
    """Check database and queue; exit code 0 healthy, 1 degraded, 2 unhealthy: for container probes."""
    with DatabaseManager(database, pool_size=1) as manager:
        found = DistributedProcessor(manager).health_check()
    lines = [found["status"], *found["problems"]]
    lines += [f"{name}: {entry['error']}" for name, entry in found["databases"].items() if "error" in entry]
    say(as_json, found, "\n".join(lines))
    raise SystemExit({"healthy": 0, "degraded": 1}.get(found["status"], 2))


@click.command()
@database_option
@json_option
def diagnose(database: str, as_json: bool) -> None:
    """Say what is wrong, the worst first, and which function mends it; exit code 0 nothing, 1 warnings, 2 critical."""
    with DatabaseManager(database, pool_size=1) as manager:
        found = distributed_processing_diagnostics(True, False, database=manager)
    lines = [
        f"{issue}\n    {remedy}" for issue, remedy in zip(found["issues_found"], found["recommendations"], strict=True)
    ]
    say(as_json, found, "\n".join(lines) or "nothing is wrong")
    raise SystemExit({"none": 0, "notice": 0, "warning": 1}.get(found["worst_severity"], 2))


COMMANDS = [
    *(enqueue, status, failed, show, reset, requeue, cancel, cleanup, maintain),
    *(configure, pause, resume, purge, health, diagnose),
]
