"""The command `pgconveyor`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psycopg

from pgconveyor.config import ENV_FILE
from pgconveyor.conninfo import embedded_directory
from pgconveyor.database import DatabaseManager
from pgconveyor.errors import error_document
from pgconveyor.ingest import ingest
from pgconveyor.operate import COMMANDS
from pgconveyor.options import ASKED, database_option
from pgconveyor.remedies import in_short
from pgconveyor.show_config import config
from pgconveyor.work import Invocation, worker

if TYPE_CHECKING:
    from pgconveyor.embedded import EmbeddedServer, ServerStatus

__all__ = ["main"]

KNOWN = (ValueError, OSError, RuntimeError, psycopg.Error)  # errors that are a line, not a traceback


class Commands(click.Group):
    """The command; with --json one that fails also prints the contract's error document on standard output."""

    def invoke(self, ctx: click.Context) -> Any:
        asked = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):  # which are RuntimeErrors
            raise
        except (click.ClickException, *KNOWN) as exc:
            if asked:
                click.echo(json.dumps(_document(exc, ctx.meta.get(ASKED, {}))))
            raise


def _document(exc: Exception, params: Mapping[str, Any]) -> dict[str, Any]:
    names = {"flow": "flow_name", "record_id": "record_id", "ids": "record_ids"}
    context = {names[key]: value for key, value in params.items() if key in names and value is not None}
    if isinstance(exc, click.ClickException):
        return error_document(exc.format_message(), "ValueError", **context)
    return error_document(in_short(exc), type(exc).__name__, **context)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


@cli.group()
def embedded() -> None:
    """A PostgreSQL server of your own, for trying it out and for small installations."""
    from pgconveyor.embedded_access import CANNOT_BE_OVERRULED

    for name in CANNOT_BE_OVERRULED:  # this process talks to no other server
        os.environ.pop(name, None)


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """The server of --directory, else the one in which the database is configured to be, else the default one."""
    command = click.option("--directory", type=click.Path(file_okay=False), help="Where its data is.")(command)
    return database_option(command)


def server_of(directory: str | None, database: str) -> EmbeddedServer:
    from pgconveyor.embedded import EmbeddedServer

    return EmbeddedServer(directory or embedded_directory(database))


@embedded.command()
@server_options
def start(directory: str | None, database: str) -> None:
    """Start the server, making it and its database when there is none; does nothing when it runs."""
    server = server_of(directory, database).start()
    server.ensure_database(database.lower())
    describe(server, server.status(), database)


@embedded.command()
@server_options
def stop(directory: str | None, database: str) -> None:
    """Stop the server; the data stays."""
    click.echo("stopped" if server_of(directory, database).stop() else "was not running")


@embedded.command()
@server_options
def status(directory: str | None, database: str) -> None:
    """Show whether the server runs, and how psql gets in; exit code 3 when it does not run."""
    server = server_of(directory, database)
    found = server.status()
    if not found.running:
        click.echo(f"not running; its directory is {server.directory}")
        raise SystemExit(3)
    describe(server, found, database)


def describe(server: EmbeddedServer, found: ServerStatus, database: str) -> None:
    click.echo(f"PostgreSQL {found.version} on 127.0.0.1:{found.port}, pid {found.pid}, data in {found.directory}")
    click.echo(f"psql {shlex.quote(server.conninfo_without_password(database.lower()))}")


for command in [worker, ingest, config, *COMMANDS]:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None, *, begun: Callable[[], object] | None = None) -> None:
    """
    Run the command; a known error is one line and exit code 1, not a traceback.

    `begun` is given in a process of `worker --processes`: called when it works.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli(arguments, prog_name="pgconveyor", obj=Invocation(arguments, begun))
    except KNOWN as exc:
        click.echo(f"error: {in_short(exc)}", err=True)
        raise SystemExit(1) from None
