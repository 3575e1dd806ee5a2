"""The pages that promise something, and the code in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "ANY_LANGUAGE.md", "MIGRATING.md", "TROUBLESHOOTING_GUIDE.md")
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGES[page])


def commands(block: str) -> list[list[str]]:
    """Of a console block: the arguments of each `pgconveyor`."""
    lines = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines() if line.startswith("$ ")]
    assert all(line[0] == "pgconveyor" for line in lines)
    return [line[1:] for line in lines]


def filled(text: str, record_id: int, token: int) -> str:
    """What a page shows, for a record that is claimed."""
    return text.replace("ID", str(record_id)).replace("TOKEN", str(token))
