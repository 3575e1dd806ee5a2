"""`pgconveyor config show`: what is in force, and where it was said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click

from pgconveyor import prefect_values, tunables
from pgconveyor.casts import Setting
from pgconveyor.config import ENV_FILE, ConfigManager, sources_of_settings
from pgconveyor.options import json_option

__all__ = ["config"]

DATABASES = ("rpa_db", "SurveyHub")  # those of the contract
MASK = "********"


class Row(NamedTuple):
    setting: str
    value: Any
    source: str  # default, not set, environment, a file, Prefect Variable, Prefect Secret
    name: str | None = None  # in that source
    error: str | None = None


@click.group()
def config() -> None:
    """The settings."""


@config.command("show")
@click.option("--flow", metavar="NAME", help="Also the settings of this flow.")
@click.option("--database", "databases", metavar="NAME", multiple=True, default=DATABASES, help="Of this database.")
@json_option
def show(flow: str | None, databases: tuple[str, ...], as_json: bool) -> None:
    """
    Show each setting that is in force and where it comes from, secrets masked.

    Exit code 1 when one cannot be used.
    """
    rows = [*_origins(flow), *(row for name in databases for row in _of_database(name)), *_of_flows(flow)]
    rows.insert(2, _prefect())  # asked last, so that it says whether there were answers
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows]))
    else:
        _print(rows)
    raise SystemExit(any(row.error for row in rows))


def _print(rows: list[Row]) -> None:
    texts = [["-" if row.value is None else str(row.value), " ".join(filter(None, row[2:4]))] for row in rows]
    for row, (text, source) in zip(rows, texts, strict=True):
        line = f"{row.setting:{max(len(r.setting) for r in rows)}}  {text:{max(len(t[0]) for t in texts)}}  {source}"
        click.echo(f"{line.rstrip()}{f'  ({row.error})' if row.error else ''}")


def _origins(flow: str | None) -> Iterator[Row]:
    manager = ConfigManager(flow)
    is_set = os.environ.get("PREFECT_ENVIRONMENT", "").strip()
    yield Row("environment", manager.environment, *(("environment", "PREFECT_ENVIRONMENT") if is_set else ("default",)))
    path = os.environ.get(ENV_FILE) or None
    yield Row("env file", path, *(("environment", ENV_FILE) if path else ("not set",)))


def _prefect() -> Row:
    if not prefect_values.is_installed():
        return Row("Prefect", None, "is not installed")
    api = prefect_values.current(sources_of_settings().values())
    return Row("Prefect", None, "has no API configured") if api is None else Row("Prefect", str(api), api.state)


def _of_database(name: str) -> Iterator[Row]:
    manager = ConfigManager()
    for key, secret in (f"{name}_type", False), (f"{name}_connection_string", True):
        found = manager.find(key, secret=secret)
        yield _row(key, MASK if secret and found else found.text if found else None, found)
    for tunable in (tunables.pool_size(name), tunables.pool_timeout(name)):
        yield _read(tunable.key, tunable.read, None)


def _of_flows(flow: str | None) -> Iterator[Row]:
    for tunable in (tunables.DEFAULT_BATCH_SIZE, tunables.TIMEOUT, tunables.RETRIES):
        yield _read(f"{tunables.PROCESSOR}.{tunable.key}", tunable.read, tunables.PROCESSOR)
    if flow is None:
        return
    for tunable in (
        *tunables.FLOW_BATCH_SIZES,
        tunables.LEASE,
        tunables.USE,
        tunables.PERCENT,
        tunables.FALL_BACK,
    ):
        yield _read(f"{flow}.{tunable.key}", tunable.read, flow)
    found = ConfigManager(flow).find("handler")
    yield _row(f"{flow}.handler", found.text if found else None, found)
    yield _read(f"batch size of {flow}", tunables.batch_size, flow)


def _read(setting: str, read: Callable[[Any], tunables.Found], flow: str | None) -> Row:
    try:
        return _row(setting, *read(flow))
    except ValueError as exc:
        return Row(setting, None, "cannot be used", error=str(exc))


def _row(setting: str, value: Any, found: Setting | None) -> Row:
    if found is not None:
        return Row(setting, value, found.source, found.name)
    return Row(setting, value, "not set" if value is None else "default")
