"""
Attacks on the protocol of waking: transactions of every kind at about the same time, and then silence.

The silence matters: under traffic the next call hides one that was lost. So does a worker that is soon back, therefore
some are held by a record until the silence ends. Waits are measured not by the clock on the wall, but by one that
stands still while the machine does.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import psycopg

from pgconveyor.database import DatabaseManager
from sql import Connect, value
from waking_producers import BETWEEN, KINDS, Producer, pause

LEFT = """
    select count(*), count(*) filter (where coalesce(run_at, created_at) <= clock_timestamp())
    from conveyor.processing_queue where flow_name = %s and status = 'pending'
"""
SHAKE = """
    select pg_notify(conveyor._wake_channel(%s, reason, 0), '') from unnest(array['empty', 'paused']) as r (reason)
"""
BETWEEN_ROUNDS = (0, 0.02, 0.06, 0.5, 1.0)  # all asleep, or just on the way


class PausingCursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **kwargs: Any) -> Any:
        pause(BETWEEN)
        result = super().execute(*args, **kwargs)
        pause(BETWEEN)
        return result


class PausingManager(DatabaseManager):
    """Its workers pause now and then at each step of their claiming sessions: look, park, look again, leave."""

    def connect(self) -> psycopg.Connection:
        conn = super().connect()
        conn.cursor_factory = PausingCursor
        return conn


class Gate:
    """Holds the handlers of records that say so until their round has ended; `spare` workers may be held at a time."""

    def __init__(self, spare: int = 0) -> None:
        self.spare, self.round, self._ended, self._changed = spare, 0, 0, threading.Condition()

    def handle(self, payload: dict[str, Any]) -> None:
        pause((0, 0.003))
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended >= payload.get("until", 0), 100)

    def end_round(self) -> None:
        with self._changed:
            self._ended = self.round
            self._changed.notify_all()


class Calm(threading.Thread):
    """
    Counts the seconds in which the machine did its work: no step, a hundredth of a second and a commit, counts for
    more than 0.05, however long it took.
    """

    def __init__(self, conn: psycopg.Connection) -> None:
        super().__init__(daemon=True)
        self.seconds, self.stalled, self._conn, self._ended = 0.0, 0.0, conn, threading.Event()
        conn.execute("create table calm (n integer)")

    def run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(0.01):
            self._conn.execute("insert into calm values (1)")
            now = time.monotonic()
            self.seconds += min(now - before, 0.05)
            self.stalled = max(self.stalled, now - before)
            before = now

    def __enter__(self) -> Calm:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


class Rounds(threading.Thread):
    """
    On one flow: one to three transactions at about the same time, then silence until nothing is left.

    What waits for more than `limit` calm seconds after it is due is lost, and called for by hand.
    """

    def __init__(
        self, connect: Connect, flow: str, gate: Gate, calm: Calm, limit: float, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.flow, self.gate, self.calm, self.limit, self.stop = flow, gate, calm, limit, stop
        self.look, *self.conns = [connect() for _ in range(4)]
        self.count = self.refused = 0
        self.longest = 0.0
        self.lost: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.one_round()
        except BaseException as exc:  # noqa: BLE001  for the test to raise
            self.error = exc

    def one_round(self) -> None:
        self.gate.round += 1
        kinds = ["held"] * random.randint(0, self.gate.spare) + random.choices(KINDS, k=3)
        conns = self.conns[: random.choice((1, 2, 2, 3))]
        producers = [Producer(conn, self.flow, kind, self.gate.round) for conn, kind in zip(conns, kinds, strict=False)]
        threads = [threading.Thread(target=producer.run, daemon=True) for producer in producers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waited = self.silence()
        self.gate.end_round()
        if waited > self.limit:
            self.lost.append("+".join(sorted(producer.kind for producer in producers)))
        self.longest = max(self.longest, waited)
        self.refused += sum(producer.is_refused for producer in producers)
        self.count += 1
        pause(BETWEEN_ROUNDS)

    def silence(self) -> float:
        """Until nothing is left; for how many calm seconds anything that was due has waited."""
        since, waited = self.calm.seconds, 0.0
        while True:
            left, due = self.look.execute(LEFT, [self.flow]).fetchall()[0]
            if not left:
                return waited
            if not due:
                since = self.calm.seconds
            waited = max(waited, self.calm.seconds - since)
            if waited > self.limit:
                self.gate.end_round()
                self.look.execute(SHAKE, [self.flow])
            time.sleep(0.01)


def attack(connect: Connect, gates: dict[str, Gate], limit: float, stop: threading.Event) -> list[Rounds]:
    """Attack each flow until `stop` is set, which the first loss does too; raises what went wrong otherwise."""
    with Calm(connect()) as calm:
        rounds = [Rounds(connect, flow, gate, calm, limit, stop) for flow, gate in gates.items()]
        for each in rounds:
            each.start()
        while any(each.is_alive() for each in rounds):
            if any(each.lost or each.error for each in rounds):
                stop.set()
            stop.wait(0.1)
            if stop.is_set():
                for each in rounds:
                    each.join()
        for each in rounds:
            if each.error:
                raise each.error
            state = value(each.look, "select conveyor.get_queue_status(%s) ->> 'pending_records'", each.flow)
            assert state == "0", (each.flow, state)
    print(
        f"{sum(each.count for each in rounds)} rounds, {sum(each.refused for each in rounds)} not prepared;"
        f" longest wait {max(each.longest for each in rounds):.2f} s, longest stall {calm.stalled:.2f} s"
    )
    return rounds
