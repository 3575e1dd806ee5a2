"""
The flow as Prefect deploys it: importing this file registers the handlers, and the flow is pgconveyor's own.

The queue's database is configured as for any other client, in the environment of whatever runs the flow.
"""

from pgconveyor.flow_template import distributed_processing_flow
from pgconveyor.handlers import handler

__all__ = ["distributed_processing_flow", "greet"]


@handler("greetings")
def greet(payload: dict[str, str]) -> dict[str, str]:
    return {"greeting": f"Hello, {payload['name']}"}
