"""A Prefect API that is silent, slow or wrong: it costs a second once, is logged once, and nothing is quoted."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from pgconveyor import prefect_values
from pgconveyor.prefect_values import PrefectApi, secret_name, variable_name

VALUE = b'HTTP/1.0 200 OK\r\n\r\n{"name": "a", "value": 7}'
MISSING = b'HTTP/1.0 404 Not Found\r\n\r\n{"detail": "Variable not found."}'


class Server:
    """Answers each connection with `answer`: bytes, or None for silence; keeps what it was sent."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.requests: list[bytes] = []
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._held.append(peer)
                self.requests.append(peer.recv(10000))
                if self.answer is not None:
                    peer.sendall(self.answer)
                    peer.close()

    def api(self, **settings: str) -> PrefectApi:
        return PrefectApi({"PREFECT_API_URL": self.url, **settings})

    def close(self) -> None:
        for sock in [self._listener, *self._held]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let this many seconds pass for the API."""
    ahead = [0.0]
    monkeypatch.setattr(prefect_values, "monotonic", lambda: time.monotonic() + ahead[0])

    def forward(seconds: float) -> None:
        ahead[0] += seconds

    return forward


@contextmanager
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float | None]]:
    """How long readers were ready to wait, instead of how long this busy machine let them."""
    asked: list[float | None] = []
    join = Thread.join
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "join", lambda self, timeout=None: asked.append(timeout) or join(self, timeout))
        yield asked


def test_silence_is_waited_for_once_and_logged_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = server.api()
    with waits(monkeypatch) as asked:
        assert [api.variable(f"global__{n}") for n in range(100)] == [None] * 100
        assert [api.secret(f"global--{n}") for n in range(100)] == [None] * 100
    assert asked == [1.0]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert server.url in record.getMessage()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "RemoteDisconnected"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>hunter2</html>", "JSONDecodeError"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"hunter2": 1}', "KeyError"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "TypeError"),
        (b'HTTP/1.0 404 Not Found\r\n\r\n{"detail": "Not Found"}', "HTTP 404"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n<html>", "JSONDecodeError"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n{}", "HTTP 401"),
        (b"HTTP/1.0 503 hunter2\r\n\r\n{}", "HTTP 503"),
        (b"HTTP/1.0 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "HTTP 307"),
    ],
)
def test_a_wrong_answer_is_no_answer(server: Server, caplog: pytest.LogCaptureFixture, answer: bytes, why: str) -> None:
    server.answer = answer
    api = server.api(PREFECT_API_KEY="hunter2")
    assert [api.variable("global__a"), api.variable("global__b")] == [None, None]
    assert (api.state, len(caplog.records), len(server.requests)) == (why, 1, 1)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/api", "http://u:hunter2@127.0.0.1:1/api", "file:///etc", "nonsense", "http://[", ""]
)
def test_a_wrong_url_is_no_answer(caplog: pytest.LogCaptureFixture, url: str) -> None:
    api = PrefectApi({"PREFECT_API_URL": url})
    assert [api.variable("global__a"), api.variable("global__b")] == [None, None]
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text + str(api) + repr(api) + api.state


def test_an_answer_counts_for_a_minute_and_the_last_one_when_there_is_none(
    server: Server, clock: Callable[[float], None]
) -> None:
    api, server.answer = server.api(), VALUE
    assert [api.variable("a"), api.variable("a")] == [7, 7]
    assert len(server.requests) == 1
    server.answer = VALUE.replace(b"7", b"8")
    clock(61)
    assert api.variable("a") == 8
    server.answer = MISSING
    clock(61)
    assert api.variable("a") is None
    server.answer = VALUE
    clock(61)
    assert api.variable("a") == 7
    server.answer = b""
    clock(61)
    assert [api.variable("a"), api.variable("a")] == [7, 7]
    assert len(server.requests) == 5


def test_when_it_is_back_nobody_has_waited_for_it(
    server: Server,
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., object],
) -> None:
    caplog.set_level(logging.INFO)
    api, server.answer = server.api(), b""
    assert api.variable("a") is None
    server.answer = VALUE
    assert api.variable("a") is None
    assert len(server.requests) == 1
    clock(61)
    with waits(monkeypatch) as asked:
        wait_until(lambda: api.variable("a") == 7)
    assert asked == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"PREFECT_API_KEY": "pnu_1"}, b"Authorization: Bearer pnu_1\r\n"),
        (
            {"PREFECT_API_AUTH_STRING": "admin:pass", "PREFECT_API_KEY": "pnu_1"},
            b"Authorization: Basic YWRtaW46cGFzcw==",
        ),
    ],
)
def test_it_says_who_asks(server: Server, settings: dict[str, str], header: bytes) -> None:
    server.answer = VALUE
    assert server.api(**settings).variable("a") == 7
    [request] = server.requests
    assert header in request
    assert request.startswith(b"GET /api/variables/name/a HTTP")


def test_an_installation_without_prefect_never_imports_it(server: Server) -> None:
    code = """
import importlib, pkgutil, sys
sys.modules["prefect"] = None  # importing it would be an error
import core, pgconveyor
for package in (core, pgconveyor):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name.endswith("flow_template"):
            try:
                importlib.import_module(module.name)
            except ImportError as exc:
                assert "pip install 'pgconveyor[prefect]'" in str(exc)
            else:
                raise AssertionError(module.name)
        elif not module.name.endswith("__main__"):
            importlib.import_module(module.name)
del sys.modules["prefect"]
from core.config import ConfigManager
assert ConfigManager("rpa1").get_variable("nothing", 5) == 5
assert ConfigManager("rpa1").get_secret("nothing") is None
assert not [name for name in sys.modules if name.partition(".")[0] == "prefect"]
"""
    env = {"PREFECT_API_URL": server.url, "PATH": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env | python_path(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("without it") == (1 if prefect_values.is_installed() else 0)


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path.endswith("/client"))}


@pytest.mark.parametrize(
    ("parts", "variable", "secret"),
    [
        (["Development", "RPA1", "api_key"], "development__rpa1__api_key", "development--rpa1--api-key"),
        (["global", "key"], "global__key", "global--key"),
        (["prod-eu", "global", "key"], "prod-eu__global__key", "prod-eu--global--key"),
        (["dev", "a-b_c", "key"], "dev__a-b_c__key", None),
        (["dev", "a__b", "key"], None, None),
        (["dev", "a--b", "key"], "dev__a--b__key", None),
        (["dev", "_a", "key"], None, None),
        (["dev", "a-", "key"], "dev__a-__key", None),
        (["dev", "my flow", "key"], None, None),
        (["dev", "größe", "key"], None, None),
        (["dev", "a/../b?x=1", "key"], None, None),
        (["dev", "a.b", "key"], None, None),
        (["dev", "a" * 300, "key"], None, None),
    ],
)
def test_a_name_that_could_be_read_two_ways_is_none(parts: list[str], variable: str | None, secret: str | None) -> None:
    assert (variable_name(parts), secret_name(parts)) == (variable, secret)
