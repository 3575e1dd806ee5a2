"""The command `pgconveyor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import psycopg

from pgconveyor.config import ENV_FILE
from pgconveyor.database import DatabaseManager
from pgconveyor.operate import COMMANDS
from pgconveyor.options import database_option
from pgconveyor.work import Invocation, worker

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
@click.option(
    "--search-path", is_flag=True, help="Append the schema to the database's search_path: for a database of its own."
)
def install(database: str, search_path: bool) -> None:
    """Install or upgrade the queue in the database; again changes nothing."""
    from pgconveyor.install import install as install_into
    from pgconveyor.install import set_search_path

    with DatabaseManager(database, pool_size=1) as manager, manager.connection() as conn:
        conn.add_notice_handler(lambda notice: click.echo(f"{notice.severity}: {notice.message_primary}", err=True))
        applied = install_into(conn)
        if search_path:
            set_search_path(conn)
    click.echo(f"installed {', '.join(applied)}" if applied else "up to date; functions and grants were renewed")


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


for command in [worker, *COMMANDS]:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None, *, begun: Callable[[], object] | None = None) -> None:
    """
    Run the command; a known error is one line and exit code 1, not a traceback.

    `begun` is given in a process of `worker --processes`: called when it works.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli(arguments, prog_name="pgconveyor", obj=Invocation(arguments, begun))
    except (ValueError, OSError, RuntimeError, psycopg.Error) as exc:
        click.echo(f"error: {_in_short(exc)}", err=True)
        raise SystemExit(1) from None


def _in_short(exc: Exception) -> str:
    """What the server said and advises, without where in the functions it said it."""
    if isinstance(exc, psycopg.Error) and exc.diag.message_primary:
        return f"{exc.diag.message_primary}. {exc.diag.message_hint or exc.diag.message_detail or ''}".rstrip()
    return str(exc)
