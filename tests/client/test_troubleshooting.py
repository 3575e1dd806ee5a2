"""TROUBLESHOOTING_GUIDE.md is true: each situation is made, seen where it says, and mended by what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.client.conftest import Queue

from documents import PAGES, commands
from pgconveyor import errors
from pgconveyor.database import DatabaseManager
from pgconveyor.errors import DatabaseUnavailable

SECTIONS = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGES["TROUBLESHOOTING_GUIDE.md"]))

Command = Callable[..., Any]


def of(section: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", SECTIONS[section])


@pytest.fixture
def do(pgconveyor: Command) -> Callable[..., str]:
    """Run the commands of a section's nth block; all that they said."""

    def do(section: str, number: int, record_id: object = 1) -> str:
        said = ""
        for command in commands(of(section, "console")[number]):
            filled = [{"ID": str(record_id), "FLOW": "f"}.get(word, word) for word in command]
            done = pgconveyor(*filled)
            assert done.returncode == (2 if "critical:" in done.stdout else 1 if "warning:" in done.stdout else 0)
            said += done.stdout
        return said

    return do


def test_the_contracts_situations_are_there() -> None:
    assert list(SECTIONS) == [
        "No records claimed",
        "High error rates",
        "Orphaned records",
        "Performance issues",
        "Errors, and what they ask for",
    ]


class TestNoRecordsClaimed:
    def claimed(self, queue: Queue) -> int:
        return len(queue.processor.claim_records_batch("f", 10))

    def test_a_paused_flow(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(2)
        queue.conn.execute("select conveyor.pause_flow('f')")
        assert self.claimed(queue) == 0
        assert "paused" in do("No records claimed", 0)
        do("No records claimed", 1)
        assert self.claimed(queue) == 2

    def test_another_name(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.processor.add_records_to_queue("F", [{}])
        assert self.claimed(queue) == 0
        assert re.search(r"│ F +│ +1 │", do("No records claimed", 0))

    @pytest.mark.parametrize(
        ("reason", "change"),
        [
            ("not due before", "run_at = now() + interval '1 hour'"),
            ("next in line", "priority = 1"),
        ],
    )
    def test_a_record_says_why_it_waits(self, queue: Queue, do: Callable[..., str], reason: str, change: str) -> None:
        queue.add(1)
        queue.conn.execute(f"update conveyor.processing_queue set {change}")
        assert reason in do("No records claimed", 0).splitlines()[-1]

    def test_one_that_is_held_says_by_whom(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(1)
        assert self.claimed(queue) == 1
        assert queue.processor.instance_id in do("No records claimed", 0).splitlines()[-1]


class TestHighErrorRates:
    def test_they_are_grouped_shown_and_brought_back(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(3)
        for record in queue.processor.claim_records_batch("f", 3):
            queue.processor.mark_record_failed(record["id"], f"no survey {record['id']}", error_type="LookupError")
        [grouped] = of("High error rates", "sql")
        [(analysis,)] = queue.ask(grouped)
        assert "LookupError" in json.dumps(analysis)
        said = do("High error rates", 0)
        assert "no survey 2" in said
        assert '"n": 0' in said
        do("High error rates", 1)
        assert queue.rows("status", "retry_count") == [("pending", 1)] * 3

    def test_requeue_takes_what_reset_leaves(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(1)
        queue.conn.execute("update conveyor.processing_queue set status = 'failed', retry_count = 7")
        do("High error rates", 1)
        assert queue.rows("status", "retry_count") == [("pending", 0)]


class TestOrphanedRecords:
    def test_maintain_takes_back_what_has_ended(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(2)
        queue.processor.claim_records_batch("f", 2)
        queue.conn.execute("update conveyor.processing_queue set lease_expires_at = now()")
        do("Orphaned records", 0)
        assert queue.rows("status", "crash_count") == [("pending", 1)] * 2

    def test_cleanup_takes_back_what_has_been_silent(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(2)
        queue.processor.claim_records_batch("f", 2)
        ago = "claimed_at = now() - interval '2 hours', lease_expires_at = now() + interval '1 day'"
        queue.conn.execute(f"update conveyor.processing_queue set {ago} where id = 1")
        do("Orphaned records", 0)
        assert queue.count("processing") == 2
        do("Orphaned records", 1)
        assert [row[0] for row in queue.rows("status")] == ["pending", "processing"]

    def test_what_ends_its_workers_is_kept_aside_until_somebody_says_otherwise(
        self, queue: Queue, do: Callable[..., str]
    ) -> None:
        queue.add(1)
        for _ in range(5):
            queue.processor.claim_records_batch("f", 1)
            queue.conn.execute("update conveyor.processing_queue set lease_expires_at = now()")
            do("Orphaned records", 0)
        assert queue.rows("status", "failure_kind") == [("failed", "crashed")]
        said = do("High error rates", 0)
        assert "crashed" in said
        assert said.count('"outcome": "orphaned"') == 5, "show lists the attempts"
        assert queue.processor.reset_failed_records("f", 100) == 0
        do("High error rates", 1)  # reset leaves it, requeue does not
        assert queue.rows("status", "crash_count") == [("pending", 0)]


class TestPerformanceIssues:
    def test_it_is_seen_that_nobody_works(self, queue: Queue, do: Callable[..., str]) -> None:
        queue.add(1)
        queue.conn.execute("update conveyor.processing_queue set created_at = now() - interval '2 hours'")
        said = do("Performance issues", 0)
        assert "has been due for 120" in said
        assert '"pool"' in said

    def test_whoever_holds_the_horizon_is_named(
        self, queue: Queue, connect: Callable[..., psycopg.Connection], threshold: Command, do: Callable[..., str]
    ) -> None:
        threshold("horizon_minutes", 0)
        threshold("horizon_transactions", 0)
        with connect() as other, other.transaction():
            other.execute("set transaction isolation level repeatable read")
            [(pid,)] = other.execute("select pg_backend_pid()").fetchall()
            queue.add(1)
            assert str(pid) in do("Performance issues", 0)


class TestErrors:
    def test_each_code_and_class_of_the_queue_has_a_row(self, conn: psycopg.Connection) -> None:
        table = SECTIONS["Errors, and what they ask for"]
        listed = set(re.findall(r"`(\w+)`, (WQ\d{3})", table))
        assert listed == {(cls.__name__, cls.sqlstate) for cls in errors.QueueError.__subclasses__()}
        assert {code for _, code in listed} == {
            code for (code,) in conn.execute("select sqlstate from conveyor.error_code")
        }
        assert {
            name for name in ("DatabaseUnavailable", "SchemaMissing", "CommitUnknown") if name not in table
        } == set()

    def test_a_server_that_is_not_there_is_named(self, configure: Command, pgconveyor: Command) -> None:
        configure("rpa_db", "postgresql://u:p@127.0.0.1:1/db")
        done = pgconveyor("status")
        assert (done.returncode, "refused" in done.stderr, "port 1" in done.stderr) == (1, True, True)

    def test_a_claim_that_ended_drops_the_result(self, queue: Queue) -> None:
        queue.add(1)
        [record] = queue.processor.claim_records_batch("f", 1)
        queue.conn.execute("update conveyor.processing_queue set lease_expires_at = now()")
        queue.processor.maintain()
        with pytest.raises(errors.ClaimLost):
            queue.processor.mark_record_completed(record["id"], {})

    def test_a_pool_that_is_too_small_names_its_variable(self, dsn: str, configure: Command) -> None:
        configure("rpa_db", dsn, POOL_SIZE=1, POOL_TIMEOUT=0.1)
        said = r"all 1 connections were in use.*RPA_DB_POOL_SIZE"
        with DatabaseManager("rpa_db") as manager, manager.connection(), pytest.raises(DatabaseUnavailable, match=said):
            manager.execute_query("select 1")

    def test_ids_that_were_inserted_by_hand(self, queue: Queue) -> None:
        insert = "insert into conveyor.processing_queue (id, flow_name, payload) values (1, 'f', '{}')"
        queue.conn.execute(insert)
        with pytest.raises(psycopg.errors.UniqueViolation, match="processing_queue_pkey"):
            queue.add(1)
        [row] = re.findall(r"\| 23505 .*`(select [^`]+)`", SECTIONS["Errors, and what they ask for"])
        queue.ask(row)
        queue.add(1)
        assert queue.count("pending") == 2

    def test_counts_are_compared_and_repaired(self, queue: Queue) -> None:
        [block] = of("Errors, and what they ask for", "sql")
        look, repair = block.split(";\n", 1)
        queue.add(2)
        queue.conn.execute("set session_replication_role = replica")
        queue.conn.execute("delete from conveyor.processing_queue where id = 1")
        queue.conn.execute("set session_replication_role = origin")
        assert queue.ask(look) != []
        queue.ask(repair)
        assert queue.ask(look) == []
        assert queue.processor.get_queue_status("f")["pending_records"] == 1
