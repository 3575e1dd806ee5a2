"""Configuration by environment, flow and key (contract: Configuration Reference)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

__all__ = ["ENV_FILE", "ConfigManager"]

ENV_FILE = "PGCONVEYOR_ENV_FILE"

_TRUE = {"true", "1", "yes", "on", "enabled"}
_FALSE = {"false", "0", "no", "off", "disabled"}


class ConfigManager:
    """
    Reads settings, the most specific name first.

    For flow `rpa1` in environment `development`, key `batch_size` is looked for as
    `DEVELOPMENT_RPA1_BATCH_SIZE`, `DEVELOPMENT_GLOBAL_BATCH_SIZE` and `GLOBAL_BATCH_SIZE`, each in the process
    environment and then in the file that `PGCONVEYOR_ENV_FILE` names. The environment is `PREFECT_ENVIRONMENT`,
    or `development`.
    """

    def __init__(self, flow_name: str | None = None) -> None:
        if flow_name is not None and (not isinstance(flow_name, str) or not flow_name.strip()):
            raise ValueError(f"flow_name is {flow_name!r}: give a name that is not blank, or none")
        self.flow_name = flow_name
        self.environment = os.environ.get("PREFECT_ENVIRONMENT", "").strip() or "development"

    def get_variable(self, key: str, default: Any = None) -> Any:
        """
        The value of a setting, or `default`.

        A text is cast to the type of an `int`, `float` or `bool` default. Raises `ValueError`, naming the
        variable and the value, when it cannot be.
        """
        found = self.find(key)
        return default if found is None else _cast(*found, default, shown=True)

    def get_secret(self, key: str, default: Any = None) -> Any:
        """Like `get_variable`, for values that must not be shown: an error names the variable alone."""
        found = self.find(key)
        return default if found is None else _cast(*found, default, shown=False)

    def names(self, key: str) -> list[str]:
        """The names under which `key` is looked for, in order."""
        if not isinstance(key, str) or not key.strip():
            raise ValueError(f"key is {key!r}: give a name that is not blank")
        scopes = [f"{self.environment}_global", "global"]
        if self.flow_name is not None:
            scopes.insert(0, f"{self.environment}_{self.flow_name}")
        return [re.sub(r"\W", "_", f"{scope}_{key.strip()}").upper() for scope in scopes]

    def find(self, key: str) -> tuple[str, str] | None:
        """The name under which `key` is set, and its text."""
        sources = sources_of_settings()
        return next(
            ((name, source[name]) for name in self.names(key) for source in sources if name in source),
            None,
        )


def sources_of_settings() -> list[Mapping[str, str]]:
    """Where settings come from, the stronger first."""
    path = os.environ.get(ENV_FILE)
    if not path:
        return [os.environ]
    if not Path(path).is_file():
        raise ValueError(f"{ENV_FILE} is {path!r}: there is no such file")
    return [os.environ, _read_env_file(path, Path(path).stat().st_mtime_ns)]


@lru_cache(maxsize=8)
def _read_env_file(path: str, _changed_at: int) -> dict[str, str]:
    with suppress(UnicodeDecodeError):
        # No interpolation: a password may hold a dollar sign.
        return {key: value for key, value in dotenv_values(path, interpolate=False).items() if value is not None}
    raise ValueError(f"{ENV_FILE} is {path!r}: the file is not UTF-8")


def _cast(name: str, text: str, default: Any, *, shown: bool) -> Any:
    if not isinstance(default, bool | int | float):
        return text
    with suppress(ValueError):
        return _to_bool(text) if isinstance(default, bool) else type(default)(text)
    kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
    raise ValueError(f"{name} is {text!r}: give {kind}" if shown else f"{name} is not {kind}")


def _to_bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE
