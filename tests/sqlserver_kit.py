"""Which SQL Server the tests run against that need neither faults nor a log: TEST_SQLSERVER_URL, a container, or ours.

TEST_SQLSERVER_URL is mssql+pyodbc://user:password@host:1433/database?Keyword=value; its login may create databases.
The container is used where its image is already. REQUIRE_REAL_SQLSERVER=1 forbids ours, and lets the image be pulled.
What somebody asked for is never replaced by something else.
"""

from __future__ import annotations

import gc
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

import server
from pgconveyor.odbc import choose_driver, odbc_string, pyodbc, words_of
from pgconveyor.sqlserver import reason_of

VARIABLE, REQUIRED = "TEST_SQLSERVER_URL", "REQUIRE_REAL_SQLSERVER"
IMAGE = "mcr.microsoft.com/mssql/server:2022-latest"
START_TIMEOUT = 90  # seconds, and tries one second apart; a test has 120
LOGIN_TIMEOUT = 10


@dataclass(frozen=True)
class Choice:
    provider: str  # url, docker or ours
    why: str


CHOICE = pytest.StashKey[Choice]()


def choose() -> Choice:
    """Nothing is started yet: most runs have no test that needs it."""
    if os.environ.get(VARIABLE):
        return Choice("url", VARIABLE)
    is_required = bool(os.environ.get(REQUIRED))
    why = ""
    with _sockets_collected():
        try:
            server.prepare_engine(IMAGE, may_pull=is_required)
        except Exception as error:  # noqa: BLE001  whatever stops the container, ours does not need it
            why = f"docker is not usable: {type(error).__name__}: {error}".splitlines()[0]
    if why and is_required:
        raise RuntimeError(f"{REQUIRED} is set, but there is no SQL Server: {VARIABLE} is not set, and {why}")
    return Choice("ours", why) if why else Choice("docker", IMAGE)


@contextmanager
def start(choice: Choice) -> Iterator[str | None]:
    """The URL of the server that was chosen; none where that is ours, of which each test has its own."""
    with ExitStack() as stack:
        url = os.environ[VARIABLE] if choice.provider == "url" else None
        why = ""
        if choice.provider == "docker":
            with _sockets_collected():
                try:
                    url = stack.enter_context(_container())
                except Exception as error:
                    if os.environ.get(REQUIRED):
                        raise
                    why = f"{type(error).__name__}: {error}".splitlines()[0]
        if why:
            warnings.warn(f"no container of SQL Server, so ours: {why}", stacklevel=2)
        yield url


@contextmanager
def lend(url: str) -> Iterator[str]:
    """The URL of an empty database, which is dropped afterwards whoever is still in it."""
    name = f"pgconveyor_{secrets.token_hex(6)}"
    own = urlsplit(url)._replace(path=f"/{name}").geturl()
    if words_of(own, VARIABLE).get("DATABASE") != name:
        raise ValueError(f"{VARIABLE} says its database in an option: give mssql+pyodbc://user:password@host/database")
    with closing(_connect(url)) as conn:
        conn.execute(f"CREATE DATABASE {name}")
        try:
            yield own
        finally:
            conn.execute(f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
            conn.execute(f"DROP DATABASE {name}")


def _connect(url: str) -> Any:
    odbc, words = pyodbc(), words_of(url, VARIABLE)
    driver = choose_driver(odbc.drivers(), words.get("DRIVER"))
    try:
        return odbc.connect(odbc_string(words, driver, "pgconveyor-test"), autocommit=True, timeout=LOGIN_TIMEOUT)
    except odbc.Error as error:
        raise ConnectionError(f"{VARIABLE}: {words['SERVER']} cannot be used: {reason_of(error)}") from None


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.mssql import SqlServerContainer
    from testcontainers.core.config import testcontainers_config

    testcontainers_config.max_tries = START_TIMEOUT
    password = f"Aa1-{secrets.token_hex(8)}"
    with SqlServerContainer(IMAGE, password=password, dialect="mssql+pyodbc", dbname="master") as box:
        yield f"{box.get_connection_url()}?TrustServerCertificate=yes"


@contextmanager
def _sockets_collected() -> Iterator[None]:
    """Docker's client leaves open sockets to the collector, which would warn in some test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
