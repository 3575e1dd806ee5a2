"""Configuration by environment, flow and key (contract: Configuration Reference)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from pgconveyor.casts import Setting, cast, kind_of
from pgconveyor.prefect_values import PrefectApi, current, secret_name, variable_name

__all__ = ["ENV_FILE", "ConfigManager"]

ENV_FILE = "PGCONVEYOR_ENV_FILE"

# What every source can hold, and no two of them read differently.
_ENVIRONMENT = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*|[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII | re.IGNORECASE)


class ConfigManager:
    """
    Reads settings, the most specific name first, whatever the source.

    For flow `rpa1` in environment `development`, key `batch_size` is looked for as
    `DEVELOPMENT_RPA1_BATCH_SIZE`, `DEVELOPMENT_GLOBAL_BATCH_SIZE` and `GLOBAL_BATCH_SIZE`, each in the process
    environment, then in the file that `PGCONVEYOR_ENV_FILE` names, then, where Prefect is installed and has an API,
    in the Prefect Variable `development__rpa1__batch_size` or, for a secret, the Secret block
    `development--rpa1--batch-size`, and so on. The environment is `PREFECT_ENVIRONMENT`, or `development`.
    """

    def __init__(self, flow_name: str | None = None) -> None:
        if flow_name is not None and (not isinstance(flow_name, str) or not flow_name.strip()):
            raise ValueError(f"flow_name is {flow_name!r}: give a name that is not blank, or none")
        self.flow_name = flow_name
        self.environment = os.environ.get("PREFECT_ENVIRONMENT", "").strip() or "development"
        if not _ENVIRONMENT.fullmatch(self.environment) or self.environment.lower() == "global":
            raise ValueError(
                f"PREFECT_ENVIRONMENT is {self.environment!r:.100}: give letters and digits, with single - or single _"
                " between them, and not global"
            )

    def get_variable(self, key: str, default: Any = None) -> Any:
        """
        The value of a setting, or `default`.

        It is cast to the type of an `int`, `float` or `bool` default; else it is a text, or what JSON a Prefect
        Variable holds. Raises `ValueError`, naming the variable and the value, when it cannot be.
        """
        return self._read(self.find(key), default, shown=True)

    def get_secret(self, key: str, default: Any = None) -> Any:
        """Like `get_variable`, for values that must not be shown: an error names the variable alone."""
        return self._read(self.find(key, secret=True), default, shown=False)

    def get_int(self, key: str, default: int | None = None) -> int | None:
        """A setting as a whole number; like `get_json`, with the errors of `get_variable`."""
        return default if (found := self.find(key)) is None else int(cast(found, int))

    def get_float(self, key: str, default: float | None = None) -> float | None:
        return default if (found := self.find(key)) is None else float(cast(found, float))

    def get_bool(self, key: str, default: bool | None = None) -> bool | None:
        return default if (found := self.find(key)) is None else bool(cast(found, bool))

    def get_json(self, key: str, default: Any = None) -> Any:
        """A text is read as JSON."""
        return default if (found := self.find(key)) is None else cast(found, object)

    def names(self, key: str) -> list[str]:
        """The names under which `key` is looked for in the process environment and the file, in order."""
        return [_variable(parts) for parts in self._parts(key)]

    def find(self, key: str, *, secret: bool = False) -> Setting | None:
        """Where `key` is set, and to what."""
        texts = sources_of_settings()
        api = None
        for parts in self._parts(key):
            name = _variable(parts)
            for source, values in texts.items():
                if name in values:
                    return Setting(source, name, values[name])
            api = api or current(texts.values())
            if api and (found := _in_prefect(api, parts, secret)):
                return found
        return None

    def _parts(self, key: str) -> list[tuple[str, ...]]:
        if not isinstance(key, str) or not key.strip():
            raise ValueError(f"key is {key!r}: give a name that is not blank")
        flow = [(self.environment, self.flow_name)] if self.flow_name is not None else []
        return [(*scope, key.strip()) for scope in [*flow, (self.environment, "global"), ("global",)]]

    @staticmethod
    def _read(found: Setting | None, default: Any, *, shown: bool) -> Any:
        if found is None:
            return default
        kind = kind_of(default)
        return found.value if kind is None else cast(found, kind, shown=shown)


def sources_of_settings() -> dict[str, Mapping[str, str]]:
    """The texts that are set, by where: the process environment and the named file, the stronger first."""
    path = os.environ.get(ENV_FILE)
    if not path:
        return {"environment": os.environ}
    if not Path(path).is_file():
        raise ValueError(f"{ENV_FILE} is {path!r}: there is no such file")
    return {"environment": os.environ, path: _read_env_file(path, Path(path).stat().st_mtime_ns)}


@lru_cache(maxsize=8)
def _read_env_file(path: str, _changed_at: int) -> dict[str, str]:
    with suppress(UnicodeDecodeError):
        # No interpolation: a password may hold a dollar sign.
        return {key: value for key, value in dotenv_values(path, interpolate=False).items() if value is not None}
    raise ValueError(f"{ENV_FILE} is {path!r}: the file is not UTF-8")


def _variable(parts: Sequence[str]) -> str:
    return re.sub(r"\W", "_", "_".join(parts)).upper()


def _in_prefect(api: PrefectApi, parts: Sequence[str], secret: bool) -> Setting | None:
    """Not found is also what Prefect could not hold under this name, and null, which it does not tell from missing."""
    name = secret_name(parts) if secret else variable_name(parts)
    value = None if name is None else api.secret(name) if secret else api.variable(name)
    if name is None or value is None:
        return None
    return Setting("Prefect Secret" if secret else "Prefect Variable", name, value)
