"""From the contract's URL, or an ODBC string, to what each driver wants; no server is asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pgconveyor.odbc import MISSING, choose_driver, odbc_string, words_of

NEW, OLD, FREE = "ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server", "FreeTDS"
CONTRACT = "mssql+pyodbc://user:pass@server:1433/survey_hub"


PLAIN = {"SERVER": "server", "DATABASE": "db"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONTRACT, {"SERVER": "server", "PORT": "1433", "DATABASE": "survey_hub", "UID": "user", "PWD": "pass"}),
        ("mssql://server/db", PLAIN),
        ("mssql://u%40x:p%3B%7D%20%2F@server/db", PLAIN | {"UID": "u@x", "PWD": "p;} /"}),
        ("mssql+pyodbc://server/db?driver=ODBC+Driver+17+for+SQL+Server", PLAIN | {"DRIVER": OLD}),
        ("mssql+pyodbc://server/db?encrypt=no&X=1", PLAIN | {"Encrypt": "no", "X": "1"}),
        ("mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BPWD%3D%7Ba%3Bb%7D", {"SERVER": "h", "PWD": "a;b"}),
        ("Server=tcp:h,1434;pwd={a}}b;c}; Uid = u ", {"SERVER": "tcp:h,1434", "PWD": "a}b;c", "UID": "u"}),
    ],
)
def test_what_is_said_is_understood(text: str, words: dict[str, str]) -> None:
    assert words_of(text, "V") == words


@pytest.mark.parametrize(
    "text",
    [
        "",
        "server",
        "postgresql://u:hunter2@h/db",
        "mssql+pyodbc://u:hun@ter2@h/db",
        "mssql+pyodbc://u:hun/ter2@h/db",
        "PWD=hunter2",
    ],
)
def test_what_is_not_is_an_error_that_does_not_quote_it(text: str, shown: Callable[[BaseException], str]) -> None:
    with pytest.raises(ValueError, match=r"^DEVELOPMENT_X cannot be read: give mssql\+pyodbc://") as caught:
        words_of(text, "DEVELOPMENT_X")
    assert "ter2" not in shown(caught.value)


@pytest.mark.parametrize(
    ("driver", "more", "expected"),
    [
        (NEW, "", ["SERVER=server,1433", f"DRIVER={{{NEW}}}", "Encrypt=yes", "TrustServerCertificate=no", "APP=me"]),
        (OLD, "?Encrypt=no&TrustServerCertificate=yes", ["Encrypt=no", "TrustServerCertificate=yes"]),
        (NEW, "?MultiSubnetFailover=yes&ApplicationIntent=ReadOnly", ["MultiSubnetFailover=yes"]),
        (NEW, "?applicationintent=ReadOnly", ["ApplicationIntent=ReadOnly"]),
        (FREE, "", ["DRIVER=FreeTDS", "SERVER=server", "PORT=1433", "TDS_Version=7.4", "Encryption=require"]),
        (FREE, "?Encrypt=no", ["Encryption=off", "UID=user", "PWD=pass", "DATABASE=survey_hub"]),
    ],
)
def test_each_driver_gets_it_in_its_own_words(driver: str, more: str, expected: list[str]) -> None:
    said = odbc_string(words_of(CONTRACT + more, "V"), driver, "me").split(";")
    assert set(expected) <= set(said)


def test_what_is_special_is_quoted_and_without_a_user_the_system_says_who() -> None:
    assert "PWD={a;}}b};" in odbc_string(words_of("mssql://u:a%3B%7Db@h/db", "V"), NEW, "me")
    assert odbc_string(words_of("mssql://h/db", "V"), NEW, "me").endswith("Trusted_Connection=yes")


@pytest.mark.parametrize(
    ("installed", "wanted", "chosen"),
    [
        ([FREE, OLD, NEW], None, NEW),
        ([FREE, OLD], None, OLD),
        (["SQLite", FREE], None, FREE),
        ([FREE, NEW], FREE, FREE),
        ([], "/opt/libmsodbcsql-18.so.2.1", "/opt/libmsodbcsql-18.so.2.1"),
    ],
)
def test_a_driver_is_chosen(installed: list[str], wanted: str | None, chosen: str) -> None:
    assert choose_driver(installed, wanted) == chosen


def test_without_one_the_packages_are_named() -> None:
    assert all(word in MISSING for word in ("Debian", "tdsodbc", "macOS", "Windows"))
    with pytest.raises(RuntimeError, match="on Debian apt-get install libodbc2 tdsodbc"):
        choose_driver(["SQLite"], None)
    with pytest.raises(RuntimeError, match="'Nothing' is not installed: FreeTDS"):
        choose_driver([FREE], "Nothing")


def test_where_pyodbc_cannot_be_imported_the_packages_are_named_when_it_is_used_and_not_before() -> None:
    code = """
import os, sys
sys.modules["pyodbc"] = None
os.environ |= {"GLOBAL_SURVEYHUB_TYPE": "sqlserver", "GLOBAL_SURVEYHUB_CONNECTION_STRING": "mssql://u:p@h/db"}
from core.database import DatabaseManager
manager = DatabaseManager("SurveyHub")
health = manager.health_check()
assert health["status"] == "unhealthy" and "apt-get install libodbc2" in health["error"], health
try:
    manager.execute_query("SELECT 1")
except RuntimeError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert "apt-get install libodbc2" in done.stdout, done.stderr
