"""`pgconveyor.database` under the contract's name."""

from pgconveyor.database import DatabaseManager

__all__ = ["DatabaseManager"]
