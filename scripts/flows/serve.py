"""
Serve the flow from this process: a run each minute, in a process of its own.

    PREFECT_API_URL=http://127.0.0.1:4200/api python scripts/flows/serve.py

Prefect starts a run some ten seconds after it is due, and each takes a second more than its records: give it large
batches, and several records a task. Work that must begin at once, or that never pauses, is for `pgconveyor worker`.
"""

from pathlib import Path

from prefect import flow

if __name__ == "__main__":
    flow.from_source(source=str(Path(__file__).parent), entrypoint="flows.py:distributed_processing_flow").serve(  # type: ignore[union-attr]
        name="greetings",
        interval=60,
        parameters={"flow_name": "greetings", "batch_size": 1000, "records_per_task": 50},
    )
