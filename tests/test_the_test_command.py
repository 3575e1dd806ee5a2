"""The test command fails when any of its parts does."""

from __future__ import annotations

import re
from pathlib import Path

TEST = Path(__file__).parents[1] / "scripts/test"


def test_its_functions_are_not_called_where_set_e_does_not_hold() -> None:
    code = re.sub(r"#.*", "", TEST.read_text())
    parts = re.findall(r"^(\w+)\(\)", code, re.M)
    assert {"lint", "unit", "containers", "pooler", "odbc", "matrix"} <= set(parts)
    for part in {"lint", "unit", "containers", "pooler", "odbc", "matrix"}:
        assert not re.search(rf"\b{part} *(&&|\|\|)", code), part
