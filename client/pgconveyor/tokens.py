"""The claim tokens of one process, so that a record can be answered by its id alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, NamedTuple

from pgconveyor.errors import ClaimLost

__all__ = ["TokenBook"]


class _Claim(NamedTuple):
    token: int
    is_answered: bool = False
    is_ambiguous: bool = False


class TokenBook:
    """
    Remembers the last `limit` claims.

    An answered claim is kept, because the same answer may be sent again. When a record that was not answered is
    claimed a second time, two threads may be at work on it: from then on its id does not say whose answer comes.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._claims: OrderedDict[int, _Claim] = OrderedDict()
        self._lock = Lock()

    def claimed(self, records: Iterable[Mapping[str, Any]]) -> None:
        with self._lock:
            for record in records:
                before = self._claims.pop(record["id"], None)
                is_ambiguous = before is not None and (before.is_ambiguous or not before.is_answered)
                self._claims[record["id"]] = _Claim(record["claim_token"], is_ambiguous=is_ambiguous)
            while len(self._claims) > self._limit:
                self._claims.popitem(last=False)

    def answered(self, record_ids: Iterable[int], tokens: Iterable[int]) -> None:
        with self._lock:
            for record_id, token in zip(record_ids, tokens, strict=True):
                claim = self._claims.get(record_id)
                if claim is not None and claim.token == token:
                    self._claims[record_id] = claim._replace(is_answered=True)

    def get(self, record_id: int) -> int:
        """The token of this process's claim. Raises `ClaimLost` when there is none, or more than one."""
        with self._lock:
            claim = self._claims.get(record_id)
        if claim is None:
            raise ClaimLost(f"record {record_id} was not claimed by this processor: pass token=record['claim_token']")
        if claim.is_ambiguous:
            raise ClaimLost(
                f"record {record_id} was claimed again before it was answered: pass token=record['claim_token']"
            )
        return claim.token
