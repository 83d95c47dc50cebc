"""What a host asks of a built catalog before it makes it live: that nothing in it can stop or swamp the engine.

The author's room has checked far more, and said it better; bytes from outside may never have been there. Owns references
between definitions, ranges and limits. Must never repair anything, and never ask for what the engine does not rest on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import CONTEXT_TYPES, check_event_type
from reflexarc_core.feature import FEATURE_COUNT_MAX, FeatureDefinition, check_feature
from reflexarc_core.hours import DAY_MINUTES, STRETCH_COUNT_MAX, Hours
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.pattern import Pattern, check_pattern
from reflexarc_core.policy import CAP_COUNT_MAX, REENTRIES, UNITS, Cap, Policy
from reflexarc_core.segment import reads_more_than_features
from reflexarc_core.template import expressions
from reflexarc_core.trigger import ESCALATIONS, PLACEMENTS, Trigger

if TYPE_CHECKING:
    from reflexarc_core.catalog import Catalog
    from reflexarc_core.condition import CheckedExpression
    from reflexarc_core.model import ModelDefinition

DURATION_MS_MAX: Final = 520 * 604_800_000
PRIORITY_MAX: Final = 1_000_000
NUMERIC: Final = ("sum", "mean", "min", "max", "decayed_sum", "rate", "total")
"""Aggregations that add or compare what they are given: text has no place in them."""

_SUBJECT: Final = ("subject.kind", "subject.known")
_HINT: Final = "build the catalog again"


def check_catalog(catalog: Catalog) -> None:
    """Raises DefinitionError naming the first definition that the engine could not run."""
    for section in ("event_types", "features", "models", "triggers", "actions"):
        for name, held in getattr(catalog, section).items():
            own = held.trigger_id if section == "triggers" else held.model_id if section == "models" else held.name
            _must(own == name, f"{section}: {name!r} calls itself {own!r}")
    for event_type in catalog.event_types.values():
        try:
            check_event_type(event_type)
        except InvalidEventError as error:
            raise DefinitionError(error.message, hint=error.hint) from None
    _must(len(catalog.features) <= FEATURE_COUNT_MAX, f"{len(catalog.features)} features, at most {FEATURE_COUNT_MAX}")
    for feature in catalog.features.values():
        _check_feature(catalog, feature)
    for name, segment in catalog.segments.items():
        _check_reads(f"segment {name}", [segment], catalog, segments=())
        _must(str(segment.result_type) == "bool", f"segment {name} is {segment.result_type}")
    _check_followed("tracked", catalog.tracked, catalog)
    for model in catalog.models.values():
        what = f"model {model.model_id}"
        _check_times(what, model, "every_ms", "update_ms")
        if model.label is not None:
            _check_times(f"{what}: label", model.label, "horizon_ms", "active_within_ms")
        for name in model.features:
            _must(name in catalog.features, f"{what}: no feature {name!r}")
            _must(not catalog.features[name].key, f"{what}: {name} has a key")
        _check_items(what, catalog, model)
    for name, cap in catalog.caps.items():
        _check_cap(f"cap {name}", cap)
    for trigger in catalog.triggers.values():
        _check_trigger(catalog, trigger)
    for action in catalog.actions.values():
        _must(all(field.languages for field in action.payload.values()), f"action {action.name} has a field without a value")
        _check_reads(f"action {action.name}", expressions(action), catalog, segments=catalog.segments)


def _check_items(what: str, catalog: Catalog, model: ModelDefinition) -> None:
    _must(0 < model.line < 1, f"{what}: a line of {model.line}")
    _must(not model.items or INTEREST_STRENGTH not in catalog.features, f"{what}: {INTEREST_STRENGTH} is a feature")
    for event_type, name in (model.items or {}).items():
        declared = catalog.event_types.get(event_type)
        _must(declared is not None, f"{what}: no event type {event_type!r}")
        held = declared.properties.get(name) if declared is not None else None
        _must(held is not None and held.type == "string", f"{what}: {event_type} names no item by {name!r}")


def _check_feature(catalog: Catalog, feature: FeatureDefinition) -> None:
    what = f"feature {feature.name}"
    check_feature(feature)
    _check_times(what, feature, "window_ms", "bucket_ms", "half_life_ms", "per_ms", "stale_ms")
    for part in feature.of:
        declared = catalog.event_types.get(part.event_type)
        _must(declared is not None, f"{what}: no event type {part.event_type!r}")
        if declared is not None and part.property_name and feature.aggregation in NUMERIC:
            held = declared.properties.get(part.property_name)
            _must(held is not None and held.type in ("int", "double"), f"{what}: {part.property_name!r} is no number")


def _check_trigger(catalog: Catalog, trigger: Trigger) -> None:
    what = f"trigger {trigger.trigger_id}"
    _must(str(trigger.condition.result_type) == "bool", f"{what}: its condition is {trigger.condition.result_type}")
    _check_reads(what, [trigger.condition], catalog, segments=catalog.segments)
    _must(bool(trigger.action), f"{what} has no action")
    for name in trigger.actions:
        _must(name in catalog.actions, f"{what}: no action {name!r}")
    for line in trigger.lines:
        _must(line.model_id in catalog.models, f"{what}: no model {line.model_id!r}")
    _must(trigger.placement in PLACEMENTS, f"{what}: no placement {trigger.placement!r}")
    _must(trigger.escalate in ESCALATIONS, f"{what}: no way to escalate {trigger.escalate!r}")
    _check_times(what, trigger, "deadline_ms", "life_ms")
    if trigger.pattern is not None:
        _check_pattern(f"{what}: pattern", trigger.pattern)
    _must(not trigger.crossed or not (trigger.on or trigger.pattern), f"{what} waits for a segment and for something else")
    _check_followed(what, trigger.crossed, catalog)
    if trigger.goal is not None:
        _check_times(f"{what}: goal", trigger.goal, "within_ms")
    for step in trigger.follows:
        _check_times(f"{what}: follow", step, "wait_ms")
    _check_policy(what, trigger.policy)
    _must(not trigger.policy.best_hours or bool(catalog.weeks_of(trigger)), f"{what}: waits for hours that no model foresees")


def _check_followed(what: str, names: Iterable[str], catalog: Catalog) -> None:
    """A segment is followed by what a subject keeps: an event that is over says nothing of who is in it now."""
    for name in names:
        _must(name in catalog.segments, f"{what}: no segment {name!r}")
        more = reads_more_than_features(catalog.segments[name], catalog.features)
        _must(not more, f"{what}: segment {name} reads {more}, which no subject keeps")


def _check_pattern(what: str, pattern: Pattern) -> None:
    _must(all(step.count >= 1 for step in pattern.steps), f"{what}: a step that is none")
    try:
        check_pattern(pattern)
    except DefinitionError as error:
        raise DefinitionError(f"{what}: {error.message}", hint=error.hint) from None
    _check_times(what, pattern, "within_ms")
    for step in pattern.steps:
        _must(bool(step.events), f"{what}: a step of no event")
        _check_times(what, step, "within_ms")
        if step.where is not None:
            _must(str(step.where.result_type) == "bool", f"{what}: where is {step.where.result_type}")
            _must(all(name.startswith("event.") for name in step.where.reads), f"{what}: where reads more than its event")


def _check_policy(what: str, policy: Policy) -> None:
    _check_times(what, policy, "cooldown_ms", "max_age_ms", "hold_ms_max")
    _must(policy.reentry in REENTRIES, f"{what}: no reentry {policy.reentry!r}")
    _must(abs(policy.priority) <= PRIORITY_MAX, f"{what}: its priority is over {PRIORITY_MAX:,}")
    _must(policy.quiet_then in ("hold", "drop"), f"{what}: quiet hours that neither hold nor drop")
    if policy.cap is not None:
        _check_cap(f"{what}: cap", policy.cap)
    for stretches in (policy.quiet, policy.window):
        _must(len(stretches) <= STRETCH_COUNT_MAX, f"{what}: {len(stretches)} stretches of hours, at most {STRETCH_COUNT_MAX}")
    _must(not (policy.best_hours and policy.window), f"{what}: a window of its own, and the subject's")
    for hours in (*policy.quiet, *policy.window):
        _check_hours(what, hours)
    for split in (policy.holdout, policy.variants, policy.group):
        _must(split is None or split.unit in UNITS, f"{what}: a split by something unknown")
    if policy.holdout is not None:
        _must(0 <= policy.holdout.share <= 1, f"{what}: it holds out more than all")
    if policy.variants is not None:
        ways = policy.variants.ways
        _must(bool(ways) and all(0 <= way.share <= 1 for way in ways), f"{what}: variants whose shares are none")
    if policy.group is not None:
        _must(0 <= policy.group.low <= policy.group.high <= 1, f"{what}: a group from {policy.group.low} to {policy.group.high}")


def _check_cap(what: str, cap: Cap) -> None:
    _must(1 <= cap.count <= CAP_COUNT_MAX, f"{what}: its count is not from 1 to {CAP_COUNT_MAX}")
    _check_times(what, cap, "window_ms")
    _must(cap.calendar in ("", "day", "week"), f"{what}: each {cap.calendar!r}")
    _must(bool(cap.window_ms) != bool(cap.calendar), f"{what}: a window, or each day or week")
    _must(cap.scope == "device" or (cap.scope == "global" and not cap.calendar), f"{what}: of scope {cap.scope!r}")


def _check_hours(what: str, hours: Hours) -> None:
    """A day that never comes would be looked for without end."""
    minutes = 0 <= hours.from_minute < DAY_MINUTES and 0 <= hours.to_minute < DAY_MINUTES
    _must(minutes and all(0 <= day <= 6 for day in hours.days), f"{what}: hours that are on no clock")


def _check_reads(
    what: str, checked: Iterable[CheckedExpression], catalog: Catalog, *, segments: Mapping[str, Any] | tuple[str, ...]
) -> None:
    """segments: that may be read; a segment may read none, so that none reads itself."""
    outputs: set[str] | None = None
    for expression in checked:
        for name in expression.reads:
            space, dot, rest = name.partition(".")
            if space == "event" and dot:
                _must(segments != () or rest in CONTEXT_TYPES, f"{what}: a segment cannot read {name}")
            elif space == "features" and dot:
                _must(rest in catalog.features, f"{what}: no feature {rest!r}")
            elif space == "segments" and dot:
                _must(rest in segments, f"{what}: no segment {rest!r}" if segments else f"{what}: a segment cannot read {name}")
            elif not dot:
                if outputs is None:
                    outputs = {n for m in catalog.models.values() for n in (m.output, m.factors, m.progression) if n}
                _must(segments != () and name in outputs, f"{what}: nothing is named {name!r}")
            else:
                _must(name in _SUBJECT, f"{what}: nothing is named {name!r}")


def _check_times(what: str, held: object, *names: str) -> None:
    for name in names:
        _must(0 <= getattr(held, name) <= DURATION_MS_MAX, f"{what}: {name} is not from 0 to {DURATION_MS_MAX}")


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise DefinitionError(message[:200], hint=_HINT)
