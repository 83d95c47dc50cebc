"""Patterns as authors write them: `pattern: {steps: ...}`, and `inactive`, which is short for one."""

from __future__ import annotations

from collections.abc import Mapping

from reflexarc_build.cel import check_expression
from reflexarc_build.names import event_names
from reflexarc_build.source import Mistakes, Node, Reading, shown
from reflexarc_core.condition import CheckedExpression
from reflexarc_core.condition.types import CelType
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import CONTEXT_TYPES, EventType
from reflexarc_core.pattern import STEP_COUNT_MAX, Pattern, Step, check_pattern


class PatternReader:
    """Reads the pattern of a trigger against one catalog's event types."""

    def __init__(self, event_types: Mapping[str, EventType], mistakes: Mistakes) -> None:
        self.event_types = event_types
        self.mistakes = mistakes
        self._context = {f"event.{name}": CelType.parse(text) for name, text in CONTEXT_TYPES.items()}

    def read(self, trigger: Reading) -> Pattern | None:
        """The trigger's pattern, None when it has none. What is wrong is noted."""
        node, inactive = trigger.node_of("pattern"), trigger.node_of("inactive")
        if node is not None and inactive is not None:
            self.mistakes.add(inactive, f"{trigger.what}: pattern and inactive", "write one of them")
            return None
        if inactive is not None:
            return self._inactive(trigger, inactive)
        return None if node is None else self._pattern(trigger, node)

    def _inactive(self, trigger: Reading, node: Node) -> Pattern | None:
        reading = Reading(node, f"{trigger.what}: inactive", self.mistakes)
        events = reading.names("events", required=True)
        reading.known("events", events, self.event_types, "event type")
        within_ms = reading.duration_ms("for", required=True)
        key = self._key(reading, events)
        reading.finish()
        if not events or not within_ms:
            return None
        return Pattern((Step(events), Step(events, within_ms=within_ms, absent=True)), key=key)

    def _pattern(self, trigger: Reading, node: Node) -> Pattern | None:
        reading = Reading(node, f"{trigger.what}: pattern", self.mistakes)
        steps = self._steps(reading)
        cancel = reading.names("cancel")
        reading.known("cancel", cancel, self.event_types, "event type")
        within_ms = reading.duration_ms("within")
        key = self._key(reading, tuple(name for step in steps for name in step.events))
        reading.finish()
        pattern = Pattern(steps, within_ms, key, cancel)
        reading.guard(lambda: _check(reading.what, pattern))
        return pattern if steps and any(not step.absent for step in steps) else None

    def _key(self, reading: Reading, events: tuple[str, ...]) -> str:
        key = reading.text("key")
        for event_type in dict.fromkeys(events) if key else ():
            if event_type in self.event_types and key not in self.event_types[event_type].properties:
                self.mistakes.add(
                    reading.node_of("key") or reading.node, f"{reading.what}: {event_type} has no property {key!r}",
                    "a key is a property of every step's events",
                )  # fmt: skip
        return key

    def _steps(self, reading: Reading) -> tuple[Step, ...]:
        node = reading.node_of("steps", required=True)
        if node is None:
            return ()
        if not isinstance(node.value, list) or not node.value:
            self.mistakes.add(node, f"{reading.what}: steps is {shown(node.value)}", "write [{event: page_view}, ...]")
            return ()
        return tuple(step for n, item in enumerate(node.value, 1) if (step := self._step(f"{reading.what}: step {n}", item)))

    def _step(self, what: str, node: Node) -> Step | None:
        reading = Reading(node, what, self.mistakes)
        if not isinstance(node.value, dict):
            return None
        absent = "no" in node.value
        if absent and "event" in node.value:
            self.mistakes.add(node, f"{what} has event and no", "write two steps: what comes, then what must not")
            return None
        field = "no" if absent else "event"
        events = reading.names(field, required=True)
        reading.known(field, events, self.event_types, "event type")
        count = reading.number("count", 1, low=1, high=STEP_COUNT_MAX)
        if count != int(count):
            self.mistakes.add(reading.node_of("count") or node, f"{what}: count is {count:g}", "a whole number")
        where = self._where(reading, events)
        step = Step(events, where, reading.duration_ms("within"), int(count), absent)
        reading.finish()
        return step if events else None

    def _where(self, reading: Reading, events: tuple[str, ...]) -> CheckedExpression | None:
        text = reading.text("where", required=reading.node_of("where") is not None)
        if not text.strip():
            return None
        node = reading.node_of("where") or reading.node
        try:
            checked = check_expression(text, {**self._context, **event_names(self.event_types, events)})
        except DefinitionError as error:
            self.mistakes.add(node, f"{reading.what}: where: {error.message}", error.hint or "a step reads event.NAME only")
            return None
        if str(checked.result_type) != "bool":
            self.mistakes.add(node, f"{reading.what}: where is {checked.result_type}", "write one that is true or false")
            return None
        return checked


def _check(what: str, pattern: Pattern) -> None:
    """As `check_pattern`, naming the trigger."""
    try:
        check_pattern(pattern)
    except DefinitionError as error:
        raise DefinitionError(f"{what}: {error.message}", hint=error.hint) from None
