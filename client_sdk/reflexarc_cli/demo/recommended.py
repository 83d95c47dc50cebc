"""What a device recommended: how many items, how many of them as a further step of a sequence, and whether one came twice.

Owns the count over a device's own decisions, in the order of its log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reflexarc_core.decision import Decision, Reason


@dataclass(slots=True)
class Recommended:
    """shown: items in all; items: different ones; steps: shown by a further step; repeats: shown again by the same sequence."""

    shown: int = 0
    steps: int = 0
    repeats: int = 0
    items: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        """One JSON-able object."""
        return {**asdict(self), "items": sorted(self.items)}

    @staticmethod
    def together(parts: Iterable[Mapping[str, Any]]) -> Recommended:
        """Of several devices, from their `to_json`."""
        whole = Recommended()
        for part in parts:
            whole.shown += part["shown"]
            whole.steps += part["steps"]
            whole.repeats += part["repeats"]
            whole.items.update(part["items"])
        return whole


class Sequences:
    """Follows the sequences of everybody on one device."""

    def __init__(self) -> None:
        self.found = Recommended()
        self._under_way: dict[tuple[str, str], set[str]] = {}

    def take(self, decision: Decision) -> None:
        """The next decision of the log; those that are about no item are passed over."""
        item = (decision.payload or {}).get("item")
        if decision.reason is not Reason.FIRED or not isinstance(item, str):
            return
        is_step = decision.instance.startswith("step:")
        key = (decision.trigger_id, decision.subject)
        shown = self._under_way.setdefault(key, set())
        if not is_step:
            shown.clear()
        self.found.shown += 1
        self.found.steps += is_step
        self.found.repeats += item in shown
        self.found.items.add(item)
        shown.add(item)
