"""A SQL Server that is configured as SurveyHub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.tds.conftest import driver, tds

from ingest_kit import Survey
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


@pytest.fixture(params=["id", "rowversion"])
def survey(request: pytest.FixtureRequest, hub: Any, rpa_db: DatabaseManager, conn: psycopg.Connection) -> Survey:  # noqa: ARG001  configures the database
    """An empty table of it, read by either kind of key."""
    return Survey(hub, conn, request.param)
