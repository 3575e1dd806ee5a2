"""Settings: the contract's names and hierarchy, the .env file, and secrets that stay secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.config import ConfigManager

HIERARCHY = ["DEVELOPMENT_RPA1_BATCH_SIZE", "DEVELOPMENT_GLOBAL_BATCH_SIZE", "GLOBAL_BATCH_SIZE"]


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a file of settings and name it."""

    def write(text: str) -> Path:
        path = tmp_path / "settings.env"
        path.write_text(text)
        monkeypatch.setenv("PGCONVEYOR_ENV_FILE", str(path))
        return path

    return write


Shown = Callable[[BaseException], str]


class TestHierarchy:
    def test_the_most_specific_name_that_is_set_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in reversed(HIERARCHY):
            monkeypatch.setenv(name, name)
            assert ConfigManager("rpa1").get_variable("batch_size") == name
            assert ConfigManager("rpa1").get_secret("batch_size") == name

    def test_without_a_flow_the_global_names_are_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(HIERARCHY[0], "of rpa1")
        assert ConfigManager().get_variable("batch_size") is None
        for name in reversed(HIERARCHY[1:]):
            monkeypatch.setenv(name, name)
            assert ConfigManager().get_variable("batch_size") == name

    def test_names_says_where_a_setting_is_looked_for(self) -> None:
        assert ConfigManager("rpa1").names("batch_size") == HIERARCHY
        assert ConfigManager().names("batch_size") == HIERARCHY[1:]

    def test_another_flow_does_not_see_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(HIERARCHY[0], "50")
        assert ConfigManager("rpa2").get_variable("batch_size", 100) == 100

    def test_prefect_environment_selects_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEVELOPMENT_RPA1_TIMEOUT", "1")
        monkeypatch.setenv("PRODUCTION_RPA1_TIMEOUT", "2")
        monkeypatch.setenv("GLOBAL_OTHER", "3")
        assert ConfigManager("rpa1").get_variable("timeout") == "1"
        monkeypatch.setenv("PREFECT_ENVIRONMENT", "production")
        assert ConfigManager("rpa1").get_variable("timeout") == "2"
        assert ConfigManager("rpa1").get_variable("other") == "3"
        monkeypatch.setenv("PREFECT_ENVIRONMENT", "staging")
        assert ConfigManager("rpa1").get_variable("timeout") is None

    @pytest.mark.parametrize(
        ("name", "text", "flow", "key", "default", "value"),
        [
            ("DISTRIBUTED_PROCESSOR_DEFAULT_BATCH_SIZE", "77", "distributed_processor", "default_batch_size", 100, 77),
            ("RPA1_DISTRIBUTED_BATCH_SIZE", "50", "rpa1", "distributed_batch_size", 10, 50),
            (
                "DISTRIBUTED_PROCESSOR_CLEANUP_TIMEOUT_HOURS",
                "2",
                "distributed_processor",
                "cleanup_timeout_hours",
                1,
                2,
            ),
            ("DISTRIBUTED_PROCESSOR_MAX_RETRIES", "5", "distributed_processor", "max_retries", 3, 5),
            ("RPA1_USE_DISTRIBUTED_PROCESSING", "true", "rpa1", "use_distributed_processing", False, True),
            ("RPA2_USE_DISTRIBUTED_PROCESSING", "false", "rpa2", "use_distributed_processing", True, False),
            ("GLOBAL_RPA_DB_TYPE", "postgresql", None, "rpa_db_type", None, "postgresql"),
            ("GLOBAL_SURVEYHUB_TYPE", "sqlserver", None, "SurveyHub_type", None, "sqlserver"),
        ],
    )
    def test_the_contracts_variables_are_found(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        text: str,
        flow: str | None,
        key: str,
        default: object,
        value: object,
    ) -> None:
        assert ConfigManager(flow).get_variable(key, default) == default
        monkeypatch.setenv(f"DEVELOPMENT_{name}", text)
        found = ConfigManager(flow).get_variable(key, default)
        assert (found, type(found)) == (value, type(value))


class TestEnvFile:
    def test_a_file_that_nobody_named_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".env").write_text("GLOBAL_KEY=from the file\n")
        monkeypatch.chdir(tmp_path)
        assert ConfigManager().get_variable("key") is None

    def test_the_named_file_is_read(self, env_file: Callable[[str], Path]) -> None:
        env_file("# settings\nexport GLOBAL_A=1\n\nGLOBAL_B='two words'\n")
        assert ConfigManager().get_variable("a", 0) == 1
        assert ConfigManager("rpa1").get_secret("b") == "two words"

    def test_the_process_environment_wins_for_the_same_name(
        self, env_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        env_file("DEVELOPMENT_GLOBAL_KEY=file\n")
        monkeypatch.setenv("DEVELOPMENT_GLOBAL_KEY", "process")
        assert ConfigManager().get_variable("key") == "process"

    def test_a_more_specific_name_in_the_file_wins(
        self, env_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        env_file("DEVELOPMENT_RPA1_KEY=file\n")
        monkeypatch.setenv("DEVELOPMENT_GLOBAL_KEY", "process")
        assert ConfigManager("rpa1").get_variable("key") == "file"
        assert ConfigManager("rpa2").get_variable("key") == "process"

    @pytest.mark.parametrize("quote", ["", "'"])
    def test_a_dollar_in_a_password_is_a_dollar(self, env_file: Callable[[str], Path], quote: str) -> None:
        url = "postgresql://u:pa$$w${HOME}$HOME@h/db"
        env_file(f"GLOBAL_URL={quote}{url}{quote}\n")
        assert ConfigManager().get_secret("url") == url

    def test_the_environment_of_the_process_stays_as_it_is(
        self, env_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        env_file("GLOBAL_KEY=file\n")
        assert ConfigManager().get_variable("key") == "file"
        monkeypatch.delenv("PGCONVEYOR_ENV_FILE")
        assert ConfigManager().get_variable("key") is None

    def test_a_missing_file_is_an_error_that_names_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGCONVEYOR_ENV_FILE", str(tmp_path / "absent.env"))
        with pytest.raises(ValueError, match="absent"):
            ConfigManager("rpa1").get_variable("key", "default")


class TestSecrets:
    def test_an_error_about_a_secret_names_the_variable_alone(
        self, monkeypatch: pytest.MonkeyPatch, shown: Shown
    ) -> None:
        monkeypatch.setenv("DEVELOPMENT_RPA1_API_KEY", "hunter2")
        with pytest.raises(ValueError, match="DEVELOPMENT_RPA1_API_KEY") as caught:
            ConfigManager("rpa1").get_secret("api_key", 1)
        assert "hunter2" not in shown(caught.value)

    def test_a_manager_does_not_show_what_it_read(self, env_file: Callable[[str], Path]) -> None:
        env_file("GLOBAL_API_KEY=hunter2\n")
        config = ConfigManager("rpa1")
        assert config.get_secret("api_key") == "hunter2"
        assert "hunter2" not in repr(config) + str(vars(config))

    def test_a_line_that_cannot_be_read_is_not_shown(
        self, env_file: Callable[[str], Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        env_file('GLOBAL_API_KEY="hunter2\nGLOBAL_OTHER=1\n')
        ConfigManager("rpa1").get_secret("api_key")
        assert "hunter2" not in caplog.text

    def test_a_file_in_another_encoding_is_not_shown(self, env_file: Callable[[str], Path], shown: Shown) -> None:
        env_file("").write_bytes("GLOBAL_API_KEY=hunter2\nGLOBAL_OTHER=größe\n".encode("latin-1"))
        with pytest.raises(ValueError, match="settings") as caught:
            ConfigManager("rpa1").get_secret("api_key")
        assert "hunter2" not in shown(caught.value)
