"""python -m tds DSN [--port N]: a server in a process of its own; prints its URL, and runs until it is told to end."""

from __future__ import annotations

import argparse
import signal

from tds import TdsServer

parser = argparse.ArgumentParser(prog="python -m tds", description=__doc__)
parser.add_argument("dsn", help="an empty database of PostgreSQL")
parser.add_argument("--port", type=int, default=0)
options = parser.parse_args()
ENDINGS = {signal.SIGTERM, signal.SIGINT}
# Before there are threads: one that does not wait for it would end the process before it has tidied up.
signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
with TdsServer(options.dsn, port=options.port) as server:
    print(server.url(), flush=True)
    signal.sigwait(ENDINGS)
