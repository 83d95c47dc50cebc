"""Event ids: UUIDv7 text (RFC 9562), time-ordered so that stores insert at the end."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from typing import Final

COUNTER_END: Final = 2**30


class EventIds:
    """Makes ids; a counter in the random part keeps ids of one millisecond in order, also when a clock steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0
        self._head = ""
        # Seeded from the system once: asking it for every id would cost more than all the rest of an id.
        self._bits = random.Random(os.urandom(32)).getrandbits

    def next(self, wall_ms: int) -> str:
        """32 hex digits for an event at `wall_ms`."""
        with self._lock:
            counter = self._counter + 1
            if wall_ms > self._last_ms or counter == COUNTER_END:
                # Half of the counter's numbers lie ahead at least; when they are used up, a millisecond is borrowed.
                self._last_ms = last_ms = max(wall_ms, self._last_ms + 1)
                counter = self._bits(29)
                # 48 bits of time, version 7, 12 random bits.
                self._head = f"{(last_ms & 0xFFFFFFFFFFFF) << 16 | 0x7000 | self._bits(12):016x}"
            self._counter = counter
            # The variant, a 30-bit counter, 32 random bits.
            return f"{self._head}{0x8000000000000000 | counter << 32 | self._bits(32):016x}"


def derived_id(event_time: int, scope: str, seq: int) -> str:
    """32 hex digits for what is already named by a number in a log: a UUIDv8 (RFC 9562), time-ordered like the others.

    The same time, scope and number give the same id, so it need not be kept, and is made when somebody asks for it.
    """
    digest = hashlib.blake2b(f"{scope} {seq}".encode(), digest_size=10).digest()
    high = (event_time & 0xFFFFFFFFFFFF) << 16 | 0x8000 | (digest[0] << 8 | digest[1]) & 0xFFF
    low = 0x8000000000000000 | int.from_bytes(digest[2:], "big") & 0x3FFFFFFFFFFFFFFF
    return f"{high:016x}{low:016x}"
