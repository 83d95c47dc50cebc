"""Everything a run could take from outside its seed, made part of it: threads never run, time and chance are the simulation's.

Owns the replacements and their undoing. Whoever would wait lets virtual time pass instead; what a thread would do is a step
of the simulation. Must never be left on: it changes the process it runs in. A thread that ran before it, of another test say,
keeps the real clock, real waits and real chance.
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import reflexarc.chance
import reflexarc.transport
import reflexarc_server.chance
from reflexarc_server.precedence import Precedence


class StillThread:
    """A thread that is never run: its work is done by steps."""

    def __init__(self, *given: Any, name: str = "", daemon: bool = True, **more: Any) -> None:
        self.name = name
        self.daemon = daemon

    def start(self) -> None:
        return

    def cancel(self) -> None:
        return

    def join(self, timeout: float | None = None) -> None:
        return

    def is_alive(self) -> bool:
        return False


class StuckError(Exception):
    """Somebody waits for what no step will ever bring about."""


@contextmanager
def still(now_ms: Callable[[], int], pass_by: Callable[[int], None], seed: str, channel: Callable[..., Any]) -> Iterator[None]:
    """For the length of the block nothing but the seed decides.

    now_ms: virtual time. pass_by: lets it pass. channel: what stands in the place of a connection to a server.
    """
    draw = random.Random(seed)

    class StillEvent:
        """An event nobody else can set while one waits."""

        def __init__(self) -> None:
            self._is_set = False

        def set(self) -> None:
            self._is_set = True

        def clear(self) -> None:
            self._is_set = False

        def is_set(self) -> bool:
            return self._is_set

        def wait(self, timeout: float | None = None) -> bool:
            if not self._is_set:
                if timeout is None:
                    raise StuckError("a wait without an end")
                pass_by(int(timeout * 1000))
            return self._is_set

    def token_hex(count: int = 32) -> str:
        return draw.randbytes(count).hex()

    own = threading.get_ident()

    def here(real: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
        def chosen(*given: Any, **more: Any) -> Any:
            return (fake if threading.get_ident() == own else real)(*given, **more)

        return chosen

    stilled: list[tuple[Any, str, Any]] = [
        (threading, "Thread", StillThread),
        (threading, "Timer", StillThread),
        (threading, "Event", StillEvent),
        (time, "time", lambda: now_ms() / 1000.0),
        (time, "time_ns", lambda: now_ms() * 1_000_000),
        (time, "monotonic", lambda: now_ms() / 1000.0),
        (time, "monotonic_ns", lambda: now_ms() * 1_000_000),
        (time, "sleep", lambda seconds: pass_by(int(seconds * 1000))),
        (os, "urandom", draw.randbytes),
        (secrets, "token_hex", token_hex),
        (secrets, "token_bytes", draw.randbytes),
    ]
    replaced = [(place, name, here(getattr(place, name), fake)) for place, name, fake in stilled] + [
        (reflexarc.transport, "Channel", channel),
        (Precedence, "give_way", lambda precedence: None),  # nobody stores while something is folded
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in replaced]
    sources = (random, reflexarc.chance.CHANCE, reflexarc_server.chance.CHANCE)
    chances = [source.getstate() for source in sources]
    for source in sources:
        source.seed(seed)
    was_collecting = gc.isenabled()
    gc.disable()  # a connection that nobody closed would be closed at a moment of the collector's choosing
    try:
        for place, name, fake in replaced:
            setattr(place, name, fake)
        yield
    finally:
        for place, name, real in before:
            setattr(place, name, real)
        for source, chance in zip(sources, chances, strict=True):
            source.setstate(chance)
        if was_collecting:
            gc.enable()


class Killed(BaseException):
    """A process ended in the middle of something, with its folder as it was at that moment; nobody may catch it but the world."""


class Broken(BaseException):
    """A checker found what must never be. Like a kill it goes through everything that isolates a host's errors."""
