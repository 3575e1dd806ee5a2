"""The collector of tests/db is trusted with the SQL tests: here it must fail whatever deserves to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import pgtap

pytest_plugins = ["pytester"]

PLUGIN = """
import pgtap

def pytest_configure(config):
    config.pluginmanager.register(pgtap)
    config.stash[pgtap.DSN] = lambda: {dsn!r}
"""

# Comes after the collector's own ordering, so that the last item runs first.
REVERSED = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.reverse()
"""

ORDERED = """
begin;
select plan(3);
create table public.step (i integer);
insert into step values (1);
select results_eq('select i from step', 'values (1)', 'one step');
insert into step values (2);
select is(count(*), 2::bigint, 'two steps') from step;
insert into step values (3);
select is(count(*), 3::bigint, 'three steps') from step;
select * from finish();
rollback;
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def tap_dsn(pytestconfig: pytest.Config) -> str:
    return pytestconfig.stash[pgtap.DSN]()


@pytest.fixture
def run(tap_dsn: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the statements, as one file or as several, under the collector."""
    monkeypatch.setenv("PGTAP_SQL", str(pgtap.sql_file()))  # pytester hides the cache in the home directory

    def run(*sources: str, arguments: tuple[str, ...] = (), conftest: str = "") -> pytest.RunResult:
        pytester.makeconftest(PLUGIN.format(dsn=tap_dsn) + conftest)
        directory = pytester.mkdir("tests") / "db"
        directory.mkdir()
        for number, source in enumerate(sources):
            (directory / f"file{number}.sql").write_text(source)
        return pytester.runpytest("-v", "-rA", "-Werror", "-p", "no:hypothesispytest", *arguments)

    return run


def test_a_true_assertion_passes(run: Run) -> None:
    result = run("begin; select plan(1); select ok(true, 'it is'); select * from finish(); rollback;")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["PASSED tests/db/file0.sql::01-it is", "PASSED tests/db/file0.sql::plan"])


def test_a_wrong_assertion_fails_with_line_and_text(run: Run) -> None:
    result = run("select plan(2);\nselect is(1, 2, 'one is two');\nselect ok(true, 'after it');")

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "tests/db/file0.sql:2: not ok 1 - one is two",
            "*have: 1",
            "*want: 2",
            "select is(1, 2, 'one is two');",
        ]
    )


def test_an_sql_error_in_an_assertion_fails_it_and_the_plan(run: Run) -> None:
    result = run("select plan(2); select ok(1 / 0 = 1, 'infinite'); select ok(true, 'after it');")

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["*DivisionByZero*", "*planned 2 assertions, ran 1"])


def test_after_an_error_in_the_set_up_nothing_passes(run: Run) -> None:
    result = run("select plan(1);\n\ninsert into missing values (1);\nselect ok(true, 'proves nothing');")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["set-up failed at tests/db/file0.sql:3: UndefinedTable: *"])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("select plan(2); select ok(true);", "planned 2 assertions, ran 1"),
        ("select plan(1); select ok(true); select ok(true);", "planned 1 assertions, ran 2"),
        ("select no_plan(); select ok(true);", "there is no plan()"),
        ("select plan(1); select ok(true) where false;", "planned 1 assertions, ran 0"),
    ],
)
def test_a_plan_that_is_not_kept_fails(run: Run, source: str, complaint: str) -> None:
    result = run(source)

    result.stdout.fnmatch_lines(["*:1 plan ___*", f"tests/db/file0.sql: {complaint}"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_assertion_without_a_plan_fails(run: Run) -> None:
    run("select ok(true, 'unplanned');").assert_outcomes(failed=2)


@pytest.mark.parametrize("source", ["", "-- select ok(true);", "select plan(0); select 'ok(true)';"])
def test_a_file_without_assertions_fails(run: Run, source: str) -> None:
    result = run(source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tests/db/file0.sql: no assertion was found in this file"])


def test_a_run_without_files_fails(run: Run) -> None:
    assert run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_project_has_files_to_run() -> None:
    assert list((Path(__file__).parent / "db").glob("*.sql"))


def test_an_assertion_that_asserts_nothing_fails(run: Run) -> None:
    result = run("select plan(1); select ok(true, 'no row') from generate_series(1, 0); select ok(true);")

    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*asserted nothing*"])


def test_a_wrong_assertion_hidden_in_a_function_fails_the_plan(run: Run) -> None:
    result = run(
        "select plan(2); select ok(true, 'seen');"
        "create function pg_temp.hidden() returns text language sql as $$ select ok(false, 'hidden') $$;"
        "select pg_temp.hidden();"
    )

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*tests/db/file0.sql:1: not ok 2 - hidden"])


@pytest.mark.parametrize("statement", ["commit", "begin", "end", "abort", "rollback", "start transaction"])
def test_a_file_cannot_end_its_transaction(run: Run, statement: str) -> None:
    result = run(f"begin; select plan(1); {statement}; select ok(true); rollback;")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the file is one transaction*"])


def test_todo_is_xfail_and_skip_is_skip(run: Run) -> None:
    result = run(
        "select plan(4); select * from todo('later', 1); select ok(false, 'a wish');"
        "select skip('not here', 2); select ok(true, 'a fact');"
    )

    result.assert_outcomes(xfailed=1, skipped=1, passed=2)
    result.stdout.fnmatch_lines(["SKIPPED *not here", "XFAIL *01-a wish - later"])


def test_a_todo_that_passes_fails(run: Run) -> None:
    result = run("select plan(1); select * from todo('later', 1); select ok(true, 'done');")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*passes although it is marked TODO*"])


def test_semicolons_split_only_between_statements(run: Run) -> None:
    result = run(
        r"""
        select plan(5);  -- one; two
        /* three; four */
        select is('a;b'::text, $$a;b$$, 'quotes; and dollars');
        select is(E'it\'s;'::text, $tag$it's;$tag$, E'escapes; too');
        select is("a;b", 'it''s;', 'it''s an identifier') from (values ('it''s;')) as v ("a;b");
        do $body$ begin perform $$;$$; end; $body$;
        with one as (select 1 as i) select is(i, 1, 'after a with') from one;
        select ok(true, 'without a semicolon at the end') -- fine
        """
    )

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["PASSED *03-it's an identifier"])


def test_each_file_is_rolled_back(run: Run) -> None:
    one = "begin; select plan(1); create table public.left_over (); select has_table('left_over'); rollback;"

    run(one, one).assert_outcomes(passed=4)


@pytest.mark.parametrize("conftest", ["", REVERSED])
def test_items_pass_in_any_order(run: Run, conftest: str) -> None:
    run(ORDERED, ORDERED, conftest=conftest).assert_outcomes(passed=8)


@pytest.mark.parametrize("dist", ["load", "loadfile"])
def test_items_pass_under_xdist(run: Run, dist: str) -> None:
    run(ORDERED, ORDERED, arguments=("-n", "2", "--dist", dist)).assert_outcomes(passed=8)


@pytest.mark.parametrize("name", ["one", "two", "three", "plan"])
def test_an_item_passes_alone(run: Run, name: str) -> None:
    run(ORDERED, arguments=("-k", name)).assert_outcomes(passed=1, deselected=3)
