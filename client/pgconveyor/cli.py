"""The command `pgconveyor`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click
import psycopg

from pgconveyor.config import ENV_FILE
from pgconveyor.database import DatabaseManager
from pgconveyor.operate import COMMANDS
from pgconveyor.options import SECONDS, database_option

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--env-file", type=click.Path(exists=True, dir_okay=False), help="Read settings from this .env file too.")
@click.version_option(package_name="pgconveyor", prog_name="pgconveyor")
def cli(env_file: str | None) -> None:
    """A processing queue that lives in PostgreSQL."""
    if env_file is not None:
        os.environ[ENV_FILE] = str(Path(env_file).resolve())


@cli.command()
@database_option
@click.option("--check", is_flag=True, help="Change nothing; say what an install would do. Exit code 3 if anything.")
@click.option(
    "--adopt",
    metavar="TABLE",
    help="Also move the records of this table over, such as public.processing_queue; it is renamed to …_adopted.",
)
@click.option(
    "--timezone",
    metavar="NAME",
    default="UTC",
    show_default=True,
    help="Of the times in the adopted table, such as Europe/Berlin.",
)
@click.option(
    "--search-path", is_flag=True, help="Append the schema to the database's search_path: for a database of its own."
)
def install(database: str, check: bool, adopt: str | None, timezone: str, search_path: bool) -> None:
    """
    Install or upgrade the queue in the database; again changes nothing.

    With --check, exit codes are 0 when an install would change nothing, 3 when it would, 1 when it cannot be known.
    """
    from pgconveyor.install import install as install_into
    from pgconveyor.install import set_search_path

    if check and (adopt or search_path):
        raise click.UsageError("--check changes nothing: give it alone")
    with DatabaseManager(database, pool_size=1) as manager, manager.connection() as conn:
        conn.add_notice_handler(_show_notice)
        if check:
            _check(conn)
            return
        applied = install_into(conn, adopt=adopt, timezone=timezone)
        if search_path:
            set_search_path(conn)
    click.echo(f"installed {', '.join(applied)}" if applied else "up to date; functions and grants were renewed")


def _check(conn: psycopg.Connection) -> None:
    from pgconveyor.difference import difference

    found = difference(conn)
    if found.unknown:
        click.echo(f"a newer version was here: {', '.join(found.unknown)}; this one may work with that")
    click.echo(f"pending: {', '.join(found.pending)}" if found.pending else "up to date")
    if found.pending:
        raise SystemExit(3)


def _show_notice(notice: psycopg.errors.Diagnostic) -> None:
    click.echo(f"{notice.severity}: {notice.message_primary}", err=True)
    if notice.message_hint:
        click.echo(f"HINT: {notice.message_hint}", err=True)


@cli.command()
@click.option("--flow", metavar="NAME", required=True, help="The flow whose records to work on.")
@click.option(
    "--handler",
    metavar="MODULE:FUNCTION",
    required=True,
    help="Called for each record, as function(payload) or function(record, context).",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Handlers that run at the same time, in threads.",
)
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Records to take with one claim.",
)
@click.option(
    "--lease", type=SECONDS, default="60s", show_default=True, help="A claim lasts so long without a heartbeat."
)
@click.option("--poll", type=SECONDS, default="5s", show_default=True, help="Pause between looks at an empty queue.")
@click.option(
    "--grace", type=SECONDS, default="30s", show_default=True, help="Wait so long for running handlers when stopped."
)
@click.option("--once", is_flag=True, help="End when no record is ready.")
@database_option
def worker(
    flow: str,
    handler: str,
    concurrency: int,
    batch: int,
    lease: float,
    poll: float,
    grace: float,
    once: bool,
    database: str,
) -> None:
    """
    Work on the records of a flow.

    SIGTERM or Ctrl-C drains: what has not started goes back, what runs is finished, answers are sent. A second
    one gives everything back at once.

    Exit codes: 0 drained or done; 1 records were still running and were given back, or it could not begin; 2 wrong
    usage.
    """
    from pgconveyor.handlers import load
    from pgconveyor.worker import Worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    this = Worker(
        database,
        flow,
        load(handler),
        concurrency=concurrency,
        batch=batch,
        lease=lease,
        poll=poll,
        grace=grace,
        once=once,
    )

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        this.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    done = this.run()
    click.echo(
        f"completed {done.completed}, failed {done.failed}, given back {done.released}, lost {done.lost}", err=True
    )
    if done.abandoned:
        # Their threads cannot be ended otherwise.
        os._exit(1)


@cli.group()
def embedded() -> None:
    """A PostgreSQL server of your own, for trying it out and for small installations."""


directory_option = click.option("--directory", type=click.Path(file_okay=False), help="Where its data is.")


@embedded.command()
@directory_option
def start(directory: str | None) -> None:
    """Start the server, making it when there is none; does nothing when it runs."""
    from pgconveyor.embedded import EmbeddedServer

    server = EmbeddedServer(directory).start()
    status = server.status()
    click.echo(f"PostgreSQL {status.version} on 127.0.0.1:{status.port}, data in {status.directory}")


@embedded.command()
@directory_option
def stop(directory: str | None) -> None:
    """Stop the server; the data stays."""
    from pgconveyor.embedded import EmbeddedServer

    click.echo("stopped" if EmbeddedServer(directory).stop() else "was not running")


@embedded.command()
@directory_option
def status(directory: str | None) -> None:
    """Show whether the server runs; exit code 3 when it does not."""
    from pgconveyor.embedded import EmbeddedServer

    found = EmbeddedServer(directory).status()
    if not found.running:
        click.echo(f"not running; its directory is {found.directory}")
        raise SystemExit(3)
    click.echo(f"PostgreSQL {found.version} on 127.0.0.1:{found.port}, pid {found.pid}, data in {found.directory}")


for command in COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a known error is one line and exit code 1, not a traceback."""
    try:
        cli(list(arguments) if arguments is not None else None, prog_name="pgconveyor")
    except (ValueError, OSError, RuntimeError, psycopg.Error) as exc:
        click.echo(f"error: {_in_short(exc)}", err=True)
        raise SystemExit(1) from None


def _in_short(exc: Exception) -> str:
    """What the server said and advises, without where in the functions it said it."""
    notes = getattr(exc, "__notes__", [])
    if isinstance(exc, psycopg.Error) and exc.diag.message_primary:
        advice = [exc.diag.message_hint or exc.diag.message_detail or "", *notes]
        return f"{exc.diag.message_primary}. {' '.join(advice).strip()}".rstrip()
    return " ".join([str(exc), *notes])
