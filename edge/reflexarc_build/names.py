"""The names an expression may read, with their types, as the catalog's definitions give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from reflexarc_core.condition.types import CelType
from reflexarc_core.event import CONTEXT_TYPES, EventType
from reflexarc_core.feature import FeatureDefinition
from reflexarc_core.model import ModelDefinition

RESERVED: Final = frozenset(
    ("event", "features", "segments", "subject", "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for")
).union(("function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"))
"""Words a model's output cannot be called: our namespaces, and CEL's own words."""


def is_name(text: str) -> bool:
    """Whether a definition or a property can be called that: what CEL, protobuf and JSON all take as a name."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", text) is not None


def operand_names(
    features: Mapping[str, FeatureDefinition], segments: Iterable[str], models: Mapping[str, ModelDefinition]
) -> dict[str, CelType]:
    """Names that are there whatever the event: features, segments, model outputs, the subject, enrichment."""
    names = {f"features.{name}": CelType.parse("double") for name in features}
    names.update({f"segments.{name}": CelType.parse("bool") for name in segments})
    for model in models.values():
        names[model.output] = CelType.parse(model.output_type)
        if model.factors:
            names[model.factors] = CelType.parse("map(string,double)")
        if model.progression:
            names[model.progression] = CelType.parse("list(string)")
    names["subject.kind"] = CelType.parse("string")
    names["subject.known"] = CelType.parse("bool")
    names.update({f"event.{name}": CelType.parse(text) for name, text in CONTEXT_TYPES.items()})
    return names


def event_names(event_types: Mapping[str, EventType], of: Iterable[str]) -> dict[str, CelType]:
    """The properties of these event types; one that two types declare differently is left out."""
    found: dict[str, str] = {}
    torn: set[str] = set()
    for event_type in of:
        if event_type not in event_types:
            continue
        for name, property_type in event_types[event_type].properties.items():
            if found.setdefault(name, property_type.type) != property_type.type:
                torn.add(name)
    return {f"event.{name}": CelType.parse(text) for name, text in found.items() if name not in torn}
