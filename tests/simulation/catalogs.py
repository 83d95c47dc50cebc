"""What the fleet decides by: one catalog and its successor, with models that are rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

import reflexarc_core.condition.source
import reflexarc_core.feature_source
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.model import Scored
from tests.core.world import LIVE, scored
from tests.simulation.clocks import DAY, HOUR

MODELS = LIVE

_FIRST = """
include: standard
version: first
features:
  lately: {aggregation: count, of: [page_view], window: 2h, bucket: 30m}
segments:
  busy: features.page_views > 3.0
  keen: features.lately > 1.0
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
    life: 1h
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
  greet:
    condition: event.page_url == "/act"
    on: [page_view]
    life: 3d
    action: offer
  nudge:
    pattern: {steps: [{event: product_interaction}, {no: purchase, within: 30m}]}
    quiet: {from: "22:00", to: "08:00"}
    cap: {count: 2, within: 1d}
    holdout: 0.3
    life: 1d
    action: offer
  silent:
    inactive: {events: [page_view, content_view, product_interaction], for: 2d}
    window: {from: "09:00", to: "17:00"}
    reentry: after_exit
    exit: [purchase]
    life: 1d
    action: campaign
  funnel:
    pattern: {within: 6h, steps: [{event: page_view}, {event: content_view, count: 2}]}
    quiet: {from: "12:00", to: "13:00", then: drop}
    holdout: 0.2
    life: 1h
    action: offer
  daily:
    on: [content_view]
    condition: "true"
    cap: {count: 1, each: day}
    variants: {red: {share: 0.5}, blue: {share: 0.5, action: campaign}}
    life: 1h
    action: offer
  keen_now:
    segment_entered: keen
    segment_left: keen
    life: 1h
    action: offer
  keen_there:
    segment_left: [keen, busy]
    placement: server
    life: 1h
    action: offer
  third_page:
    placement: server
    condition: features.page_views == 3.0
    on: [page_view]
    holdout: 0.2
    cooldown: 1d
    life: 2d
    goal: {events: [purchase], within: 2d}
    action: campaign
actions:
  campaign:
    payload: {title: Hello}
  offer:
    payload: {text: "hello"}
caps:
  pressure: {count: 3, within: 8h, triggers: [nudge, funnel, daily]}
"""


COOLDOWN_MS = {"re_engage": 3 * DAY, "offer": HOUR, "pricing": DAY, "third_page": DAY}


@cache
def catalogs() -> tuple[Catalog, Catalog]:
    """The first catalog and the second, which greets nobody and waits for a fourth page."""
    head, tail = _FIRST.replace("version: first", "version: second").split("  greet:\n")
    second = head + tail[tail.index("  nudge:") :]
    return build_text(_FIRST), build_text(second.replace("page_views == 3.0", "page_views == 4.0"))


@cache
def _read(built: bytes) -> Catalog:
    return _from_bytes(built)


@cache
def _compiled(source: str, name: str, mode: str) -> Any:
    return compile(source, name, mode)


_from_bytes = Catalog.from_bytes


@contextmanager
def read_once() -> Iterator[None]:
    """A fleet starts thousands of times with the same two catalogs: they are read, and their code compiled, once.

    Both are values that nobody changes, so no run can tell.
    """
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Catalog, "from_bytes", _read))
        for module in (reflexarc_core.condition.source, reflexarc_core.feature_source):
            stack.enter_context(mock.patch.object(module, "compile", _compiled, create=True))
        yield


class Rule:
    """Scores by a rule, on the device."""

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        return scored(model_id, tuple(vector), factors_above)

    def inputs(self, model_id: str) -> tuple[str, ...]:
        return MODELS[model_id].inputs
