"""The command `pgconveyor worker`."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pgconveyor.options import SECONDS, database_option

if TYPE_CHECKING:
    from pgconveyor.worker import Worker

__all__ = ["Invocation", "worker"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the command was called, so that it can be called again in other processes."""

    arguments: Sequence[str]
    begun: Callable[[], object] | None = None  # in such a process: to be called when it works


@click.command()
@click.option("--flow", "flows", metavar="NAME", required=True, multiple=True, help="A flow to work on; repeatable.")
@click.option(
    "--handler",
    "handlers",
    metavar="MODULE:FUNCTION",
    required=True,
    multiple=True,
    help="Called for each record, as function(payload) or function(record, context). One for all flows, or one for"
    " each, in their order.",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Handlers that run at the same time, in threads.",
)
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes, each with its threads: for handlers that compute. One that dies is replaced.",
)
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Records one claim takes at most.",
)
@click.option(
    "--lease", type=SECONDS, default="60s", show_default=True, help="A claim lasts so long without a heartbeat."
)
@click.option("--poll", type=SECONDS, default="5s", show_default=True, help="Pause between looks at an empty queue.")
@click.option(
    "--grace", type=SECONDS, default="30s", show_default=True, help="Wait so long for running handlers when stopped."
)
@click.option(
    "--handler-timeout",
    type=SECONDS,
    help="Give up a handler that neither returns nor calls context.heartbeat() for so long.  [default: never]",
)
@click.option("--once", is_flag=True, help="End when no record is ready.")
@click.option("--source", metavar="NAME", help="A database for context.source, as the configuration names it.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="One line per event."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Payloads are shown at debug alone.",
)
@database_option
@click.pass_obj
def worker(
    invocation: Invocation,
    /,
    flows: Sequence[str],
    handlers: Sequence[str],
    processes: int,
    database: str,
    source: str | None,
    log_format: str,
    log_level: str,
    **options: Any,
) -> None:
    """
    Work on the records of one or several flows, in turn.

    Records are claimed in batches, of about two seconds of work at most, and handlers run in threads. While a record is
    here its claim is extended; when this worker dies, the claim ends with its lease, and somebody else gets the
    record. A handler that was given up (--handler-timeout) keeps its thread until it returns; when that has happened to
    all threads, the worker ends.

    SIGTERM or Ctrl-C drains: what has not started goes back, what runs is finished, answers are sent. A second
    one gives everything back at once.

    Exit codes: 0 drained or done; 1 records were still running and were given back, every handler was given up, or it
    could not begin; 2 wrong usage.
    """
    from pgconveyor.database import DatabaseManager
    from pgconveyor.handlers import load
    from pgconveyor.logs import set_up
    from pgconveyor.worker import Worker

    if len(set(flows)) < len(flows):
        raise click.UsageError("--flow names a flow twice")
    if len(handlers) not in (1, len(flows)):
        raise click.UsageError(f"{len(handlers)} --handler for {len(flows)} --flow: give one for all, or one for each")
    set_up(log_format, log_level)
    if processes > 1 and invocation.begun is None:
        from pgconveyor.processes import Processes

        raise SystemExit(Processes(processes, invocation.arguments).run())
    paths = handlers if len(handlers) > 1 else list(handlers) * len(flows)
    _work(
        Worker(
            database,
            {flow: load(path) for flow, path in zip(flows, paths, strict=True)},
            source=None if source is None else DatabaseManager(source, pool_size=options["concurrency"]),
            **options,
        ),
        invocation.begun or (lambda: None),
    )


def _work(this: Worker, begun: Callable[[], object]) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        this.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    done = this.run(begun)
    logger.info(
        "completed %d, failed %d, given back %d, lost %d", done.completed, done.failed, done.released, done.lost
    )
    if done.abandoned:
        # Their threads cannot be ended otherwise.
        os._exit(1)
