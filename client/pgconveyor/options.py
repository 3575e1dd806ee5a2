"""What several commands have in common."""

from __future__ import annotations

import re

import click

from pgconveyor.conninfo import is_sqlserver

__all__ = ["ASKED", "SECONDS", "database_option", "json_option", "yes_option"]

ASKED = "pgconveyor.asked"  # in the meta of contexts: the parameters of a command that is to print JSON

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST = 36000 * 86400.0  # 100 years as intervals are compared, of 360 days; the server takes no longer lease


class _Seconds(click.ParamType[float]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", str(value).strip())
        if found is None:
            self.fail(f"{value!r}: give a time such as 60s, 5m, 1h, 30d or 500ms", param, ctx)
        seconds = float(found[1]) * _UNITS[found[2]]
        if seconds > _MOST:
            self.fail(f"{str(value)[:100]!r}: give at most 36000d", param, ctx)
        return seconds


SECONDS = _Seconds()


def _with_queue(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if is_sqlserver(name):
        raise click.BadParameter(f"{name} is a SQL Server: give the name of the queue's PostgreSQL")
    return name


database_option = click.option(
    "--database",
    metavar="NAME",
    default="rpa_db",
    show_default=True,
    callback=_with_queue,
    help="The database, as the configuration names it.",
)


def _note(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    if value:
        ctx.meta[ASKED] = ctx.params  # which is being filled
    return value


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_note, help="Print one JSON document, errors too."
)

yes_option = click.option("--yes", is_flag=True, help="Do it; without this nothing is changed.")
