"""Prefect Variables and Secret blocks, read over Prefect's REST API; nothing here imports Prefect."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import ssl
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

__all__ = ["PrefectApi", "current", "is_installed", "secret_name", "variable_name"]

logger = logging.getLogger("pgconveyor")

PATIENCE = 1.0  # seconds that a reader waits for an answer, until one did not come
FRESH = 60.0  # seconds for which an answer is taken again, and for which a silent API is left alone

VARIABLE = "/variables/name/{}"
SECRET = "/block_types/slug/secret/block_documents/name/{}?include_secrets=true"  # noqa: S105  a path

_KEYS = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_API_SSL_CERT_FILE")


def variable_name(parts: Sequence[str]) -> str | None:
    """The Variable of environment, flow and key, such as `development__rpa1__batch_size`; None: there can be none."""
    return _joined(parts, "_", r"[a-z0-9_-]+")


def secret_name(parts: Sequence[str]) -> str | None:
    """The Secret block, such as `development--rpa1--api-key`; None: there can be none."""
    if any("-" in part and "_" in part for part in parts):
        return None
    return _joined([part.replace("_", "-") for part in parts], "-", r"[a-z0-9-]+")


def _joined(parts: Sequence[str], mark: str, allowed: str) -> str | None:
    """Joined by the mark twice. A part that begins or ends with the mark, or has it twice, could be read two ways."""
    parts = [part.lower() for part in parts]
    name = (mark * 2).join(parts)
    is_plain = all(re.fullmatch(allowed, part) and part.strip(mark) == part and mark * 2 not in part for part in parts)
    return name if is_plain and len(name) <= 255 else None


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any = field(repr=False)
    at: float


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along, to whatever host it is redirected to."""

    def redirect_request(self, *_: object) -> None:
        return None


class PrefectApi:
    """
    One Prefect API. `get` never raises, and makes a reader wait for at most `PATIENCE` in all for a silent one.

    Each name is asked for once in `FRESH` seconds. When an answer does not come, the last one counts, it is logged
    once, and from then on asking happens behind the readers' backs, until there is an answer again.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._url = settings["PREFECT_API_URL"].rstrip("/")
        self._headers = {"Accept": "application/json"}
        if login := settings.get("PREFECT_API_AUTH_STRING"):
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        elif key := settings.get("PREFECT_API_KEY"):
            self._headers["Authorization"] = f"Bearer {key}"
        self._cert_file = settings.get("PREFECT_API_SSL_CERT_FILE")
        self._lock = Lock()
        self._answers: dict[str, _Answer] = {}
        self._asking = Thread()
        self._asked_at = 0.0
        self.failure: str | None = None  # why it is taken for silent

    def __str__(self) -> str:
        """Where it is, without what a URL may say of a login."""
        with suppress(ValueError):
            parts = urlsplit(self._url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return "the Prefect API"

    @property
    def state(self) -> str:
        """For people."""
        return self.failure or ("answers" if self._answers else "was not asked")

    def variable(self, name: str) -> Any:
        """The value, any JSON; None when there is none, or no answer."""
        return self._get(VARIABLE.format(name))

    def secret(self, name: str) -> Any:
        """Likewise of a Secret block."""
        return self._get(SECRET.format(name))

    def _get(self, path: str) -> Any:
        with self._lock:
            known = self._answers.get(path)
            if known is None or monotonic() > known.at + FRESH:
                self._ask(path)
            known = self._answers.get(path)
            return known.value if known else None

    def _ask(self, path: str) -> None:
        is_silent = self.failure is not None
        if is_silent and (monotonic() < self._asked_at + FRESH or self._asking.is_alive()):
            return
        self._asked_at = monotonic()
        # A thread, because time-outs of sockets end neither a slow look-up of the host nor an answer in drops.
        self._asking = Thread(target=self._fetch, args=[path], name="pgconveyor-prefect", daemon=True)
        self._asking.start()
        if not is_silent:
            self._asking.join(PATIENCE)
            if self._asking.is_alive():
                self._fail(f"no answer within {PATIENCE:g} s")

    def _fetch(self, path: str) -> None:
        began = monotonic()
        try:
            value = self._value(path)
        except urllib.error.HTTPError as exc:
            self._fail(f"HTTP {exc.code}")
        except Exception as exc:  # noqa: BLE001  settings come from elsewhere too; the text might quote the URL
            reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
            self._fail(type(reason).__name__)
        else:
            self._answers[path] = _Answer(value, monotonic())
            if self.failure is not None and monotonic() < began + PATIENCE:
                self.failure = None
                logger.info("%s answers again", self)

    def _value(self, path: str) -> Any:
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise ValueError("no http")
        context = ssl.create_default_context(cafile=self._cert_file) if self._url.startswith("https") else None
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(self._url + path, headers=self._headers)  # noqa: S310
        try:
            with opener.open(request, timeout=PATIENCE) as response:
                document = json.load(response)
        except urllib.error.HTTPError as exc:
            with exc:
                # A path that the server does not know is a wrong URL, not a name that is missing.
                if exc.code == 404 and json.load(exc).get("detail") != "Not Found":
                    return None
                raise
        return document["data"]["value"] if "data" in document else document["value"]

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
            logger.warning("%s: %s; settings are read without it", self, why)


_apis: dict[tuple[tuple[str, str], ...], PrefectApi] = {}


def current(sources: Iterable[Mapping[str, str]]) -> PrefectApi | None:
    """The API that the sources, the stronger first, or Prefect's active profile name; None when there is none."""
    if not is_installed():
        return None
    settings = _settings([*sources, _profile()])
    if not settings.get("PREFECT_API_URL"):
        return None
    return _apis.setdefault(tuple(sorted(settings.items())), PrefectApi(settings))


@lru_cache(maxsize=1)
def is_installed() -> bool:
    return find_spec("prefect") is not None


def _settings(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """As Prefect has them, where it is loaded already: a flow may run with others than its environment says."""
    if of_prefect := getattr(sys.modules.get("prefect.settings"), "get_current_settings", None):
        api = of_prefect().api
        found = zip(_KEYS, (api.url, api.key, api.auth_string, api.ssl_cert_file), strict=True)
        return {key: getattr(value, "get_secret_value", value.__str__)() for key, value in found if value}
    return {key: source[key] for key in _KEYS for source in reversed(sources) if source.get(key)}


def _profile() -> dict[str, str]:
    # Prefect itself says what is wrong with the file; RuntimeError: this user has no home.
    with suppress(OSError, ValueError, KeyError, AttributeError, RuntimeError):
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect")
        path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
        profiles = _read_profiles(path, path.stat().st_mtime_ns)
        active = os.environ.get("PREFECT_PROFILE") or profiles["active"]
        return {key: str(value) for key, value in profiles["profiles"][active].items()}
    return {}


@lru_cache(maxsize=8)
def _read_profiles(path: Path, _changed_at: int) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
