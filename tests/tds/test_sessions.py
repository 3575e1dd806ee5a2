"""Transactions, row versions, locks and errors are those of a server with several clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tds import TdsServer

pyodbc: Any = pytest.importorskip("pyodbc", exc_type=ImportError)  # the wheel has no unixODBC

VERSIONS = "SELECT id FROM t WHERE rv < MIN_ACTIVE_ROWVERSION() ORDER BY rv"


@pytest.fixture
def table(cur: Any) -> None:
    cur.execute("CREATE TABLE t (id int IDENTITY(1,1) PRIMARY KEY, n int NOT NULL, rv rowversion)")


@pytest.mark.usefixtures("table")
class TestTransactions:
    def test_what_is_not_committed_is_not_seen_and_its_id_is_given_out(self, cur: Any, connect: Any) -> None:
        other = connect(autocommit=False)
        other.execute("INSERT INTO t (n) VALUES (1)")
        cur.execute("INSERT INTO t (n) VALUES (2)")
        assert [row.id for row in cur.execute("SELECT id FROM t")] == [2]
        other.commit()
        assert [row.id for row in cur.execute("SELECT id FROM t ORDER BY id")] == [1, 2]

    def test_roll_back(self, cur: Any, connect: Any) -> None:
        other = connect(autocommit=False)
        other.execute("INSERT INTO t (n) VALUES (1)")
        other.rollback()
        cur.execute("BEGIN TRANSACTION")
        cur.execute("INSERT INTO t (n) VALUES (1)")
        cur.execute("ROLLBACK TRANSACTION")
        assert cur.execute("SELECT COUNT(*) FROM t").fetchval() == 0

    def test_a_statement_that_fails_leaves_its_transaction(self, cur: Any, connect: Any) -> None:
        other = connect(autocommit=False)
        other.execute("INSERT INTO t (n) VALUES (1)")
        with pytest.raises(pyodbc.Error, match="515"):
            other.execute("INSERT INTO t (n) VALUES (NULL)")
        other.execute("INSERT INTO t (n) VALUES (2)")
        other.commit()
        assert [row.n for row in cur.execute("SELECT n FROM t ORDER BY n")] == [1, 2]

    def test_versions_are_given_out_by_statements_and_active_until_the_end(self, cur: Any, connect: Any) -> None:
        cur.execute("INSERT INTO t (n) VALUES (0)")
        early, late = connect(autocommit=False), connect(autocommit=False)
        early.execute("INSERT INTO t (n) VALUES (1)")
        late.execute("INSERT INTO t (n) VALUES (2)")
        cur.execute("INSERT INTO t (n) VALUES (3)")
        assert [row.id for row in cur.execute(VERSIONS)] == [1]
        late.commit()
        assert [row.id for row in cur.execute(VERSIONS)] == [1]
        early.execute("UPDATE t SET n = 9 WHERE id = 1")
        early.commit()
        # The update gave the first a version of its own, later than the others.
        assert [row.id for row in cur.execute(VERSIONS)] == [2, 3, 4, 1]

    def test_a_deadlock_has_a_victim(self, cur: Any, connect: Any) -> None:
        cur.execute("INSERT INTO t (n) VALUES (1), (2)")
        meet = Barrier(2, timeout=30)

        def both(first: int, second: int) -> str:
            conn = connect(autocommit=False)
            conn.execute("UPDATE t SET n = n + 10 WHERE id = ?", first)
            meet.wait()
            try:
                conn.execute("UPDATE t SET n = n + 10 WHERE id = ?", second)
            except pyodbc.Error as exc:
                return str(exc)
            conn.commit()
            return "done"

        with ThreadPoolExecutor(2) as pool:
            ends = sorted(pool.map(both, [1, 2], [2, 1]))
        assert "(1205)" in ends[0]
        assert ends[1] == "done"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SELECT * FROM nowhere", 208),
        ("SELECT * FROM sys.databases", 208),
        ("SELECT nothing FROM t", 207),
        ("SELEC 1", 102),
        ("CREATE TABLE t (id int)", 2714),
        ("INSERT INTO t (id, n) VALUES (1, 1), (1, 1)", 2627),
        ("INSERT INTO t (n) VALUES (NULL)", 515),
        ("INSERT INTO t (n) VALUES ('many')", 245),
        ("SELECT 1 / 0", 8134),
        ("EXEC sp_who", 2812),
    ],
)
@pytest.mark.usefixtures("table")
def test_errors_have_sql_servers_numbers(cur: Any, text: str, number: int) -> None:
    with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
        cur.execute(text)
    assert cur.execute("SELECT 1").fetchval() == 1


@pytest.mark.parametrize(
    ("options", "number"), [({"PWD": "wrong"}, 18456), ({"UID": "nobody"}, 18456), ({"DATABASE": "nowhere"}, 18456)]
)
def test_whoever_may_not_is_told(connect: Any, options: dict[str, str], number: int) -> None:
    with pytest.raises(pyodbc.Error, match=str(number)):
        connect(**options)


def test_what_the_client_says_of_itself_is_known(connect: Any, tds: TdsServer) -> None:
    connect(APP="ingest", ApplicationIntent="ReadOnly").execute("SELECT ? AS n", 5)
    assert (tds.logins[-1].application, tds.logins[-1].is_read_only) == ("ingest", True)
    assert tds.statements[-1] == ("SELECT @P1 AS n", {"@P1": 5})


@pytest.mark.usefixtures("table")
def test_threads_have_sessions_of_their_own(connect: Any, cur: Any) -> None:
    def work(number: int) -> list[int]:
        own = connect().cursor()
        for _ in range(5):
            own.execute("INSERT INTO t (n) VALUES (?)", number)
        return [row.n for row in own.execute("SELECT n FROM t WHERE n = ?", number)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[n] * 5 for n in range(8)]
    assert cur.execute("SELECT COUNT(DISTINCT id) FROM t").fetchval() == 40


def test_several_statements_and_results_in_one_batch(cur: Any) -> None:
    cur.execute("SET NOCOUNT ON; CREATE TABLE u (n int); INSERT INTO u VALUES (1), (2); SELECT n FROM u; SELECT 9 AS m")
    found = []
    while True:
        if cur.description:
            found.append([tuple(row) for row in cur.fetchall()])
        if not cur.nextset():
            break
    assert found == [[(1,), (2,)], [(9,)]]


def test_a_database_that_is_made_is_its_own_until_it_is_dropped(connect: Any, empty_dsn: str) -> None:
    name = f"Own_{conninfo_to_dict(empty_dsn)['dbname']}"
    master = connect(DATABASE="master")
    master.execute("CREATE TABLE t (n int)")
    master.execute(f"CREATE DATABASE {name}")
    own = connect(DATABASE=name)
    own.execute("CREATE TABLE t (v rowversion, n int)")
    assert own.execute("SELECT DB_NAME()").fetchval() == name.lower()
    for statement, number in [(f"CREATE DATABASE {name}", 1801), (f"DROP DATABASE no_{name}", 3701)]:
        with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
            master.execute(statement)
    with pytest.raises(pyodbc.Error, match=r"\(226\)"):
        connect(autocommit=False).execute("CREATE DATABASE never")
    master.execute(f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    master.execute(f"DROP DATABASE {name}")
    with pytest.raises(pyodbc.Error):
        own.execute("SELECT 1")
    with pytest.raises(pyodbc.Error, match="18456"):
        connect(DATABASE=name)


def test_no_database_of_postgresqls_can_be_reached(connect: Any, empty_dsn: str) -> None:
    name = conninfo_to_dict(empty_dsn)["dbname"]
    with pytest.raises(pyodbc.Error, match="18456"):
        connect(DATABASE=name)
    with pytest.raises(pyodbc.Error, match=r"\(3701\)"):
        connect().execute(f"DROP DATABASE {name}")
