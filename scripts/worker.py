"""`pgconveyor worker` as a file, for process managers that want one: python scripts/worker.py --flow … --handler …"""

import sys

from pgconveyor.cli import main

if __name__ == "__main__":
    main(["worker", *sys.argv[1:]])
