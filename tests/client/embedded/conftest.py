"""Servers of a test's own, or of a module's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_kit import (
    BINDIR,
    Make,
    dispose,
    new_directory,
)
from pgconveyor.embedded import EmbeddedServer


@pytest.fixture
def directory() -> Iterator[Path]:
    path = new_directory()
    yield path
    dispose(path)


@pytest.fixture
def make(directory: Path) -> Make:
    return lambda place=directory, **options: EmbeddedServer(place, **{"durable": False, "bindir": BINDIR} | options)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    path = new_directory()
    yield path
    dispose(path)


@pytest.fixture
def server(place: Path) -> EmbeddedServer:
    """In one directory for all tests, which may stop and kill it, but not leave it beyond repair."""
    return EmbeddedServer(place, durable=False, bindir=BINDIR).start()
