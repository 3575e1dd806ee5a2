"""The contract's import paths. New code imports `pgconveyor`."""
