"""The handler of docker-compose.yml's worker. Put yours beside it, and name it in the service's command."""

from typing import Any


def greet(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload without a name is an error, which fails its record and nothing else."""
    return {"greeting": f"Hello, {payload['name']}"}
