"""The operators' commands, run as an operator runs them: against a real queue, with what they print and exit with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from pgconveyor.cli import cli
from pgconveyor.database import DatabaseManager
from pgconveyor.operate import COMMANDS

Invoke = Callable[..., Result]

COMMAND_LINES = {
    "enqueue": ["f"],
    "status": [],
    "failed": ["f"],
    "show": ["1"],
    "reset": ["f"],
    "requeue": ["1"],
    "cancel": ["1", "--yes"],
    "cleanup": [],
    "maintain": [],
    "configure": ["f", "lease=5min"],
    "pause": ["f"],
    "resume": ["f"],
    "purge": ["f", "--older-than", "1d", "--yes"],
    "health": [],
    "diagnose": [],
}


@pytest.fixture
def invoke(rpa_db: DatabaseManager) -> Invoke:  # noqa: ARG001  configures the database
    def invoke(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)

    return invoke


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def statuses(conn: psycopg.Connection) -> list[str]:
    return [status for (status,) in conn.execute("select status from conveyor.processing_queue order by id")]


def add(conn: psycopg.Connection, n: int = 1) -> None:
    conn.execute(
        "select conveyor.add_records_to_queue('f', (select jsonb_agg('{}'::jsonb) from generate_series(1, %s)))", [n]
    )


def fail(conn: psycopg.Connection, error: str = "it broke") -> None:
    conn.execute(
        "select conveyor.mark_record_failed(c.id, %s, c.claim_token) from conveyor.claim_records_batch('f', 1) as c",
        [error],
    )


def test_each_command_is_tried_here() -> None:
    assert {command.name for command in COMMANDS} == set(COMMAND_LINES)


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_each_explains_itself_and_answers_where_there_is_nothing_to_do(
    invoke: Invoke, conn: psycopg.Connection, command: str
) -> None:
    assert invoke(command, "--help").exit_code == 0
    add(conn)
    result = invoke(command, *COMMAND_LINES[command], stdin="")
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 200
    assert result.stdout.strip()


class TestEnqueue:
    def test_a_line_is_a_record(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        lines = '{"n": 1}\n\n{"n": 2}\n'
        assert as_json(invoke("enqueue", "f", "--priority", 5, "--json", stdin=lines)) == {"added": 2}
        found = conn.execute("select payload, priority from conveyor.processing_queue order by id").fetchall()
        assert found == [({"n": 1}, 5), ({"n": 2}, 5)]

    def test_known_keys_are_passed_over(self, invoke: Invoke) -> None:
        for added in (2, 1):
            lines = f'{{"k": "a"}}\n{{"k": {added}}}\n'
            assert as_json(invoke("enqueue", "f", "--dedup-key", "k", "--json", stdin=lines)) == {"added": added}

    @pytest.mark.parametrize("line", ["{", "[1]", '"x"', "NaN"])
    def test_a_bad_line_is_named_and_none_is_added(self, invoke: Invoke, conn: psycopg.Connection, line: str) -> None:
        lines = '{"n": 1}\n' * 1500 + line
        result = invoke("enqueue", "f", stdin=lines)
        assert isinstance(result.exception, ValueError)
        assert "line 1501" in str(result.exception)
        assert statuses(conn) == []

    def test_a_delayed_record_says_so(self, invoke: Invoke) -> None:
        assert invoke("enqueue", "f", "--run-at", "2999-01-31T08:00:00+0000", stdin="{}\n").exit_code == 0
        assert "is not due before 2999-01-31" in as_json(invoke("show", 1, "--json"))["why_not_claimed"]


class TestLooking:
    def test_status_adds_up(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn, 3)
        fail(conn)
        found = as_json(invoke("status", "--json"))
        assert (found["pending_records"], found["failed_records"], found["total_records"]) == (2, 1, 3)
        text = invoke("status", "--flow", "f").stdout
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "pending" in text

    def test_failures_come_in_pages_with_their_errors(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn, 3)
        for n in range(3):
            fail(conn, f"error {n}\nat line 5 of something long " + "x" * 100)
        text = invoke("failed", "f", "--limit", 2).stdout
        assert "error 0" in text
        assert "more with --after 2" in text
        assert max(len(line) for line in text.splitlines()) <= 80
        [last] = as_json(invoke("failed", "f", "--after", 2, "--json"))
        assert (last["id"], last["failure_kind"]) == (3, "error")

    def test_show_has_the_attempts(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn)
        fail(conn)
        found = as_json(invoke("show", 1, "--json"))
        assert [attempt["error"] for attempt in found["attempts"]] == ["it broke"]
        assert "requeue_records" in found["why_not_claimed"]

    def test_health_is_an_exit_code(self, invoke: Invoke, conn: psycopg.Connection, monkeypatch: Any) -> None:
        assert invoke("health").exit_code == 0
        add(conn)
        conn.execute("select conveyor.claim_records_batch('f', 1)")
        conn.execute("update conveyor.processing_queue set lease_expires_at = clock_timestamp() - interval '1 hour'")
        degraded = invoke("health")
        assert (degraded.exit_code, "maintain()" in degraded.stdout) == (1, True)
        monkeypatch.setenv("DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING", "postgresql://u:secret@127.0.0.1:1/db")
        away = invoke("health", "--json")
        assert (away.exit_code, json.loads(away.stdout)["status"]) == (2, "unhealthy")
        assert "secret" not in away.output

    def test_diagnose_says_what_is_wrong_and_what_to_call(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        assert (invoke("diagnose").exit_code, invoke("diagnose").stdout) == (0, "nothing is wrong\n")
        add(conn)
        conn.execute("update conveyor.processing_queue set created_at = clock_timestamp() - interval '20 minutes'")
        late = invoke("diagnose")
        assert late.exit_code == 1
        assert re.fullmatch(
            r"warning: flow f: the oldest of 1 .*\n    start workers of flow f; list_sl.*\n", late.stdout
        )
        fail(conn)
        worse = invoke("diagnose", "--json")
        assert worse.exit_code == 2
        assert json.loads(worse.stdout)["issues_found"][0].startswith("critical: flow f: 1 of 1 records")


class TestRepairing:
    def test_reset_and_requeue(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn, 2)
        fail(conn)
        assert as_json(invoke("reset", "f", "--json")) == {"reset": 1}
        fail(conn)
        assert as_json(invoke("reset", "f", "--max-retries", 1, "--json")) == {"reset": 0}
        assert as_json(invoke("requeue", 1, 2, "--json")) == {"requeued": 1}
        assert statuses(conn) == ["pending", "pending"]

    def test_cancel_only_says_what_it_would_do_without_yes(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn, 2)
        assert "nothing was cancelled" in invoke("cancel", 1).stdout
        assert statuses(conn) == ["pending", "pending"]
        assert as_json(invoke("cancel", 1, "--reason", "no need", "--yes", "--json")) == {"cancelled": 1}
        assert statuses(conn) == ["failed", "pending"]
        assert "no need" in invoke("failed", "f").stdout

    def test_purge_deletes_in_batches_and_only_with_yes(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        conn.execute(
            """
            insert into conveyor.processing_queue (flow_name, payload, status, completed_at)
            select 'f', '{}', 'completed', now() - interval '2 days' from generate_series(1, 25)
            """
        )
        assert "would delete" in invoke("purge", "f", "--older-than", "1d").stdout
        assert len(statuses(conn)) == 25
        assert as_json(invoke("purge", "f", "--older-than", "1d", "--batch", 10, "--yes", "--json")) == {"purged": 25}
        assert statuses(conn) == []

    def test_cleanup_takes_a_timeout(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn)
        conn.execute("select conveyor.claim_records_batch('f', 1)")
        conn.execute("update conveyor.processing_queue set claimed_at = now() - interval '2 hours'")
        assert as_json(invoke("cleanup", "--json")) == {"cleaned_up": 0}
        assert as_json(invoke("cleanup", "--timeout", "90m", "--json")) == {"cleaned_up": 1}
        assert as_json(invoke("maintain", "--json"))["worked"] is True


class TestGoverning:
    def test_pause_and_resume(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        add(conn)
        claims = "select count(*) from conveyor.claim_records_batch('f', 1)"
        assert invoke("pause", "f").stdout == "f is paused\n"
        assert conn.execute(claims).fetchone() == (0,)
        assert invoke("resume", "f").stdout == "f runs\n"
        assert conn.execute(claims).fetchone() == (1,)

    def test_configure_reads_json_and_words(self, invoke: Invoke, conn: psycopg.Connection) -> None:
        assert invoke("configure", "f", "lease=10 minutes", "crash_budget=null", "max_retries=7").exit_code == 0
        found = conn.execute("select lease::text, crash_budget, max_retries from conveyor.flow").fetchall()
        assert found == [("00:10:00", None, 7)]

    @pytest.mark.parametrize("setting", ["lease", "lease=0", "leese=5min", "max_retries=many"])
    def test_a_bad_setting_is_an_error(self, invoke: Invoke, conn: psycopg.Connection, setting: str) -> None:
        assert invoke("configure", "f", setting).exit_code != 0
        assert conn.execute("select count(*) from conveyor.flow").fetchone() == (0,)


def test_an_error_of_the_server_is_one_line_with_the_remedy(pgconveyor: Any, rpa_db: DatabaseManager) -> None:  # noqa: ARG001
    done = pgconveyor("show", 999)
    assert done.returncode == 1
    assert done.stderr.startswith("error: record 999 does not exist. The id is wrong")
    assert len(done.stderr.splitlines()) == 1
