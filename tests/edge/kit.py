"""A runtime in a folder that can be opened again, and the rules it decides by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.effect import RequestScore
from reflexarc_core.engine import Engine
from reflexarc_core.errors import ScoringError
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.record import DecisionOutput, Moment, TickInput
from reflexarc_core.replay import fold
from reflexarc_edge.codec import pack
from reflexarc_edge.log import Log
from reflexarc_edge.runtime import Runtime
from tests.core import test_engine_rules as rules
from tests.core.world import LIVE, catalog, scored

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
NOW = Moment(T0, True)

SLOW = """
include: standard
version: slow
triggers:
  slow:
    condition: event.page_url == "/slow"
    on: [page_view]
    life: 1h
    action: offer
  quick:
    condition: event.page_url == "/quick"
    on: [page_view]
    action: offer
  agreed:
    condition: event.page_url == "/agreed"
    on: [page_view]
    purpose: marketing
    life: 1h
    action: offer
  sure:
    condition: predicted_churn_risk > 0.7
    on: [page_view]
    escalate: confirm
    life: 1h
    action: offer
actions:
  offer: {payload: {text: hello}}
"""


def filled(folder: Path, count: int) -> Log:
    """A log of so many ticks, all in the database and on the disk. count: a multiple of 100."""
    log = Log(folder)
    for _ in range(count // 100):
        log.append([TickInput(NOW)] * 100)
    log.drain()
    log.sync_to_disk()
    return log


class Rule:
    """The scores of the engine's world, or an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        if self.error is not None:
            raise self.error
        return scored(model_id, tuple(vector), factors_above)

    def inputs(self, model_id: str) -> tuple[str, ...]:
        return LIVE[model_id].inputs


class Sure(Rule):
    """Everybody is at risk, and nobody doubts it."""

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        return rules.scored(0.9, 0.99)


class World:
    """A runtime in a folder that can be opened again."""

    def __init__(self, folder: Path, made: Catalog | None = None, scorer: Rule | None = None) -> None:
        self.folder = folder
        self.made = made or catalog()
        self.scorer = scorer or Rule()
        self.handed: list[Decision] = []
        self.asked: list[RequestScore] = []
        self.errors: list[Exception] = []
        self.hand_over: Callable[[Decision], object] = self.handed.append
        self.ask: Callable[[RequestScore], object] = self.asked.append
        self.on_scoring_error: Callable[[ScoringError], None] = self.errors.append
        self.open()

    def open(self) -> None:
        self.log = Log(self.folder)
        self.runtime = Runtime(
            self.log,
            self.scorer,
            hand_over=self._take_over,
            ask=self._take_question,
            on_scoring_error=self._take_error,
            on_error=self.errors.append,
        )

    def _take_over(self, decision: Decision) -> object:
        return self.hand_over(decision)

    def _take_question(self, question: RequestScore) -> object:
        return self.ask(question)

    def _take_error(self, error: ScoringError) -> None:
        self.on_scoring_error(error)

    def live(self, models: dict[str, LiveModel] | None = None) -> None:
        self.runtime.switch(self.made, LIVE if models is None else models, self.scorer, NOW)

    def page(self, number: int, url: str = "/", subject: str = "known:1", moment: Moment = NOW) -> list[Decision]:
        return self.runtime.capture(Event(f"p{number}", "page_view", subject, T0, {"page_url": url}, {}), moment)

    def reopen(self) -> None:
        self.log.close()
        self.open()

    def last_reasons(self) -> dict[str, Reason]:
        found = [record.decision for _, record in self.log.records(0) if isinstance(record, DecisionOutput)]
        return {decision.trigger_id: decision.reason for decision in found}

    def is_where_the_log_is(self) -> bool:
        engine = Engine(Catalog(), "edge", device_id=self.log.installation)
        for _ in fold(engine, [record for _, record in self.log.records(0)], {self.made.digest: self.made}):
            pass
        return state_of(engine) == state_of(self.runtime.engine)


def state_of(engine: Engine) -> bytes:
    engine.condition_counts()
    state = engine.state
    return pack([state.head_plain(), [(subject, kept.to_plain()) for subject, kept in state.subjects.items()]])
