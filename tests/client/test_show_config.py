"""`pgconveyor config show`: what is in force, where it was said, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pgconveyor.cli import cli

URL = "postgresql://app:hunter2@db:5432/rpa_db"


def rows(*options: str, exit_code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["config", "show", "--json", *options])
    assert result.exit_code == exit_code, result.output
    return {row["setting"]: row for row in json.loads(result.stdout)}


def test_each_setting_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.env"
    path.write_text("STAGING_RPA1_BATCH_SIZE=7\nGLOBAL_DISTRIBUTED_PROCESSOR_MAX_RETRIES=9\nGLOBAL_MAX_RETRIES=4\n")
    monkeypatch.setenv("PREFECT_ENVIRONMENT", "staging")
    monkeypatch.setenv("STAGING_GLOBAL_RPA_DB_TYPE", "postgresql")
    monkeypatch.setenv("GLOBAL_RPA_DB_CONNECTION_STRING", URL)
    result = CliRunner().invoke(cli, ["--env-file", str(path), "config", "show", "--json", "--flow", "rpa1"])
    assert result.exit_code == 0
    found = {row["setting"]: (row["value"], row["source"], row["name"]) for row in json.loads(result.stdout)}
    assert found == {
        "environment": ("staging", "environment", "PREFECT_ENVIRONMENT"),
        "env file": (str(path), "environment", "PGCONVEYOR_ENV_FILE"),
        "Prefect": found["Prefect"],
        "rpa_db_type": ("postgresql", "environment", "STAGING_GLOBAL_RPA_DB_TYPE"),
        "rpa_db_connection_string": ("********", "environment", "GLOBAL_RPA_DB_CONNECTION_STRING"),
        "rpa_db_pool_size": (10, "default", None),
        "rpa_db_pool_timeout": (30, "default", None),
        "SurveyHub_type": (None, "not set", None),
        "SurveyHub_connection_string": (None, "not set", None),
        "SurveyHub_pool_size": (10, "default", None),
        "SurveyHub_pool_timeout": (30, "default", None),
        "distributed_processor.default_batch_size": (100, "default", None),
        "distributed_processor.cleanup_timeout_hours": (None, "not set", None),
        "distributed_processor.max_retries": (4, str(path), "GLOBAL_MAX_RETRIES"),
        "rpa1.distributed_batch_size": (None, "not set", None),
        "rpa1.batch_size": (7, str(path), "STAGING_RPA1_BATCH_SIZE"),
        "rpa1.lease_seconds": (60, "default", None),
        "rpa1.use_distributed_processing": (False, "default", None),
        "rpa1.distributed_percent": (100, "default", None),
        "rpa1.fall_back_to_standard": (False, "default", None),
        "rpa1.handler": (None, "not set", None),
        "batch size of rpa1": (7, str(path), "STAGING_RPA1_BATCH_SIZE"),
    }


@pytest.mark.parametrize("url", [URL, "postgresql://app:hun/ter2@db/x", "hunter2", "mssql+pyodbc://u:hunter2@h/db"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_secret_is_masked_whatever_it_is(monkeypatch: pytest.MonkeyPatch, url: str, options: list[str]) -> None:
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_SURVEYHUB_CONNECTION_STRING", url)
    result = CliRunner().invoke(cli, ["config", "show", *options])
    assert "********" in result.output
    assert "hun" not in result.output
    assert "ter2" not in result.output


def test_what_cannot_be_used_is_shown_beside_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVELOPMENT_RPA1_BATCH_SIZE", "lots")
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_POOL_SIZE", "5")
    found = rows("--flow", "rpa1", exit_code=1)
    error = "DEVELOPMENT_RPA1_BATCH_SIZE is 'lots': give a whole number"
    assert [name for name, row in found.items() if row["error"] == error] == ["rpa1.batch_size", "batch size of rpa1"]
    assert found["rpa_db_pool_size"]["value"] == 5
    assert "lots" not in json.dumps(rows())


def test_people_get_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVELOPMENT_RPA1_DISTRIBUTED_BATCH_SIZE", "50")
    result = CliRunner().invoke(cli, ["config", "show", "--flow", "rpa1"])
    lines = [line.split() for line in result.stdout.splitlines()]
    where = ["50", "environment", "DEVELOPMENT_RPA1_DISTRIBUTED_BATCH_SIZE"]
    assert ["rpa1.distributed_batch_size", *where] in lines
    assert ["batch", "size", "of", "rpa1", *where] in lines
    assert ["rpa_db_type", "-", "not", "set"] in lines
    assert {len(line) - len(line.lstrip()) for line in result.stdout.splitlines()} == {0}


def test_other_databases_are_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVELOPMENT_GLOBAL_ARCHIVE_TYPE", "postgresql")
    found = rows("--database", "archive")
    assert found["archive_type"]["value"] == "postgresql"
    assert "rpa_db_type" not in found
