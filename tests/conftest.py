"""One server for the run, one template database with the schema, and for each test a clone of its own."""

from __future__ import annotations

import functools
import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import pgtap
import server
import sqlserver_kit
from pgconveyor.install import install

OPTIONS = "-c plpgsql.extra_errors=all -c lock_timeout=10s -c statement_timeout=60s"


class Databases:
    """Makes the databases of one process. Their names are the run's own: runs may share a server."""

    def __init__(self, server_dsn: str, run: str) -> None:
        self.server_dsn = server_dsn
        self.admin = psycopg.connect(server_dsn, autocommit=True)
        self.run = run
        self.template = f"{run}_template"
        self._worker = f"{run}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
        self._numbers = itertools.count()
        self._used: list[str] = []

    @functools.cached_property
    def with_pgtap(self) -> str:
        dsn = self._create(f"{self._worker}_pgtap", self.template)
        with psycopg.connect(dsn) as conn:
            pgtap.load(conn)
        return dsn

    def create_template(self) -> None:
        with psycopg.connect(self._create(self.template, "template0"), options=OPTIONS) as conn:
            install(conn)

    @contextmanager
    def lend(self, template: str) -> Iterator[str]:
        """Give a database to a test. It is dropped two tests later: a drop waits for sessions just closed."""
        name = f"{self._worker}_{next(self._numbers)}"
        yield self._create(name, template)
        self._used.append(name)
        if len(self._used) > 2:
            with suppress(psycopg.errors.ObjectInUse):
                self._drop(self._used.pop(0))

    def drop_all(self) -> None:
        mine = "select d.datname from pg_database as d where starts_with(d.datname, %s)"
        for (name,) in self.admin.execute(mine, [self.run]).fetchall():
            self._drop(name)

    def _create(self, name: str, template: str) -> str:
        statement = sql.SQL("create database {} template {}")
        self.admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return make_conninfo(self.server_dsn, dbname=name)

    def _drop(self, name: str) -> None:
        self.admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


SERVER = pytest.StashKey[server.Server]()
DATABASES = pytest.StashKey[Databases]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(pgtap)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server and build the template in the one process that is not a worker of xdist."""
    config = session.config
    if config.option.collectonly:
        return
    if given := getattr(config, "workerinput", None):
        databases = config.stash[DATABASES] = Databases(given["server_dsn"], given["run"])
        config.stash[sqlserver_kit.CHOICE] = sqlserver_kit.Choice(**given["sqlserver"])
    else:
        databases = _start(config)
    config.stash[pgtap.DSN] = lambda: databases.with_pgtap


def _start(config: pytest.Config) -> Databases:
    try:
        config.stash[sqlserver_kit.CHOICE] = sqlserver_kit.choose()
        started = config.stash[SERVER] = server.start()
        run = f"pgconveyor_{os.getpid()}_{secrets.token_hex(3)}"
        databases = config.stash[DATABASES] = Databases(started.dsn, run)
        databases.create_template()
    except (RuntimeError, OSError, psycopg.Error) as error:
        raise pytest.UsageError(f"no database to test with: {type(error).__name__}: {error}") from error
    return databases


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    databases = node.config.stash[DATABASES]
    sqlserver = asdict(node.config.stash[sqlserver_kit.CHOICE])
    node.workerinput |= {"server_dsn": databases.server_dsn, "run": databases.run, "sqlserver": sqlserver}


def pytest_report_header(config: pytest.Config) -> list[str]:
    started = config.stash.get(SERVER, None)
    if started is None:
        return []
    version = config.stash[DATABASES].admin.info.parameter_status("server_version")
    sqlserver = config.stash[sqlserver_kit.CHOICE]
    return [
        f"postgres: {version} ({started.provider})",
        *(f"warning: {line}" for line in started.skipped),
        f"sqlserver: {sqlserver.provider} ({sqlserver.why})",
    ]


def pytest_unconfigure(config: pytest.Config) -> None:
    started, databases = config.stash.get(SERVER, None), config.stash.get(DATABASES, None)
    if databases is not None:
        if started is not None and started.provider == "dsn":
            databases.drop_all()
        databases.admin.close()
    if started is not None:
        started.stop()


@pytest.fixture
def databases(pytestconfig: pytest.Config) -> Databases:
    return pytestconfig.stash[DATABASES]


@pytest.fixture
def server_dsn(databases: Databases) -> str:
    """The maintenance database of the server."""
    return databases.server_dsn


@pytest.fixture
def dsn(databases: Databases) -> Iterator[str]:
    """A database of the test's own, with the schema."""
    with databases.lend(databases.template) as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    """A database of the test's own, without the schema."""
    with databases.lend("template0") as dsn:
        yield dsn


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., psycopg.Connection]]:
    """Open autocommit sessions on the test's database; a lock never granted fails instead of hanging."""
    with ExitStack() as stack:

        def connect(**kwargs: Any) -> psycopg.Connection:
            options: dict[str, Any] = {"autocommit": True, "options": OPTIONS}
            return stack.enter_context(closing(psycopg.connect(dsn, **options | kwargs)))

        yield connect


@pytest.fixture
def conn(connect: Callable[..., psycopg.Connection]) -> psycopg.Connection:
    return connect()
