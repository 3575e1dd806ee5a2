"""docker-compose.yml and the Dockerfile: what they name is there, and what can run without an engine is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import sql
import sqlserver_kit
import tools
from documents import ROOT
from pgconveyor.cli import cli
from pgconveyor.config import ConfigManager
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.handlers import load
from pgconveyor.options import SECONDS

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTALL = ROOT / "scripts/compose/install.sh"
PASSWORD = 'it\'s $1, "said" \\he'
IMAGE_READS = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}  # the official image's documentation

each_service = pytest.mark.parametrize("service", SERVICES)


def mounts(service: str) -> dict[str, Path]:
    """Where the folders of the checkout are in the container."""
    split = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {where: ROOT / source for source, where, *_ in split if source.startswith(".")}


def environment(service: str) -> dict[str, str]:
    """What the container gets, the passwords filled in."""
    given = SERVICES[service]["environment"]
    return {name: re.sub(r"\$\{\w+:[?-][^}]*\}", lambda _: PASSWORD, value) for name, value in given.items()}


@each_service
def test_what_it_mounts_or_builds_is_there(service: str) -> None:
    assert bool(mounts(service)) == (service != "sqlserver")
    volumes = {volume.split(":")[0] for volume in SERVICES[service]["volumes"] if not volume.startswith(".")}
    assert volumes <= COMPOSE["volumes"].keys()
    assert [path for path in mounts(service).values() if not path.exists()] == []
    if "build" in SERVICES[service]:
        assert (ROOT / SERVICES[service]["build"] / "Dockerfile").exists()
        copied = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE)
        kept = (ROOT / ".dockerignore").read_text()
        for name in " ".join(copied).split():
            assert (ROOT / name).exists()
            assert f"!{name}\n" in kept


@each_service
def test_no_password_is_in_the_file(service: str) -> None:
    given = SERVICES[service]["environment"]
    asked = re.compile(r"\$\{\w+(:\?[^}]*|:-unset)\}")
    assert [n for n, value in given.items() if "PASSWORD" in n and not asked.fullmatch(value)] == []
    assert "password" not in conninfo_to_dict(environment("worker")["PRODUCTION_GLOBAL_RPA_DB_CONNECTION_STRING"])


def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set(SERVICES["worker"]["environment"])
    monkeypatch.setenv("PREFECT_ENVIRONMENT", SERVICES["worker"]["environment"]["PREFECT_ENVIRONMENT"])
    config = ConfigManager()
    read = {name for key in ("type", "connection_string") for name in config.names(f"rpa_db_{key}")}
    libpq = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    assert names - {"PREFECT_ENVIRONMENT"} <= read | libpq
    of_script = set(re.findall(r"\b[A-Z]+_[A-Z]+\b", INSTALL.read_text()))
    assert set(SERVICES["postgres"]["environment"]) - IMAGE_READS <= of_script


def test_the_command_parses_and_its_handler_is_in_the_mounted_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = SERVICES["worker"]["command"]
    with cli.commands[name].make_context(name, list(arguments)) as context:
        given = context.params
    [folder] = [folder for where, folder in mounts("worker").items() if f"WORKDIR {where}\n" in DOCKERFILE]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert load(given["handlers"][0])({"name": "Ada"}) == {"greeting": "Hello, Ada"}
    assert SECONDS.convert(SERVICES["worker"]["stop_grace_period"], None, None) > given["grace"]


@each_service
def test_it_listens_for_this_machine_alone(service: str) -> None:
    ports = SERVICES[service].get("ports", [])
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-(\d+)\}:\1", port)] == []


def test_who_wants_no_sql_server_is_not_asked_for_its_password() -> None:
    optional = {name: service for name, service in SERVICES.items() if "profiles" in service}
    assert optional.keys() == {"sqlserver"}
    assert ":?" not in json.dumps(optional)
    assert [name for name, service in SERVICES.items() if optional.keys() & service.get("depends_on", {}).keys()] == []


def test_the_sql_server_is_that_of_the_tests_and_refuses_to_start_without_a_password() -> None:
    assert SERVICES["sqlserver"]["image"] == sqlserver_kit.IMAGE
    [otherwise] = re.findall(r":-(\w+)\}", SERVICES["sqlserver"]["environment"]["MSSQL_SA_PASSWORD"])
    assert len(otherwise) < 8  # what its policy asks for


@pytest.mark.parametrize("code", [0, 1])
def test_the_sql_server_is_healthy_when_sqlcmd_gets_in(tmp_path: Path, code: int) -> None:
    kind, check = SERVICES["sqlserver"]["healthcheck"]["test"]
    (tmp_path / "sqlcmd").write_text(f'#!/bin/sh\nprintf "%s\\n" "$SQLCMDPASSWORD" "$@"\nexit {code}\n')
    (tmp_path / "sqlcmd").chmod(0o755)
    check = check.replace("$$", "$").replace("/opt/mssql-tools18/bin", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", check], env=os.environ | environment("sqlserver"), capture_output=True, text=True, check=False
    )
    password, *arguments = done.stdout.splitlines()
    assert (kind, password, done.returncode) == ("CMD-SHELL", PASSWORD, code)
    assert arguments == ["-C", "-b", "-S", "127.0.0.1", "-U", "sa", "-Q", "SELECT 1"]


def test_the_script_is_a_shell_script() -> None:
    assert os.access(INSTALL, os.X_OK)
    subprocess.run(["sh", "-n", INSTALL], check=True)


@pytest.fixture
def server(embedded: EmbeddedServer) -> dict[str, str]:
    """A server as the postgres image leaves it, its first database empty; how its own psql gets in."""
    given = environment("postgres")
    admin = conninfo_to_dict(embedded.ensure_database(given["POSTGRES_DB"]))
    with psycopg.connect(embedded.dsn()) as conn:
        conn.execute(f"create role {given['POSTGRES_USER']} superuser login password 'x'")
    path = f"{Path(tools.tool('psql')).parent}:{os.environ['PATH']}"
    return given | {"PGHOST": admin["host"], "PGPORT": str(admin["port"]), "PGPASSWORD": "x", "PATH": path}


def install(server: dict[str, str], tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script, what it finds in its container being where it is in the checkout."""
    text = INSTALL.read_text()
    for where, folder in mounts("postgres").items():
        text = text.replace(f"{where}/", f"{folder}/")
    (script := tmp_path / "install.sh").write_text(text)
    return subprocess.run(
        ["sh", script], env=os.environ | server | env, capture_output=True, text=True, timeout=60, check=False
    )


def worker_environment(server: dict[str, str]) -> dict[str, str]:
    given = environment("worker")
    name = "PRODUCTION_GLOBAL_RPA_DB_CONNECTION_STRING"
    return given | {name: make_conninfo(given[name], host=server["PGHOST"], port=server["PGPORT"])}


def test_the_worker_works_with_what_the_script_made(server: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):
        done = install(server, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    owner = make_conninfo(
        user=server["POSTGRES_USER"], password="x", dbname="rpa_db", host=server["PGHOST"], port=server["PGPORT"]
    )
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute("select conveyor.add_records_to_queue('greetings', '[{\"name\": \"Ada\"}, {}]')")
        command = [sys.executable, "-m", "pgconveyor", *SERVICES["worker"]["command"], "--once"]
        env = os.environ | worker_environment(server)
        subprocess.run(command, cwd=ROOT / "scripts/compose/handlers", env=env, check=True, timeout=60)
        found = conn.execute("select payload, status from processing_queue order by id").fetchall()
        assert found == [({"greeting": "Hello, Ada"}, "completed"), ({}, "failed")]
        roles = "select roleid::regrole::text from pg_auth_members where member = 'worker'::regrole"
        assert sql.column(conn, roles) == ["conveyor_worker"]


def test_without_a_password_nothing_is_installed(server: dict[str, str], tmp_path: Path, embedded: Any) -> None:
    done = install(server, tmp_path, WORKER_PASSWORD="")
    assert (done.returncode != 0, "WORKER_PASSWORD" in done.stderr) == (True, True)
    with psycopg.connect(embedded.dsn("rpa_db")) as conn:
        assert sql.value(conn, "select to_regnamespace('conveyor')") is None


OVERDUE = "update conveyor.processing_queue set lease_expires_at = now() - interval '1 hour'"


@pytest.mark.parametrize(("spoil", "code"), [("", 0), (OVERDUE, 0), ("alter role app nologin", 1)])
def test_only_unhealthy_is_unhealthy(
    embedded: EmbeddedServer, configure: Callable[..., None], spoil: str, code: int
) -> None:
    from pgconveyor.install import install

    dsn = embedded.ensure_database("rpa_db")
    with psycopg.connect(dsn) as conn:
        install(conn)
        conn.execute("create role app login password 'x' in role conveyor_worker")
        sql.one(conn)
        conn.execute(spoil)
    configure("rpa_db", make_conninfo(dsn, user="app", password="x"))
    [check] = re.findall(r"(?m)^HEALTHCHECK (?:.*\\\n)\s+CMD (.*)$", DOCKERFILE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", check], env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert ("degraded" in done.stdout) == (spoil == OVERDUE)


def test_the_entry_point_is_the_command() -> None:
    assert 'ENTRYPOINT ["pgconveyor"]' in DOCKERFILE
    assert shlex.split(re.findall(r"(?m)^USER (.*)$", DOCKERFILE)[-1]) == ["10001"]
