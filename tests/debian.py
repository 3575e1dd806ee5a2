"""Packages of Debian as files: fetched with lists of our own and unpacked; nothing is installed, root is not needed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def fetch(directory: Path, extension: str, *, with_missing: bool = False) -> list[Path]:
    """
    Download the newest `postgresql-NN-EXTENSION`, and if asked what it needs and the host lacks; the files.

    Raises `OSError` or `subprocess.CalledProcessError` where there is no apt, no network or no such package.
    """
    # The host's lists may be empty or stale.
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "archives" / "partial").mkdir(parents=True)
    private = ["-qq", "-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory}"]

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout

    run("apt-get", *private, "update")
    names = re.findall(rf"^postgresql-\d+-{extension}\b", run("apt-cache", *private, "search", extension), re.M)
    newest = max(names, key=lambda name: int(name.split("-")[1]), default=f"postgresql-{extension}")
    if with_missing:
        install = ["install", "-y", "--no-install-recommends", "--download-only", "-o", "Debug::NoLocking=1"]
        run("apt-get", *private, *install, newest)
    else:
        run("apt-get", *private, "download", newest)
    return [*directory.glob("*.deb"), *directory.glob("archives/*.deb")]


def unpack(debs: list[Path], target: Path) -> Path:
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", deb, target], check=True, capture_output=True)
    return target
