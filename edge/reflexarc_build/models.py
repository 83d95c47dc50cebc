"""Models as authors write them, each against the features and event types it reads.

Owns what a model may be trained on, scored at and, where it ranks items, told of them. Must never load or run a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading, nearest, shown
from reflexarc_core.event import EventType
from reflexarc_core.feature import FeatureDefinition
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.model import DEVICE_FORMS, Label, ModelDefinition

EVERY_MS_MIN: Final = 60_000
ALGORITHMS: Final = ("random_forest", "gradient_boosting", "collaborative_filtering")
LABELS: Final = ("churn", "purchase", "engagement")
RANKING: Final = "collaborative_filtering"


class ModelReader:
    """Reads models against one catalog's other definitions."""

    def __init__(
        self, event_types: Mapping[str, EventType], features: Mapping[str, FeatureDefinition], mistakes: Mistakes
    ) -> None:
        self.event_types = event_types
        self.features = features
        self.mistakes = mistakes

    def read(self, name: str, node: Node) -> ModelDefinition:
        """One model; what is wrong is noted."""
        reading = Reading(node, f"model {name}", self.mistakes)
        model = ModelDefinition(
            model_id=name,
            output=reading.text("output", name, required=True),
            algorithm=reading.text("algorithm", "random_forest", required=True, one_of=ALGORITHMS),
            features=reading.names("features", required=True),
            label=self._label(reading),
            score_on=reading.names("score_on"),
            every_ms=reading.duration_ms("every"),
            confidence_min=reading.number("confidence_min", 0.8, high=1.0),
            update_ms=reading.duration_ms("update", 604_800_000),
            factors=reading.text("factors"),
            output_type=reading.text("output_type", "double", one_of=("double", "bool")),
            line=reading.number("line", 0.5, low=0.001, high=0.999),
            items=self._items(reading),
            progression=reading.text("progression"),
            description=reading.text("description"),
            device_form=reading.text("device_form", DEVICE_FORMS[0], one_of=DEVICE_FORMS),
        )
        reading.known("features", model.features, self.features, "feature")
        reading.known("score_on", model.score_on, self.event_types, "event type")
        for feature_name in model.features:
            if feature_name in self.features and self.features[feature_name].key:
                self.mistakes.add(
                    node, f"model {name}: {feature_name} has a key", "a model reads features of the subject, without key"
                )
        if not model.score_on and not model.every_ms:
            self.mistakes.add(node, f"model {name} never scores", "write score_on: [EVENT TYPES] or every: 1d")
        if 0 < model.every_ms < EVERY_MS_MIN:
            self.mistakes.add(reading.node_of("every") or node, f"model {name} scores too often", "every: 1m at least")
        self._check_ranking(reading, model)
        reading.finish()
        return model

    def _label(self, reading: Reading) -> Label | None:
        node = reading.node_of("label")
        if node is None:
            return None
        inner = Reading(node, f"{reading.what}: label", self.mistakes)
        label = Label(
            kind=inner.text("kind", "churn", required=True, one_of=LABELS),
            events=inner.names("events", required=True),
            horizon_ms=inner.duration_ms("horizon", 1, required=True),
            active_within_ms=inner.duration_ms("active_within"),
        )
        inner.known("events", label.events, self.event_types, "event type")
        if label.kind == "churn" and not label.active_within_ms:
            self.mistakes.add(node, f"{reading.what}: churn of people who were active when?", "write active_within: 30d")
        inner.finish()
        return label

    def _check_ranking(self, reading: Reading, model: ModelDefinition) -> None:
        """Items, what comes of them and their label belong to a model that ranks items, and to no other."""
        node, what = reading.node, reading.what
        of_items = [name for name in ("items", "progression") if reading.node_of(name) is not None]
        if of_items and model.algorithm != RANKING:
            self.mistakes.add(node, f"{what}: {of_items[0]} of a model that ranks no items", f"write algorithm: {RANKING}")
        if not model.items and (model.progression or (model.label is not None and model.label.kind == "engagement")):
            self.mistakes.add(node, f"{what} ranks items and says of none where they come from", "write items: {EVENT: PROPERTY}")
        if model.items and INTEREST_STRENGTH in self.features:
            self.mistakes.add(node, f"{what}: the name {INTEREST_STRENGTH!r} is taken", "call the feature otherwise")
        if reading.node_of("line") is not None and model.output_type != "bool":
            self.mistakes.add(
                node, f"{what}: line belongs to a claim", "write output_type: bool, or compare the score in a trigger's condition"
            )

    def _items(self, reading: Reading) -> dict[str, str] | None:
        """`EVENT: PROPERTY`: where an event names the item it is about."""
        found: dict[str, str] = {}
        for event_type, node in reading.entries("items"):
            declared = self.event_types.get(event_type)
            if declared is None:
                self.mistakes.add(node, f"{reading.what}: no event type {event_type!r}", nearest(event_type, self.event_types))
                continue
            held = declared.properties.get(node.value) if isinstance(node.value, str) else None
            if held is None:
                texts = [name for name, one in declared.properties.items() if one.type == "string"]
                self.mistakes.add(
                    node, f"{reading.what}: {event_type} has no property {shown(node.value)}", nearest(str(node.value), texts)
                )
            elif held.type != "string":
                self.mistakes.add(
                    node,
                    f"{reading.what}: {event_type}.{node.value} is {held.type}, and items have names",
                    "name one that is text",
                )
            else:
                found[event_type] = node.value
        return found or None
