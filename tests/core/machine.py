"""The engine and the reference side by side, fed alike and compared after every step; and the catalogs they run.

Owns the smallest host: its clock, its server's answers, its snapshots. What is done when is the state machine's. Only the engine
restarts: the reference keeps everything, so a snapshot that forgets something is a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.model import GRID, LiveModel, Scored
from reflexarc_core.policy import Cap, Policy
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
from reflexarc_core.trigger import Follow, Trigger
from reflexarc_edge.codec import pack, unpack
from tests.core.histories import DAY, EVENT_TYPES, HOUR, MINUTE, START, Drawing, base
from tests.reference.decider import Reference
from tests.reference.lists import Concluded

DEVICE: Final = "dev1"
LIVE: Final = {name: LiveModel(f"{name}-1", ("views",)) for name in ("risk", "intent")}
KINDS: Final = ("impression", "click", "dismissal")
LEASE_DAYS: Final = 1
"""The engine remembers a lease that is over for so long."""

Say = tuple[float, float | None]
"""What a model says: score, and confidence that it is over the line; None for no table."""


class Wide(Drawing):
    """Draws catalogs that also have content sequences, models, a global cap, and subjects that leave by an outcome."""

    def _trigger(self, trigger: Trigger) -> Trigger:
        draw = self._draw
        policy = trigger.policy
        if draw.random() < 0.1:
            policy = replace(policy, exit=("outcome",))
        return replace(trigger, policy=policy, follows=self._maybe(0.45, self._follows, ()))

    def _follows(self) -> tuple[Follow, ...]:
        draw = self._draw
        steps = []
        for _ in range(draw.choice((1, 2, 2, 3))):
            on = tuple(draw.sample(KINDS, draw.choice((0, 1, 1, 2))))
            wait_ms = draw.choice((0, MINUTE, HOUR, DAY)) if on else draw.choice((MINUTE, HOUR, DAY))
            steps.append(Follow(draw.choice(("a", "b", "mail")), on, wait_ms))
        return tuple(steps)

    def _model_trigger(self, name: str) -> Trigger:
        draw = self._draw
        escalate = draw.choice(("when_unsure", "when_unsure", "confirm", "confirm", "never"))
        return replace(
            base().triggers[name],
            policy=self._policy(),
            escalate=escalate,
            confidence=draw.random() < 0.9,
            dry_run=draw.random() < 0.1,
        )

    def _catalog(self) -> Catalog:
        draw = self._draw
        drawn = super()._catalog()
        made = {**drawn.triggers, **{name: self._model_trigger(name) for name in ("m", "n")}}
        caps = dict(drawn.caps)
        if draw.random() < 0.4:
            covered = tuple(draw.sample(sorted(made), draw.choice((1, 2, 6))))
            caps["g"] = Cap(draw.randint(1, 3), window_ms=DAY, triggers=covered, scope="global")
        return replace(drawn, triggers={name: self._trigger(one) for name, one in made.items()}, caps=caps)


class Narrow(Wide):
    """Draws catalogs in which little is held back: a global cap over every trigger, a content sequence behind it, half of them
    with no policy but a purpose, perhaps."""

    def _catalog(self) -> Catalog:
        drawn = super()._catalog()
        triggers = {name: self._freer(one) for name, one in drawn.triggers.items()}
        return replace(drawn, triggers=triggers, caps={"g": Cap(3, window_ms=DAY, scope="global")})

    def _freer(self, trigger: Trigger) -> Trigger:
        follows = trigger.follows or self._follows()
        if self._draw.random() < 0.5:
            return replace(trigger, follows=follows)
        policy = Policy(purpose=self._maybe(0.5, lambda: "ads", ""), exempt=self._maybe(0.5, lambda: ("g",), ()))
        return replace(trigger, policy=policy, follows=follows, dry_run=False)


class World:
    """One engine, its reference, and the host around them. restless: the host starts again before every input."""

    def __init__(self, catalogs: tuple[Catalog, ...], *, restless: bool = False) -> None:
        self.restless = restless
        self.catalogs = catalogs
        self.catalog = catalogs[0]
        self.engine = Engine(Catalog(), "edge", device_id=DEVICE)
        self.reference = Reference(catalogs[0], DEVICE)
        self.now, self.offset, self.following = START + 9 * HOUR, 0, 0
        self.online, self.trusted = True, True
        self.questions: list[RequestScore] = []
        self.leases: dict[str, LeaseInput] = {}
        self.count = 0
        self.switch(0)

    # -- what may happen ------------------------------------------------------------------------------------------

    def switch(self, index: int) -> None:
        """Another catalog becomes live, or the same again."""
        self.catalog = catalog = self.catalogs[index]
        self._take(CatalogInput(self._moment(), catalog.digest, "", LIVE), catalog)

    def event(
        self,
        event_type: str,
        subject: str,
        properties: Mapping[str, Any] | None = None,
        *,
        own_time: int | None = None,
        session: str = "",
        says: Mapping[str, Say] | None = None,
    ) -> None:
        """An event; own_time: now by default. says: what the models that score on it say; one that is not there fails."""
        context = {"session_id": session} if session else {}
        event = Event(self._name("e"), event_type, subject, self.now if own_time is None else own_time, properties or {}, context)
        asked = self._take(EventInput(self._moment(), event))
        due = sorted(name for name, model in self.catalog.models.items() if event_type in model.score_on)
        assert sorted(one.model_id for one in asked) == due, f"{event}: asked for {asked}"
        if due:
            scores = [(subject, scored_by(name, "1", *says[name])) for name in due if says and name in says]
            assert not self._take(ScoresInput(self._moment(), event.event_id, tuple(scores)))

    def tick(self) -> None:
        """Time passed."""
        self._take(TickInput(self._moment()))

    def pause(self, paused: tuple[str, ...]) -> None:
        """What is paused from now on."""
        self._take(ControlInput(self._moment(), paused))

    def answer(self, index: int, say: Say | None) -> None:
        """The server answers a question, or does not in time."""
        ask = self.questions[index % len(self.questions)]
        scored = None if say is None else scored_by(ask.model_id, "server", *say)
        self._take(AnswerInput(self._moment(), ask.decision_id, scored, "" if scored else "deadline"))

    def outcome(self, index: int, kind: str) -> None:
        """What somebody does with one of the newest actions, or with none that is known."""
        newest = self.reference.acted[-4:]
        chosen = newest[index % len(newest)] if newest else None
        properties = {"decision_id": chosen.decision_id if chosen is not None else "unknown", "kind": kind}
        self.event("outcome", chosen.subject if chosen is not None else "known:1", properties)

    def waits(self) -> list[tuple[int, str, str, str]]:
        """The open waits of patterns: end, subject, trigger, key."""
        return sorted(
            (instance.wait_end, subject, trigger_id, key)
            for subject, state in self.engine.state.subjects.items()
            if state.ledger is not None
            for trigger_id, instances in state.ledger.instances.items()
            for key, instance in instances.items()
            if instance.wait_end
        )

    def what_must_not_come(self, index: int, off: int, seen_after: int) -> None:
        """The event that ends a wait, `off` ms from its end, seen so long after it happened."""
        waits = self.waits()
        end, subject, trigger_id, key = waits[index % len(waits)]
        pattern = self.catalog.triggers[trigger_id].pattern
        assert pattern is not None
        self.now = max(self.now, end + off + seen_after)
        properties = {"page_url": "/x", **({"product": key} if pattern.key else {})}
        self.event(pattern.steps[-1].events[0], subject, properties, own_time=end + off)

    def lease(self, subject: str, tokens: int, life_ms: int, again: int | None) -> None:
        """The server gives uses of the global cap. again: which lease it says once more, None for a new one."""
        still = [one for one in self.leases.values() if one.expire_time > self.now - DAY and one.subject == subject]
        if again is not None and still:
            lease_id = still[again % len(still)].lease_id
        elif len(still) < 6:  # the engine takes no more than LEASES_MAX
            lease_id = self._name("l")
        else:
            return
        given = LeaseInput(self._moment(), subject, "g", lease_id, tokens, self.engine.state.engine_time + life_ms)
        self.leases[lease_id] = given
        self._take(given)

    def use(self, index: int, off: int | None, event_types: list[str]) -> None:
        """What a lease's subject does, of one of the newest; off: as long behind its end, None for now."""
        newest = list(self.leases.values())[-3:]
        given = newest[index % len(newest)]
        if off is not None:
            self.now = max(self.now, given.expire_time + off)
        for event_type in event_types:
            self.event(event_type, given.subject, {"page_url": "/x"}, says={"risk": (0.9, 0.9), "intent": (0.9, 0.9)})

    def restart(self) -> None:
        """The host ends and starts again from a snapshot."""
        self._start_again()
        self._compare_what_waits("a restart")

    def _start_again(self) -> None:
        state = self.engine.state
        head = unpack(pack(state.head_plain()))
        kept = {subject: unpack(pack(state.subjects[subject].to_plain())) for subject in sorted(state.subjects)}
        self.engine = Engine(self.catalog, "edge", State.from_plain(head, kept))

    # -- both take it, and must say the same ----------------------------------------------------------------------

    def _take(self, given: Input, catalog: Catalog | None = None) -> list[RequestScore]:
        """The scores that the engine asks its host for."""
        if self.restless and self.reference.history and not isinstance(given, ScoresInput | CatalogInput):
            self._start_again()
        effects = self.engine.receive(given, catalog)
        handed = [effect.decision for effect in effects if isinstance(effect, Act)]
        made = [effect.decision for effect in effects if isinstance(effect, RecordEffect)]
        found = [_said(one, one in handed) for one in made]
        wanted = [_concluded(one) for one in self.reference.take(given, catalog)]
        assert found == wanted, f"{given}\n found {found}\nwanted {wanted}"
        self.questions += _asked(effects, "server")
        self._compare_what_waits(given)
        return _asked(effects, "host")

    def _compare_what_waits(self, after: object) -> None:
        waiting = {one.decision_id for one in self.reference.asking}
        self.questions = [one for one in self.questions if one.decision_id in waiting]
        assert {one.decision_id for one in self.questions} == waiting, f"{after}: questions"
        open_here = {one for subject in self.engine.state.subjects.values() for one in subject.open}
        assert open_here == waiting, f"{after}: {open_here} wait for the server, not {waiting}"
        due = self.engine.next_deadline()
        assert due == self.reference.due, f"{after}\nnext at {due}, not at {self.reference.due}"

    def _moment(self) -> Moment:
        following = self.following if self.following > self.now else 0
        return Moment(self.now, self.online, self.trusted, self.offset, following)

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


def scored_by(model_id: str, form: str, score: float, confidence: float | None) -> Scored:
    """A model's word of its line, both on the grid."""
    line = base().triggers["m" if model_id == "risk" else "n"].lines[0].line
    code = int(score * GRID)
    table = () if confidence is None else ((line, int(confidence * GRID) / GRID),)
    return Scored(model_id, f"{model_id}-{form}", code, code / GRID, table, (0.0,), None)


def _asked(effects: list[Effect], where: str) -> list[RequestScore]:
    return [effect for effect in effects if isinstance(effect, RequestScore) and effect.where == where]


def _said(one: Decision, acts: bool) -> dict[str, Any]:
    return {
        "trigger": one.trigger_id, "subject": one.subject, "instance": one.instance, "cause": one.cause_id,
        "reason": str(one.reason), "record": one.record, "time": one.decision_time, "assignment": one.assignment,
        "variant": one.variant, "mode": one.mode, "action": one.action, "acts": acts, "id": one.decision_id,
        "lease": one.lease_id,
    }  # fmt: skip


def _concluded(one: Concluded) -> dict[str, Any]:
    return {
        "trigger": one.trigger_id, "subject": one.subject, "instance": one.instance, "cause": one.cause,
        "reason": one.reason, "record": one.record, "time": one.time, "assignment": one.assignment, "variant": one.variant,
        "mode": one.mode, "action": one.action, "acts": one.acts, "id": one.decision_id, "lease": one.lease_id,
    }  # fmt: skip


__all__ = ["EVENT_TYPES", "KINDS", "Say", "Wide", "World"]
