"""What a process that is a server, and nothing else, sets for itself.

Owns the garbage collector's pace. The engine holds millions of values that live as long as the process, and looking through
all of them stops everything for most of a second, in the middle of somebody's call. So young values are looked through as ever,
all of them once in a while, when nobody stores. What a large request took goes back to the system, where the C library keeps it.
Must never be called by a library: its settings are the whole process's.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_server.precedence import Precedence

YOUNG: Final = 20_000
MIDDLE: Final = 20
NEVER: Final = 1_000_000
COLLECT_EVERY_S: Final = 600.0
TRIM_EVERY_S: Final = 5.0


def calm() -> None:
    """Collect young garbage often, and the rest not at all."""
    gc.collect()
    gc.freeze()  # the modules: they never become garbage
    gc.set_threshold(YOUNG, MIDDLE, NEVER)


def settle(precedence: Precedence, *loads: Callable[[], None]) -> None:
    """Be `calm`, and collect the rest every ten minutes behind whoever stores; load compiled code meanwhile. loads: how."""
    calm()
    threading.Thread(target=_upkeep, args=(precedence, loads, threading.Event()), name="reflexarc-upkeep", daemon=True).start()


def _upkeep(precedence: Precedence, loads: Sequence[Callable[[], None]], never: threading.Event) -> None:
    for load in loads:
        load()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    collected = time.monotonic()
    while not never.wait(TRIM_EVERY_S):
        precedence.give_way()
        if time.monotonic() - collected > COLLECT_EVERY_S:
            gc.collect()
            collected = time.monotonic()
        if trim is not None:
            trim(0)
