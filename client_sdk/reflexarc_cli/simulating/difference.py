"""What two simulations of one log differ in: by trigger and reason, and decision by decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reflexarc_core.decision import Decision
from reflexarc_core.simulate import last_records

NONE = "-"
"""Where one of the two decided nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that came out otherwise. old, new: its last reason, or NONE."""

    decision: Decision
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Difference:
    """reasons: trigger -> (old, new) counts by last reason. changes: in the order of their time."""

    reasons: dict[str, tuple[Counter[str], Counter[str]]]
    changes: list[Change]

    @property
    def subjects(self) -> int:
        """How many people are decided about otherwise."""
        return len({change.decision.subject for change in self.changes})

    def to_json(self, changes_max: int) -> dict[str, Any]:
        """As plain values, with at most so many of the changes."""
        return {
            "triggers": {
                trigger: {"old": dict(sorted(old.items())), "new": dict(sorted(new.items()))}
                for trigger, (old, new) in sorted(self.reasons.items())
            },
            "changed": len(self.changes),
            "subjects_changed": self.subjects,
            "changes": [
                {
                    "trigger": change.decision.trigger_id, "subject": change.decision.subject,
                    "instance": change.decision.instance, "decision_id": change.decision.decision_id,
                    "decision_time": change.decision.decision_time, "old": change.old, "new": change.new,
                    "detail": change.decision.detail,
                }
                for change in self.changes[:changes_max]
            ],
        }  # fmt: skip


def differ(old: Iterable[Decision], new: Iterable[Decision]) -> Difference:
    """The difference between what two catalogs decided over the same log; decisions are the same when their ids are."""
    before, after = last_records(old), last_records(new)
    reasons: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for side, found in enumerate((before, after)):
        for decision in found.values():
            reasons.setdefault(decision.trigger_id, (Counter(), Counter()))[side][decision.reason.value] += 1
    changes = []
    for decision_id in before.keys() | after.keys():
        one, other = before.get(decision_id), after.get(decision_id)
        was, is_now = one.reason.value if one else NONE, other.reason.value if other else NONE
        if was != is_now:
            shown = other or one
            assert shown is not None
            changes.append(Change(shown, was, is_now))
    changes.sort(key=lambda change: (change.decision.decision_time, change.decision.trigger_id, change.decision.decision_id))
    return Difference(reasons, changes)
