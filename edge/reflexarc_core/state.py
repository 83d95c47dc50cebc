"""The engine's state: one object per subject, and the little that belongs to nobody.

Owns what a snapshot holds and its exact round trip. State is a fold over the log's inputs; nothing here is ever
written by anybody but the engine. Must never read a clock or a file.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

from reflexarc_core import plain
from reflexarc_core.decision import ScoreEvidence
from reflexarc_core.event import Event
from reflexarc_core.feature import Layout
from reflexarc_core.feature_source import Older
from reflexarc_core.interaction import Interactions
from reflexarc_core.ledger import Ledger, event_back
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.purchase_window import Week
from reflexarc_core.segment import Flows, Membership, membership_back, membership_plain
from reflexarc_core.value import changeable

SUBJECTS_MAX: Final = 200_000
KEYS_PER_SUBJECT_MAX: Final = 256
FORMAT: Final = 1


@changeable
class Operands:
    """The values a condition or a template reads, by namespace; an absent key is an absent value."""

    event: dict[str, Any]
    features: dict[str, Any]
    segments: dict[str, Any]
    outputs: dict[str, Any]


@changeable
class OpenDecision:
    """A decision that waits for the server: everything needed to conclude it when the answer comes."""

    trigger_id: str
    cause_id: str
    instance: str
    event: Event | None
    operands: Operands
    evidence: tuple[ScoreEvidence, ...]
    scores: dict[str, Scored]
    sure: bool
    asked: str
    language: str
    cause_time: int = 0
    """Of the event, or when what caused it was due; ms."""


@dataclass(slots=True)
class SubjectState:
    """Everything the engine knows of one subject.

    vector: the features' cells. keyed: key property -> key value -> cells. values: subject-scoped features the server
    sent, (value, as-of ms). last_seen: event type -> newest event time. fired: trigger -> engine time of its last
    fired or held-out decision. assignments: trigger -> treated/holdout, as of the first decision. touched: its place
    in the order in which subjects were last touched. ledger: what patterns and policies remember, None for nothing.
    membership: of the segments that are followed, None where none of them can concern it yet.
    interactions: model that ranks items -> the items engaged with; None for nothing.
    weeks: model -> when in the week it did what the model foresees, kept where a trigger waits for it; None for nothing.
    older: sums that follow from the vector; no snapshot holds them.
    """

    vector: list[float]
    keyed: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    values: dict[str, tuple[float, int]] = field(default_factory=dict)
    last_seen: dict[str, int] = field(default_factory=dict)
    scores: dict[str, Scored] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    assignments: dict[str, str] = field(default_factory=dict)
    consents: dict[str, bool] = field(default_factory=dict)
    open: dict[str, OpenDecision] = field(default_factory=dict)
    event_count: int = 0
    language: str = ""
    touched: int = 0
    ledger: Ledger | None = None
    membership: Membership | None = None
    interactions: dict[str, Interactions] | None = None
    weeks: dict[str, Week] | None = None
    older: Older = field(default_factory=dict, compare=False)

    def to_plain(self) -> dict[str, Any]:
        """JSON-able but for the vectors, which are bytes of little-endian float64."""
        kept = {
            "vector": _pack(self.vector),
            "keyed": {p: {k: _pack(v) for k, v in keys.items()} for p, keys in self.keyed.items()},
            "values": {name: list(pair) for name, pair in self.values.items()},
            "last_seen": dict(self.last_seen),
            "scores": {model_id: _scored_plain(scored) for model_id, scored in self.scores.items()},
            "fired": dict(self.fired),
            "assignments": dict(self.assignments),
            "consents": dict(self.consents),
            "open": {decision_id: _open_plain(held) for decision_id, held in self.open.items()},
            "event_count": self.event_count,
            "language": self.language,
            "touched": self.touched,
        }
        if self.ledger is not None:
            kept["ledger"] = self.ledger.to_plain()
        if self.membership is not None:
            kept["membership"] = membership_plain(self.membership)
        if self.interactions:
            kept["interactions"] = {name: [list(pair) for pair in held.items()] for name, held in self.interactions.items()}
        if self.weeks:
            kept["weeks"] = {name: week.to_plain() for name, week in self.weeks.items()}
        return kept

    def cells(self, key: str, value: str, layout: Layout) -> list[float]:
        """The cells of one key value; the key least recently touched makes room."""
        by_value = self.keyed.setdefault(key, {})
        cells = by_value.pop(value, None)
        if cells is None:
            cells = layout.empty()
            if len(by_value) >= KEYS_PER_SUBJECT_MAX:
                del by_value[next(iter(by_value))]
        by_value[value] = cells
        return cells

    def its_ledger(self) -> Ledger:
        """The ledger, made when there is none."""
        if self.ledger is None:
            self.ledger = Ledger()
        return self.ledger

    def interactions_of(self, model_id: str) -> Interactions:
        """The items of one model, made when there are none."""
        if self.interactions is None:
            self.interactions = {}
        return self.interactions.setdefault(model_id, {})

    def week_of(self, model_id: str) -> Week:
        """The week of one model, made when there is none."""
        if self.weeks is None:
            self.weeks = {}
        return self.weeks.setdefault(model_id, Week())

    @staticmethod
    def from_plain(kept: dict[str, Any]) -> SubjectState:
        interactions = {name: dict(held) for name, held in kept.get("interactions", {}).items()}
        return SubjectState(
            vector=_unpack(kept["vector"]),
            keyed={p: {k: _unpack(v) for k, v in keys.items()} for p, keys in kept["keyed"].items()},
            values={name: (pair[0], pair[1]) for name, pair in kept["values"].items()},
            last_seen=dict(kept["last_seen"]),
            scores={model_id: _scored_back(scored) for model_id, scored in kept["scores"].items()},
            fired=dict(kept["fired"]),
            assignments=dict(kept["assignments"]),
            consents=dict(kept["consents"]),
            open={decision_id: _open_back(held) for decision_id, held in kept["open"].items()},
            event_count=kept["event_count"],
            language=kept["language"],
            touched=kept.get("touched", 0),
            ledger=Ledger.from_plain(kept["ledger"]) if "ledger" in kept else None,
            membership=membership_back(kept["membership"]) if "membership" in kept else None,
            interactions=interactions or None,
            weeks={name: Week.from_plain(week) for name, week in kept["weeks"].items()} if "weeks" in kept else None,
        )


@dataclass(slots=True)
class State:
    """What an engine is restored from.

    engine_time: never goes back. models: what is live. ticks: model -> index of its last tick. warming: feature ->
    engine time from which it covers its window. subjects: least recently touched first. touch_count: touches so far.
    device_id: the installation, empty on a server. flows: how many entered and left the segments that a server follows. dirty:
    subjects changed since the shell last kept them.
    """

    engine_time: int = 0
    catalog_digest: str = ""
    models: dict[str, LiveModel] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    ticks: dict[str, int] = field(default_factory=dict)
    warming: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    subjects: dict[str, SubjectState] = field(default_factory=dict)
    touch_count: int = 0
    device_id: str = ""
    flows: Flows = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)

    def head_plain(self) -> dict[str, Any]:
        """Everything but the subjects."""
        return {
            "format": FORMAT,
            "engine_time": self.engine_time,
            "catalog_digest": self.catalog_digest,
            "models": {model_id: plain.to_plain(model) for model_id, model in self.models.items()},
            "paused": sorted(self.paused),
            "ticks": dict(self.ticks),
            "warming": dict(self.warming),
            "counts": {trigger_id: dict(sorted(clauses.items())) for trigger_id, clauses in sorted(self.counts.items())},
            "touch_count": self.touch_count,
            "device_id": self.device_id,
            "flows": {name: [[hour, *two] for hour, two in sorted(by_hour.items())] for name, by_hour in self.flows.items()},
        }

    @staticmethod
    def from_plain(head: dict[str, Any], subjects: dict[str, dict[str, Any]]) -> State:
        """The state of `head_plain` and the subjects' `to_plain`, in whatever order a store gives them back."""
        restored = {subject: SubjectState.from_plain(kept) for subject, kept in subjects.items()}
        return State(
            engine_time=head["engine_time"],
            catalog_digest=head["catalog_digest"],
            models={model_id: plain.from_plain(LiveModel, model) for model_id, model in head["models"].items()},
            paused=set(head["paused"]),
            ticks=dict(head["ticks"]),
            warming=dict(head["warming"]),
            counts={trigger_id: dict(clauses) for trigger_id, clauses in head["counts"].items()},
            # Who makes room for whom depends on this order: it must not be the store's.
            subjects=dict(sorted(restored.items(), key=lambda pair: pair[1].touched)),
            touch_count=head.get("touch_count", 0),
            device_id=head.get("device_id", ""),
            flows={name: {hour: list(two) for hour, *two in by_hour} for name, by_hour in head.get("flows", {}).items()},
        )


def _pack(vector: list[float]) -> bytes:
    return array("d", vector).tobytes()


def _unpack(packed: bytes) -> list[float]:
    cells = array("d")
    cells.frombytes(packed)
    return cells.tolist()


def _scored_plain(scored: Scored) -> list[Any]:
    kept = [
        scored.model_id,
        scored.artifact_digest,
        scored.code,
        scored.score,
        [list(pair) for pair in scored.confidences],
        _pack(list(scored.vector)),
        None if scored.factors is None else [list(pair) for pair in scored.factors],
    ]
    return [*kept, list(scored.ranked)] if scored.ranked else kept


def _scored_back(kept: list[Any]) -> Scored:
    factors = None if kept[6] is None else tuple((name, value) for name, value in kept[6])
    confidences = tuple((line, confidence) for line, confidence in kept[4])
    ranked = tuple(kept[7]) if len(kept) > 7 else ()
    return Scored(kept[0], kept[1], kept[2], kept[3], confidences, tuple(_unpack(kept[5])), factors, ranked)


def _open_plain(held: OpenDecision) -> dict[str, Any]:
    return {
        "trigger_id": held.trigger_id,
        "cause_id": held.cause_id,
        "instance": held.instance,
        "event": None if held.event is None else plain.to_plain(held.event),
        "operands": [held.operands.event, held.operands.features, held.operands.segments, held.operands.outputs],
        "evidence": [plain.to_plain(evidence) for evidence in held.evidence],
        "scores": {model_id: _scored_plain(scored) for model_id, scored in held.scores.items()},
        "sure": held.sure,
        "asked": held.asked,
        "language": held.language,
        "cause_time": held.cause_time,
    }


def _open_back(kept: dict[str, Any]) -> OpenDecision:
    return OpenDecision(
        trigger_id=kept["trigger_id"],
        cause_id=kept["cause_id"],
        instance=kept["instance"],
        event=None if kept["event"] is None else event_back(kept["event"]),
        operands=Operands(*(dict(namespace) for namespace in kept["operands"])),
        evidence=tuple(plain.from_plain(ScoreEvidence, evidence) for evidence in kept["evidence"]),
        scores={model_id: _scored_back(scored) for model_id, scored in kept["scores"].items()},
        sure=kept["sure"],
        asked=kept["asked"],
        language=kept["language"],
        cause_time=kept.get("cause_time", 0),
    )
