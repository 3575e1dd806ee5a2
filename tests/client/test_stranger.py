"""A stranger with the README and psql alone installs, runs, watches, stops, breaks and repairs the queue.

What they type is in the README or in a script's header; `typed` looks it up there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

import tools
from documents import PAGES, ROOT, blocks
from pgconveyor.embedded import EmbeddedServer

HEADERS = "\n".join(path.read_text() for path in (ROOT / "scripts").rglob("*.sql"))
KNOWN = re.sub(r"\s+", " ", PAGES["README.md"] + PAGES["ANY_LANGUAGE.md"] + HEADERS)
ADD_AND_CLAIM, LIST, *CONFIGURE = blocks("README.md", "sql")
ADD = ADD_AND_CLAIM.split("-- claim")[0]


class Stranger:
    def __init__(self, server: EmbeddedServer) -> None:
        where = conninfo_to_dict(server.dsn())
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
        self.env = os.environ | {names[key]: str(where[key]) for key in names}
        self.env["PATH"] = f"{Path(tools.tool('psql')).parent}:{os.environ['PATH']}"

    def typed(self, command: str, *, flow: str = "survey_processor", code: int = 0) -> str:
        """What it printed. `flow` is the one in the scripts' headers, of which ours takes the place."""
        assert re.sub(r"\s+", " ", command) in KNOWN, f"nobody told the stranger to type {command}"
        command = command.replace(flow, "greetings")
        done = subprocess.run(
            ["sh", "-c", command], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def sql(self, text: str) -> str:
        """What psql answers, unaligned, without heads."""
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "rpa_db"]
        done = subprocess.run(
            command, input=text, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self) -> str:
        return self.sql("select string_agg(status, ' ' order by id) from conveyor.processing_queue")


@pytest.fixture
def newcomer(embedded: EmbeddedServer) -> Stranger:
    """At a server that has nothing yet."""
    return Stranger(embedded)


@pytest.fixture
def stranger(newcomer: Stranger) -> Iterator[Stranger]:
    newcomer.typed("createdb rpa_db")
    newcomer.typed("psql -X -d rpa_db -f db/install.sql")
    yield newcomer
    assert newcomer.sql("select * from conveyor.check_integrity()") == ""


def lose_a_claim(stranger: Stranger) -> None:
    """Claim in a session that ends without an answer, and let the lease end."""
    claim = "select count(*) from conveyor.claim_records_batch('greetings', 1, p_lease => '1 microsecond')"
    assert stranger.sql(claim) == "1"


def test_installing_again_changes_nothing(stranger: Stranger) -> None:
    stranger.sql(ADD)
    stranger.typed("psql -X -d rpa_db -f db/install.sql")
    assert stranger.states() == "pending pending pending pending"
    assert "greetings" in stranger.typed("psql -X -d rpa_db -f scripts/ops/status.sql")


def test_the_functions_explain_themselves(stranger: Stranger) -> None:
    told = dict(line.split("|", 1) for line in stranger.sql(LIST).splitlines())
    files = [path.stem for path in (ROOT / "db/functions").glob("[!_]*.sql")]
    assert sorted(name.split("(")[0].removeprefix("conveyor.") for name in told) == sorted(files)
    assert all(told.values())


def test_running_a_worker(stranger: Stranger) -> None:
    stranger.sql(ADD)
    said = stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql")
    assert said == "claimed 3 completed 3 failed 0 lost {}\n", "the fourth is due in an hour"
    assert stranger.sql("select payload from conveyor.processing_queue where id = 1") == '{"greeting": "Hello, Grace"}'
    assert stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql") == "idle\n"


def test_answering_by_hand(stranger: Stranger) -> None:
    held = [line.split("|") for line in stranger.sql(ADD_AND_CLAIM).splitlines() if line.count("|") == 3]
    [shown] = blocks("README.md", "text")
    calls = [line for line in shown.splitlines() if "mark_record_" in line]
    for call, (record_id, _, token, _) in zip(calls, held, strict=False):
        stranger.sql(call.replace("ID", record_id).replace("TOKEN", token))
    assert sorted(stranger.states().split()) == ["completed", "failed", "pending", "processing"]


def test_watching(stranger: Stranger) -> None:
    stranger.sql(ADD)
    status = stranger.typed("psql -X -d rpa_db -f scripts/ops/status.sql")
    assert re.search(r"greetings +\| 4 +\| 0 +\| 0 +\| 0", status)
    assert "healthy" in status
    assert "is next in line" in stranger.sql("select conveyor.why_not_claimed(3)")
    assert "is not due before" in stranger.sql("select conveyor.why_not_claimed(2)")


def test_stopping_a_flow_and_letting_it_run_again(stranger: Stranger) -> None:
    stranger.sql(ADD + "select conveyor.pause_flow('greetings');")
    assert stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql") == "idle\n"
    assert "is paused" in stranger.sql("select conveyor.why_not_claimed(1)")
    stranger.sql("select conveyor.resume_flow('greetings')")
    assert "claimed 3" in stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql")


def test_taking_back_what_a_dead_worker_held(stranger: Stranger) -> None:
    stranger.sql(ADD)
    lose_a_claim(stranger)
    show = "psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/stuck.sql"
    assert "add -v apply=1" in stranger.typed(show)
    assert "processing" in stranger.states()
    stranger.typed(show.replace("-f", "-v apply=1 -f"))
    assert "processing" not in stranger.states()


def test_a_record_that_kills_five_workers_fails_and_is_requeued(stranger: Stranger) -> None:
    stranger.sql("""select conveyor.add_record('greetings', '{"name": "Ada"}')""")
    for _ in range(4):
        lose_a_claim(stranger)
        stranger.sql("select conveyor.maintain()")
        assert stranger.states() == "pending"
    lose_a_claim(stranger)
    stranger.sql("select conveyor.maintain()")
    assert stranger.states() == "failed"
    failed = stranger.typed("psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/failed.sql")
    assert re.search(r"1 \| +5 \| +5 \| crashed \| 5 claims ended without an answer", failed)
    requeue = "psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/requeue.sql"
    assert "rolled back" in stranger.typed(requeue)
    stranger.typed(requeue.replace("-f", "-v apply=1 -f"))
    stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql")
    assert stranger.states() == "completed"


def test_a_flow_that_tries_again_and_one_that_is_reset(stranger: Stranger) -> None:
    stranger.sql("".join(CONFIGURE) + "select conveyor.configure_flow('greetings', '{\"retry_delay\": 0}');")
    stranger.sql("select conveyor.add_record('greetings', '{}')")
    for tries in range(6):
        assert stranger.states() == "pending", tries
        stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql")
    assert stranger.states() == "failed"
    assert stranger.sql("select conveyor.reset_failed_records('greetings', 7)") == "1"
    assert stranger.states() == "pending"


def test_breaking_it_by_raw_sql_and_mending_it(stranger: Stranger) -> None:
    stranger.sql(ADD)
    lose_a_claim(stranger)
    stranger.sql("update conveyor.processing_queue set status = 'completed' where status = 'processing'")
    stranger.sql("insert into conveyor.processing_queue (id, flow_name, payload) values (99, 'greetings', '{}')")
    broken = stranger.sql("select problem from conveyor.check_integrity()").splitlines()
    assert broken == ["answered, but still leased", "ids run out of step"]
    stranger.sql("select from conveyor.check_integrity(p_repair => true)")


def test_purging_and_removing(stranger: Stranger) -> None:
    stranger.sql(ADD)
    stranger.typed("psql -X -d rpa_db -f scripts/psql_worker/greetings.sql")
    purge = "psql -X -d rpa_db -v flow=survey_processor -v older_than='30 days' -f scripts/ops/purge.sql"
    assert "rolled back" in stranger.typed(purge)
    assert "drop_data=1" in stranger.typed("psql -X -d rpa_db -f db/uninstall.sql", code=3)
    assert "completed" in stranger.states()
    remove = "psql -X -d rpa_db -v drop_data=1 -f db/uninstall.sql"
    assert remove in (ROOT / "db/uninstall.sql").read_text()
    stranger.sql(f"\\set drop_data 1\n\\i {ROOT}/db/uninstall.sql")
    assert stranger.sql("select to_regnamespace('conveyor') is null") == "t"
    stranger.typed("psql -X -d rpa_db -f db/install.sql")


def test_psql_gets_into_the_embedded_server(newcomer: Stranger, embedded: EmbeddedServer) -> None:
    embedded.ensure_database("rpa_db")
    env = {name: value for name, value in newcomer.env.items() if not name.startswith("PG")}
    status = [sys.executable, "-m", "pgconveyor", "embedded", "status", "--directory", str(embedded.directory)]
    [way] = re.findall("^psql .*", subprocess.check_output(status, env=env, text=True, timeout=60), re.M)
    said = subprocess.check_output(["sh", "-c", f"{way} -XAtc 'select current_user'"], env=env, text=True, timeout=60)
    assert said == "postgres\n"
