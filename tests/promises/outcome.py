"""What a promise came to: one value that `make test` asserts and `make test-soak` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

WRONG_SHOWN_MAX = 12


@dataclass
class Outcome:
    """runs: cases that were tried. lost, duplicated: what the promise says is 0. details: figures, by name.
    wrong: whatever else did not hold, one line each with the seed of its case."""

    runs: int
    lost: int = 0
    duplicated: int = 0
    details: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)

    def check(self, holds: bool, said: str) -> bool:
        """Note what did not hold."""
        if not holds:
            self.wrong.append(said)
        return holds

    def add(self, name: str, count: int = 1) -> None:
        """Add to a figure."""
        held = self.details.get(name, 0)
        assert isinstance(held, int)
        self.details[name] = held + count

    def __add__(self, other: Outcome) -> Outcome:
        """Both together. Whole figures add up; of any other the larger is kept."""
        details = dict(self.details)
        for name, theirs in other.details.items():
            ours = details.get(name, theirs.__class__())
            whole = isinstance(ours, int) and isinstance(theirs, int)
            details[name] = ours + theirs if whole else max(ours, theirs)  # type: ignore[operator, call-overload]
        return Outcome(
            self.runs + other.runs, self.lost + other.lost, self.duplicated + other.duplicated, details, self.wrong + other.wrong
        )

    def figures(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.details.items())

    def __str__(self) -> str:
        shown = "".join(f"\n  {line}" for line in self.wrong[:WRONG_SHOWN_MAX])
        rest = f"\n  and {len(self.wrong) - WRONG_SHOWN_MAX} more" if len(self.wrong) > WRONG_SHOWN_MAX else ""
        return f"{self.runs} runs, lost {self.lost}, duplicated {self.duplicated}; {self.figures()}{shown}{rest}"


Run = Callable[[int, int], Outcome]


@dataclass(frozen=True)
class Promise:
    """number and what: of the promise. run: (count, seed) -> outcome. pr, nightly: how many of what."""

    number: int
    what: str
    run: Run
    pr: int
    nightly: int
    of: str
    seed: int = 1


def table(rows: Iterable[tuple[Promise, int, int, Outcome, float]]) -> str:
    """(promise, count asked for, seed, outcome, seconds) as text."""
    head = ("#", "promise", "runs", "of", "seed", "lost", "dup", "verdict", "seconds")
    lines = [
        (
            str(p.number), p.what, str(o.runs), p.of, str(seed), str(o.lost), str(o.duplicated),
            "kept" if o.is_kept else f"BROKEN ({len(o.wrong)})", f"{seconds:.1f}",
        )
        for p, _, seed, o, seconds in rows
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *lines])
