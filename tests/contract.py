"""The code of the contract, block by block (tests/client/contract/blocks.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

__all__ = ["BLOCKS", "parameters", "settings"]

_TEXT = (Path(__file__).parent / "client" / "contract" / "blocks.md").read_text()

BLOCKS: dict[str, str] = dict(re.findall(r"^## ([^\n]+)\n\n```\w+\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL))


def parameters(name: str) -> tuple[str, str | None, dict[str, object]]:
    """Function, class if it is a method, and parameters with their defaults (`...`: none) of a signature."""
    [node] = ast.parse(BLOCKS[name].rstrip() + ": ...").body
    owner = None
    if isinstance(node, ast.ClassDef):
        owner, [node] = node.name, node.body
    assert isinstance(node, ast.FunctionDef)
    found: dict[str, object] = dict.fromkeys((arg.arg for arg in node.args.args), ...)
    for arg, default in zip(reversed(node.args.args), reversed(node.args.defaults), strict=False):
        found[arg.arg] = ast.literal_eval(default)
    return node.name, owner, found


def settings(name: str) -> dict[str, str]:
    """The variables of a block of assignments."""
    return dict(re.findall(r"^(\w+)=(.*)$", BLOCKS[name], re.MULTILINE))
