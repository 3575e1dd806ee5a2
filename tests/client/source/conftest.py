"""A SQL Server that is configured as SurveyHub: ours for tests that ask for `tds`, else the one that was chosen."""

from __future__ import annotations

import io
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from tests.tds.conftest import driver, tds

import sqlserver_kit
from ingest_kit import Survey
from pgconveyor.cli import main
from pgconveyor.database import DatabaseManager

__all__ = ["driver", "tds"]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One process has those that need a container, which takes two gigabytes of memory."""
    choice = config.stash.get(sqlserver_kit.CHOICE, None)
    for item in items if choice is not None and choice.provider == "docker" else []:
        names = getattr(item, "fixturenames", ())
        if "server_url" in names and "tds" not in names:
            item.add_marker(pytest.mark.xdist_group("sqlserver"))


@pytest.fixture(scope="session")
def sqlserver(pytestconfig: pytest.Config) -> Iterator[str | None]:
    with sqlserver_kit.start(pytestconfig.stash[sqlserver_kit.CHOICE]) as url:
        yield url


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the test's own."""
    chosen = None if "tds" in request.fixturenames else request.getfixturevalue("sqlserver")
    if chosen is None:
        yield request.getfixturevalue("tds").url(Encrypt="no")
    else:
        with sqlserver_kit.lend(chosen) as url:
            yield url


@pytest.fixture
def hub(server_url: str, configure: Callable[..., None]) -> Iterator[Any]:
    """Its manager."""
    configure("SurveyHub", server_url, TYPE="sqlserver")
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
    for handler in list(logging.getLogger().handlers):  # of commands that ran in this process before
        if isinstance(handler, logging.StreamHandler) and handler.stream.closed:
            logging.getLogger().removeHandler(handler)
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


@pytest.fixture(params=["id", "rowversion"])
def survey(request: pytest.FixtureRequest, hub: Any, rpa_db: DatabaseManager, conn: psycopg.Connection) -> Survey:  # noqa: ARG001  configures the database
    """An empty table of it, read by either kind of key."""
    return Survey(hub, conn, request.param)
