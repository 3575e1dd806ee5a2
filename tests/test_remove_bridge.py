"""The test engine's bridge is removed without iproute2: in a network of its own, where root may make one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "containers/remove_bridge.py"

# Made and set up as dockerd does.
CODE = f"""
import fcntl, runpy, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    try:
        fcntl.ioctl(any_socket, 0x89A0, b"bridge-of-tests\\0")
    except OSError as exc:
        sys.exit(f"no bridges here: {{exc}}")
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"bridge-of-tests", 1))
print(socket.if_nameindex())
sys.argv[1:] = ["bridge-of-tests"]
runpy.run_path({str(SCRIPT)!r})
print(socket.if_nameindex())
"""


def can_make_a_network() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_make_a_network(), reason="needs root, and unshare")
def test_a_bridge_that_is_up_is_removed() -> None:
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    if "no bridges here" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stderr == ""
    before, after = done.stdout.splitlines()
    assert ("bridge-of-tests" in before, "bridge-of-tests" in after) == (True, False)
