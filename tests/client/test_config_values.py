"""Settings of a type, and what an environment or a flow may be called."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from core.config import ConfigManager


class TestCasts:
    @pytest.mark.parametrize(
        ("text", "default", "value"),
        [
            ("0", 5, 0),
            ("-3", 5, -3),
            ("1.5", 0.1, 1.5),
            ("2", 0.1, 2.0),
            *[(word, False, True) for word in ("true", "TRUE", "1", "yes", "on", "enabled")],
            *[(word, True, False) for word in ("false", "False", "0", "no", "off", "disabled")],
            ("5", None, "5"),
            ("5", "text", "5"),
        ],
    )
    def test_a_text_takes_the_type_of_the_default(
        self, monkeypatch: pytest.MonkeyPatch, text: str, default: object, value: object
    ) -> None:
        monkeypatch.setenv("GLOBAL_KEY", text)
        found = ConfigManager().get_variable("key", default)
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize(
        ("text", "default"),
        [
            *[("12x", 1), ("1.5", 1), ("true", 1), ("", 1), ("1_0", 1), ("٣", 1)],
            *[("1,5", 1.0), ("nan", 1.0), ("inf", 1.0), ("1e999", 1.0), ("1_0", 1.0), ("ture", False), ("2", True)],
        ],
    )
    def test_a_text_that_does_not_fit_is_an_error_with_variable_and_value(
        self, monkeypatch: pytest.MonkeyPatch, text: str, default: object
    ) -> None:
        monkeypatch.setenv("DEVELOPMENT_GLOBAL_KEY", text)
        with pytest.raises(ValueError, match="DEVELOPMENT_GLOBAL_KEY") as caught:
            ConfigManager("rpa1").get_variable("key", default)
        assert text in str(caught.value)

    @pytest.mark.parametrize(
        ("method", "text", "value"),
        [
            ("get_int", " 7 ", 7),
            ("get_float", "1e-3", 0.001),
            ("get_bool", "Off", False),
            ("get_json", '{"a": [1, null, "ö"]}', {"a": [1, None, "ö"]}),
            ("get_json", '"text"', "text"),
        ],
    )
    def test_a_typed_read_needs_no_default(
        self, monkeypatch: pytest.MonkeyPatch, method: str, text: str, value: object
    ) -> None:
        read = getattr(ConfigManager("rpa1"), method)
        assert read("key") is None
        assert read("key", value) == value
        monkeypatch.setenv("DEVELOPMENT_RPA1_KEY", text)
        assert (read("key"), type(read("key"))) == (value, type(value))

    @pytest.mark.parametrize(
        ("method", "text"),
        [
            *[("get_int", "seven"), ("get_float", "seven"), ("get_bool", "maybe"), ("get_json", "{a: 1}")],
            *[("get_json", "NaN"), ("get_json", "[" * 100_000), ("get_int", "9" * 5000)],
        ],
    )
    def test_its_error_has_variable_and_value(self, monkeypatch: pytest.MonkeyPatch, method: str, text: str) -> None:
        monkeypatch.setenv("GLOBAL_KEY", text)
        with pytest.raises(ValueError, match=r"^GLOBAL_KEY is ") as caught:
            getattr(ConfigManager("rpa1"), method)("key")
        assert text[:90] in str(caught.value)
        assert len(str(caught.value)) < 150

    @pytest.mark.parametrize("default", [0, False, "", [], None])
    def test_a_missing_setting_is_the_default_itself(self, default: object) -> None:
        assert ConfigManager("rpa1").get_variable("nothing", default) is default
        assert ConfigManager("rpa1").get_secret("nothing", default) is default


class TestEnvironmentNames:
    @pytest.mark.parametrize("name", ["prod", "Prod2", "prod-eu-1", "prod_eu_1", "7"])
    def test_letters_and_digits_with_single_marks_between_them(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("PREFECT_ENVIRONMENT", f" {name}\n")
        monkeypatch.setenv(f"{name.upper().replace('-', '_')}_RPA1_KEY", "found")
        assert ConfigManager("rpa1").get_variable("key") == "found"

    @pytest.mark.parametrize(
        "name", ["prod.eu", "prod eu", "a__b", "a--b", "a_b-c", "_a", "a-", "größe", "a/../b", "a;b", "٣", "Global"]
    )
    def test_others_are_named_with_a_remedy(
        self, monkeypatch: pytest.MonkeyPatch, name: str, pgconveyor: Callable[..., CompletedProcess[str]]
    ) -> None:
        monkeypatch.setenv("PREFECT_ENVIRONMENT", name)
        with pytest.raises(ValueError, match=r"^PREFECT_ENVIRONMENT is .*: give letters and digits") as caught:
            ConfigManager("rpa1")
        assert repr(name) in str(caught.value)
        if name == "prod.eu":
            done = pgconveyor("config", "show")
            assert (done.returncode, done.stderr) == (1, f"error: {caught.value}\n")

    @pytest.mark.parametrize("flow", ["my flow.2", "größe", "a-b_c", "%s", "a__b"])
    def test_a_flow_may_be_called_anything(self, monkeypatch: pytest.MonkeyPatch, flow: str) -> None:
        [name, *_] = ConfigManager(flow).names("key")
        monkeypatch.setenv(name, "found")
        assert ConfigManager(flow).get_variable("key") == "found"
