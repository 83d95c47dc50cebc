"""A catalog written in Python: one function for each thing an author defines, with the fields of the YAML.

    catalog(
        triggers={"silent": trigger(inactive=inactive(["page_view"], "3d"), action="reminder")},
        actions={"reminder": action(payload={"text": "Still there?"})},
    )

Each gives plain values, as the YAML would have them; `catalog` builds them as `reader` builds YAML, mistakes and all. Durations
are text (`7d`) or a timedelta. Owns the signatures, which a test holds against the fields the reader asks for. Must never
check anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from reflexarc_build.reader import build_mapping
from reflexarc_core.catalog import Catalog

Source = dict[str, Any]
Duration = str | timedelta
Names = str | Sequence[str]
Named = Mapping[str, Source]
Scalar = str | int | float | bool


def catalog(
    *,
    include: Names | None = "standard",
    version: str | None = None,
    test_subjects: Names | None = None,
    event_types: Named | None = None,
    features: Named | None = None,
    segments: Mapping[str, str | Source] | None = None,
    models: Named | None = None,
    triggers: Named | None = None,
    actions: Named | None = None,
    caps: Named | None = None,
) -> Catalog:
    """The built catalog. Raises SourceError, whose mistakes name the path to each: `catalog.triggers.silent.action`."""
    return build_mapping(_said(locals()))


def event_type(*, properties: Mapping[str, str | Source] | None = None, description: str | None = None) -> Source:
    """properties: a type for each (`int`, `string!`), or what `property_of` gives."""
    return _said(locals())


def property_of(type: str, *, required: bool | None = None, values: Names | None = None) -> Source:
    """A property of few values."""
    return _said(locals())


def feature(
    aggregation: str,
    of: Names | Mapping[str, str | float],
    *,
    where: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    scope: Literal["device", "subject"] | None = None,
    window: Duration | None = None,
    bucket: Duration | None = None,
    half_life: Duration | None = None,
    per: Duration | None = None,
    stale: Duration | None = None,
    key: str | None = None,
    unit: str | None = None,
    description: str | None = None,
) -> Source:
    """of: event types, or each with a weight or the name of a property."""
    return _said(locals())


def segment(condition: str, *, tracked: bool | None = None) -> Source:
    """A named condition; as text alone where it is not tracked."""
    return _said(locals())


def label(
    kind: Literal["churn", "purchase", "engagement"],
    events: Names,
    horizon: Duration,
    *,
    active_within: Duration | None = None,
) -> Source:
    """What a model is trained to foresee."""
    return _said(locals())


def model(
    output: str,
    algorithm: str,
    features: Names,
    *,
    label: Source | None = None,
    score_on: Names | None = None,
    every: Duration | None = None,
    confidence_min: float | None = None,
    update: Duration | None = None,
    factors: str | None = None,
    output_type: Literal["double", "bool"] | None = None,
    line: float | None = None,
    items: Mapping[str, str] | None = None,
    progression: str | None = None,
    description: str | None = None,
    device_form: Literal["oblivious-int8", "qdq-int8", "onnx-trees5"] | None = None,
) -> Source:
    """output: the bare name conditions read its score by; progression: the one of the items it ranked."""
    return _said(locals())


def step(event: Names, *, where: str | None = None, within: Duration | None = None, count: int | None = None) -> Source:
    """A step of a pattern that an event makes."""
    return _said(locals())


def absent(no: Names, within: Duration, *, where: str | None = None) -> Source:
    """The last step of a pattern: what must not come."""
    return _said(locals())


def pattern(
    steps: Sequence[Source], *, within: Duration | None = None, key: str | None = None, cancel: Names | None = None
) -> Source:
    """Steps in order."""
    return _said(locals())


def inactive(events: Names, lasting: Duration, *, key: str | None = None) -> Source:
    """One of these events, then none of them. lasting: the YAML's `for`."""
    return _said({"events": events, "for": lasting, "key": key})


def hours(begin: str, end: str, *, days: Names | None = None, then: Literal["hold", "drop"] | None = None) -> Source:
    """begin, end: the YAML's `from` and `to`, local. then: of quiet hours only."""
    return _said({"from": begin, "to": end, "days": days, "then": then})


def cap(
    count: int,
    *,
    within: Duration | None = None,
    each: Literal["day", "week"] | None = None,
    scope: Literal["device", "global"] | None = None,
    channels: Names | None = None,
    triggers: Names | None = None,
) -> Source:
    """channels, triggers: of a cap over several triggers only."""
    return _said(locals())


def variant(share: float, *, action: str | None = None) -> Source:
    """One way of acting."""
    return _said(locals())


def group(name: str, low: float, high: float) -> Source:
    """low, high: the YAML's `from` and `to`, 0 to 1."""
    return _said({"name": name, "from": low, "to": high})


def goal(events: Names, within: Duration) -> Source:
    """What says that it worked."""
    return _said(locals())


def follow(action: str, *, on: Names | None = None, wait: Duration | None = None) -> Source:
    """A further step of a content sequence."""
    return _said(locals())


def trigger(
    *,
    action: str,
    condition: str | None = None,
    on: Names | None = None,
    pattern: Source | None = None,
    inactive: Source | None = None,
    segment_entered: Names | None = None,
    segment_left: Names | None = None,
    placement: Literal["edge", "server"] | None = None,
    confidence: Literal["off"] | None = None,
    escalate: Literal["when_unsure", "confirm", "never"] | None = None,
    deadline: Duration | None = None,
    goal: Source | None = None,
    follow: Sequence[Source] | None = None,
    life: Duration | None = None,
    dry_run: bool | None = None,
    cooldown: Duration | None = None,
    purpose: str | None = None,
    max_age: Duration | None = None,
    holdout: float | None = None,
    holdout_unit: Literal["subject", "device", "session"] | None = None,
    holdout_group: str | None = None,
    reentry: Literal["always", "once", "after_exit", "until_exit"] | None = None,
    exit: Names | None = None,
    cap: Source | None = None,
    exempt: Names | None = None,
    slot: str | None = None,
    priority: int | None = None,
    quiet: Source | Sequence[Source] | None = None,
    window: Source | Sequence[Source] | None = None,
    hold: Duration | None = None,
    variants: Named | None = None,
    group: Source | None = None,
    description: str | None = None,
) -> Source:
    """See docs/catalog.md for each field."""
    return _said(locals())


def action(
    *,
    channel: str | None = None,
    fallback: str | None = None,
    payload: Mapping[str, Scalar | Mapping[str, Scalar]] | None = None,
    description: str | None = None,
) -> Source:
    """payload: text with `${expressions}`, numbers, or one of them for each language."""
    return _said(locals())


def _said(fields: Mapping[str, Any]) -> Source:
    """Without what was not given; durations as the YAML writes them."""
    return {name: _written(value) for name, value in fields.items() if value is not None}


def _written(value: Any) -> Any:
    return f"{value // timedelta(milliseconds=1)}ms" if isinstance(value, timedelta) else value
