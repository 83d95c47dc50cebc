"""What expressions read: operand names, sorted by where each is found. Must never look a value up."""

from __future__ import annotations

from reflexarc_core.condition import CheckedExpression
from reflexarc_core.value import frozen


@frozen
class Reads:
    """Names read from each namespace, and whether the event's own values are."""

    event: bool
    features: tuple[str, ...]
    segments: tuple[str, ...]
    outputs: tuple[str, ...]

    @staticmethod
    def of(checked: list[CheckedExpression]) -> Reads:
        names = sorted({name for expression in checked for name in expression.reads})
        by_prefix: dict[str, list[str]] = {"event": [], "features": [], "segments": [], "": []}
        for name in names:
            prefix, dot, rest = name.partition(".")
            if dot and prefix in by_prefix:
                by_prefix[prefix].append(rest)
            else:
                by_prefix[""].append(name)
        return Reads(bool(by_prefix["event"]), tuple(by_prefix["features"]), tuple(by_prefix["segments"]), tuple(by_prefix[""]))

    def within(self, other: Reads) -> bool:
        """Whether all of it is read by `other` too."""
        return (
            (other.event or not self.event)
            and set(self.features) <= set(other.features)
            and set(self.segments) <= set(other.segments)
            and set(self.outputs) <= set(other.outputs)
        )
