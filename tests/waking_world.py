"""What the model of waking is made of: producers, workers, and the world they are in. See waking_model.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

START, HOLDING, OPEN, VISIBLE, ENDED = range(5)
LOOK, SIT, DOOR, LISTEN, RETRY, RELOOK, ASLEEP, WATCH, OPENING, LEAVE, READ, PEEK, CALL, BUSY = range(14)
AT = ["look", "sit", "door", "listen", "retry", "relook", "asleep", "watch", "opening", "leave"]
AT += ["read", "peek", "call", "busy"]


class Producer(NamedTuple):
    kind: str = "insert"  # or delayed; touch: updates a pending row; shout: notifies without asking, keeps nothing
    at: int = START
    records: int = 1
    keeps: bool = False
    calls: int = -1
    bell: bool = False  # mutant one_bell


class Worker(NamedTuple):
    slots: int
    at: int = LOOK
    seat: int = -1
    door: bool = False
    hears: bool = False  # listens on the channel of its seat
    rung: bool = False
    timer: bool = False  # the last look told it when a record will be due
    n: int = 0  # the seat that is tried or read
    calls: bool = True  # reads seats to call somebody


class World(NamedTuple):
    producers: tuple[Producer, ...]
    workers: tuple[Worker, ...]
    ghosts: tuple[tuple[int, bool], ...]  # seat, door
    ready: int
    later: int
    is_late: bool  # delayed records are due
    faults: int


@dataclass(frozen=True)
class Setting:
    producers: tuple[Producer, ...] = (Producer(), Producer())
    workers: int = 2
    seats: int = 3
    slots: int = 1
    ready: int = 0
    rolls_back: bool = False
    faults: int = 0
    polls: bool = False
    restless: bool = False  # leaves for no reason: its flow was paused, or it is replaced
    # What a mutant does otherwise
    keeps: bool = True
    rings_at_commit: bool = False
    one_bell: bool = False
    addressed: bool = False
    touch_rings: bool = True
    retry: str = "after listen"
    looks_early: bool = False
    minds_time: bool = True
    watches: bool = True
    looks_on: bool = True  # who keeps its seat looks again
    reads_late: bool = True
    calls: str = "if seat 0 is empty"


Step = tuple[object, str, World]  # who owes it (None: nobody), what happens, the world after it


def swap(items: tuple, old: object, new: object) -> tuple:
    i = items.index(old)
    return tuple(sorted((*items[:i], new, *items[i + 1 :])))


def is_taken(w: World, seat: int) -> bool:
    return any(u.seat == seat for u in w.workers) or any(seat == g[0] for g in w.ghosts)


def is_free(w: World, seat: int) -> bool:
    return not is_taken(w, seat) and not (seat == 0 and any(u.at == PEEK for u in w.workers))


def is_closed(w: World) -> bool:
    return any(u.door for u in w.workers) or any(g[1] for g in w.ghosts)


def notified(workers: tuple[Worker, ...], seat: int) -> tuple[Worker, ...]:
    return tuple(sorted(u._replace(rung=True) if u.hears and u.seat == seat else u for u in workers))


def first_world(c: Setting) -> World:
    delayed = any(p.kind == "delayed" for p in c.producers)
    return World(tuple(sorted(c.producers)), (Worker(c.slots),) * c.workers, (), c.ready, 0, not delayed, c.faults)


def name(who: object) -> str:
    if isinstance(who, Worker):
        return f"worker ({AT[who.at]}{f', seat {who.seat}' if who.seat >= 0 else ''})"
    return f"producer ({who.kind})" if isinstance(who, Producer) else str(who)


def show(w: World) -> str:
    return f"{w.ready} records; " + ", ".join(name(u) for u in w.workers)
