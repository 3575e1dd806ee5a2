"""
A SQL Server for tests: TDS 7.4 for real ODBC drivers, its data in a real PostgreSQL, so that transactions, identities
that are handed out before their commit, row versions, locks and deadlocks are real.

What it is not: T-SQL is translated by sqlglot, so only what `tsql.py` lists is understood. Text is compared by code
points, not by a collation that ignores case. Isolation is PostgreSQL's read committed, that is, row versioning; SET and
hints are accepted and ignored. There are no procedures, no sys views but those in `store.py`, no MARS, no bulk load.
What depends on more than that belongs to a real server (TEST_SQLSERVER_URL).
"""

from tds.faults import Fault, LoginFault
from tds.server import TdsServer

__all__ = ["Fault", "LoginFault", "TdsServer"]
