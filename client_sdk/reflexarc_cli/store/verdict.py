"""What a verification says of a store: findings, and how much was read. Owns the value only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

WRONG: Final = "wrong"
NOTE: Final = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """level: WRONG or NOTE. what: without a payload. todo: what to do about it, empty for nothing."""

    level: str
    what: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.todo})" if self.todo else self.what


@dataclass(slots=True)
class Verdict:
    """findings: what is wrong, and what is worth knowing. The counts: of what was read; losses: of numbers, by reason.

    fold_count: records the next start folds; engine_time: of the kept state, ms; None where there is none to be read.
    decoded: False without the key. is_key_checked, is_read_whole: False where the file was too damaged for that.
    """

    findings: list[Finding] = field(default_factory=list)
    record_count: int = 0
    last_seq: int = 0
    journal_count: int = 0
    subject_count: int = 0
    catalog_count: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    fold_count: int | None = None
    engine_time: int | None = None
    decoded: bool = True
    is_key_checked: bool = False
    is_read_whole: bool = True

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.level != WRONG for finding in self.findings)

    def wrong(self, what: str, todo: str) -> None:
        """Something is wrong."""
        self.findings.append(Finding(WRONG, what, todo))

    def note(self, what: str, todo: str = "") -> None:
        """Something is worth knowing."""
        self.findings.append(Finding(NOTE, what, todo))

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "sound": self.is_sound,
            "findings": [{"level": f.level, "what": f.what, "todo": f.todo} for f in self.findings],
            "records": self.record_count,
            "last": self.last_seq,
            "in_journal_only": self.journal_count,
            "subjects": self.subject_count,
            "catalogs": self.catalog_count,
            "lost": dict(sorted(self.losses.items())),
            "behind_snapshot": self.fold_count,
            "decoded": self.decoded,
        }
