"""Drawn catalogs and histories for the tests of policies, patterns and time: what the engine and the reference are both given.

All of it follows from a seed. Few names and few lengths of time, so that things meet: windows end in the very millisecond an
event comes in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_core.hours import Hours
from reflexarc_core.pattern import Pattern, Step, check_pattern
from reflexarc_core.policy import Cap, Group, Holdout, Policy, Variant, Variants
from reflexarc_core.record import ControlInput, EventInput, Input, Moment, TickInput
from reflexarc_core.trigger import Trigger

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY
START = 1_704_067_200_000
"""A Monday."""
NAMES = ("p", "q", "t", "u")
EVENT_TYPES = ("page_view", "cart", "form", "purchase", "left")
SUBJECTS = ("known:1", "known:1", "known:1", "known:2", "known:7", "session:s", "device:d")
SPANS = (MINUTE, 10 * MINUTE, HOUR, 8 * HOUR, DAY)

_BASE = """
event_types:
  page_view: {properties: {page_url: string, product: string}}
  cart: {properties: {page_url: string, product: string}}
  form: {properties: {page_url: string, product: string}}
  purchase: {properties: {page_url: string, product: string}}
  left: {properties: {page_url: string, product: string}}
  consent: {properties: {purpose: {type: string, required: true}, granted: {type: bool, required: true}}}
  reset: {}
  outcome: {properties: {decision_id: {type: string, required: true}, kind: {type: string, required: true}}}
features:
  views: {of: [page_view], aggregation: count, window: 1d, bucket: 1h}
models:
  risk: {output: risk, algorithm: random_forest, features: [views], score_on: [page_view, form], confidence_min: 0.75, update: 1d}
  intent: {output: intent, algorithm: random_forest, features: [views], score_on: [page_view], confidence_min: 0.5, update: 1d}
actions: {a: {}, b: {}, mail: {channel: email}}
triggers:
  m: {condition: risk > 0.75, action: a}
  n: {condition: 'intent > 0.5 && event.page_url == "/x"', action: a}
  t: {on: [page_view, form], condition: "true", action: a}
  u: {on: [page_view], condition: 'event.page_url == "/x"', action: a}
"""
_QUIET = (
    (Hours(22 * 60, 8 * 60),),
    (Hours(12 * 60, 13 * 60), Hours(20 * 60, 21 * 60)),
    (Hours(0, 0, (5, 6)),),
    (Hours(23 * 60, 60, (0, 2)),),
)
_WINDOW = ((Hours(9 * 60, 17 * 60),), (Hours(18 * 60, 2 * 60),), (Hours(9 * 60, 12 * 60, (0, 1, 2, 3, 4)),))
_STEPS = (0, 0, 1, MINUTE, MINUTE, MINUTE, *[10 * MINUTE] * 6, HOUR, HOUR, HOUR - 1, HOUR - 1, 8 * HOUR, 8 * HOUR, DAY, -HOUR)
_GROUPS = (
    Group("g", 0.0, 0.5), Group("g", 0.5, 1.0), Group("h", 0.2, 0.9, "device"), Group("g", 0.3, 1.0, "session"),
)  # fmt: skip


@cache
def base() -> Catalog:
    return build_text(_BASE)


@dataclass(frozen=True)
class Restart:
    """The host ends and starts again from a snapshot."""


@dataclass(frozen=True)
class Switch:
    """The catalog of this index becomes live."""

    moment: Moment
    index: int


Happening = Input | Restart | Switch


class Drawing:
    """Draws from one seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def catalogs(self) -> tuple[Catalog, Catalog]:
        """A catalog and its successor, in which some triggers stay as they are."""
        first = self._catalog()
        second = self._catalog()
        kept = {name: one for name, one in first.triggers.items() if self._draw.random() < 0.5}
        gone = {name for name in NAMES if self._draw.random() < 0.1}
        triggers = {name: one for name, one in {**second.triggers, **kept}.items() if name not in gone}
        return first, replace(second, triggers=triggers)

    def history(self, size: int, leaps: tuple[int, ...] = ()) -> list[Happening]:
        """leaps: what the clock may jump by now and then, ms."""
        draw = self._draw
        now, offset, made = START + draw.choice((0, 9, 22)) * HOUR, draw.choice((0, 0, 120, -300)), list[Happening]()
        for number in range(size):
            now += draw.choice(_STEPS)
            if leaps and draw.random() < 0.1:
                now += draw.choice(leaps)
            following = now + HOUR if draw.random() < 0.1 else 0
            moment = Moment(now, draw.random() < 0.5, draw.random() < 0.93, offset, following)
            kind = draw.random()
            if kind < 0.03:
                made.append(Restart())
            elif kind < 0.06:
                made.append(Switch(moment, draw.randrange(2)))
            elif kind < 0.09:
                made.append(ControlInput(moment, draw.choice(((), (), (), (), (), ("*",), ("p",), ("t",)))))
            elif kind < 0.12:
                offset = draw.choice((0, 60, 120, -300, 330))
            elif kind < 0.36:
                made.append(TickInput(moment))
            else:
                made.append(EventInput(moment, self._event(number, now)))
        return made

    def _event(self, number: int, now: int) -> Event:
        draw = self._draw
        event_type = draw.choice((*EVENT_TYPES, "page_view", "page_view", "cart", "consent", "consent", "reset"))
        subject = draw.choice(SUBJECTS)
        properties: dict[str, Any] = {
            "product": draw.choice(("p1", "p2", "p1", "")),
            "page_url": draw.choice(("/x", "/x", "/y", "")),
        }
        properties = {name: value for name, value in properties.items() if value}
        if event_type == "consent":
            properties = {"purpose": "ads", "granted": draw.random() < 0.8}
        context = {"session_id": f"s{draw.randrange(3)}"} if draw.random() < 0.6 else {}
        late = draw.choice((0, 0, 0, 0, 0, 0, MINUTE, 10 * MINUTE, HOUR, 8 * HOUR, -MINUTE))
        return Event(f"e{number}", event_type, subject, now - late, properties, context)

    def _maybe(self, share: float, what: Callable[[], Any], otherwise: Any) -> Any:
        return what() if self._draw.random() < share else otherwise

    def _types(self) -> tuple[str, ...]:
        return tuple(self._draw.sample(EVENT_TYPES, self._draw.choice((1, 1, 2))))

    def _cap(self) -> Cap:
        if self._draw.random() < 0.6:
            return Cap(self._draw.randint(1, 3), window_ms=self._draw.choice(SPANS))
        return Cap(self._draw.randint(1, 2), calendar=self._draw.choice(("day", "week")))

    def _policy(self) -> Policy:
        draw, maybe = self._draw, self._maybe
        share = draw.choice((0.25, 0.5))
        unit = draw.choice(("subject", "subject", "session", "device"))
        quiet = maybe(0.35, lambda: draw.choice(_QUIET), ())
        return Policy(
            cooldown_ms=maybe(0.25, lambda: draw.choice(SPANS), 0),
            purpose=maybe(0.2, lambda: "ads", ""),
            holdout=maybe(0.3, lambda: Holdout(draw.choice((0.3, 0.6)), unit, draw.choice(("", "both"))), None),
            max_age_ms=maybe(0.2, lambda: draw.choice(SPANS), 0),
            reentry=draw.choice(("always", "always", "always", "once", "after_exit", "until_exit")),
            exit=maybe(0.4, lambda: (draw.choice(("left", "purchase")),), ()),
            cap=maybe(0.3, self._cap, None),
            exempt=maybe(0.3, lambda: ("c",), ()),
            slot=maybe(0.3, lambda: "s", ""),
            priority=draw.choice((0, 0, 1, -1)),
            quiet=quiet,
            quiet_then=draw.choice(("hold", "hold", "drop")),
            # Both together may leave no moment, which no build lets through.
            window=() if quiet else maybe(0.25, lambda: draw.choice(_WINDOW), ()),
            hold_ms_max=draw.choice((HOUR, DAY, DAY, 3 * DAY)),
            variants=maybe(0.3, lambda: Variants((Variant("red", share, "b"), Variant("blue", 1.0 - share)), unit), None),
            group=maybe(0.15, lambda: draw.choice(_GROUPS), None),
        )

    def _pattern(self) -> Pattern:
        draw = self._draw
        where = base().triggers["u"].condition

        def step() -> Step:
            return Step(self._types(), self._maybe(0.2, lambda: where, None), count=draw.choice((1, 1, 1, 1, 2)))

        steps = [step() for _ in range(draw.choice((1, 1, 2, 2, 3)))]
        kind = draw.random()
        if kind < 0.5:
            steps.append(Step(self._types(), within_ms=draw.choice((*SPANS, DAY)), absent=True))
        elif kind < 0.75:
            steps = [steps[0], *(replace(one, within_ms=draw.choice(SPANS)) for one in steps[1:])]
        timed = any(one.within_ms for one in steps if not one.absent)
        within = 0 if timed else self._maybe(0.5, lambda: draw.choice(SPANS), 0)
        key, cancel = self._maybe(0.4, lambda: "product", ""), self._maybe(0.25, self._types, ())
        pattern = Pattern(tuple(steps), within, key, cancel)
        try:
            check_pattern(pattern)
        except DefinitionError:  # one event alone is no pattern
            return Pattern((*steps, Step(("form",))), 0, key, cancel)
        return pattern

    def _catalog(self) -> Catalog:
        """Two triggers on events, two that follow a pattern, with whatever may hold them back; two shared caps."""
        draw = self._draw
        made: dict[str, Trigger] = {}
        for name in NAMES:
            plain = base().triggers["u" if name == "u" else "t"]
            trigger = replace(
                plain, trigger_id=name, policy=self._policy(), action=draw.choice(("a", "a", "mail")), dry_run=draw.random() < 0.1
            )
            if name in ("p", "q"):
                trigger = replace(trigger, on=(), pattern=self._pattern())
            made[name] = trigger
        shared = {"c": self._cap(), "d": replace(self._cap(), channels=("email",), triggers=("t",))}
        return replace(
            base(),
            triggers=made,
            caps=self._maybe(0.4, lambda: shared, {}),
            test_subjects=self._maybe(0.3, lambda: ("known:7",), ()),
        )
