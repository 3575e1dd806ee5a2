"""Claims that this process holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

from pgconveyor.distributed import DistributedProcessor, Record

__all__ = ["Held", "claim_of"]

AT_ONCE = 1000  # claims that one call extends


def claim_of(record: Record) -> int:
    """A number for the claim that the record was handed out with."""
    return int(record["claim_token"] << 64 | record["id"])


@dataclass(slots=True)
class Held:
    """The records whose claims are kept alive."""

    records: dict[int, Record] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def add(self, records: Sequence[Record]) -> None:
        with self.lock:
            self.records.update((claim_of(record), record) for record in records)

    def drop(self, records: Sequence[Record]) -> None:
        with self.lock:
            for record in records:
                self.records.pop(claim_of(record), None)

    def has(self, record: Record) -> bool:
        return claim_of(record) in self.records

    def __len__(self) -> int:
        return len(self.records)

    def all(self) -> list[Record]:
        with self.lock:
            return list(self.records.values())

    def extend(self, processor: DistributedProcessor, lease: timedelta) -> None:
        """Extend all of them; a claim that was lost, or answered, is held no longer."""
        records = self.all()
        for start in range(0, len(records), AT_ONCE):
            part = records[start : start + AT_ONCE]
            ends = processor.extend_leases(part, lease)
            self.drop([record for record, end in zip(part, ends, strict=True) if end is None])
