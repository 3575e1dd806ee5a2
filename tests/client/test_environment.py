"""PG* variables: the embedded server is reached whatever they say; for other servers they are the user's will."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgconveyor.conninfo import with_defaults
from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import EmbeddedServer

Run = Callable[..., subprocess.CompletedProcess[str]]

# Each would alter a connection that does not say otherwise; from PGHOSTADDR on, each breaks that of a plain URL too.
ODD = {
    "LC_ALL": "de_DE.UTF-8",
    "PGHOST": "127.0.0.2",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "nowhere",
    "PGPASSFILE": "/nowhere",
    "PGHOSTADDR": "127.0.0.2",
    "PGSSLMODE": "require",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLCERTMODE": "require",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMAXPROTOCOLVERSION": "nonsense",
    "PGGSSENCMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGREQUIREAUTH": "none",
    "PGMINPROTOCOLVERSION": "nonsense",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGOPTIONS": "-c nonsense=1",
    "PGCLIENTENCODING": "nonsense",
    "PGCONNECT_TIMEOUT": "nonsense",
}
SERVICE = "[odd]\nhostaddr=127.0.0.2\nport=1\nsslmode=require\nchannel_binding=require\noptions=-c nonsense=1\n"


@pytest.fixture
def running(embedded: EmbeddedServer, configure: Callable[..., None]) -> EmbeddedServer:
    """The embedded server, and the queue configured to be in it."""
    embedded.ensure_database("rpa_db")
    configure("rpa_db", embedded.directory, TYPE="embedded")
    return embedded


def reach(server: EmbeddedServer) -> None:
    assert server.status().running
    assert server.start() is server
    server.ensure_database("rpa_db")
    with psycopg.connect(server.conninfo("rpa_db")) as conn:
        assert conn.execute("show client_encoding").fetchone() == ("UTF8",)


@pytest.mark.parametrize("name", ODD)
def test_no_variable_keeps_it_from_its_own_server(
    running: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, ODD[name])
    reach(running)


def test_nor_do_all_of_them_and_a_service_in_another_process(
    running: EmbeddedServer, pgconveyor: Run, tmp_path: Path
) -> None:
    (tmp_path / "services").write_text(SERVICE)
    odd = ODD | {"PGSERVICEFILE": str(tmp_path / "services"), "PGSERVICE": "odd", "PGTZ": "Asia/Kathmandu"}
    for arguments in (("embedded", "status"), ("install",), ("health",)):
        done = pgconveyor(*arguments, **odd)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert running.status().running


@pytest.mark.parametrize(("name", "value"), [("PGSERVICE", "nowhere"), ("PGTZ", "Mars"), ("PGDATESTYLE", "nonsense")])
def test_what_cannot_be_overruled_is_named_at_once(
    running: EmbeddedServer, pgconveyor: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert pgconveyor("embedded", "status", **{name: value}).returncode == 0
    monkeypatch.setenv(name, value)
    for ask in (running.status, running.start, running.dsn):
        with pytest.raises(RuntimeError, match=rf"cannot be used: .*{value}.*; unset {name}"):
            ask()


def test_records_and_times_are_the_same_in_any_encoding_style_and_zone(dsn: str) -> None:
    code = """
from datetime import UTC, datetime, timedelta
from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor

with DatabaseManager("rpa_db") as database:
    processor = DistributedProcessor(database)
    assert processor.add_records_to_queue("f", [{"name": "größe 数据"}]) == 1
    [record] = processor.claim_records_batch("f", 1, lease=timedelta(hours=1))
    assert record["payload"] == {"name": "größe 数据"}, record
    left = record["lease_expires_at"] - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=70), left
    processor.mark_record_completed(record["id"], {"name": "größe 数据"})
    assert processor.health_check()["status"] == "healthy"
"""
    names = {"TYPE": "postgresql", "CONNECTION_STRING": dsn}
    odd = {"PGCLIENTENCODING": "EUC_JIS_2004", "PGDATESTYLE": "SQL, DMY", "PGTZ": "Asia/Kathmandu"}
    environment = os.environ | odd | {f"DEVELOPMENT_GLOBAL_RPA_DB_{key}": value for key, value in names.items()}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def options_of(conn: psycopg.Connection) -> dict[str, int]:
    with socket.socket(fileno=os.dup(conn.fileno())) as sock:
        names = {"TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"}
        return {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
def test_a_silent_network_is_given_up_unless_the_connection_string_says_otherwise(
    dsn: str, rpa_db: DatabaseManager, configure: Callable[..., None]
) -> None:
    ours = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60000}
    with rpa_db.connection() as conn:
        assert options_of(conn) == ours
    configure("rpa_db", make_conninfo(dsn, keepalives_idle=7, tcp_user_timeout=5000))
    with DatabaseManager("rpa_db") as manager, manager.connection() as conn:
        assert options_of(conn) == ours | {"TCP_KEEPIDLE": 7, "TCP_USER_TIMEOUT": 5000}


def test_the_users_own_timeout_to_connect_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def timeout(conninfo: str) -> object:
        return conninfo_to_dict(with_defaults(conninfo, "a")).get("connect_timeout")

    assert timeout("host=h") == "10"
    assert timeout("host=h connect_timeout=3") == "3"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "77")
    assert timeout("host=h") is None
