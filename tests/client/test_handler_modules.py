"""A handler's module that cannot be imported is an error of its path, and says what went wrong in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pgconveyor.handlers import load


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("broken_syntax", "def work(:\n", "SyntaxError"),
        ("broken_import", "from os import no_such_name\n", "ImportError"),
        ("broken_code", "1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_what_went_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str, said: str
) -> None:
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"{name}:work.*{said}"):
        load(f"{name}:work")


@pytest.mark.parametrize(
    ("path", "code", "is_the_path"),
    [
        ("nowhere_at_all:work", "", True),
        ("nowhere_at_all.below:work", "", True),
        ("here.below:work", "", True),
        ("here:work", "import nowhere_at_all\n", False),
        ("here:work", "import here_and_more\n", False),
    ],
)
def test_only_a_missing_module_of_the_path_is_looked_for_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, code: str, is_the_path: bool
) -> None:
    (tmp_path / "here.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "here", raising=False)
    with pytest.raises(ValueError, match=f"{path}.*No module named") as caught:
        load(path)
    assert ("on PYTHONPATH?" in str(caught.value)) is is_the_path
    assert ("importing it failed" in str(caught.value)) is not is_the_path
