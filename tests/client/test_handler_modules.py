"""A handler's module that cannot be imported is an error of its path, and says what went wrong in it."""

from __future__ import annotations

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
