"""The host of the children that are killed: it imports the product once and forks, so that a child starts in milliseconds.

One order in JSON a line on the standard input, one answer a line on the standard output. Runs no thread.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.promises import kill_child


def spoil(store: Path) -> None:
    """Make the database one that SQLite does not know any more: its first page loses its head.

    A store whose repair was cut short is left as it is.
    """
    if not (store / "store.db").exists():
        return
    connection = sqlite3.connect(store / "store.db")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.DatabaseError:
        return
    finally:
        connection.close()
    with (store / "store.db").open("r+b") as file:
        file.write(b"\x07" * 100)


def serve(order: dict[str, Any]) -> dict[str, Any]:
    """One child's life: how it ended."""
    place = Path(order["place"])
    if order["spoil"]:
        spoil(place / "store")
    child = os.fork()
    if child == 0:
        status = 3
        try:
            kill_child.run_child(order)
            status = 0
        except BaseException:
            (place / "child-error").write_text(traceback.format_exc())
        finally:
            os._exit(status)
    watched = os.pidfd_open(child)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    ended = bool(poll.poll(order["wait_ms"]))
    if not ended:
        signal.pidfd_send_signal(watched, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(watched)
    failed = (place / "child-error").read_text() if os.WIFEXITED(status) and os.WEXITSTATUS(status) else ""
    return {"killed": os.WIFSIGNALED(status), "by_itself": ended and os.WIFSIGNALED(status), "failed": failed}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)
