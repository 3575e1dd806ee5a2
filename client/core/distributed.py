"""`pgconveyor.distributed` under the contract's name."""

from pgconveyor.distributed import DistributedProcessor

__all__ = ["DistributedProcessor"]
