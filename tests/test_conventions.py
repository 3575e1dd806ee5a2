"""The house rules, asked of the catalog and of the files. A rule that is not here is a wish."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from pgconveyor import errors

ROOT = Path(__file__).parents[1]
DB = ROOT / "db"
FUNCTION_FILES = sorted((DB / "functions").glob("*.sql"))

CONNECT = {"check_client"}
PRODUCE = {"add_record", "add_records_to_queue"}
INGEST = {"open_source", "ingest_page"}
COUNT = {"get_queue_status", "list_sleepers"}
OBSERVE = COUNT | {"health_check", "get_record"}
SOURCES = {"list_sources"}
BROWSE = {"list_records", "why_not_claimed"}
MONITOR = {"queue_monitoring", "processing_diagnostics", "processing_performance"}
WORK = {
    "claim_records_batch",
    "next_due_at",
    "park",
    "leave",
    "extend_leases",
    "release_records",
    "get_claim_summary",
    "mark_record_completed",
    "mark_records_completed",
    "mark_record_failed",
    "mark_records_failed",
    "cleanup_orphaned_records",
    "maintain",
}
GOVERN = {
    "reset_failed_records",
    "requeue_records",
    "cancel_records",
    "configure_flow",
    "pause_flow",
    "resume_flow",
    "purge_records",
    "reset_source",
    "forget_source",
    "check_integrity",
}

ROLES = {
    "conveyor_producer": CONNECT | PRODUCE | INGEST | SOURCES | COUNT,
    "conveyor_worker": CONNECT | PRODUCE | OBSERVE | WORK,
    "conveyor_viewer": CONNECT | OBSERVE | BROWSE | SOURCES | MONITOR,
    "conveyor_operator": CONNECT | PRODUCE | INGEST | OBSERVE | BROWSE | SOURCES | MONITOR | WORK | GOVERN,
}

IN_SCHEMA = "p.pronamespace = 'conveyor'::regnamespace"

# Names of functions that break a rule; each query must have no row.
BREACHES = {
    "a function without a comment": """
        select p.proname from pg_proc as p
        where {in_schema} and obj_description(p.oid, 'pg_proc') is null
    """,
    "a table or sequence without a comment": """
        select c.relname from pg_class as c
        where c.relnamespace = 'conveyor'::regnamespace
            and c.relkind in ('r', 'S')
            and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype = 'i')
            and obj_description(c.oid, 'pg_class') is null
    """,
    "a string body that does not pin its search_path": """
        select p.proname from pg_proc as p
        where {in_schema} and p.prosqlbody is null
            and (p.proconfig @> array['search_path=pg_catalog, pg_temp']) is not true
    """,
    "a verb without, or a helper with, its owner's rights": """
        select p.proname from pg_proc as p
        where {in_schema} and p.prosecdef = starts_with(p.proname, '_') and p.prorettype <> 'trigger'::regtype
    """,
    "a function that is open to the public": """
        select p.proname from pg_proc as p
        where {in_schema} and has_function_privilege('public', p.oid, 'execute')
    """,
    "a helper that somebody may call": """
        select p.proname from pg_proc as p
        cross join lateral aclexplode(p.proacl) as acl
        where {in_schema} and starts_with(p.proname, '_') and acl.grantee <> p.proowner
    """,
    "a table that somebody may touch": """
        select c.relname from pg_class as c
        cross join lateral aclexplode(c.relacl) as acl
        where c.relnamespace = 'conveyor'::regnamespace and acl.grantee <> c.relowner
    """,
    "something that does not belong to the owner": """
        select p.proname from pg_proc as p
        where {in_schema} and p.proowner <> 'conveyor_owner'::regrole
        union all
        select c.relname from pg_class as c
        where c.relnamespace = 'conveyor'::regnamespace and c.relowner <> 'conveyor_owner'::regrole
    """,
    "a parameter that does not begin with p_": """
        select p.proname || ' ' || n.name from pg_proc as p
        cross join lateral unnest(p.proargnames[: p.pronargs]) as n (name)
        where {in_schema} and not starts_with(n.name, 'p_')
    """,
    "a column whose default is the start of the transaction": """
        select d.adrelid::regclass::text from pg_attrdef as d
        join pg_class as c on c.oid = d.adrelid
        where c.relnamespace = 'conveyor'::regnamespace
            and pg_get_expr(d.adbin, d.adrelid) ~ 'now\\(\\)|CURRENT_TIMESTAMP'
    """,
}

# What a body must not say.
FORBIDDEN = {
    "a loop over rows": r"(?is)\bfor(each)?\b[^;]*\bloop\b",
    "dynamic SQL": r"(?i)\bexecute\b",
    "a trap for everything": r"(?i)\bwhen\s+others\b",
    "the clock of the transaction": r"(?i)\bnow\(\)|\bcurrent_timestamp\b",
    "upper case": r"\b[A-Z]{2,}\b",
}

LOCAL = re.compile(r"^    (\w+)\s", re.M)


def column(conn: psycopg.Connection, query: str) -> list[str]:
    return sorted(value for (value,) in conn.execute(query))


def body(path: Path) -> str:
    """The code of a function file, without comments and string literals."""
    text = path.read_text()
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", "''", text)


@pytest.mark.parametrize("rule", BREACHES)
def test_nothing_breaks_the_rule(conn: psycopg.Connection, rule: str) -> None:
    assert column(conn, BREACHES[rule].format(in_schema=IN_SCHEMA)) == [], rule


@pytest.mark.parametrize("path", FUNCTION_FILES, ids=lambda path: path.stem)
def test_no_body_has_what_is_forbidden(path: Path) -> None:
    code = body(path)
    allowed = {"dynamic SQL"} if path.stem == "_sit" else set()  # listen and unlisten take no parameter
    assert {what for what, pattern in FORBIDDEN.items() if re.search(pattern, code)} == allowed
    text = path.read_text()
    declared = re.search(r"(?ms)^declare\n(.*?)^begin\n", code)
    locals_ = LOCAL.findall(declared[1]) if declared else []
    assert [name for name in locals_ if not name.startswith(("v_", "c_"))] == []
    assert max(len(line) for line in text.splitlines()) <= 120
    assert len(text.splitlines()) <= 150


def test_each_function_has_one_signature_in_the_file_of_its_name(conn: psycopg.Connection) -> None:
    assert column(conn, f"select p.proname from pg_proc as p where {IN_SCHEMA}") == [p.stem for p in FUNCTION_FILES]


def test_the_manifest_lists_each_file_once() -> None:
    lines = Counter((DB / "install.sql").read_text().splitlines())
    wanted = [rf"\ir functions/{path.name}" for path in FUNCTION_FILES]
    wanted += [rf"\set migration {path.stem}" for path in (DB / "migrations").glob("*.sql")]
    assert {line: lines[line] for line in wanted} == dict.fromkeys(wanted, 1)
    assert {line for line in lines if r"\ir functions/" in line} <= set(wanted)


def test_each_public_function_has_its_pgtap_file() -> None:
    public = {path.stem for path in FUNCTION_FILES if not path.stem.startswith("_")}
    assert {path.stem for path in (ROOT / "tests/db").glob("*.sql")} == public


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_call_what_is_declared_and_nothing_else(conn: psycopg.Connection, role: str) -> None:
    may = column(
        conn,
        f"select p.proname from pg_proc as p where {IN_SCHEMA} and has_function_privilege('{role}', p.oid, 'execute')",
    )
    assert set(may) == ROLES[role]


def test_the_roles_between_them_may_call_every_verb() -> None:
    public = {path.stem for path in FUNCTION_FILES if not path.stem.startswith("_")}
    assert set.union(*ROLES.values()) == public


def test_each_error_code_is_raised_documented_and_mapped(conn: psycopg.Connection) -> None:
    raised = {code for path in FUNCTION_FILES for code in re.findall(r"errcode = '(WQ\d{3})'", path.read_text())}
    documented = set(column(conn, "select sqlstate from conveyor.error_code"))
    mapped = {cls.sqlstate for cls in errors.QueueError.__subclasses__()}
    assert raised == documented == mapped


def test_the_defaults_of_a_flow_are_the_same_in_the_table_and_in_the_function(conn: psycopg.Connection) -> None:
    [(assumed,)] = conn.execute("select row_to_json(conveyor._flow_settings('f'))")
    [(stored,)] = conn.execute("insert into conveyor.flow as f (flow_name) values ('f') returning row_to_json(f)")
    assert assumed == stored


def test_status_literals_are_statuses() -> None:
    known = {"pending", "processing", "completed", "failed"}
    for path in FUNCTION_FILES:
        compared = re.findall(r"\bstatus\s*(?:=|<>)\s*'(\w+)'", path.read_text())
        assert set(compared) <= known, path.name


def test_the_contracts_import_paths_only_re_export() -> None:
    for path in (ROOT / "client/core").glob("*.py"):
        docstring, *statements = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr), path.name
        code = [
            line for line in map(ast.unparse, statements) if not line.startswith(("from pgconveyor.", "__all__ = "))
        ]
        assert code == [], path.name
