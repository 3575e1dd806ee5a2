"""`pgconveyor.flow_template` under the contract's name."""

from pgconveyor.flow_template import distributed_processing_flow, process_record_with_status

__all__ = ["distributed_processing_flow", "process_record_with_status"]
