"""How a command ends before its time: a signal, or the end of the process that started it.

Owns the process's signal handlers while a command runs. Whatever a command opened is closed on the way out, so a closed
terminal or a service's stop leaves neither processes nor folders behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asked the command to end. Not an Exception: nothing that handles errors may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_status = 128 + number


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Within it the first signal raises Ended and later ones are ignored, so that cleaning up is not cut short.

    A signal that was ignored before (nohup) stays ignored. Main thread only.
    """

    def end(number: int, _: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_input() -> None:
    """End this process, as SIGTERM would, when its standard input does: its starter is gone, even by kill -9."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-input", daemon=True).start()
