"""Cuts: one life's tape, cut at many moments, and what each image shows.

Owns where a tape is cut and how a cut is named, so that a failure can be brought back: plan, model, number.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.power.images import Disk
from tests.power.ledger import Ledger, judge
from tests.power.life import Plan
from tests.power.tape import Note

MODELS: Final = ("strict", "ordered")
TOLD_MAX: Final = 5


@dataclass(slots=True)
class Result:
    """image_count: images judged. wrong: kind of wrong -> images that show it, and `any`. texts: of the first of them."""

    image_count: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)

    def share(self, kind: str) -> float:
        """Share of the images that show this kind of wrong."""
        return self.wrong[kind] / self.image_count

    def __iadd__(self, other: Result) -> Result:
        self.image_count += other.image_count
        self.wrong += other.wrong
        self.texts = (self.texts + other.texts)[:TOLD_MAX]
        return self


def cut_often(plan: Plan, tape: list[Any], model: str, count: int, base: Path, since: int | None = None) -> Result:
    """Cut a tape at so many moments, behind its first `since` events where that is said. base: an existing folder."""
    rngs = [random.Random(f"image {plan} {model} {number}") for number in range(count)]
    moments = list(_moments(tape, rngs)) if since is None else [rng.randint(since, len(tape)) for rng in rngs]
    disk, ledger, played, result = Disk(), Ledger(), 0, Result()
    for at, number in sorted((at, number) for number, at in enumerate(moments)):
        for event in tape[played:at]:
            disk.play(event)
            ledger.play(event)
        played = at
        image = disk.survivor(rngs[number], model)
        root = base / "image"
        root.mkdir()
        image.materialise(root)
        _leave_index(root, rngs[number])
        wrongs = judge(root, ledger)
        shutil.rmtree(root)
        result.image_count += 1
        if wrongs:
            result.wrong.update({"any", *(wrong.kind for wrong in wrongs)})
            said = "; ".join(f"{wrong.kind}: {wrong.text}" for wrong in wrongs)
            if len(result.texts) < TOLD_MAX:
                result.texts.append(f"{plan}, {model} image {number}, cut at {at} of {len(tape)}: {said} ({image.how})")
    return result


def _leave_index(root: Path, rng: random.Random) -> None:
    """SQLite's index of its write-ahead log is written back or not, and never to be believed."""
    for path in root.rglob("*-wal"):
        if rng.random() < 0.3:
            path.with_name(f"{path.name[:-3]}shm").write_bytes(rng.randbytes(32 * 1024))


def _moments(tape: list[Any], rngs: list[random.Random]) -> Iterator[int]:
    """Anywhere once a life has begun, or shortly behind something that was said to the outside."""
    begun = next(at for at, event in enumerate(tape) if isinstance(event, Note) and event.kind == "begun")
    told = [at for at, event in enumerate(tape) if isinstance(event, Note) and at >= begun]
    for rng in rngs:
        if rng.random() < 0.5:
            yield rng.randint(begun + 1, len(tape))
        else:
            yield min(len(tape), rng.choice(told) + 1 + rng.choice((0, 0, 1, 2, 5, 10)))
