"""A real server in a process of its own: prints its address, ends with its standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from reflexarc_server.app import start_server
from tests.server.kit import ManualClock, catalog

if __name__ == "__main__":
    server = start_server(Path(sys.argv[1]), "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    print(server.address, flush=True)
    sys.stdin.read()
    server.stop()
