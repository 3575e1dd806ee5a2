"""A processing queue that lives in PostgreSQL. Start with `pgconveyor.distributed`."""
