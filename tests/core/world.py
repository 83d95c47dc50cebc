"""A small catalog, scores that follow a rule, and seeded logs: what the engine's tests run on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.model import GRID, LiveModel, Scored
from reflexarc_core.record import AnswerInput, CatalogInput, EventInput, Input, Moment, Record, ScoresInput, TickInput

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY

YAML = """
include: standard
version: test
segments:
  busy: features.page_views > 3.0
triggers:
  re_engage:
    condition: predicted_churn_risk > 0.7
    cooldown: 3d
    holdout: 0.3
    goal: {events: [purchase], within: 7d}
    action: campaign
  offer:
    condition: purchase_intent_score > 0.8 && event.page_url.startsWith("/shop")
    escalate: confirm
    cooldown: 1h
    action: offer
  pricing:
    condition: event.page_url == "/pricing" && segments.busy
    on: [page_view]
    cooldown: 1d
    action: offer
  newsletter:
    condition: event.form_type == "newsletter"
    on: [form_submit]
    purpose: marketing
    action: offer
actions:
  campaign:
    payload:
      title: {en: Hello, de: Hallo}
      why: ${churn_risk_factors}
      risk: ${predicted_churn_risk}
  offer:
    payload:
      text: page ${event.page_url} after ${event.session_step} steps
"""


@cache
def catalog() -> Catalog:
    return build_text(YAML)


LIVE = {
    "churn": LiveModel("churn-1", ("engagement_score", "usage_frequency"), 0),
    "purchase_intent": LiveModel("intent-1", ("page_views", "product_interactions"), 0),
}


def scored(model_id: str, vector: tuple[float, ...], factors_above: float | None, *, heavier: bool = False) -> Scored:
    """A rule in place of a model: fewer points, more risk; more pages, more intent. The server's is surer."""
    total = sum(value for value in vector if value == value)
    raw = 1.0 / (1.0 + total / 3.0) if model_id == "churn" else total / (total + 1.0)
    code = int(raw * 255)
    score = code * 257 / GRID
    confidence = int((0.99 if heavier else 0.6 + (code % 5) * 0.1) * GRID) / GRID
    line = 0.7 if model_id == "churn" else 0.8
    factors = (("first", score / 2), ("second", score / 2)) if factors_above is not None and score > factors_above else None
    return Scored(model_id, f"{model_id}-{'server' if heavier else '1'}", code, score, ((line, confidence),), vector, factors)


class Shell:
    """The smallest shell: performs effects at once, keeps the log, answers the server's questions or does not."""

    def __init__(self, engine: Engine, *, server: bool = True) -> None:
        self.engine = engine
        self.server = server
        self.log: list[Record] = []
        self.decisions: list[Decision] = []
        self.acts: list[Decision] = []

    def take(self, given: Input, catalog: Catalog | None = None) -> list[Decision]:
        """Feed one input and everything it leads to."""
        before = len(self.decisions)
        self.log.append(given)
        self._perform(self.engine.receive(given, catalog), given.moment)
        return self.decisions[before:]

    def event(self, event: Event, moment: Moment) -> list[Decision]:
        return self.take(EventInput(moment, event))

    def _perform(self, effects: list[Effect], moment: Moment) -> None:
        by_cause: dict[str, list[tuple[str, Scored]]] = {}
        questions: list[RequestScore] = []
        for effect in effects:
            if isinstance(effect, RecordEffect):
                self.decisions.append(effect.decision)
            elif isinstance(effect, Act):
                self.acts.append(effect.decision)
            elif isinstance(effect, RequestScore) and effect.where == "host":
                answer = scored(effect.model_id, effect.vector, effect.factors_above)
                by_cause.setdefault(effect.cause_id, []).append((effect.subject, answer))
            elif isinstance(effect, RequestScore):
                questions.append(effect)
        for cause_id, scores in by_cause.items():
            self.take(ScoresInput(moment, cause_id, tuple(scores)))
        for ask in questions:
            answer = scored(ask.model_id, ask.vector, ask.factors_above, heavier=True) if self.server else None
            self.take(AnswerInput(moment, ask.decision_id, answer, "" if answer else "deadline"))


def fresh() -> Shell:
    """A shell whose engine has the catalog and its models live from the first input on."""
    shell = Shell(Engine(Catalog(), "edge"))
    shell.take(CatalogInput(Moment(T0, True), catalog().digest, "test", LIVE), catalog())
    return shell


def inputs(seed: int, count: int, subject_count: int = 12) -> Iterator[Input]:
    """A seeded log: pages, purchases, forms, consents, ticks; online and not; some late, some with a jumping clock."""
    draw = random.Random(seed)
    now = T0
    for i in range(count):
        now += draw.randrange(0, DAY // 8)
        told = now - (draw.randrange(0, 5 * DAY) if draw.random() < 0.05 else 0)
        moment = Moment(told, draw.random() < 0.7)
        if draw.random() < 0.05:
            yield TickInput(moment)
            continue
        late = draw.randrange(0, 3 * DAY) if draw.random() < 0.1 else 0
        kind = draw.choice(["page_view", "page_view", "page_view", "product_interaction", "purchase", "form_submit", "consent"])
        properties = {
            "page_view": {"page_url": draw.choice(["/", "/pricing", "/shop/1", "/shop/2"])},
            "form_submit": {"form_id": "f", "form_type": "newsletter"},
            "consent": {"purpose": "marketing", "granted": draw.random() < 0.5},
        }.get(kind, {})
        context = {"session_step": i, "locale": draw.choice(["en", "de-AT"])}
        event = Event(f"e{i}", kind, f"known:{draw.randrange(subject_count)}", now - late, properties, context)
        yield EventInput(moment, event)
