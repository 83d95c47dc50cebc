"""One target, fuzzed: `python -m tests.fuzz TARGET SECONDS`. Ends with 0 and a line `runs N, grown B bytes`, or says what broke.

Coverage of the rooms that read from outside guides it (atheris). An input that breaks something is printed, in base64 too.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["reflexarc", "reflexarc_proto", "reflexarc_server", "reflexarc_edge"]):
    import reflexarc.transport  # noqa: F401
    import reflexarc_proto.sync_file.reading  # noqa: F401
    import reflexarc_server.app  # noqa: F401

from tests.fuzz import targets

WARM_UP = 300
LOOK_EVERY = 500
GROWN_MAX = 64 * 2**20


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watched:
    """A target, and what memory it takes after it has warmed up."""

    def __init__(self, target: targets.Target) -> None:
        self._target = target
        self._begun = 0
        self.count = 0
        self.grown = 0

    def __call__(self, content: bytes) -> None:
        self._target(content)
        self.count += 1
        if self.count == WARM_UP:
            gc.collect()
            self._begun = rss_bytes()
        elif self.count % LOOK_EVERY == 0 and self._begun:
            gc.collect()
            self.grown = rss_bytes() - self._begun
            print(f"runs {self.count}, grown {self.grown} bytes", flush=True)
            if self.grown > GROWN_MAX:
                raise targets.Broken(f"memory grew by {self.grown} bytes in {self.count} runs")


def main(name: str, seconds: int) -> None:
    """Fuzz until the time is over; never returns."""
    with targets.opened(name) as (target, seeds), tempfile.TemporaryDirectory(prefix="reflexarc-seeds-") as folder:
        for number, seed in enumerate(seeds):
            target(seed)
            (Path(folder) / f"{number:03}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-seed=1", "-timeout=20", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], *options, folder], Watched(target), enable_python_coverage=True)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
