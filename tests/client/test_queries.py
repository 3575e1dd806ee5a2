"""Queries and transactions through DatabaseManager: rows as dicts, parameters, all or nothing, what is refused."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgconveyor.database import DatabaseManager
from pgconveyor.distributed import DistributedProcessor
from pgconveyor.errors import SchemaMissing

Manager = DatabaseManager


class TestQueries:
    def test_rows_are_dicts_and_a_statement_without_rows_gives_none(self, rpa_db: Manager) -> None:
        assert rpa_db.execute_query("create table t (n integer, word text)") == []
        assert rpa_db.execute_query("insert into t values (1, 'a'), (2, 'b')") == []
        assert rpa_db.execute_query("select * from t order by n") == [{"n": 1, "word": "a"}, {"n": 2, "word": "b"}]
        assert rpa_db.execute_query("select * from t where n > 5") == []

    @pytest.mark.parametrize(
        ("query", "params", "value"),
        [
            ("select %s::int + %s as v", [1, 2], 3),
            ("select %s::text as v", ("100%",), "100%"),
            ("select %(a)s::int * %(b)s as v", {"a": 6, "b": 7}, 42),
            ("select 7 %% %s as v", [4], 3),
            ("select 'a%s' like 'a%' and 5 % 3 = 2 as v", None, True),
        ],
    )
    def test_params_by_position_or_name_and_percent_without_params(
        self, rpa_db: Manager, query: str, params: Any, value: object
    ) -> None:
        assert rpa_db.execute_query(query, params) == [{"v": value}]
        assert rpa_db.execute_transaction([(query, params)]) == [{"v": value}]

    def test_a_transaction_gives_the_rows_of_its_statements(self, rpa_db: Manager) -> None:
        statements = [
            ("create table t (n integer)", None),
            ("insert into t values (%s), (%s) returning n", [1, 2]),
            ("delete from t where n = %(n)s", {"n": 1}),
            ("select count(*) as left from t", None),
        ]
        assert rpa_db.execute_transaction(statements) == [{"n": 1}, {"n": 2}, {"left": 1}]
        assert rpa_db.execute_transaction([]) == []

    def test_a_transaction_and_a_connection_are_all_or_nothing(self, rpa_db: Manager) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            rpa_db.execute_transaction([("create table a (n integer)", None), ("select 1 / 0", None)])
        with pytest.raises(LookupError), rpa_db.connection() as conn:  # noqa: PT012
            conn.execute("create table b (n integer)")
            raise LookupError
        with rpa_db.connection() as conn:
            conn.execute("create table c (n integer)")
        left = "select string_agg(relname, '') as left from pg_class where relname in ('a', 'b', 'c')"
        assert rpa_db.execute_query(left) == [{"left": "c"}]

    @pytest.mark.parametrize("table", ["no_such_table", "conveyor_belts"])
    def test_what_the_server_refuses_is_psycopgs_error_and_harms_nothing(self, rpa_db: Manager, table: str) -> None:
        with pytest.raises(psycopg.errors.UndefinedTable):
            rpa_db.execute_query(f"select * from {table}")
        assert rpa_db.execute_query("select 1 as n") == [{"n": 1}]

    @pytest.mark.parametrize("drop", ["schema conveyor cascade", "function conveyor.get_queue_status"])
    def test_a_database_without_the_queue_says_install(self, processor: DistributedProcessor, drop: str) -> None:
        processor.rpa_db.execute_query(f"drop {drop}")
        with pytest.raises(SchemaMissing, match="pgconveyor install"):
            processor.get_queue_status()
        assert processor.health_check()["status"] == "unhealthy"
