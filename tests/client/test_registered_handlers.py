"""Handlers by name: @handler, or the flow's setting."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgconveyor import handlers
from pgconveyor.handlers import handler, handler_of, path_of


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "_registered", {})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write a module `surveys` where it can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda text: (tmp_path / "surveys.py").write_text(text) and None
    sys.modules.pop("surveys", None)


def test_a_decorated_function_is_the_flows_handler() -> None:
    @handler("survey_processor")
    def survey(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    assert handler_of("survey_processor") is survey


@pytest.mark.parametrize("name", ["", " ", None, 5])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="flow_name is"):
        handler(name)


def test_what_cannot_be_a_handler_is_refused() -> None:
    with pytest.raises(ValueError, match="must take"):
        handler("f")(lambda _a, _b, _c: None)


def test_a_second_handler_of_a_flow_is_refused_but_not_the_same_again() -> None:
    def make() -> Callable[[Any], Any]:
        def survey(_payload: Any) -> None: ...

        return survey

    again = make()
    handler("f")(make())
    assert handler("f")(again) is again
    with pytest.raises(ValueError, match="flow 'f' has two handlers"):
        handler("f")(lambda _payload: None)
    assert handler_of("f") is again


def test_a_setting_names_it_and_the_decorator_is_stronger(
    monkeypatch: pytest.MonkeyPatch, module: Callable[[str], None]
) -> None:
    module("def survey(payload): return payload\ndef other(payload): return None\n")
    monkeypatch.setenv("DEVELOPMENT_RPA1_HANDLER", "surveys:survey")
    assert handler_of("rpa1").__name__ == "survey"
    assert handler_of("rpa2", "surveys:other").__name__ == "other"
    assert path_of(handler_of("rpa1")) == "surveys:survey"
    handler("rpa1")(decorated := lambda _payload: None)
    assert handler_of("rpa1") is decorated


def test_a_flow_without_one_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"flow 'rpa1' has no handler: .*@handler\('rpa1'\).*DEVELOPMENT_RPA1_HANDLER"):
        handler_of("rpa1")


def test_a_wrong_path_is_named(monkeypatch: pytest.MonkeyPatch, module: Callable[[str], None]) -> None:
    module("")
    monkeypatch.setenv("DEVELOPMENT_RPA1_HANDLER", "surveys:survey")
    with pytest.raises(ValueError, match="surveys has no function 'survey'"):
        handler_of("rpa1")


def test_no_path_leads_to_what_has_no_name_in_its_module() -> None:
    assert path_of(lambda _payload: None) is None
