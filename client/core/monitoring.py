"""`pgconveyor.monitoring` under the contract's name."""

from pgconveyor.monitoring import (
    distributed_processing_diagnostics,
    distributed_queue_monitoring,
    processing_performance_monitoring,
)

__all__ = ["distributed_processing_diagnostics", "distributed_queue_monitoring", "processing_performance_monitoring"]
