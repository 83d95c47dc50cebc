"""Progress on standard error: a bar where a person looks, one line a stage where nobody does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

BAR_WIDTH: Final = 30
REDRAW_S: Final = 0.1

Step = Callable[[int], None]


class Progress:
    """Shows stages one after the other. quiet: shows nothing."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Step]:
        """A stage of `total` steps; call the step with how many were done."""
        started = time.monotonic()
        done = 0
        drawn = 0.0

        def step(count: int) -> None:
            nonlocal done, drawn
            done += count
            now = time.monotonic()
            if self._live and (now - drawn > REDRAW_S or done >= total):
                drawn = now
                self._draw(title, done, total)

        if self._live:
            self._draw(title, 0, total)
        yield step
        elapsed = time.monotonic() - started
        self._write(f"{title}: {done:,} in {elapsed:.1f} s" if total > 1 else f"{title}: {elapsed:.1f} s")

    def note(self, text: str) -> None:
        """One line of what just happened."""
        self._write(f"  {text}")

    def _draw(self, title: str, done: int, total: int) -> None:
        filled = min(BAR_WIDTH, BAR_WIDTH * done // max(1, total))
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        self._stream.write(f"\r\x1b[2K{title} [{bar}] {done:,}/{total:,}")
        self._stream.flush()

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        self._stream.write(("\r\x1b[2K" if self._live else "") + text + "\n")
        self._stream.flush()
