"""`pgconveyor worker --processes`: several under one parent, which replaces what dies and takes down none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fn = Callable[..., Any]
Queue = Any  # of conftest.py

JOB = """
import os

def pid(payload):
    return {"pid": os.getpid()}
"""


@pytest.fixture(autouse=True)
def more_jobs(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(JOB)


class TestProcesses:
    def children(self, worker: Any) -> list[int]:
        tasks = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        return [int(pid) for pid in tasks if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def pids(self, queue: Queue) -> set[int]:
        return {pid for (pid,) in queue.ask("select distinct (payload ->> 'pid')::int from conveyor.processing_queue")}

    def test_several_share_the_work_and_a_dead_one_is_replaced(self, start_worker: Fn, queue: Queue) -> None:
        worker = start_worker("more:pid", "--processes", 2, "--batch", 1, "--lease", "1s")
        queue.wait(lambda: queue.add(10) or len(self.pids(queue) - {None}) == 2)
        victim, survivor = self.children(worker)
        os.kill(victim, signal.SIGKILL)
        queue.wait(lambda: queue.add(10) or len(self.pids(queue) - {None}) == 3)
        assert survivor in self.children(worker)
        worker.process.terminate()
        assert worker.wait() == 0
        assert f"{victim} ended with signal 9" in worker.log()
        assert queue.count("processing") <= 1  # what the dead one held, if it held something
        assert self.is_gone(survivor)

    def test_they_end_with_their_parent(self, start_worker: Fn, queue: Queue) -> None:
        worker = start_worker("more:pid", "--processes", 2, "--batch", 1)
        queue.wait(lambda: queue.add(10) or len(self.pids(queue) - {None}) == 2)
        children = self.children(worker)
        worker.process.kill()
        queue.wait(lambda: all(self.is_gone(pid) for pid in children))

    def test_what_cannot_begin_is_not_tried_again(self, start_worker: Fn) -> None:
        worker = start_worker("more:missing", "--processes", 2)
        assert worker.wait() == 1
        assert "has no function 'missing'" in worker.log()
        assert "Traceback" not in worker.log()

    def is_gone(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True
