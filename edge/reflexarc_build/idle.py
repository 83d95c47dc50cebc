"""What builds, and will not do what it seems to: told by `reflexarc catalog check`, never refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from reflexarc_build.source import Mistake, Node
from reflexarc_core.catalog import Catalog
from reflexarc_core.hours import WEEK_MS, waits
from reflexarc_core.policy import Policy

_WORDS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"))


def idle(catalog: Catalog, sections: Mapping[str, Mapping[str, Node]]) -> list[Mistake]:
    """Notes on the author's definitions, each with its place. sections: where each stands."""
    return [*_caps(catalog, sections["caps"]), *_triggers(catalog, sections["triggers"])]


def _caps(catalog: Catalog, places: Mapping[str, Node]) -> Iterator[Mistake]:
    for name, cap in catalog.caps.items():
        held = [
            trigger
            for trigger_id, trigger in catalog.triggers.items()
            if name not in trigger.policy.exempt and cap.covers(trigger_id, catalog.actions[trigger.action].channel)
        ]
        if not held:
            yield _note(places[name], f"cap {name} covers no trigger", "take it out, or name triggers or channels that are there")


def _triggers(catalog: Catalog, places: Mapping[str, Node]) -> Iterator[Mistake]:
    for trigger_id, trigger in catalog.triggers.items():
        node, what, policy = places[trigger_id], f"trigger {trigger_id}", trigger.policy
        if trigger.dry_run and trigger.follows and not catalog.test_subjects:
            yield _note(node, f"{what}: a dry run never acts, so its further steps are not tried", "name test_subjects")
        wait = _longest_wait(policy)
        if wait > policy.hold_ms_max:
            message = (
                f"{what}: its hours may hold an action for {_words(wait)}, and it expires after {_words(policy.hold_ms_max)}"
            )
            yield _note(node, message, f"write hold: {_words(wait)} or more")


def _longest_wait(policy: Policy) -> int:
    """How long an action may have to wait for its hours, ms; 0 where it is dropped or never held."""
    quiet = policy.quiet if policy.quiet_then == "hold" else ()
    own = WEEK_MS if policy.best_hours else 0
    return max((held for held in waits(quiet, policy.window) if held is not None), default=0) + own


def _words(ms: int) -> str:
    size, unit = next(((size, unit) for size, unit in _WORDS if ms and ms % size == 0), (1, "ms"))
    return f"{ms // size}{unit}"


def _note(node: Node, message: str, hint: str) -> Mistake:
    return Mistake(node.file, node.line, message, hint)
