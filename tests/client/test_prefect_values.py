"""Prefect Variables and Secret blocks as settings, against a real Prefect server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import prefect_kit
from core.config import ConfigManager
from pgconveyor.cli import cli
from pgconveyor.conninfo import DatabaseSettings
from pgconveyor.database import DatabaseManager
from pgconveyor.prefect_values import is_installed
from pgconveyor.tunables import batch_size_of

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="Prefect is not installed: pip install -e '.[dev,prefect]'"),
    pytest.mark.xdist_group("prefect"),  # one server for all
    pytest.mark.timeout(300),
]

SEED = """
import sys, json
from prefect.blocks.system import Secret
from prefect.variables import Variable
variables, secrets = json.loads(sys.argv[1])
for name, value in variables.items():
    Variable.set(name, value, overwrite=True)
for name, value in secrets.items():
    Secret(value=value).save(name, overwrite=True)
"""

VARIABLES = {
    "development__rpa1__batch_size": 7,
    "development__global__batch_size": 8,
    "global__batch_size": 9,
    "development__distributed_processor__max_retries": "5",
    "development__rpa1__use_distributed_processing": True,
    "development__global__rate": 1.5,
    "global__document": {"a": [1, None]},
    "global__json_text": '{"b": 2}',
    "global__null": None,
    "global__word": "many",
    "development__global__rpa_db_type": "postgresql",
    "development__rpa1__api_key": "a variable is not a secret",
}
SECRETS = {
    "development--rpa1--api-key": "hunter2",
    "development--global--api-key": "hunter3",
    "global--document": {"a": "hunter4"},
    "development--global--number": "hunter5",
    "development--global--rpa-db-connection-string": "hunter7",
    "development--global--other-connection-string": "postgresql://u:hun@ter6@h/db",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def seeded(home: Path) -> Iterator[str]:
    """A server that has the values above."""
    with prefect_kit.server(home) as url:
        prefect_kit.run(SEED, home, json.dumps([VARIABLES, SECRETS]), PREFECT_API_URL=url)
        yield url


@pytest.fixture(autouse=True)
def api(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", seeded)


def test_a_variable_keeps_its_type_or_takes_that_of_the_default() -> None:
    config = ConfigManager("rpa1")
    assert config.get_variable("batch_size") == 7
    assert config.get_variable("batch_size", 100) == config.get_int("batch_size") == 7
    assert config.get_variable("use_distributed_processing", False) is True
    assert config.get_float("rate") == 1.5
    assert config.get_variable("document") == config.get_json("document") == {"a": [1, None]}
    assert config.get_json("json_text") == {"b": 2}
    assert config.get_variable("null", "default") == "default"
    assert config.get_variable("nothing", 3) == 3
    assert ConfigManager().get_variable("batch_size") == ConfigManager("rpa2").get_variable("batch_size") == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEVELOPMENT_RPA1_BATCH_SIZE", "70"), ("DEVELOPMENT_GLOBAL_BATCH_SIZE", 7), ("GLOBAL_BATCH_SIZE", 7)],
)
def test_the_more_specific_name_wins_and_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setenv(name, "70")
    assert ConfigManager("rpa1").get_variable("batch_size") == value


def test_the_file_comes_before_prefect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "s.env").write_text("DEVELOPMENT_RPA1_BATCH_SIZE=71\nGLOBAL_WORD=few\n")
    monkeypatch.setenv("PGCONVEYOR_ENV_FILE", str(tmp_path / "s.env"))
    assert ConfigManager("rpa1").get_variable("batch_size", 1) == 71
    assert ConfigManager("rpa1").get_variable("word") == "few"


def test_the_file_may_say_where_prefect_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seeded: str) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    (tmp_path / "s.env").write_text(f"PREFECT_API_URL={seeded}\n")
    monkeypatch.setenv("PGCONVEYOR_ENV_FILE", str(tmp_path / "s.env"))
    assert ConfigManager("rpa1").get_variable("batch_size") == 7


def test_a_wrong_type_names_the_prefect_variable_and_its_value() -> None:
    with pytest.raises(ValueError, match=r"^Prefect Variable global__word is 'many': give a whole number$"):
        ConfigManager("rpa1").get_variable("word", 1)
    with pytest.raises(ValueError, match=r"^Prefect Variable development__global__rate is '1.5': give a whole number$"):
        ConfigManager("rpa1").get_variable("rate", 1)


def test_secrets_come_from_secret_blocks_alone_and_variables_never() -> None:
    assert ConfigManager("rpa1").get_secret("api_key") == "hunter2"
    assert ConfigManager("rpa2").get_secret("API_KEY") == "hunter3"
    assert ConfigManager("rpa1").get_secret("document") == {"a": "hunter4"}
    assert ConfigManager("rpa1").get_secret("batch_size") is None
    assert ConfigManager("rpa2").get_variable("api_key") is None


def test_no_secret_is_shown(shown: Callable[[BaseException], str]) -> None:
    config = ConfigManager("rpa1")
    with pytest.raises(
        ValueError, match=r"^Prefect Secret development--global--number is not a whole number$"
    ) as caught:
        config.get_secret("number", 1)
    assert "hunter5" not in shown(caught.value)
    assert "hunter2" not in repr(config.find("api_key", secret=True))
    result = CliRunner().invoke(cli, ["config", "show", "--database", "other", "--json"])
    assert "Prefect Secret" in result.output
    assert "ter6" not in result.output


def test_a_connection_string_may_be_a_secret(
    dsn: str, seeded: str, monkeypatch: pytest.MonkeyPatch, shown: Callable[[BaseException], str], home: Path
) -> None:
    document = json.dumps([{}, {"staging--global--rpa-db-connection-string": dsn}])
    prefect_kit.run(SEED, home, document, PREFECT_API_URL=seeded)
    monkeypatch.setenv("PREFECT_ENVIRONMENT", "staging")
    monkeypatch.setenv("GLOBAL_RPA_DB_TYPE", "postgresql")
    with DatabaseManager("rpa_db") as manager:
        assert manager.execute_query("select current_database() = %s as here", [dsn.rpartition("/")[2]])
    monkeypatch.setenv("PREFECT_ENVIRONMENT", "development")
    monkeypatch.setenv("GLOBAL_OTHER_TYPE", "postgresql")
    secret = "Prefect Secret development--global--other-connection-string"
    with pytest.raises(ValueError, match=f"^{secret} cannot be read") as caught:
        DatabaseSettings.read("other").conninfo()
    assert "ter6" not in shown(caught.value)


def test_the_commands_go_by_them() -> None:
    result = CliRunner().invoke(cli, ["config", "show", "--json", "--flow", "rpa1"])
    found = {row["setting"]: row for row in json.loads(result.stdout)}
    assert found["Prefect"]["source"] == "answers"
    assert found["rpa_db_type"]["name"] == "development__global__rpa_db_type"
    retries = found["distributed_processor.max_retries"]
    assert (retries["value"], retries["source"]) == (5, "Prefect Variable")
    assert found["rpa1.use_distributed_processing"]["value"] is True
    assert found["batch size of rpa1"]["value"] == batch_size_of("rpa1") == 7
    assert found["rpa_db_connection_string"]["value"] == "********"


def test_a_profile_configures_the_api_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seeded: str) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    assert ConfigManager("rpa1").get_variable("batch_size") is None
    profiles = f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{seeded}"\n[profiles.b]\n'
    (tmp_path / "profiles.toml").write_text(profiles)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    assert ConfigManager("rpa1").get_variable("batch_size") == 7
    monkeypatch.setenv("PREFECT_PROFILE", "b")
    assert ConfigManager("rpa1").get_variable("batch_size") is None
    (tmp_path / "profiles.toml").write_text("nonsense")
    assert ConfigManager("rpa1").get_variable("batch_size") is None


def test_in_flows_and_event_loops_values_are_values(seeded: str, home: Path) -> None:
    code = f"""
import asyncio, os
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings
from core.config import ConfigManager

def read():
    config = ConfigManager("rpa1")
    return config.get_variable("batch_size", 100), config.get_secret("api_key")

@task
def a_task():
    return read()

@flow
def a_flow():
    return read(), a_task()

@flow
async def an_async_flow():
    return read(), await asyncio.to_thread(read)

assert read() == (100, None), read()
with temporary_settings({{PREFECT_API_URL: {seeded!r}}}):  # of Prefect alone
    assert a_flow() == ((7, "hunter2"),) * 2
    assert asyncio.run(an_async_flow()) == ((7, "hunter2"),) * 2
"""
    prefect_kit.run(code, home)
