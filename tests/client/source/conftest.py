"""A SQL Server that is configured as SurveyHub."""

from __future__ import annotations

import io
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from tests.tds.conftest import driver, tds

from pgconveyor.cli import main
from pgconveyor.database import DatabaseManager
from tds import TdsServer

__all__ = ["driver", "tds"]


@pytest.fixture
def hub(tds: TdsServer, configure: Callable[..., None]) -> Iterator[Any]:
    """Its manager."""
    configure("SurveyHub", tds.url(Encrypt="no"), TYPE="sqlserver")
    with DatabaseManager("SurveyHub") as manager:
        yield manager


@pytest.fixture
def responses(hub: Any) -> Any:
    hub.execute_query("CREATE TABLE responses (id int PRIMARY KEY, answer nvarchar(50))")
    rows = ", ".join(f"({n}, N'answer {n}')" for n in range(100))
    hub.execute_query(f"INSERT INTO responses VALUES {rows}")
    return hub


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """The command, run in this process, which is sooner; its log is what standard error begins with."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("pgconveyor.logs.set_up", lambda *_: None)
    log = logging.StreamHandler(io.StringIO())
    logging.getLogger("pgconveyor").addHandler(log)

    def command(*arguments: object) -> Done:
        code: Any = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as exc:
            code = exc.code
        shown = capsys.readouterr()
        return Done(code or 0, shown.out, log.setStream(io.StringIO()).getvalue() + shown.err)  # type: ignore[union-attr]

    yield command
    logging.getLogger("pgconveyor").removeHandler(log)
    for number, handler in handlers.items():
        signal.signal(number, handler)
