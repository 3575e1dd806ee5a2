"""That part of the benchmark which needs a SQL Server runs and reports, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[3] / "scripts/bench/bench.py"


def test_it_prints_a_ratio_for_each_kind_of_key_and_for_memory() -> None:
    command = [sys.executable, BENCH, "--scale", "0.01", "--only", "ingest"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert all(float(line[7:12]) > 0 for line in done.stdout.splitlines())
