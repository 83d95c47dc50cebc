"""Features: declared aggregations over a subject's events, and where each lives in the state vector.

Owns the declaration, the layout of the vector and the extraction of an event's contribution to each feature.
Must never keep state itself: it is handed the vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from reflexarc_core import aggregation
from reflexarc_core.aggregation import DISTINCT, KINDS, RATE, READS
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Value
from reflexarc_core.feature_source import Fold, compile_fold
from reflexarc_core.value import frozen

BUCKET_COUNT_MAX: Final = 512
DISTINCT_SLOTS: Final = 64
FEATURE_COUNT_MAX: Final = 256


@frozen
class Contribution:
    """What an event of one type adds to a feature: a constant `weight`, or the value of a property.

    where: (property, accepted values) pairs that must all hold. An event without the property adds nothing.
    """

    event_type: str
    weight: float = 1.0
    property_name: str = ""
    where: tuple[tuple[str, tuple[Value, ...]], ...] = ()


@frozen
class FeatureDefinition:
    """One feature of the catalog.

    scope: `device` (this installation's own events) or `subject` (folded by the server from every source, read-only
    on a device). window_ms/bucket_ms: rolling window in whole buckets. half_life_ms: decayed sum only. per_ms: unit
    of a rate. key: event property that splits the feature per value, empty for none.
    stale_ms: age past which a subject-scoped value sent to a device is STALE.
    """

    name: str
    aggregation: str
    of: tuple[Contribution, ...]
    scope: str = "device"
    window_ms: int = 0
    bucket_ms: int = 0
    half_life_ms: int = 0
    per_ms: int = 0
    key: str = ""
    stale_ms: int = 0
    unit: str = ""
    description: str = ""

    @property
    def digest(self) -> str:
        """Identity of what the numbers mean: everything but description and unit. State is kept under it."""
        meaning = [
            self.name, self.aggregation, self.scope, self.window_ms, self.bucket_ms, self.half_life_ms, self.per_ms,
            self.key, [[c.event_type, c.weight, c.property_name, c.where] for c in self.of],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def event_types(self) -> tuple[str, ...]:
        return tuple(contribution.event_type for contribution in self.of)

    @property
    def covers_ms(self) -> int:
        """How much history a fresh state needs before the value means what it says (WARMING until then)."""
        return self.window_ms or 4 * self.half_life_ms


def key_hash(value: Value) -> float:
    """A property value as a number over 0 that float64 holds exactly: 48 bits of SHA-256 of its JSON text, plus 1."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return float(int.from_bytes(hashlib.sha256(text).digest()[:6], "big") + 1)


@frozen
class Slot:
    """One feature's place in the vector and the numbers its aggregation runs on."""

    definition: FeatureDefinition
    offset: int
    kind: int
    width_ms: int
    bucket_count: int
    slot_count: int
    per: float

    @property
    def cell_count(self) -> int:
        return aggregation.cell_count(self.kind, self.bucket_count, self.slot_count)

    def empty(self) -> list[float]:
        return aggregation.empty_cells(self.kind, self.bucket_count, self.slot_count)

    def read(self, vector: Sequence[float], now: int) -> float:
        """Value as of `now` (ms); NaN for none."""
        read = READS[self.kind]
        return read(vector, self.offset, now, self.width_ms, self.bucket_count, self.slot_count, self.per)


def contribution_of(kind: int, contribution: Contribution, properties: Mapping[str, Value]) -> float | None:
    """The number one event adds to a feature, None when it adds nothing."""
    for name, accepted in contribution.where:
        if properties.get(name) not in accepted:
            return None
    if not contribution.property_name:
        return contribution.weight
    value = properties.get(contribution.property_name)
    if value is None:
        return None
    if kind == DISTINCT:
        return key_hash(value)
    return float(value) * contribution.weight  # type: ignore[arg-type]  # the catalog checked it is a number


class Layout:
    """Where a set of features lives in one flat vector: offsets, the empty vector, fold and read.

    Built from the features of one scope that share a key property (none for most), in the order of their names: a
    vector outlives the object that laid it out.
    """

    def __init__(self, definitions: Sequence[FeatureDefinition]) -> None:
        slots: list[Slot] = []
        offset = 0
        for definition in sorted(definitions, key=lambda definition: definition.name):
            slot = _slot(definition, offset)
            slots.append(slot)
            offset += slot.cell_count
        self.slots: Final = tuple(slots)
        self.cell_count: Final = offset
        self.by_name: Final = {slot.definition.name: slot for slot in slots}
        self._empty = [cell for slot in slots for cell in slot.empty()]
        self._folds: dict[str, Fold] = {}
        self._steps: dict[str, list[tuple[Slot, Contribution]]] = {}
        for slot in slots:
            for contribution in slot.definition.of:
                self._steps.setdefault(contribution.event_type, []).append((slot, contribution))

    def empty(self) -> list[float]:
        """A fresh vector."""
        return self._empty.copy()

    def folding(self, event_type: str) -> Fold | None:
        """What folds an event of this type into a vector; None when no feature listens to it."""
        fold = self._folds.get(event_type)
        if fold is None and event_type in self._steps:
            fold = self._folds[event_type] = compile_fold(self._steps[event_type], key_hash)
        return fold

    def fold(self, vector: list[float], event_type: str, properties: Mapping[str, Value], event_time: int) -> bool:
        """Fold one event into the vector. True when any feature listens to the event type."""
        fold = self.folding(event_type)
        if fold is None:
            return False
        fold(vector, properties, event_time)
        return True

    def contributions(self, event_type: str) -> list[tuple[Slot, Contribution]]:
        """What an event type contributes to, for batch folds."""
        return self._steps.get(event_type, [])

    def carry_over(self, old: Layout, vector: Sequence[float]) -> list[float]:
        """The vector of `old` in this layout: definitions that did not change keep their cells, others start empty."""
        kept = {slot.definition.digest: slot for slot in old.slots}
        moved = self.empty()
        for slot in self.slots:
            source = kept.get(slot.definition.digest)
            if source is not None:
                moved[slot.offset : slot.offset + slot.cell_count] = vector[source.offset : source.offset + source.cell_count]
        return moved


def _slot(definition: FeatureDefinition, offset: int) -> Slot:
    kind = KINDS.index(definition.aggregation)
    if kind == aggregation.DECAYED_SUM:
        return Slot(definition, offset, kind, definition.half_life_ms, 0, 0, 1.0)
    if kind in (aggregation.RECENCY, aggregation.TOTAL):
        return Slot(definition, offset, kind, 1, 0, 0, 1.0)
    bucket_count = definition.window_ms // definition.bucket_ms
    slot_count = DISTINCT_SLOTS if kind == DISTINCT else 0
    per = definition.window_ms / definition.per_ms if kind == RATE else 1.0
    return Slot(definition, offset, kind, definition.bucket_ms, bucket_count, slot_count, per)


def check_feature(definition: FeatureDefinition) -> None:
    """Raises DefinitionError when the declaration cannot be folded."""
    name = definition.name
    if definition.aggregation not in KINDS:
        raise DefinitionError(f"feature {name}: no aggregation {definition.aggregation!r}", hint=f"one of {', '.join(KINDS)}")
    if definition.scope not in ("device", "subject"):
        raise DefinitionError(f"feature {name}: no scope {definition.scope!r}", hint="device or subject")
    if definition.aggregation == "decayed_sum":
        if definition.half_life_ms <= 0:
            raise DefinitionError(f"feature {name}: a decayed_sum needs a half_life", hint="for example half_life: 14d")
    elif definition.aggregation == "total":
        if definition.window_ms or definition.bucket_ms:
            raise DefinitionError(f"feature {name}: a total has no window", hint="take count or sum for a window")
    elif definition.aggregation != "recency":
        if definition.window_ms <= 0 or definition.bucket_ms <= 0 or definition.window_ms % definition.bucket_ms:
            raise DefinitionError(
                f"feature {name}: its window must be a whole number of buckets", hint="for example window: 7d, bucket: 6h"
            )
        if definition.window_ms // definition.bucket_ms > BUCKET_COUNT_MAX:
            raise DefinitionError(
                f"feature {name}: {definition.window_ms // definition.bucket_ms} buckets",
                hint=f"at most {BUCKET_COUNT_MAX}; take a wider bucket",
            )
    if definition.aggregation == "rate" and definition.per_ms <= 0:
        raise DefinitionError(f"feature {name}: a rate needs per", hint="for example per: 7d")
    needs_property = definition.aggregation in ("mean", "min", "max", "distinct")
    for contribution in definition.of:
        if needs_property and not contribution.property_name:
            raise DefinitionError(
                f"feature {name}: {definition.aggregation} needs a property of {contribution.event_type}",
                hint=f"for example of: {{{contribution.event_type}: PROPERTY}}",
            )
