"""One line per event on standard error, for people or for machines."""

from __future__ import annotations

import logging
import sys
import time

from pythonjsonlogger.json import JsonFormatter

__all__ = ["set_up"]


def set_up(log_format: str, level: str) -> None:
    """`log_format` is text or json; times are UTC."""
    fields = "%(asctime)s %(levelname)s %(process)d %(message)s"
    formatter: logging.Formatter
    if log_format == "json":
        renamed = {"asctime": "time", "levelname": "level"}
        formatter = JsonFormatter(fields, datefmt="%Y-%m-%dT%H:%M:%SZ", rename_fields=renamed)
    else:
        formatter = logging.Formatter(fields, datefmt="%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The worker itself says when the database is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
