"""
How fast sleepers are woken, and what it costs those who enqueue: part of bench.py, on the same server.

`python waking.py COUNT`, with DSN set, is a process of so many workers; it ends with its standard input.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pgconveyor.database import DatabaseManager
from pgconveyor.embedded import wheel_binaries
from pgconveyor.worker import Worker

Result = tuple[str, float, str, bool | None]  # as in bench.py

FLOW = "waking"
ADD = f"select conveyor.add_record('{FLOW}', '{{\"i\": 1}}')"
ADD_LATER = f"select conveyor.add_record('{FLOW}', '{{\"i\": 1}}', p_run_at => clock_timestamp() + interval '1 hour')"
NOBODY = "if v_flow_names is null"
SEATS = "select count(distinct objid) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'"
# What a session said last tells the claiming ones from those of the housekeeping.
BACKENDS = """
    select pid from pg_stat_activity
    where application_name = 'sleeper' and query ~ 'park|next_due_at|claim_records_batch' = %s
"""
PER_PROCESS = 25


def waking(dsn: str, scale: float) -> Iterator[Result]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for count in (1, 8):
            yield from latency(conn, dsn, count, max(int(300 * scale), 20))
        rounds = max(round(24 * min(scale, 2)), 1)
        yield throughput(conn, dsn, "16 enqueuers, all busy, rings / off: at least 0.95", ADD, rounds, 0.95)
        with sleepers(conn, dsn, 8):
            what = "16 enqueuers of delayed records, 8 asleep, rings / off: at least 0.7"
            yield throughput(conn, dsn, what, ADD_LATER, rounds, 0.7)
        yield from idle(conn, dsn, 100 if scale >= 0.1 else 10, max(60 * scale, 2))
        yield phantoms(conn, dsn)


def latency(conn: psycopg.Connection, dsn: str, count: int, records: int) -> Iterator[Result]:
    waits, calls = [], []
    with sleepers(conn, dsn, count) as processes:
        for _ in range(records):
            began = time.time()
            [(record_id,)] = conn.execute(ADD).fetchall()
            committed = time.time()
            time.sleep(random.uniform(0.02, 0.06))  # noqa: S311
            claimed = claimed_at(conn, record_id, processes)
            waits.append((claimed - committed) * 1000)
            calls.append((claimed - began) * 1000)
    for name, rank, most in (("p50", 0.5, 5), ("p99", 0.99, 20)):
        wait, call = (sorted(times)[int(rank * (records - 1))] for times in (waits, calls))
        what = f"ms from commit to claim, {count} asleep, {name}: at most {most}"
        yield what, max(wait, 0.01), f"{call:.1f} ms from the call of add_record", wait <= most


def claimed_at(conn: psycopg.Connection, record_id: int, processes: list[subprocess.Popen[bytes]]) -> float:
    query = "select extract(epoch from claimed_at)::float8 from conveyor.processing_queue where id = %s"
    while True:
        [(claimed,)] = conn.execute(query, [record_id]).fetchall()
        if claimed is not None:
            return float(claimed)
        check(processes)
        time.sleep(0.002)


def check(processes: list[subprocess.Popen[bytes]]) -> None:
    """Nobody waits for sleepers that are no more."""
    if ended := [each.returncode for each in processes if each.poll() is not None]:
        raise RuntimeError(f"workers of this measurement ended with {ended}")


def throughput(conn: psycopg.Connection, dsn: str, what: str, statement: str, rounds: int, target: float) -> Result:
    """
    The variants take turns of a second, each first in every second round; a warm-up goes before, if there is more than
    one. The ratio is that of the medians: a machine that does something else meanwhile spoils some of the turns.
    """
    rates: dict[str, list[float]] = {"rings": [], "off": []}
    micros: dict[str, list[float]] = {"rings": [], "off": []}
    for turn in range(rounds + 1) if rounds > 1 else [1]:
        for variant in list(rates)[:: 1 if turn % 2 else -1]:
            with ringing(conn, variant == "rings"):
                conn.execute("truncate conveyor.processing_queue, conveyor.count_delta")
                conn.execute("checkpoint")
                before = server_cpu(conn)
                rate, done = enqueue(dsn, statement)
                time.sleep(0.3)  # the server counts a session when it has noticed its end
                spent = server_cpu(conn) - before
            if turn:
                rates[variant].append(rate)
                micros[variant].append(spent / done)
    ours, off = (statistics.median(rates[variant]) for variant in rates)
    cost, least = (statistics.median(micros[variant]) for variant in micros)
    detail = f"{ours:,.0f} against {off:,.0f} records/s, {cost:.0f} against {least:.0f} µs of the server's CPU"
    return what, ours / off, detail, ours / off >= target


@contextmanager
def ringing(conn: psycopg.Connection, is_on: bool) -> Iterator[None]:
    """Let the trigger that counts inserts neither ask for sleepers nor ring, for the time being."""
    [(rings,)] = conn.execute("select pg_get_functiondef('conveyor._count_inserted'::regproc)").fetchall()
    assert NOBODY in rings  # noqa: S101  else there would be nothing to compare
    if not is_on:
        conn.execute(rings.replace(NOBODY, "if true").encode())
    try:
        yield
    finally:
        conn.execute(rings.encode())


def enqueue(dsn: str, statement: str) -> tuple[float, int]:
    """Records a second, and records, of 16 sessions that commit each by itself."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"{statement};\n")
        script.flush()
        command = [str(wheel_binaries() / "pgbench"), "-n", "-M", "prepared", "-c", "16", "-j", "2", "-f", script.name]
        done = subprocess.run([*command, "-T", "1", dsn], capture_output=True, text=True, check=True)
    [rate] = re.findall(r"tps = ([\d.]+)", done.stdout)
    [count] = re.findall(r"actually processed: (\d+)", done.stdout)
    return float(rate), int(count)


def idle(conn: psycopg.Connection, dsn: str, count: int, seconds: float) -> Iterator[Result]:
    with sleepers(conn, dsn, count) as processes:
        time.sleep(min(seconds, 8))  # the housekeeping after the start; later it comes once a minute
        groups = {
            "clients": [each.pid for each in processes],
            "claiming sessions": [row[0] for row in conn.execute(BACKENDS, [True]).fetchall()],
            "other sessions": [row[0] for row in conn.execute(BACKENDS, [False]).fetchall()],
        }
        before = {name: cpu(pids) for name, pids in groups.items()}
        time.sleep(seconds)
        shares = {name: (cpu(pids) - before[name]) / seconds / 1e4 for name, pids in groups.items()}
    share, most = sum(shares.values()), 5 * count / 100
    detail = ", ".join(f"{name} {each:.2f} %" for name, each in shares.items())
    yield f"% of a core for {count} workers that sleep: at most {most:g}", max(share, 0.01), detail, share <= most


def phantoms(conn: psycopg.Connection, dsn: str) -> Result:
    """What remains of eight sleepers, half of them killed: each should leave no lock."""
    with sleepers(conn, dsn, 4), sleepers(conn, dsn, 4, seated=8) as killed:
        for process in killed:
            process.kill()
    deadline = time.monotonic() + 10
    while (left := conn.execute(SEATS).fetchall()[0][0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return "sleepers of 8 that left no lock: all", (8 - left) / 8, f"{left} left", left == 0


@contextmanager
def sleepers(
    conn: psycopg.Connection, dsn: str, count: int, *, seated: int | None = None
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Workers in processes of their own, from when all are asleep, on their seats or beside them."""
    with ExitStack() as stack:
        processes = []
        for start in range(0, count, PER_PROCESS):
            command = [sys.executable, __file__, str(min(PER_PROCESS, count - start))]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"DSN": dsn})
            stack.enter_context(process)  # which closes its input, and waits for it
            processes.append(process)
        while conn.execute(SEATS).fetchall()[0][0] < min(seated or count, 8) + 1:  # and the door
            check(processes)
            time.sleep(0.05)
        time.sleep(1 + count / 50)  # the linger of the last
        yield processes


def cpu(pids: list[int]) -> float:
    """Microseconds that these processes have run, all their threads."""
    paths = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in paths) / 1000


def server_cpu(conn: psycopg.Connection) -> float:
    """Microseconds of all sessions of the server that have ended."""
    [(pid,)] = conn.execute("select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::integer").fetchall()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[13:15]) * 1e6 / os.sysconf("SC_CLK_TCK")


def main(count: int) -> None:
    os.environ |= {
        "PREFECT_ENVIRONMENT": "development",
        "DEVELOPMENT_GLOBAL_WAKING_TYPE": "postgresql",
        "DEVELOPMENT_GLOBAL_WAKING_CONNECTION_STRING": os.environ["DSN"],
    }
    managers = [DatabaseManager("waking", application_name="sleeper") for _ in range(count)]
    workers = [Worker(manager, {FLOW: noop}, concurrency=1) for manager in managers]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    for worker in workers:
        worker.stop()
    for thread in threads:
        thread.join()


def noop(_payload: Any) -> dict[str, Any]:
    return {}


if __name__ == "__main__":
    main(int(sys.argv[1]))
