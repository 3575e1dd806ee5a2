"""Who starts the server, how many at once, and what becomes of it when they end."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from embedded_kit import (
    WAIT,
    Make,
    is_locked,
    on_linux,
    starter,
    wait_until,
)
from pgconveyor.embedded import EmbeddedServer


class TestStarters:
    def test_the_server_outlives_its_starter_and_nothing_is_printed(self, directory: Path, make: Make) -> None:
        process = starter(directory)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
        status = make().status()
        assert status.running
        assert os.getsid(status.pid) not in (os.getsid(0), process.pid)

    def test_the_server_outlives_the_killing_of_its_starter(self, server: EmbeddedServer) -> None:
        server.stop()
        with starter(server.directory, WAIT) as process:
            assert process.stdout.readline() == "started\n"
            before = server.status()
            os.killpg(process.pid, signal.SIGKILL)
        assert server.status() == before
        assert server.stop() is True

    @on_linux
    def test_die_with_parent_dies_with_a_killed_parent(self, server: EmbeddedServer) -> None:
        server.stop()
        since = (server.directory / "log").stat().st_size
        with starter(server.directory, WAIT, die_with_parent=True) as process:
            assert process.stdout.readline() == "started\n"
            assert server.status().running
            process.kill()
        wait_until(lambda: not is_locked(server.directory / "alive"))
        assert b"database system is shut down" in (server.directory / "log").read_bytes()[since:]
        assert server.start().status().running

    def test_die_with_parent_is_over_when_the_parent_has_ended(self, server: EmbeddedServer) -> None:
        server.stop()
        with starter(server.directory, WAIT, die_with_parent=True) as process:
            assert process.stdout.readline() == "started\n"
            assert server.status().running
            assert process.communicate(timeout=60) == ("", "")
        assert not is_locked(server.directory / "alive")

    def test_die_with_parent_can_be_stopped_and_started_before(self, directory: Path) -> None:
        process = starter(directory, "server.stop(); server.start(); server.stop()", die_with_parent=True)
        assert process.communicate(timeout=60) == ("", "")
        assert not is_locked(directory / "alive")

    def test_many_processes_that_start_at_once_share_one_server(self, directory: Path) -> None:
        after = "print(server.status().pid, server.dsn())"
        processes = [starter(directory, after) for _ in range(4)]
        answers = {process.communicate(timeout=60) for process in processes}
        assert len(answers) == 1
        [(said, complaint)] = answers
        assert said
        assert not complaint

    def test_a_start_whose_starter_was_killed_is_finished_by_the_next(self, server: EmbeddedServer) -> None:
        server.stop()
        with starter(server.directory) as process:
            wait_until(lambda: is_locked(server.directory / "alive"))
            process.kill()
        assert server.start().status().running

    def test_the_lock_of_start_is_not_left_with_the_server(self, server: EmbeddedServer) -> None:
        assert not is_locked(server.directory / "lock")
        assert is_locked(server.directory / "alive")

    def test_a_start_that_has_to_wait_too_long_for_another_says_so(self, server: EmbeddedServer) -> None:
        with (server.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(RuntimeError, match="another process"):
                server.start(timeout=0.1)
