"""The benchmark runs and reports; what it measures is never a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "scripts/bench/bench.py"

# Those that need no SQL Server.
ONLY = [f"--only={name}" for name in ("claim", "add", "worker", "flat", "waking", "monitor")]


def test_it_prints_a_ratio_for_each_measurement() -> None:
    done = subprocess.run(
        [sys.executable, BENCH, "--scale", "0.01", *ONLY], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 14
    assert all(float(line[7:12]) > 0 for line in done.stdout.splitlines())
