"""Patterns of events over time: what must happen in which order, and what must not.

Owns the declared form. How one is followed is `chain`'s. Must never evaluate anything.
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.condition import CheckedExpression
from reflexarc_core.errors import DefinitionError
from reflexarc_core.value import frozen

STEP_COUNT_MAX: Final = 32
"""Steps of one pattern, each repetition (`count`) being one."""


@frozen
class Step:
    """One step: any of these events, `count` times, for which `where` (it reads `event.` only) is true.

    within_ms: from the step before it, by the events' own times; 0 = whenever. absent: it must *not* come within that time;
    only the last step can be one.
    """

    events: tuple[str, ...]
    where: CheckedExpression | None = None
    within_ms: int = 0
    count: int = 1
    absent: bool = False


@frozen
class Pattern:
    """Steps in order, for one subject.

    within_ms: from the first step's event to the last one's; 0 = whenever. Not together with a step's own, but for the absent
    one's. key: property whose value tells instances apart (one cart, one product); an event without it is no step. cancel: event
    types that end what is under way; one that carries the key ends only its own instance.
    """

    steps: tuple[Step, ...]
    within_ms: int = 0
    key: str = ""
    cancel: tuple[str, ...] = ()

    @property
    def completing(self) -> tuple[str, ...]:
        """Event types of the last step that an event makes: what a condition reads as `event`."""
        return [step for step in self.steps if not step.absent][-1].events


def check_pattern(pattern: Pattern) -> None:
    """Raises DefinitionError when the declaration means nothing."""
    steps = pattern.steps
    if not steps:
        raise DefinitionError("a pattern without steps", hint="write steps: [{event: page_view}, ...]")
    if sum(step.count for step in steps) > STEP_COUNT_MAX:
        raise DefinitionError(
            f"a pattern of {sum(step.count for step in steps)} steps, repetitions counted",
            hint=f"at most {STEP_COUNT_MAX}; count what comes often in a feature",
        )
    if steps[0].absent:
        raise DefinitionError("a pattern begins with what must not come", hint="name what it is waited for after")
    for step in steps[:-1]:
        if step.absent:
            raise DefinitionError(
                "only the last step can be one that must not come", hint="use cancel for what ends it on the way"
            )
    if steps[-1].absent and steps[-1].within_ms <= 0:
        raise DefinitionError("the step that must not come has no within", hint="for example within: 30m")
    if steps[-1].absent and steps[-1].count != 1:
        raise DefinitionError("the step that must not come has a count", hint="leave it out")
    timed = [step for step in steps if step.within_ms and not step.absent]
    if steps[0].within_ms:
        raise DefinitionError(
            "the first step has a within", hint="there is nothing before it: write it on the next, or on the pattern"
        )
    if timed and pattern.within_ms:
        raise DefinitionError("within stands on the pattern and on a step", hint="write it on one of them")
    if len(steps) == 1 and steps[0].count == 1 and not steps[0].absent and not pattern.key:
        raise DefinitionError("a pattern of one event", hint="write on: [EVENT] and a condition instead")
