"""pgTAP under pytest: each assertion of tests/db/*.sql is an item; a file is one rolled-back transaction.

A statement is an assertion if it calls a function of pgTAP that returns TAP. Statements run once, in file
order; an item runs its file as far as itself, so items may be chosen and ordered freely. The item `plan`
answers for the rest of the file: set-up, the plan, and assertions hidden in functions of the file's own.
`begin atomic` bodies, `copy from stdin` and commands of psql are not understood: they fail as SQL errors.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import psycopg
import pytest

import debian

OPTIONS = (
    "-c search_path=public,tap -c plpgsql.extra_errors=all -c client_min_messages=warning"
    " -c lock_timeout=10s -c statement_timeout=60s"
)

# A function that gives the DSN of a database with pgTAP in it; whoever uses this plugin puts it here.
DSN = pytest.StashKey[Callable[[], str]]()

TOKEN = re.compile(
    r"""
      (?P<blank> \s+ | --[^\n]* | /\*.*?\*/ )
    | (?P<string> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | "(?:[^"]|"")*" | \w[\w$]* | .
    """,
    re.S | re.X,
)
TRANSACTION = re.compile(r"(?i)(begin|start|commit|end|abort|prepare\s+transaction|rollback(?!\s.*\bto\b))\b")
RESULT = re.compile(r"^(not )?ok \d+(?: .*?)?(?:# (TODO|SKIP)\b *(.*))?$", re.M)
PLAN = re.compile(r"^1\.\.(\d+)$", re.M)

FUNCTION_OF_TAP = re.compile(
    r"(?im)^create or replace function ([a-z]\w*)\s*\([^;]*?\)\s*returns (?:setof )?text\b(?!\[)"
)
NOT_ASSERTIONS = {"plan", "finish", "diag", "diag_test_name", "display_oper", "os_name", "pg_version"}


class PgTapMissingError(RuntimeError):
    """pgTAP's SQL is nowhere to be had."""


@functools.cache
def sql_file() -> Path:
    """Find pgTAP's SQL: PGTAP_SQL, an installed package, our cache, else a package that Debian has."""
    if given := os.environ.get("PGTAP_SQL"):
        return Path(given)
    cache = platformdirs.user_cache_path("pgconveyor")
    found = _newest(Path("/usr/share/postgresql"), "*/extension/") or _newest(cache, "")
    return found or _download(cache)


def _newest(directory: Path, below: str) -> Path | None:
    found = [p for p in directory.glob(below + "pgtap--*.sql") if re.fullmatch(r"pgtap--[\d.]+", p.stem)]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)], default=None)


def _download(cache: Path) -> Path:
    with tempfile.TemporaryDirectory() as directory:
        try:
            package = debian.unpack(debian.fetch(Path(directory), "pgtap"), Path(directory, "x"))
            found = _newest(package, "usr/share/postgresql/*/extension/")
        except (OSError, subprocess.CalledProcessError) as error:
            raise PgTapMissingError(
                "pgTAP is missing, and apt-get cannot download it here: install postgresql-NN-pgtap, or set"
                f" PGTAP_SQL to a pgtap--X.Y.Z.sql.\n{error}\n{getattr(error, 'stderr', '')}"
            ) from error
        if found is None:
            raise PgTapMissingError("this package of pgTAP has no pgtap--X.Y.Z.sql: set PGTAP_SQL to one")
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{found.name}.{os.getpid()}"
        part.write_bytes(found.read_bytes())
        return part.replace(cache / found.name)  # at once: another process may be doing the same


def load(conn: psycopg.Connection) -> None:
    """Load pgTAP into the schema tap, for every role to use."""
    with conn.transaction():
        conn.execute("create schema tap")
        conn.execute("grant usage on schema tap to public")
        conn.execute("set local search_path = tap")
        conn.execute(sql_file().read_text())


@functools.cache
def _assertion() -> re.Pattern[str]:
    names = set(FUNCTION_OF_TAP.findall(sql_file().read_text())) - NOT_ASSERTIONS
    called = "|".join(sorted(names))
    return re.compile(rf"(?is)(?:select|with|values|execute)\b.*?(?:(?<![\w.])|\btap\.)(?:{called})\s*\(")


@dataclass(frozen=True)
class Statement:
    line: int
    text: str
    code: str  # the text with empty strings and without comments
    label: str  # the last plain string argument: mostly the description of an assertion

    @functools.cached_property
    def asserts(self) -> bool:
        return bool(_assertion().match(self.code))


@dataclass(frozen=True)
class Outcome:
    output: str = ""
    error: str = ""


def split(source: str) -> list[Statement]:
    """Split a file into its statements, without the `begin` and `rollback` around them."""
    statements: list[Statement] = []
    tokens: list[re.Match[str]] = []
    for token in TOKEN.finditer(source + "\n;"):
        if token.group() != ";":
            tokens += [token] if tokens or not token["blank"] else []
        elif tokens:
            statements.append(_statement(source, tokens))
            tokens = []
    if statements and statements[0].code.lower() == "begin":
        del statements[0]
    if statements and statements[-1].code.lower() == "rollback":
        del statements[-1]
    return statements


def _statement(source: str, tokens: list[re.Match[str]]) -> Statement:
    start, end = tokens[0].start(), tokens[-1].end()
    code, label, depth = "", "", 0
    for token in tokens:
        text = token.group()
        code += " " if token["blank"] else "''" if token["string"] else text
        depth += (text == "(") - (text == ")")
        if depth == 1 and text.startswith("'"):
            label = text[1:-1].replace("''", "'")
    return Statement(source.count("\n", 0, start) + 1, source[start:end].rstrip(), code.strip(), label)


class PgTapFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        self.statements = split(self.path.read_text())
        try:
            asserting = [i for i, statement in enumerate(self.statements) if statement.asserts]
        except PgTapMissingError as error:
            raise self.CollectError(str(error)) from error
        for number, index in enumerate(asserting, 1):
            label = " ".join(self.statements[index].label.replace("::", ":").split())[:60] or "assertion"
            yield AssertionItem.from_parent(self, name=f"{number:02d}-{label}", index=index)
        yield PlanItem.from_parent(self, name="plan", index=len(self.statements))

    def setup(self) -> None:
        self.outcomes: list[Outcome] = []
        self.broken = ""
        self.conn = psycopg.connect(self.config.stash[DSN](), autocommit=True, options=OPTIONS)
        self.addfinalizer(self._leave)
        self.conn.execute("begin")

    def _leave(self) -> None:
        """Without its locks, which the server may else still hold for it when the next file begins."""
        with suppress(psycopg.Error):
            self.conn.execute("rollback")
            self.conn.execute("select pg_advisory_unlock_all()")
        self.conn.close()

    def run_to(self, index: int) -> list[Outcome]:
        for statement in self.statements[len(self.outcomes) : index + 1]:
            self.outcomes.append(self._run(statement))
        return self.outcomes

    def _run(self, statement: Statement) -> Outcome:
        """Run a statement in a savepoint. After a failed set-up the rest of the file would prove nothing."""
        if self.broken:
            return Outcome(error=self.broken)
        try:
            if TRANSACTION.match(statement.code):
                raise psycopg.ProgrammingError("the file is one transaction: this would end it")
            with self.conn.transaction():
                cursor = self.conn.execute(statement.text)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            outcome = Outcome(error=self.report(statement, f"{type(error).__name__}: {error}"))
            if not statement.asserts:
                self.broken = f"set-up failed at {outcome.error}"
            return outcome
        return Outcome("\n".join(str(value) for row in rows for value in row if value is not None))

    def report(self, statement: Statement, message: str) -> str:
        return f"{self.nodeid}:{statement.line}: {message}\n\n{statement.text};"


class PgTapItem(pytest.Item):
    parent: PgTapFile

    def __init__(self, *, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index

    @property
    def line(self) -> int:
        return self.parent.statements[self.index].line

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, f"{self.parent.nodeid}:{self.line} {self.name}"

    def fail(self, message: str) -> None:
        pytest.fail(message, pytrace=False)


class AssertionItem(PgTapItem):
    def runtest(self) -> None:
        outcome = self.parent.run_to(self.index)[self.index]
        if outcome.error:
            self.fail(outcome.error)
        results = RESULT.findall(outcome.output)
        if not results:
            self._fail(f"asserted nothing\n{outcome.output}")
        if any(failed and directive != "TODO" for failed, directive, _ in results):
            self._fail(outcome.output)
        self._report_directives(outcome.output, results)

    def _report_directives(self, output: str, results: list[tuple[str, str, str]]) -> None:
        for failed, directive, why in results:
            if directive == "TODO" and failed:
                pytest.xfail(why)
            if directive == "TODO":
                self._fail(f"passes although it is marked TODO\n{output}")
        if all(directive == "SKIP" for _, directive, _ in results):
            pytest.skip(f"{self.parent.nodeid}:{self.line}: {results[0][2]}")

    def _fail(self, message: str) -> None:
        self.fail(self.parent.report(self.parent.statements[self.index], message))


class PlanItem(PgTapItem):
    line = 1

    def runtest(self) -> None:
        file = self.parent
        outcomes = file.run_to(self.index)
        if file.broken:
            self.fail(file.broken)
        if not any(statement.asserts for statement in file.statements):
            self.fail(f"{file.nodeid}: no assertion was found in this file")
        self._check_hidden_assertions(outcomes)
        self._check_plan("\n".join(outcome.output for outcome in outcomes))

    def _check_hidden_assertions(self, outcomes: list[Outcome]) -> None:
        for statement, outcome in zip(self.parent.statements, outcomes, strict=True):
            results = [] if statement.asserts else RESULT.findall(outcome.output)
            if any(failed and directive != "TODO" for failed, directive, _ in results):
                self.fail(self.parent.report(statement, outcome.output))

    def _check_plan(self, output: str) -> None:
        planned, ran = PLAN.search(output), len(RESULT.findall(output))
        if planned is None:
            self.fail(f"{self.parent.nodeid}: there is no plan()")
        elif int(planned[1]) != ran:
            self.fail(f"{self.parent.nodeid}: planned {planned[1]} assertions, ran {ran}")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> PgTapFile | None:
    if file_path.suffix == ".sql" and file_path.parent.parts[-2:] == ("tests", "db"):
        return PgTapFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's items together, in file order: mixed with others, each would run its file again."""
    files: dict[pytest.Collector, list[PgTapItem]] = {}
    for item in items:
        if isinstance(item, PgTapItem):
            files.setdefault(item.parent, []).append(item)
    items[:] = [
        member
        for item in items
        for member in (
            sorted(files.pop(item.parent, []), key=lambda member: member.index)
            if isinstance(item, PgTapItem)
            else [item]
        )
    ]
