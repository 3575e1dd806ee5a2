"""Ingesting while the SQL Server, the queue or the way to either fails: each row is in the queue once, and whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Timer
from typing import Any

import psycopg
import pytest

import cut
from ingest_kit import Survey
from pgconveyor import source, sqlserver
from pgconveyor.embedded import EmbeddedServer
from pgconveyor.errors import SourceMoved
from pgconveyor.install import install
from pgconveyor.sqlserver import SqlServerManager
from tds import Fault, LoginFault, TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

PAGE = "WITH TIES"
ROWS = 35  # three pages and a short one

# The session of the statement that runs it for the first time ends.
DIE = """
    create sequence public.deaths;
    create function public.die() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin
        if nextval('public.deaths') = 2 then
            perform pg_terminate_backend(pg_backend_pid());
        end if;
        return null;
    end $$;
"""
# As the page of a connection that was lost, or of somebody else.
LAND = """
    select conveyor.ingest_page(w.source, w.flow_name, w.revision, w.read_to, '[]', '{}')
    from conveyor.source_watermark as w
"""
OPEN = source.Ingester._open
TRIGGERS = {
    "before it adds": "trigger die before insert on conveyor.processing_queue for each statement",
    "after it added": "trigger die after insert on conveyor.processing_queue for each statement",
    "after it moved": "trigger die after update of revision on conveyor.source_watermark for each statement",
    "in its commit": """constraint trigger die after update of revision on conveyor.source_watermark
        deferrable initially deferred for each row""",
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlserver, "BACK_OFF", 0.01)
    monkeypatch.setattr(source, "BACK_OFF", (0.01, 0.1))


@pytest.fixture
def rows(survey: Survey) -> list[dict[str, Any]]:
    survey.add(range(ROWS))
    return survey.rows()


def then(tds: TdsServer, fault: Fault, pages: int = 1) -> Fault:
    """After so many good pages."""
    tds.faults += [Fault(PAGE, times=pages), fault]
    return fault


class TestTheWayToTheSqlServer:
    @pytest.mark.parametrize("drop", ["rst", "fin"])
    @pytest.mark.parametrize(
        "where",
        [{}, {"after_rows": 4}, {"after_rows": 4, "torn": b"\xd1\x08\x04"}, {"after_rows": 10}],
        ids=["at once", "between rows", "in a row", "before the end"],
    )
    def test_it_ends_in_a_page(
        self, survey: Survey, rows: Any, tds: TdsServer, drop: str, where: dict[str, Any]
    ) -> None:
        fault = then(tds, Fault(PAGE, times=2, drop=drop, **where))
        done = survey.ingest()
        assert (survey.queued(), done.added, fault.times) == (rows, ROWS, 0)

    @pytest.mark.parametrize("match", ["MIN_ACTIVE", r"MAX\(", "GROUP BY", r"TOP \(0\)", "dm_exec_describe"])
    def test_it_ends_in_another_statement(self, survey: Survey, rows: Any, tds: TdsServer, match: str) -> None:
        tds.faults.append(Fault(match, times=2, drop="rst"))
        survey.ingest()
        survey.ingest()
        assert survey.queued() == rows

    @pytest.mark.parametrize("fault", [{"drops": True}, {"error": 40613}, {"error": 49918}])
    def test_it_ends_at_a_login_after_it_ended(
        self, survey: Survey, rows: Any, tds: TdsServer, fault: dict[str, Any]
    ) -> None:
        then(tds, Fault(PAGE, drop="rst"))
        with survey.ingester() as ingester:
            tds.login_faults.append(login := LoginFault(times=sqlserver.ATTEMPTS + 1, **fault))
            ingester.run()
        assert (survey.queued(), login.times) == (rows, 0)

    def test_nobody_answers_a_login_after_it_ended(
        self, survey: Survey, rows: Any, tds: TdsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlserver, "LOGIN_TIMEOUT", 1)
        then(tds, Fault(PAGE, drop="rst"))
        with survey.ingester() as ingester:
            tds.login_faults.append(login := LoginFault(stalls=True))
            ingester.run()
        login.release.set()
        assert (survey.queued(), login.times) == (rows, 0)

    @pytest.mark.parametrize("survey", ["id"], indirect=True)
    def test_looking_for_duplicates_may_be_silent_for_longer_than_a_page(
        self, survey: Survey, rows: Any, tds: TdsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlserver, "QUERY_TIMEOUT", 1)
        tds.faults.append(slow := Fault("GROUP BY", stalls=True))
        timer = Timer(3, slow.release.set)
        timer.start()
        survey.ingest()
        timer.join()
        assert survey.queued() == rows

    def test_a_page_that_stalls_is_asked_for_again(
        self, survey: Survey, rows: Any, tds: TdsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(SqlServerManager.read.__kwdefaults__ or {}, "deadline", 0.3)
        then(tds, Fault(PAGE, times=2, stalls=True, after_rows=4))
        then(tds, Fault(PAGE, stalls=True))
        assert (survey.ingest().added, survey.queued()) == (ROWS, rows)


class TestTheSqlServer:
    @pytest.mark.parametrize("number", [40613, 40501, 10928, 49918, 1205])
    def test_is_busy_or_fails_over(self, survey: Survey, rows: Any, tds: TdsServer, number: int) -> None:
        tds.faults.append(Fault(PAGE, times=2, error=number))
        fault = then(tds, Fault(PAGE, times=2, error=number, after_rows=4))
        assert (survey.ingest().added, survey.queued(), fault.times) == (ROWS, rows, 0)

    @pytest.mark.parametrize("fault", [{"error": 40613}, {"drop": "fin", "after_rows": 4}])
    def test_is_away_for_longer_than_a_statement_is_tried(
        self, survey: Survey, rows: Any, tds: TdsServer, fault: dict[str, Any]
    ) -> None:
        longer = then(tds, Fault(PAGE, times=2 * sqlserver.ATTEMPTS + 1, **fault))
        assert (survey.ingest().added, survey.queued(), longer.times) == (ROWS, rows, 0)

    def test_does_not_come_back(self, survey: Survey, rows: Any, tds: TdsServer) -> None:
        fault = then(tds, Fault(PAGE, times=99, drop="rst"))
        with pytest.raises(ConnectionError, match="SurveyHub: "):
            survey.ingest()
        # What was read of the first page alone, and the watermark with it.
        assert (survey.queued(), fault.times) == (rows[:10], 99 - source.TRIES * sqlserver.ATTEMPTS)
        tds.faults.clear()
        assert (survey.ingest().added, survey.queued()) == (ROWS - 10, rows)

    @pytest.mark.parametrize("number", [208, 8134, 50000])
    def test_refuses(self, survey: Survey, rows: Any, tds: TdsServer, number: int) -> None:
        fault = then(tds, Fault(PAGE, times=99, error=number, after_rows=4), pages=2)
        with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
            survey.ingest()
        assert (survey.queued(), fault.times) == (rows[:20], 98)
        tds.faults.clear()
        survey.ingest()
        assert survey.queued() == rows

    @pytest.mark.usefixtures("rows")
    def test_a_password_is_tried_once(
        self, survey: Survey, tds: TdsServer, configure: Callable[..., None], shown: Callable[[BaseException], str]
    ) -> None:
        configure("SurveyHub", tds.url(Encrypt="no").replace(":Str0ng", ":hunter2"), TYPE="sqlserver")
        before = len(tds.logins)
        with pytest.raises(ConnectionError, match="Login failed") as caught:
            survey.ingest()
        assert (len(tds.logins) - before, survey.queued(), "hunter2" in shown(caught.value)) == (1, [], False)

    def test_one_that_was_changed_meanwhile_is_tried_once(self, survey: Survey, rows: Any, tds: TdsServer) -> None:
        then(tds, Fault(PAGE, drop="rst"))
        with survey.ingester() as ingester:
            before, tds.password = len(tds.logins), "another"
            with pytest.raises(ConnectionError, match="Login failed"):
                ingester.run()
        assert (len(tds.logins) - before, survey.queued()) == (1, rows[:10])
        tds.password = "Str0ng!Pa:ss"
        survey.ingest()
        assert survey.queued() == rows


class TestTheQueue:
    @pytest.mark.parametrize("when", TRIGGERS)
    def test_it_ends_the_session_of_a_page(self, survey: Survey, rows: Any, when: str) -> None:
        survey.conn.execute(DIE)
        survey.conn.execute(f"create {TRIGGERS[when]} execute function public.die()")
        survey.ingest()
        assert survey.queued() == rows

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("number", [2, 5, 6], ids=["first page", "last page", "the end"])
    def test_the_way_to_it_ends_at_a_commit(
        self, survey: Survey, rows: Any, dsn: str, configure: Callable[..., None], when: cut.When, number: int
    ) -> None:
        with cut.at_commit(dsn, when, number) as url:
            configure("rpa_db", url)
            survey.ingest()
        assert survey.queued() == rows
        assert survey.conn.execute("select caught_up_at > moved_at from conveyor.list_sources()").fetchone() == (True,)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_run_that_ended_at_a_commit_goes_on(
        self, survey: Survey, rows: Any, dsn: str, configure: Callable[..., None], when: cut.When
    ) -> None:
        with cut.at_commit(dsn, when, 3) as url, pytest.MonkeyPatch.context() as patch:
            configure("rpa_db", url)
            patch.setattr(source, "TRIES", 0)
            with pytest.raises(ConnectionError, match="rpa_db: "):
                survey.ingest()
        assert survey.queued() == rows[: {"before": 10, "after": 20}[when]]
        configure("rpa_db", dsn)
        survey.ingest()
        assert survey.queued() == rows

    def test_a_page_that_lands_when_its_source_is_open_again(
        self, survey: Survey, rows: Any, dsn: str, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = []

        def opens(ingester: source.Ingester) -> Any:
            opened.append(window := OPEN(ingester))
            if len(opened) == 2:
                survey.conn.execute(LAND)
            return window

        monkeypatch.setattr(source.Ingester, "_open", opens)
        with cut.at_commit(dsn, "before", 3) as url:
            configure("rpa_db", url)
            survey.ingest()
        assert (survey.queued(), len(opened)) == (rows, 3)

    def test_somebody_else_reads_the_source(self, survey: Survey, rows: Any) -> None:
        def mapping(row: dict[str, Any]) -> dict[str, Any]:
            if row["id"] == 25:
                survey.conn.execute(LAND)
            return row

        with pytest.raises(SourceMoved, match=r"source 'surveyhub\.responses' of flow 'f' was moved by somebody else"):
            survey.ingest(mapping=mapping)
        survey.ingest()
        assert survey.queued() == rows

    def test_it_is_away_for_a_moment(
        self, survey: Survey, rows: Any, embedded: EmbeddedServer, configure: Callable[..., None], back: list[Any]
    ) -> None:
        dsn = embedded.ensure_database("away")
        with psycopg.connect(dsn) as conn:
            install(conn)
        configure("rpa_db", dsn, POOL_TIMEOUT=1)
        back.append(embedded.start)

        def mapping(row: dict[str, Any]) -> dict[str, Any]:
            if row["id"] == 15 and back:
                embedded.stop()
            return row

        survey.ingest(mapping=mapping)
        assert back == []
        with psycopg.connect(dsn) as survey.conn:
            assert survey.queued() == rows


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is in it happens once the ingester has said that it tries again."""
    steps: list[Any] = []
    said = logging.getLogger("pgconveyor.source").warning

    def warning(*args: Any) -> None:
        said(*args)
        if steps:
            steps.pop()()

    monkeypatch.setattr(logging.getLogger("pgconveyor.source"), "warning", warning)
    return steps
