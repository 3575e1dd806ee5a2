"""`pgconveyor.config` under the contract's name."""

from pgconveyor.config import ConfigManager

__all__ = ["ConfigManager"]
