"""What a test lets go wrong goes wrong, as FreeTDS shows it."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest

from tds import Fault, LoginFault, TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

MANY = 500


@pytest.fixture
def table(cur: Any) -> None:
    cur.execute("CREATE TABLE t (id int PRIMARY KEY, v nvarchar(100))")
    rows = ", ".join(f"({n}, N'{'x' * 50}')" for n in range(MANY))
    cur.execute(f"INSERT INTO t VALUES {rows}")


def read(cur: Any) -> int:
    cur.execute("SELECT id, v FROM t ORDER BY id")
    return sum(len(page) for page in iter(lambda: cur.fetchmany(10), []))


@pytest.mark.usefixtures("table")
class TestStatements:
    @pytest.mark.parametrize("number", [40613, 40501, 1205, 1222])
    @pytest.mark.parametrize("after_rows", [None, 0, 123])
    def test_an_error(self, cur: Any, tds: TdsServer, number: int, after_rows: int | None) -> None:
        tds.faults.append(Fault("FROM t", error=number, after_rows=after_rows))
        with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
            read(cur)
        assert read(cur) == MANY

    @pytest.mark.parametrize("drop", ["rst", "fin"])
    @pytest.mark.parametrize("after_rows", [None, 0, 123, MANY])
    def test_the_connection_ends(
        self, cur: Any, connect: Any, tds: TdsServer, drop: str, after_rows: int | None
    ) -> None:
        tds.faults.append(Fault("FROM t", drop=drop, after_rows=after_rows))
        with pytest.raises(pyodbc.Error):
            read(cur)
        with pytest.raises(pyodbc.Error):
            cur.execute("SELECT 1")
        assert read(connect().cursor()) == MANY

    def test_it_ends_in_the_middle_of_a_row(self, cur: Any, tds: TdsServer) -> None:
        tds.faults.append(Fault("FROM t", drop="fin", after_rows=123, torn=b"\xd1\x04\x7b"))
        with pytest.raises(pyodbc.Error):
            read(cur)

    def test_a_fault_befalls_so_many_statements_that_match(self, cur: Any, tds: TdsServer) -> None:
        tds.faults.append(Fault("FROM t", times=2, error=40501))
        assert cur.execute("SELECT 1").fetchval() == 1
        for _ in range(2):
            with pytest.raises(pyodbc.Error):
                read(cur)
        assert read(cur) == MANY

    @pytest.mark.parametrize("after_rows", [None, 123])
    def test_a_query_timeout_cancels_what_stalls_and_the_session_lives(
        self, connect: Any, tds: TdsServer, after_rows: int | None
    ) -> None:
        conn = connect()
        conn.timeout = 1
        tds.faults.append(Fault("FROM t", stalls=True, after_rows=after_rows))
        with pytest.raises(pyodbc.Error, match="HYT00"):
            read(conn.cursor())
        if after_rows is None:
            assert read(conn.cursor()) == MANY

    def test_what_stalls_goes_on_when_it_is_released(self, cur: Any, tds: TdsServer) -> None:
        fault = Fault("FROM t", stalls=True, after_rows=123)
        tds.faults.append(fault)
        seen: list[int] = []
        reader = Thread(target=lambda: seen.append(read(cur)))
        reader.start()
        reader.join(0.2)
        assert reader.is_alive()
        fault.release.set()
        reader.join(30)
        assert seen == [MANY]

    def test_all_connections_end(self, cur: Any, connect: Any, tds: TdsServer) -> None:
        tds.drop_all()
        with pytest.raises(pyodbc.Error):
            cur.execute("SELECT 1")
        assert read(connect().cursor()) == MANY


class TestLogins:
    @pytest.mark.parametrize("number", [18456, 40613, 4060])
    def test_an_error(self, connect: Any, tds: TdsServer, number: int) -> None:
        tds.login_faults.append(LoginFault(error=number))
        with pytest.raises(pyodbc.Error):
            connect()
        assert connect().execute("SELECT 1").fetchval() == 1

    def test_the_connection_ends(self, connect: Any, tds: TdsServer) -> None:
        tds.login_faults.append(LoginFault(drops=True))
        with pytest.raises(pyodbc.Error):
            connect()

    def test_nobody_answers(self, connect: Any, tds: TdsServer) -> None:
        tds.login_faults.append(fault := LoginFault(stalls=True))
        with pytest.raises(pyodbc.Error, match="HYT00"):
            connect(timeout=1)
        fault.release.set()


def test_a_million_rows_are_sent_while_they_are_read(connect: Any, tds: TdsServer) -> None:
    conn = connect()
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v nvarchar(100))")
    conn.execute("INSERT INTO t VALUES " + ", ".join(f"({n}, N'x')" for n in range(1000)))
    tds.faults.append(Fault("FROM t AS a", after_rows=2500, drop="rst"))
    with pytest.raises(pyodbc.Error):
        conn.execute("SELECT a.id FROM t AS a CROSS JOIN t AS b").fetchall()
