"""Which setting drives what; the README's Configuration has the same as a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pgconveyor.casts import Setting, cast
from pgconveyor.config import ConfigManager

__all__ = [
    "batch_size_of",
    "cleanup_timeout_hours",
    "distributed_percent",
    "falls_back",
    "lease_of",
    "max_retries",
    "pool_size_of",
    "pool_timeout_of",
    "uses_queue",
]

PROCESSOR = "distributed_processor"  # looked for like a flow, as the contract's names have it

Found = tuple[Any, Setting | None]  # the value and where it is set; None: the default


@dataclass(frozen=True, slots=True)
class Tunable:
    """A setting of one type, `default` when it is nowhere set, `wanted` in words."""

    key: str
    kind: type
    default: Any
    least: float = 0
    most: float = float("inf")
    wanted: str = ""

    def read(self, flow_name: str | None) -> Found:
        found = ConfigManager(flow_name).find(self.key)
        if found is None:
            return self.default, None
        value = cast(found, self.kind)
        if not self.least <= value <= self.most:
            raise ValueError(f"{found.label} is {found.text!r:.100}: give {self.wanted}")
        return value, found


def _batch(key: str, default: int | None) -> Tunable:
    return Tunable(key, int, default, 1, 100000, "a number from 1 to 100000")


DEFAULT_BATCH_SIZE = _batch("default_batch_size", 100)
FLOW_BATCH_SIZES = [_batch("distributed_batch_size", None), _batch("batch_size", None)]
TIMEOUT = Tunable("cleanup_timeout_hours", float, None, 1e-6, 1e6, "hours above 0, such as 0.5")
RETRIES = Tunable("max_retries", int, 3, 0, 2**31 - 1, "a whole number from 0 up")
LEASE = Tunable("lease_seconds", float, 60.0, 1, 86400, "seconds from 1 to 86400, a day")
USE = Tunable("use_distributed_processing", bool, False)
PERCENT = Tunable("distributed_percent", float, 100.0, 0, 100, "a number from 0 to 100")
FALL_BACK = Tunable("fall_back_to_standard", bool, False)


def pool_size(database_name: str) -> Tunable:
    return Tunable(f"{database_name}_pool_size", int, 10, 1, 2**31 - 1, "a number from 1 up")


def pool_timeout(database_name: str) -> Tunable:
    return Tunable(f"{database_name}_pool_timeout", float, 30.0, 1e-6, 1e9, "seconds above 0")


def threshold(name: str) -> Tunable:
    """Of the reports; the defaults are the schema's."""
    most = 43200 if name == "window_minutes" else 10**9
    return Tunable(f"monitoring.{name}", float, None, 0, most, f"a number from 0 to {most}")


def batch_size(flow_name: str) -> Found:
    """What of its settings drives the batch size of a flow."""
    for tunable in FLOW_BATCH_SIZES:
        value, found = tunable.read(flow_name)
        if found is not None:
            return value, found
    return DEFAULT_BATCH_SIZE.read(PROCESSOR)


def batch_size_of(flow_name: str, argument: int | None = None) -> int:
    """
    The batch size of a flow: the argument, else its `distributed_batch_size`, else its `batch_size`, else
    `distributed_processor`'s `default_batch_size`, else 100. An argument is not checked: claiming does that.
    """
    return argument if argument is not None else int(batch_size(flow_name)[0])


def lease_of(flow_name: str) -> timedelta:
    """How long a claim of the Prefect flow lasts without a heartbeat."""
    return timedelta(seconds=LEASE.read(flow_name)[0])


def cleanup_timeout_hours() -> float | None:
    """After how many hours of silence an explicit clean-up takes a record back; None: it goes by leases alone."""
    value: float | None = TIMEOUT.read(PROCESSOR)[0]
    return value


def max_retries() -> int:
    """Which failed records the reset command takes: those with fewer retries."""
    return int(RETRIES.read(PROCESSOR)[0])


def uses_queue(flow_name: str) -> bool:
    """Whether a flow that can do both is to use the queue; no flow does unless it is told to."""
    return bool(USE.read(flow_name)[0])


def distributed_percent(flow_name: str) -> float:
    """How many of the records of a flow that uses the queue go there, in percent."""
    return float(PERCENT.read(flow_name)[0])


def falls_back(flow_name: str) -> bool:
    """Whether records that cannot be enqueued are processed in standard mode."""
    return bool(FALL_BACK.read(flow_name)[0])


def pool_size_of(database_name: str) -> int:
    return int(pool_size(database_name).read(None)[0])


def pool_timeout_of(database_name: str) -> float:
    return float(pool_timeout(database_name).read(None)[0])
