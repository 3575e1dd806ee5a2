"""
An exhaustive check of the protocol by which workers are woken. A change of the protocol starts here.

    pytest tests/test_waking_model.py -rP -k SETTING      what happens in a setting that fails

Words of the model, and where they are in db/functions:

| model | SQL |
| --- | --- |
| Producer START | a statement, and `_ring` in its trigger: it `keeps` the lock on the door, or `calls` a seat |
| HOLDING | raw SQL has locked a pending row (a look passes it over) and its trigger has not run yet |
| OPEN | until it commits or rolls back; for ever, if it likes: a long or a prepared transaction |
| VISIBLE | committed: others see the records, and its locks and signals are still to come |
| Worker LOOK | `claim_records_batch` without a seat |
| SIT, DOOR, LISTEN | `park` with p_held null: `_sit` tries the seats from 0 up, then the door; `listen` at commit |
| RETRY | `park` with p_held > 0, in a transaction of its own: seat 0 once more, then the door, then `listen` |
| RELOOK | the look that must follow each `park`, and each notification |
| ASLEEP, WATCH | waiting for a notification; on seat 0 with the door open: for a few milliseconds |
| OPENING | `park` with p_closed null, after a vain ring; the door stays open for as long as the worker likes |
| LEAVE | `leave` up to pg_advisory_unlock_all() |
| READ, PEEK, CALL | `_is_taken` of a seat: a shared lock, for a moment; the notification at the commit of `leave` |
| BUSY | all slots taken, holds nothing; the handlers may run for ever |
| ghost | a session whose client is gone; the server will notice |

Each lock is a step of its own; records, `listen` and notifications take effect at commit. A worker that found a record
and has free slots keeps its seat and looks again; with the last slot it leaves. It may poll at any time, but nothing
may depend on that (`polls`: it always will in the end). One flow, one reason: places share nothing.

Checked: in no run that is fair to all who owe a step does a visible, due record stay for ever while a worker has a free
slot. Nobody owes a commit, an answer, a poll, or an opened door.

Smaller than life, without loss:
- Records are alike: they are counted. Takes only lower the count, so for ever means: the count stays above 0.
- A notification is heard by whoever listens when the records become visible, and at once. One that came later would be
  one more look, and a worker may look at any time (by a poll).
- Workers are alike, so a world is sorted, and a step is owed by all workers in the same condition. Whoever stays in a
  condition for ever without its step is passed over: the one who waits longest may go first.
- Who leaves listens no more once its seats are free (in SQL: a little later; it would not act on it). It calls one
  sleeper; more are more looks.
- Reading a seat blocks it for a moment, which is left out for others than seat 0: whoever meets it there sits one seat
  higher. (To find no seat at all it would have to meet the reader at each of them, in step; then it polls.)
- What came back from a worker that died is a record that somebody adds.
"""

from __future__ import annotations

from collections.abc import Iterator

from waking_world import (
    ASLEEP,
    BUSY,
    CALL,
    DOOR,
    ENDED,
    HOLDING,
    LEAVE,
    LISTEN,
    LOOK,
    OPEN,
    OPENING,
    PEEK,
    READ,
    RELOOK,
    RETRY,
    SIT,
    START,
    VISIBLE,
    WATCH,
    Producer,
    Setting,
    Step,
    Worker,
    World,
    is_closed,
    is_free,
    is_taken,
    notified,
    swap,
)


def ring(c: Setting, w: World, p: Producer) -> Producer:
    if p.kind == "touch" and not c.touch_rings:
        return p
    if p.kind == "shout":
        return p._replace(calls=0)
    if not is_closed(w):
        return p._replace(keeps=c.keeps)
    if c.one_bell:
        return p if any(q.bell for q in w.producers) else p._replace(calls=0, bell=True)
    if c.addressed:
        return p._replace(calls=max((u.seat for u in w.workers if u.seat >= 0), default=0))
    return p._replace(calls=0)


def producer_steps(c: Setting, w: World, p: Producer) -> Iterator[Step]:
    def become(q: Producer, **changes: object) -> World:
        return w._replace(producers=swap(w.producers, p, q), **changes)  # type: ignore[arg-type]

    if p.at == START and p.kind == "touch":
        if w.ready:
            yield None, "locks a pending row", become(p._replace(at=HOLDING), ready=w.ready - 1)
    elif p.at == START and c.rings_at_commit:
        yield None, "inserts", become(p._replace(at=HOLDING))
    elif p.at in (START, HOLDING):
        q = ring(c, w, p)._replace(at=OPEN)
        heard = "keeps the door open" if q.keeps else f"will call seat {q.calls}" if q.calls >= 0 else "sees nobody"
        yield None, f"rings: {heard}", become(q)
    elif p.at == OPEN:
        q = p._replace(at=VISIBLE) if p.keeps or p.bell else p._replace(at=ENDED, calls=-1)
        workers = notified(w.workers, p.calls) if p.calls >= 0 else w.workers
        waits = p.kind == "delayed" and not w.is_late
        changes = {"later": w.later + p.records} if waits else {"ready": w.ready + p.records}
        yield None, "commits: its records are visible", become(q, workers=workers, **changes)
        if c.rolls_back:
            gone = p._replace(at=ENDED, keeps=False, calls=-1, bell=False)
            yield None, "rolls back", become(gone, ready=w.ready + (p.kind == "touch"))
    elif p.at == VISIBLE:
        yield "commit", "gives its locks back", become(p._replace(at=ENDED, keeps=False, calls=-1, bell=False))


def worker_steps(c: Setting, w: World, u: Worker) -> Iterator[Step]:
    def go(what: str, at: int, **changes: object) -> Step:
        return u, what, w._replace(workers=swap(w.workers, u, u._replace(at=at, **changes)))  # type: ignore[arg-type]

    def look(nothing: int) -> Step:
        if not w.ready:
            timer = u.seat == 0 and w.later > 0
            return go("looks: nothing", nothing, timer=timer)
        slots = u.slots - 1
        sits = u.seat >= 0
        at = (RELOOK if c.looks_on else ASLEEP) if slots and sits else LOOK if slots else LEAVE if sits else BUSY
        taken = w._replace(ready=w.ready - 1)
        after = u._replace(at=at, slots=slots, timer=False)
        return u, "takes a record", taken._replace(workers=swap(w.workers, u, after))

    if u.at == LOOK:
        yield look(SIT)
    elif u.at == SIT:
        if u.n == c.seats:
            yield go("finds no seat", RELOOK, n=0)
        elif not is_free(w, u.n):
            yield go(f"finds seat {u.n} taken", SIT, n=u.n + 1)
        else:
            yield go("sits down", DOOR if u.n == 0 else RETRY if c.retry == "before" else LISTEN, seat=u.n, n=0)
    elif u.at == DOOR:
        closes = not is_closed(w) and not any(p.keeps for p in w.producers)
        after = RELOOK if u.hears or c.looks_early else LISTEN
        yield go("closes the door" if closes else "cannot close the door", after, door=closes)
    elif u.at == LISTEN:
        on = RETRY if u.seat and c.retry in ("after listen", "not after a wake") else RELOOK
        yield go("listens", ASLEEP if c.looks_early and u.seat == 0 else on, hears=True)
    elif u.at == RETRY:
        if is_free(w, 0):
            yield go("moves to seat 0", DOOR, seat=0, hears=False)
        else:
            yield go("stays on its seat", RELOOK if u.hears else LISTEN)
    elif u.at == RELOOK:
        rests = ASLEEP if u.seat or u.door or not c.watches else WATCH
        yield look(LISTEN if c.looks_early and u.seat >= 0 and not u.hears else rests)
        if u.door and not w.ready:
            yield go("looks: nothing, and has been rung in vain", OPENING)
    elif u.at == OPENING:
        yield go("opens the door", RELOOK, door=False)
    elif u.at == WATCH:
        yield go("looks at the door again", DOOR)
        yield go("leaves the door open", RELOOK)
    elif u.at == ASLEEP:
        tries = c.retry in ("after listen", "before")
        after = SIT if u.seat < 0 else RETRY if u.seat and tries else RELOOK
        _, _, woken = go("", after, rung=False, timer=False)
        due = u.timer and w.is_late and c.minds_time
        yield u if u.rung or due or c.polls else None, "wakes", woken
        if c.restless and u.seat >= 0:
            yield None, "gets up without a record", go("", LEAVE)[2]
    elif u.at == LEAVE:
        yield go("gives up its seat", **left(c, w, u))
    elif u.at == READ:
        if u.n == c.seats or (u.n == 0 and c.calls == "if seat 0 is empty" and is_taken(w, 0)):
            yield go("calls nobody", **ended(u))
        elif is_taken(w, u.n) and not (u.seat == u.n and not c.reads_late):
            yield go(f"sees seat {u.n} taken", CALL) if u.calls else go("sees somebody", READ, n=u.n + 1)
        else:
            yield go(f"sees seat {u.n} free", PEEK if u.n == 0 else READ, n=u.n + (u.n > 0))
    elif u.at == PEEK:
        yield go("gives seat 0 back", READ, n=1)
    elif u.at == CALL:
        _, _, after = go("", **ended(u))
        yield u, f"calls seat {u.n}", after._replace(workers=notified(after.workers, u.n))
    elif u.at == BUSY:
        yield None, "has finished a record", go("", LOOK, slots=c.slots)[2]


def left(c: Setting, w: World, u: Worker) -> dict[str, object]:
    """What becomes of a worker that gives up its seat."""
    if c.calls == "never" or (c.calls == "from seat 0" and u.seat and not w.ready):
        return ended(u)
    if not c.reads_late:
        return {"at": READ, "n": 0}
    calls = c.calls != "from seat 0, reads anyway" or u.seat == 0 or w.ready > 0
    return ended(u) | {"at": READ, "calls": calls}


def ended(u: Worker) -> dict[str, object]:
    return Worker(u.slots, LOOK if u.slots else BUSY)._asdict()


def fault_steps(w: World, u: Worker) -> Iterator[Step]:
    i = w.workers.index(u)
    ghosts = tuple(sorted((*w.ghosts, (u.seat, u.door)))) if u.seat >= 0 else w.ghosts
    others = w.workers[:i] + w.workers[i + 1 :]
    less = w._replace(faults=w.faults - 1, ghosts=ghosts)
    yield None, "is killed", less._replace(workers=others)
    if u.slots:
        yield None, "loses its connection", less._replace(workers=tuple(sorted((*others, Worker(u.slots)))))


def steps(c: Setting, w: World) -> Iterator[tuple[object, object, str, World]]:
    """Who acts (its condition), who owes it (nobody: None), what, and the world after it."""
    for p in set(w.producers):
        for owes, what, after in producer_steps(c, w, p):
            yield p, owes, what, after
    for u in set(w.workers):
        for owes, what, after in worker_steps(c, w, u):
            yield u, owes, what, after
        if w.faults:
            for owes, what, after in fault_steps(w, u):
                yield u, owes, what, after
    for i in range(len(w.ghosts)):
        yield "server", "server", "ends a lost session", w._replace(ghosts=w.ghosts[:i] + w.ghosts[i + 1 :])
    if not w.is_late:
        yield "time", "time", "passes", w._replace(is_late=True, ready=w.ready + w.later, later=0)


def is_bad(w: World) -> bool:
    return w.ready > 0 and any(u.at != BUSY for u in w.workers)
