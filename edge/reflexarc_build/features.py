"""Features as authors write them, each against the event types it reads.

Owns which properties a feature may add up, filter by and split by. Must never evaluate anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from reflexarc_build.source import Mistakes, Node, Reading, nearest, shown
from reflexarc_core.event import EventType, Value
from reflexarc_core.feature import Contribution, FeatureDefinition, check_feature
from reflexarc_core.soundness import NUMERIC


class FeatureReader:
    """Reads features against one catalog's event types."""

    def __init__(self, event_types: Mapping[str, EventType], mistakes: Mistakes) -> None:
        self.event_types = event_types
        self.mistakes = mistakes

    def read(self, name: str, node: Node) -> FeatureDefinition:
        """One feature; what is wrong is noted."""
        reading = Reading(node, f"feature {name}", self.mistakes)
        aggregation = reading.text("aggregation", "count", required=True)
        definition = FeatureDefinition(
            name=name,
            aggregation=aggregation,
            of=self._contributions(reading, aggregation),
            scope=reading.text("scope", "device"),
            window_ms=reading.duration_ms("window"),
            bucket_ms=reading.duration_ms("bucket"),
            half_life_ms=reading.duration_ms("half_life"),
            per_ms=reading.duration_ms("per"),
            key=reading.text("key"),
            stale_ms=reading.duration_ms("stale"),
            unit=reading.text("unit"),
            description=reading.text("description"),
        )
        reading.finish()
        if definition.key:
            declared = {p for c in definition.of for p in self.event_types[c.event_type].properties}
            reading.known("key", (definition.key,), declared, "property")
        reading.guard(lambda: check_feature(definition))
        return definition

    def _contributions(self, reading: Reading, aggregation: str) -> tuple[Contribution, ...]:
        node = reading.node_of("of", required=True)
        filters = reading.entries("where")
        if node is None:
            return ()
        if isinstance(node.value, dict):
            entries = list(node.items())
        else:
            names = reading.names("of", required=True)
            if isinstance(node.value, str) or not names:
                entries = [(name, node) for name in names]
            else:
                entries = [(item.value, item) for item in node.value]
        contributions = []
        for event_type, value_node in entries:
            if event_type not in self.event_types:
                hint = nearest(event_type, self.event_types)
                self.mistakes.add(value_node, f"{reading.what}: no event type {event_type!r}", hint)
                continue
            value = value_node.value if isinstance(node.value, dict) else 1
            declared = self.event_types[event_type].properties
            where = tuple((p, self._accepted(reading, p, n, declared[p].type)) for p, n in filters if p in declared)
            if isinstance(value, str):
                self._check_property(reading, value_node, aggregation, event_type, value)
                contributions.append(Contribution(event_type, 1.0, value, where))
            elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
                contributions.append(Contribution(event_type, float(value), "", where))
            else:
                self.mistakes.add(value_node, f"{reading.what}: {event_type}: {shown(value)}", "a weight or a property name")
        read = {p for event_type, _ in entries if event_type in self.event_types for p in self.event_types[event_type].properties}
        for property_name, filter_node in filters if read else ():
            if property_name not in read:  # a filter that filters nothing would count everything
                message = f"{reading.what}: where: none of its events has a property {property_name!r}"
                self.mistakes.add(filter_node, message, nearest(property_name, read))
        return tuple(contributions)

    def _check_property(self, reading: Reading, node: Node, aggregation: str, event_type: str, name: str) -> None:
        declared = self.event_types[event_type].properties
        if name not in declared:
            self.mistakes.add(node, f"{reading.what}: {event_type} has no property {name!r}", nearest(name, declared))
        elif aggregation in NUMERIC and declared[name].type not in ("int", "double"):
            self.mistakes.add(
                node, f"{reading.what}: {event_type}.{name} is {declared[name].type}, and {aggregation} needs a number",
                "name a property of type int or double, or a weight such as 1.0",
            )  # fmt: skip

    def _accepted(self, reading: Reading, name: str, node: Node, wanted: str) -> tuple[Value, ...]:
        values = [item.value for item in node.value] if isinstance(node.value, list) else [node.value]
        if not values or any(value is None or isinstance(value, (dict, list)) for value in values):
            self.mistakes.add(node, f"{reading.what}: where: {name} is {shown(node.value)}", "write a value, or [a, b]")
            return ()
        for value in values:
            if isinstance(value, str) != (wanted == "string"):
                hint = "write text, in quotes" if wanted == "string" else f"write a value of type {wanted}"
                self.mistakes.add(node, f"{reading.what}: where: {name} is {wanted}, never {shown(value)}", hint)
        return tuple(values)
