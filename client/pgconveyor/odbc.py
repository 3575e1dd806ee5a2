"""A SQL Server's connection string, as ODBC takes it, and the driver that is to read it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["choose_driver", "odbc_string", "pyodbc", "words_of"]

DRIVERS = ("ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server", "FreeTDS")

MISSING = (
    "no ODBC driver for SQL Server: on Debian apt-get install libodbc2 tdsodbc odbcinst, or msodbcsql18 from"
    " Microsoft; on macOS brew install unixodbc freetds, or msodbcsql18; on Windows install Microsoft's ODBC Driver 18"
)

# In this case they are looked up; any other keyword is handed to the driver as it is.
KNOWN = {
    word.lower(): word
    for word in (
        *("DRIVER", "SERVER", "PORT", "DATABASE", "UID", "PWD", "Encrypt", "TrustServerCertificate"),
        *("ApplicationIntent", "MultiSubnetFailover", "APP", "Trusted_Connection"),
    )
}


def pyodbc() -> ModuleType:
    """The module. Raises `RuntimeError` that names the packages where it, or what it is built on, is missing."""
    try:
        return importlib.import_module("pyodbc")
    except ImportError as exc:
        raise RuntimeError(f"{MISSING} ({exc})") from None


def choose_driver(installed: Sequence[str], wanted: str | None) -> str:
    """The one that is said, else the newest of Microsoft's, else FreeTDS. Raises `RuntimeError` without one."""
    if wanted:
        if wanted in installed or wanted.endswith((".so", ".dylib")) or ".so." in wanted:
            return wanted
        raise RuntimeError(f"the ODBC driver {wanted!r} is not installed: {', '.join(installed) or 'none is'}")
    for name in DRIVERS:
        if name in installed:
            return name
    raise RuntimeError(MISSING)


def words_of(text: str, variable: str) -> dict[str, str]:
    """
    The keywords of `mssql+pyodbc://user:password@host:port/database?Keyword=value`, or of a plain ODBC string.

    Raises `ValueError`, which does not quote the text: there may be a password in it.
    """
    if re.match(r"mssql(\+pyodbc)?://", text):
        words = _of_url(text)
    elif "=" in text and "://" not in text:
        words = _of_string(text)
    else:
        words = None
    if words is None or not words.get("SERVER"):
        raise ValueError(
            f"{variable} cannot be read: give mssql+pyodbc://user:password@host:1433/database, with %-escapes for"
            " special characters in the password, such as %40 for @ and %2F for /, or DRIVER=…;SERVER=…;DATABASE=…"
        )
    return words


def odbc_string(words: Mapping[str, str], driver: str, application_name: str) -> str:
    """As the driver wants it. What is encrypted and trusted is always said: the defaults of drivers differ."""
    said = dict(words) | {"DRIVER": driver}
    said.setdefault("APP", application_name)
    encrypt = said.pop("Encrypt", "yes").lower()
    trust = said.pop("TrustServerCertificate", "no")
    host, _, port = said["SERVER"].removeprefix("tcp:").partition(",")
    port = said.pop("PORT", "") or port
    if driver == "FreeTDS" or "tdsodbc" in driver.lower():
        said |= {"SERVER": host, "PORT": port or "1433", "TDS_Version": "7.4", "ClientCharset": "UTF-8"}
        said["Encryption"] = "off" if encrypt in ("no", "optional", "false") else "require"
    else:
        said |= {"SERVER": f"{host},{port}" if port else host, "Encrypt": encrypt, "TrustServerCertificate": trust}
    if not said.get("UID") and "DSN" not in said:
        said.setdefault("Trusted_Connection", "yes")
    return ";".join(f"{key}={_quoted(value)}" for key, value in said.items())


def _of_url(text: str) -> dict[str, str] | None:
    # A bare @ or / in a password makes a part of it the host or the database.
    if not re.fullmatch(r"[^:]+://(?:[^@/?]*@)?(?:\[[^\]@/?]*\]|[^:@/?]*)(?::\d+)?(?:/[^@?/]*)?(?:\?.*)?", text):
        return None
    url = urlsplit(text)
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if whole := options.pop("odbc_connect", ""):
        return _of_string(whole)
    words = {
        "SERVER": url.hostname or "",
        "PORT": str(url.port or ""),
        "DATABASE": unquote(url.path.lstrip("/")),
        "UID": unquote(url.username or ""),
        "PWD": unquote(url.password or ""),
    }
    words |= {KNOWN.get(key.lower(), key): value for key, value in options.items()}
    return {key: value for key, value in words.items() if value}


def _of_string(text: str) -> dict[str, str] | None:
    found = re.findall(r"\s*([^=;]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)", text)
    words = {KNOWN.get(key.lower(), key): _unquoted(value) for key, value in found}
    return words if found else None


def _unquoted(value: str) -> str:
    return value[1:-1].replace("}}", "}") if value.startswith("{") else value.strip()


def _quoted(value: str) -> str:
    is_plain = not re.search(r"[;{}\[\]()=\s,]", value) or re.fullmatch(r"[\w.:-]+,\d+", value)
    return value if is_plain else "{" + value.replace("}", "}}") + "}"
