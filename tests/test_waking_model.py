"""The protocol of waking holds in each setting, and each change that must break it does, or the check is blind."""

from __future__ import annotations

import pytest

from fair_runs import Graph
from waking_model import is_bad, steps
from waking_world import Producer, Setting, first_world, name, show

ONE, TWO_RECORDS = Producer(), Producer(records=2)
DELAYED, TOUCH, SHOUT = Producer("delayed"), Producer("touch"), Producer("shout")

HOLDS = {
    "one producer, one worker": Setting((ONE,), 1),
    "two producers, two workers": Setting(rolls_back=True),
    "three producers, two workers": Setting((ONE, ONE, ONE), rolls_back=True),
    "one producer, three workers": Setting((ONE,), 3),
    "two producers of three records, three workers": Setting((TWO_RECORDS, ONE), 3),
    "three producers, three workers": Setting((ONE, ONE, ONE), 3),
    "workers with free slots keep their seats": Setting((TWO_RECORDS, ONE), slots=2, rolls_back=True),
    "three workers, and a free slot each": Setting((TWO_RECORDS,), 3, slots=2),
    "workers that get up without a record": Setting((ONE, ONE), restless=True, rolls_back=True),
    "three workers that get up without a record": Setting((ONE,), 3, restless=True),
    "one record delayed": Setting((DELAYED, ONE), rolls_back=True),
    "both records delayed": Setting((DELAYED, DELAYED), rolls_back=True),
    "one record updated by raw SQL": Setting((TOUCH, ONE), ready=1),
    "one updated, three workers": Setting((TOUCH, ONE), 3, ready=1),
    "one producer notifies without asking": Setting((SHOUT, ONE), rolls_back=True),
    "a raw update rolled back, with polls": Setting((TOUCH, ONE), ready=1, rolls_back=True, polls=True),
    "a fault, with polls": Setting(faults=1, polls=True, rolls_back=True),
    "two faults, three workers, with polls": Setting((ONE,), 3, faults=2, polls=True),
    "fewer seats than workers, with polls": Setting((ONE, ONE), 3, seats=2, polls=True),
}

# Without the long poll: what it is for.
NEEDS_POLLS = {
    "a fault": Setting(faults=1),
    "fewer seats than workers": Setting(seats=1),
    "a raw update rolled back": Setting((TOUCH,), 1, ready=1, rolls_back=True),
}

MUTANTS = {
    "naive: producers look for a sleeper and keep nothing": Setting((ONE,), 1, keeps=False),
    "producers look for a sleeper when they commit": Setting((ONE,), 1, keeps=False, rings_at_commit=True),
    "at most one notification in flight": Setting(one_bell=True),
    "the sleeper is chosen when the record is inserted": Setting(addressed=True),
    "an update of a pending record does not ring": Setting((TOUCH,), 1, ready=1, touch_rings=False),
    "nobody is called in the stead of who leaves": Setting(calls="never"),
    "only who leaves seat 0 calls": Setting((TWO_RECORDS, ONE), 3, calls="from seat 0"),
    "others read the seats too, but may call nobody": Setting((TWO_RECORDS, ONE), 3, calls="from seat 0, reads anyway"),
    "seats are read before one's own are free": Setting(reads_late=False),
    "seat 0 is never tried again": Setting(retry="never"),
    "seat 0 is tried again before LISTEN has committed": Setting(retry="before"),
    "seat 0 is not tried again after a wake": Setting(retry="not after a wake"),
    "the look before LISTEN has committed": Setting((ONE,), 1, looks_early=True),
    "seat 0 sleeps though the door is open": Setting((ONE,), 1, watches=False),
    "who keeps its seat does not look on": Setting((TWO_RECORDS,), 1, slots=3, looks_on=False),
    "seat 0 sleeps past the due time": Setting((DELAYED,), 1, minds_time=False),
}


def check(c: Setting) -> list[str] | None:
    """How a record comes to wait for ever, or None."""
    graph = Graph(first_world(c), lambda world: steps(c, world), is_bad)
    print(f"{len(graph.worlds)} worlds")
    if (found := graph.violation()) is None:
        return None
    return [f"{name(who):30} {what}" for who, what in graph.trace(found)] + [f"for ever {show(graph.worlds[found])}"]


@pytest.mark.parametrize("setting", HOLDS)
def test_each_record_is_taken(setting: str) -> None:
    trace = check(HOLDS[setting])
    assert trace is None, "\n".join(trace)


@pytest.mark.parametrize("setting", MUTANTS | NEEDS_POLLS)
def test_the_check_sees_what_is_lost(setting: str) -> None:
    trace = check((MUTANTS | NEEDS_POLLS)[setting])
    assert trace is not None
    print("\n".join(trace))
