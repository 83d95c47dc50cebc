"""Plays a case of the decision files (README.md has their format), on the engine or on the reference.

Owns how a neutral input becomes an input of the engine, and how a decision is compared with what a case expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.model import GRID, LiveModel, Scored
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    EventInput,
    Input,
    LeaseInput,
    Moment,
    ScoresInput,
    TickInput,
)
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.reference.decider import Reference
from tests.reference.lists import Concluded

Case = Mapping[str, Any]
Given = Mapping[str, Any]


def milliseconds(text: str) -> int:
    """`2024-01-01T09:00:00Z` as milliseconds since 1970."""
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000)


@lru_cache(maxsize=1_000)
def built(preamble: str, text: str) -> Catalog:
    return build_text(preamble + text)


def catalogs(case: Case, preamble: str) -> dict[str, Catalog]:
    return {name: built(preamble, text) for name, text in case["catalogs"].items()}


def moment(given: Given) -> Moment:
    following = milliseconds(given["next_offset_time"]) if "next_offset_time" in given else 0
    offset_minutes = given.get("offset_minutes", 0)
    return Moment(milliseconds(given["time"]), given.get("online", False), given.get("trusted", True), offset_minutes, following)


def live_models(case: Case) -> dict[str, LiveModel]:
    return {name: LiveModel(f"{name}-1", tuple(inputs), 0) for name, inputs in case.get("models", {}).items()}


def input_of(given: Given, case: Case, by_name: Mapping[str, Catalog]) -> tuple[Input, Catalog | None]:
    """An input but for `restart`, which is none, and `answer`, which needs the question."""
    then = moment(given)
    if given["kind"] == "tick":
        return TickInput(then), None
    if given["kind"] == "pause":
        return ControlInput(then, tuple(given["triggers"])), None
    if given["kind"] == "lease":
        end = milliseconds(given["end"])
        return LeaseInput(then, given["subject"], given["cap"], given["id"], given["tokens"], end), None
    if given["kind"] == "catalog":
        made = by_name[given["name"]]
        return CatalogInput(then, made.digest, given["name"], live_models(case)), made
    assert given["kind"] == "event"
    event_time = milliseconds(given["event_time"]) if "event_time" in given else then.now
    event = Event(
        given["id"], given["event_type"], given["subject"], event_time, given.get("properties", {}), given.get("context", {})
    )
    return EventInput(then, event), None


class EnginePlayer:
    """The engine with the smallest host around it: answers what it asks for, restarts it where the case says so."""

    def __init__(self, case: Case, preamble: str) -> None:
        self.case = case
        self.by_name = catalogs(case, preamble)
        self.catalog = self.by_name["first"]
        self.engine = Engine(Catalog(), "edge", device_id=case.get("device_id", ""))
        self.questions: dict[str, RequestScore] = {}
        self.waiting: list[tuple[str, RequestScore]] = []
        self.engine.receive(CatalogInput(moment(case["inputs"][0]), self.catalog.digest, "", live_models(case)), self.catalog)

    def take(self, given: Given) -> list[dict[str, Any]]:
        if given["kind"] == "restart":
            self._restart()
            return []
        if given["kind"] == "answer":
            # One that is no question any more is answered all the same: an answer may be late.
            one, catalog = answer_of(given, self.questions[given["trigger"]].decision_id), None
        else:
            one, catalog = input_of(given, self.case, self.by_name)
        self.catalog = catalog or self.catalog
        effects = self.engine.receive(one, catalog)
        effects += self._answered(effects, one.moment, given)
        self._asked(effects)
        handed = {effect.decision.decision_id for effect in effects if isinstance(effect, Act)}
        made = [effect.decision for effect in effects if isinstance(effect, RecordEffect)]
        return [_said(decision, decision.reason == "FIRED" and decision.decision_id in handed) for decision in made]

    def _answered(self, effects: list[Effect], then: Moment, given: Given) -> list[Effect]:
        asked = [effect for effect in effects if isinstance(effect, RequestScore) and effect.where == "host"]
        if not asked:
            return []
        said = given.get("scores", {})
        scores = [(one.subject, _scored(one.model_id, one.vector, *said[one.model_id])) for one in asked if one.model_id in said]
        return self.engine.receive(ScoresInput(then, asked[0].cause_id, tuple(scores)))

    def _asked(self, effects: list[Effect]) -> None:
        """The oldest question of each trigger that is open: what an answer answers."""
        open_now = {one for subject in self.engine.state.subjects.values() for one in subject.open}
        self.waiting = [one for one in self.waiting if one[1].decision_id in open_now]
        by_id = {effect.decision.decision_id: effect.decision for effect in effects if isinstance(effect, RecordEffect)}
        for effect in effects:
            if isinstance(effect, RequestScore) and effect.where == "server":
                self.waiting.append((by_id[effect.decision_id].trigger_id, effect))
        for trigger_id, ask in reversed(self.waiting):
            self.questions[trigger_id] = ask

    def _restart(self) -> None:
        state = self.engine.state
        head = unpack(pack(state.head_plain()))
        kept = {subject: unpack(pack(state.subjects[subject].to_plain())) for subject in sorted(state.subjects)}
        self.engine = Engine(self.catalog, "edge", State.from_plain(head, kept))


class ReferencePlayer:
    """The reference, which a restart cannot tell from none."""

    def __init__(self, case: Case, preamble: str) -> None:
        self.case = case
        self.by_name = catalogs(case, preamble)
        self.questions: dict[str, str] = {}
        first = self.by_name["first"]
        self.reference = Reference(first, case.get("device_id", ""))
        self.reference.take(CatalogInput(moment(case["inputs"][0]), first.digest, "", live_models(case)), first)

    def take(self, given: Given) -> list[dict[str, Any]]:
        if given["kind"] == "restart":
            return []
        if given["kind"] == "answer":
            one, catalog = answer_of(given, self.questions[given["trigger"]]), None
        else:
            one, catalog = input_of(given, self.case, self.by_name)
        made = self.reference.take(one, catalog)
        if isinstance(one, EventInput) and self.reference.awaits_scores:
            said = given.get("scores", {})
            scores = tuple((one.event.subject, _scored(model_id, (), *said[model_id])) for model_id in sorted(said))
            made += self.reference.take(ScoresInput(one.moment, one.event.event_id, scores))
        for asking in reversed(self.reference.asking):
            self.questions[asking.trigger_id] = asking.decision_id
        return [_concluded(one) for one in made]


def differences(case: Case, preamble: str, player: Callable[[Case, str], EnginePlayer | ReferencePlayer]) -> Iterator[str]:
    """What a player decides otherwise than the case expects, in words."""
    playing = player(case, preamble)
    for number, given in enumerate(case["inputs"], 1):
        found, wanted = playing.take(given), given.get("expect", [])
        if len(found) != len(wanted) or any(
            one.get(name) != value for one, want in zip(found, wanted, strict=True) for name, value in want.items()
        ):
            yield f"input {number} ({given['kind']} at {given.get('time')}): expected {wanted}, found {found}"


def _said(decision: Decision, acts: bool) -> dict[str, Any]:
    return {
        "trigger": decision.trigger_id, "subject": decision.subject, "instance": decision.instance, "cause": decision.cause_id,
        "reason": str(decision.reason), "record": decision.record, "assignment": decision.assignment,
        "variant": decision.variant, "mode": decision.mode, "action": decision.action, "acts": acts,
        "decision_id": decision.decision_id, "detail": decision.detail,
    }  # fmt: skip


def _concluded(one: Concluded) -> dict[str, Any]:
    return {
        "trigger": one.trigger_id, "subject": one.subject, "instance": one.instance, "cause": one.cause,
        "reason": one.reason, "record": one.record, "assignment": one.assignment, "variant": one.variant, "mode": one.mode,
        "action": one.action, "acts": one.acts, "decision_id": one.decision_id,
    }  # fmt: skip


def answer_of(given: Given, decision_id: str) -> AnswerInput:
    """What the server says of its question, or that it says nothing."""
    scored = _scored("intent", (), *given["scores"]) if "scores" in given else None
    return AnswerInput(moment(given), decision_id, scored, "" if scored else "deadline")


def _scored(model_id: str, vector: tuple[float, ...], score: float, confidence: float) -> Scored:
    code = int(score * GRID)
    return Scored(model_id, f"{model_id}-1", code, code / GRID, ((0.8, confidence),), vector, None)
