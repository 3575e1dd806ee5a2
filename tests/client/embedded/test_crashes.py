"""What was killed, lost or taken meanwhile is no obstacle, and no second server starts beside one."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import psycopg
import pytest

from embedded_kit import (
    Make,
    ask,
    dispose,
    keep_a_row,
    kill,
    new_directory,
    sleeper_of_the_server,
    starter,
    wait_until,
)
from pgconveyor import embedded
from pgconveyor.embedded import EmbeddedServer


def run_until_killed(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        conn.execute("do 'begin loop end loop; end'")


class TestCrashes:
    def test_rows_survive_the_killing_of_the_postmaster(self, make: Make) -> None:
        server = make(durable=True).start()
        assert ask(server, "show fsync") == "on"
        keep_a_row(server)
        kill(server)
        assert not server.status().running
        assert make(durable=True).start().dsn() == server.dsn()
        assert ask(server, "select answer from kept") == 42

    def test_no_second_server_starts_beside_orphans_of_a_killed_one(self, server: EmbeddedServer) -> None:
        with psycopg.connect(server.dsn()) as conn:
            orphan = conn.info.backend_pid
            busy = threading.Thread(target=run_until_killed, args=[conn])
            busy.start()
            running = f"select count(*) from pg_stat_activity where pid = {orphan} and state = 'active'"
            wait_until(lambda: ask(server, running) == 1)
            os.kill(server.status().pid, signal.SIGKILL)
            with pytest.raises(RuntimeError, match="holds the directory"):
                server.start(timeout=0.5)
            os.kill(orphan, signal.SIGKILL)
            busy.join()
        assert server.start().status().running

    def test_a_stale_pid_that_another_process_got_is_no_server(self, server: EmbeddedServer) -> None:
        kill(server)
        pid_file = server.directory / "data" / "postmaster.pid"
        with sleeper_of_the_server(server) as stranger:
            pid, rest = pid_file.read_text().split("\n", 1)
            pid_file.write_text(f"{stranger.pid}\n{rest}")
            assert not server.status().running
            assert server.stop() is False
            assert server.start().status().pid not in (stranger.pid, int(pid))
            assert stranger.poll() is None
            stranger.kill()

    def test_an_empty_pid_file_does_not_stop_a_start(self, server: EmbeddedServer) -> None:
        kill(server)
        os.truncate(server.directory / "data" / "postmaster.pid", 0)
        assert server.start().status().running

    def test_the_server_of_another_directory_is_not_taken_for_ours(self, server: EmbeddedServer, make: Make) -> None:
        pid_file = server.directory / "data" / "postmaster.pid"
        stale = pid_file.read_text().splitlines()
        server.stop()
        other = make(new_directory())
        (other.directory / "password").write_text((server.directory / "password").read_text())
        try:
            theirs = other.start().status()
            stale[0], stale[3] = str(theirs.pid), str(theirs.port)
            pid_file.write_text("\n".join(stale))
            assert not server.status().running
            assert server.stop() is False
            with pytest.raises(ConnectionError, match=str(other.directory)):
                server.dsn()
            assert server.start().status().pid != theirs.pid
            assert other.status() == theirs
        finally:
            dispose(other.directory)

    def test_a_port_that_another_program_took_is_given_up_for_good(self, server: EmbeddedServer) -> None:
        keep_a_row(server)
        old = server.status().port
        server.stop()
        with socket.create_server(("127.0.0.1", old)):
            new = server.start().status().port
        assert new != old
        assert ask(server, "select answer from kept") == 42
        server.stop()
        assert server.start().status().port == new

    def test_a_port_lost_between_choice_and_use_is_chosen_again(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.stop()
        choose = embedded.free_port
        with socket.create_server(("127.0.0.1", 0)) as thief:
            taken = [thief.getsockname()[1]] * 2
            monkeypatch.setattr(embedded, "free_port", lambda port: taken.pop() if taken else choose(port))
            assert server.start().status().port != thief.getsockname()[1]
        assert not taken

    @pytest.mark.parametrize("text", ["", "no port", "99999"])
    def test_a_spoilt_note_of_the_port_does_not_stop_a_start(self, server: EmbeddedServer, text: str) -> None:
        server.stop()
        (server.directory / "port").write_text(text)
        assert server.start().status().running

    def test_an_initdb_that_was_killed_leaves_nothing_in_the_way(self, directory: Path, make: Make) -> None:
        with starter(directory) as process:
            wait_until(lambda: any(directory.glob("initdb-*/data/PG_VERSION")))
            os.killpg(process.pid, signal.SIGKILL)
        assert not (directory / "data").exists()
        assert make().start().status().running
        # Links to the binaries are there where the server's account cannot reach the wheel.
        left = {path.name for path in directory.iterdir()} - {"binaries"}
        assert left == {"alive", "data", "lock", "log", "password", "pgpass", "port"}

    def test_an_initdb_that_fails_is_shown_from_the_log(self, directory: Path, make: Make) -> None:
        broken = directory / "broken"
        broken.mkdir()
        directory.chmod(0o755)
        for name, code in (("initdb", "1"), ("postgres", "0")):
            (broken / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 18.0 says no'; exit {code}\n")
            (broken / name).chmod(0o755)
        with pytest.raises(RuntimeError, match=r"(?s)initdb failed.*says no"):
            make(directory / "server", bindir=broken).start()

    def test_a_cluster_of_another_major_is_refused_by_name(self, server: EmbeddedServer) -> None:
        major = server.status().version.split(".")[0]
        server.stop()
        version = server.directory / "data" / "PG_VERSION"
        version.write_text("9\n")
        with pytest.raises(RuntimeError, match=rf"PostgreSQL 9,.* is PostgreSQL {major}:"):
            server.start()
        version.write_text(f"{major}\n")

    def test_a_lost_password_is_said_and_not_waited_for(self, server: EmbeddedServer) -> None:
        server.stop()
        password = server.directory / "password"
        elsewhere = password.rename(server.directory / "elsewhere")
        with pytest.raises(RuntimeError, match="password is missing"):
            server.start()
        elsewhere.rename(password)
