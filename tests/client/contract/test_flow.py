"""The contract's flow and task have its signatures and decorators; what they do is in tests/client/flows."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import prefect_kit
from contract import BLOCKS, parameters
from pgconveyor.errors import error_document

# In a process of its own: Prefect stays out of this one.
DESCRIBE = """
import inspect, json, sys
from core.flow_template import distributed_processing_flow as flow, process_record_with_status as task

def plain(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: None if p.default is p.empty else p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}

with open(sys.argv[1], "w") as file:
    json.dump({
        "distributed_processing_flow": [{"name": flow.name}, plain(flow.fn)],
        "process_record_with_status": [
            {"retries": task.retries, "retry_delay_seconds": task.retry_delay_seconds}, plain(task.fn)
        ],
    }, file)
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("prefect")
    prefect_kit.run(DESCRIBE, home, str(home / "described"))
    found: dict[str, Any] = json.loads(Path(home / "described").read_text())
    return found


@pytest.mark.parametrize("name", ["distributed_processing_flow", "process_record_with_status"])
def test_signature_and_decorator_are_the_contracts(described: dict[str, Any], name: str) -> None:
    block = f"signature of {name}()"
    [function] = ast.parse(BLOCKS[block].rstrip() + ": ...").body
    assert isinstance(function, ast.FunctionDef)
    [decorator] = function.decorator_list
    assert isinstance(decorator, ast.Call)
    decorated = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    promised = {key: None if value is ... else value for key, value in parameters(block)[2].items()}
    assert described[name] == [decorated, promised]


def test_an_error_has_the_contracts_format() -> None:
    documented = ast.literal_eval(BLOCKS["format of an error"].strip())
    ours = error_document("it broke", "ValueError", record_id=123, flow_name="survey_processor")
    assert ours | {"error": documented["error"], "timestamp": documented["timestamp"]} == documented
    assert len(ours["timestamp"]) == len(documented["timestamp"])
