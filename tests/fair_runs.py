"""
Everything that can happen, from a first world on, and whether a fair run can stay among bad worlds for ever.

A step names who owes it, or None. A run is fair when nobody owes a step all the time and never makes it: weak fairness.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

World = Any  # hashable
Step = tuple[Any, Hashable, str, World]  # who acts, who owes it, what happens, the world after it


class Graph:
    """All worlds that can come about from the first; of the bad ones also the steps."""

    def __init__(self, first: World, steps: Callable[[World], Iterable[Step]], is_bad: Callable[[World], bool]) -> None:
        self.worlds, self._steps, self._parent = [first], steps, [-1]
        self._edges: dict[int, list[tuple[int, int]]] = {}  # of a bad world: the next, and the bit of who owed it
        index, bits = {first: 0}, dict[object, int]()
        for i, w in enumerate(self.worlds):  # which grows
            edges = []
            for _, owes, _, after in steps(w):
                j = index.setdefault(after, len(index))
                if j == len(self.worlds):
                    self.worlds.append(after)
                    self._parent.append(i)
                edges.append((j, bits.setdefault(owes, 1 << len(bits)) if owes is not None else 0))
            if is_bad(w):
                self._edges[i] = edges

    def violation(self) -> int | None:
        """The first world from which a fair run stays among the bad ones for ever."""
        found = [min(group) for group in self._components() if self._is_fair(set(group))]
        return min(found, default=None)

    def _is_fair(self, group: set[int]) -> bool:
        """Whether a run could stay there: no step that is owed all the time leads out, and none inside is it."""
        owed, done = -1, 0
        for i in group:
            here = 0
            for j, bit in self._edges[i]:
                here |= bit
                if j in group:
                    done |= bit
            owed &= here
        return not owed & ~done

    def _components(self) -> Iterator[list[int]]:
        """Tarjan's strongly connected components of the bad worlds, without recursion."""
        number: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on: set[int] = set()
        for root in self._edges:
            todo = [] if root in number else [(root, iter(self._edges[root]))]
            while todo:
                i, rest = todo[-1]
                if i not in number:
                    number[i] = low[i] = len(number)
                    stack.append(i)
                    on.add(i)
                for j, _ in rest:
                    if j in self._edges and j not in number:
                        todo.append((j, iter(self._edges[j])))
                        break
                    if j in on:
                        low[i] = min(low[i], number[j])
                else:
                    todo.pop()
                    if todo:
                        low[todo[-1][0]] = min(low[todo[-1][0]], low[i])
                    if low[i] == number[i]:
                        at = stack.index(i) if len(stack) < 50 else len(stack) - 1 - stack[::-1].index(i)
                        group, stack = stack[at:], stack[:at]
                        on.difference_update(group)
                        yield group

    def trace(self, i: int) -> list[tuple[Any, str]]:
        """Who does what on a shortest way to a world."""
        told = []
        while (before := self._parent[i]) >= 0:
            who, _, what, _ = next(s for s in self._steps(self.worlds[before]) if s[3] == self.worlds[i])
            told.append((who, what))
            i = before
        return told[::-1]
