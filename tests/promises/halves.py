"""Half of a promise's runs in a second process: one process has one interpreter's lock, and a machine two cores at least.

`python -m tests.promises.halves MODULE NAME COUNT SEED` is the second process: it prints what its half came to as JSON.
"""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict

from tests.conftest import ROOT
from tests.promises.outcome import Outcome, Run

OTHER_SEED = 10_000
"""More than any promise has runs of a seed each: the halves share none."""
ERRORS_SHOWN = 2_000
"""Of what the second process said on standard error, its last characters."""


def in_two(run: Run) -> Run:
    """The same promise with half of its runs next door. run: a function of a module, whose cases stand for themselves."""

    @functools.wraps(run)
    def both(count: int, seed: int) -> Outcome:
        second = count // 2
        named = (run.__module__, run.__name__)
        command = [sys.executable, "-m", "tests.promises.halves", *named, str(second), str(seed + OTHER_SEED)]
        with (
            tempfile.TemporaryFile("w+") as errors,  # a pipe that nobody reads meanwhile would fill
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as other,
        ):
            ours = run(count - second, seed)
            assert other.stdout is not None
            said = other.stdout.read()
            other.wait()
            errors.seek(0)
            last = errors.read()[-ERRORS_SHOWN:]
        if not said:
            ours.wrong.append(f"the second process, {' '.join(command[1:])}, ended with {other.returncode}: {last}")
            return ours
        return ours + Outcome(**json.loads(said))

    return both


if __name__ == "__main__":
    module, name, count, seed = sys.argv[1:]
    print(json.dumps(asdict(getattr(importlib.import_module(module), name)(int(count), int(seed)))))
