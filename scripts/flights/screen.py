"""What the demo shows."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

console = Console(highlight=False)


def progress(what: str, *columns: ProgressColumn) -> Progress:
    """A line that changes; `columns` are more of it."""
    shown = (TextColumn(f"{what:<8}"), BarColumn(), MofNCompleteColumn(), *columns, TimeElapsedColumn())
    return Progress(*shown, console=console)
