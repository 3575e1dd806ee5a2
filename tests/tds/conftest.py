"""The server for tests, and real connections to it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tds import TdsServer

try:
    import pyodbc
except ImportError as exc:  # the wheel has no unixODBC
    pyodbc = None
    WHY = f"pyodbc cannot be imported ({exc}); as root: apt-get install libodbc2 tdsodbc odbcinst"
else:
    WHY = "no FreeTDS; as root: apt-get install tdsodbc odbcinst" if "FreeTDS" not in pyodbc.drivers() else ""

Connect = Callable[..., Any]


@pytest.fixture(autouse=True)
def driver() -> None:
    if WHY:
        wanted = ("REQUIRE_ODBC", "REQUIRE_REAL_SQLSERVER", "TEST_SQLSERVER_URL")
        assert not any(map(os.environ.get, wanted)), WHY
        pytest.skip(WHY)


@pytest.fixture
def tds(empty_dsn: str) -> Iterator[TdsServer]:
    with TdsServer(empty_dsn) as server:
        yield server


@pytest.fixture
def connect(tds: TdsServer) -> Iterator[Connect]:
    """Connect by pyodbc and FreeTDS; options are ODBC's, `autocommit` and `timeout` pyodbc's."""
    opened = []

    def connect(*, autocommit: bool = True, timeout: int = 10, **options: str) -> Any:
        words = {
            "DRIVER": "{FreeTDS}",
            "SERVER": "127.0.0.1",
            "PORT": str(tds.port),
            "DATABASE": "survey_hub",
            "UID": tds.user,
            "PWD": f"{{{tds.password}}}",
            "TDS_Version": "7.4",
            "ClientCharset": "UTF-8",
        } | options
        conn = pyodbc.connect(
            ";".join(f"{key}={value}" for key, value in words.items()), autocommit=autocommit, timeout=timeout
        )
        conn.add_output_converter(-155, lambda raw: struct.unpack("<6hI2h", raw))  # datetimeoffset
        opened.append(conn)
        return conn

    yield connect
    for conn in opened:
        conn.close()


@pytest.fixture
def cur(connect: Connect) -> Any:
    return connect().cursor()
