"""A catalog back as its source: what an author could have written of it, and what a reviewer reads.

Building what is written gives the same catalog, digest for digest; comments, order and `include` are not kept. Owns the
inverse of `reader`. Must never leave out a field that is not at its default.
"""

from __future__ import annotations

from typing import Any

import yaml

from reflexarc_build.policies import BEST_HOURS, DAYS
from reflexarc_build.source import UNITS_MS
from reflexarc_core.catalog import Catalog
from reflexarc_core.condition import CheckedExpression
from reflexarc_core.event import EventType, PropertyType
from reflexarc_core.feature import FeatureDefinition
from reflexarc_core.hours import Hours
from reflexarc_core.model import DEVICE_FORMS, ModelDefinition
from reflexarc_core.pattern import Pattern, Step
from reflexarc_core.policy import Cap, Policy
from reflexarc_core.trigger import Action, Field, Template, Trigger

Source = dict[str, Any]


def text_of(catalog: Catalog) -> str:
    """The catalog as YAML."""
    return yaml.dump(source_of(catalog), sort_keys=False, allow_unicode=True, width=110, Dumper=_Dumper)


def source_of(catalog: Catalog) -> Source:
    """The catalog as plain values, for `reader.build_mapping`."""
    return _kept(
        {
            "version": catalog.version,
            "test_subjects": list(catalog.test_subjects),
            "event_types": {name: _event_type(one) for name, one in catalog.event_types.items()},
            "features": {name: _feature(one) for name, one in catalog.features.items()},
            "segments": {name: _segment(one, name in catalog.tracked) for name, one in catalog.segments.items()},
            "models": {name: _model(one) for name, one in catalog.models.items()},
            "caps": {name: _cap(one) for name, one in catalog.caps.items()},
            "triggers": {name: _trigger(one) for name, one in catalog.triggers.items()},
            "actions": {name: _action(one) for name, one in catalog.actions.items()},
        }
    )


def _event_type(one: EventType) -> Source:
    return _kept({"description": one.description, "properties": {n: _property(p) for n, p in one.properties.items()}})


def _property(one: PropertyType) -> Any:
    if not one.values:
        return one.type + "!" * one.required
    return _kept({"type": one.type, "required": one.required, "values": list(one.values)})


def _feature(one: FeatureDefinition) -> Source:
    where = {name: list(values) for contribution in one.of for name, values in contribution.where}
    return _kept(
        {
            "description": one.description,
            "unit": one.unit,
            "aggregation": one.aggregation,
            "of": {c.event_type: c.property_name or _number(c.weight) for c in one.of},
            "where": where,
            "scope": one.scope,
            "window": _time(one.window_ms),
            "bucket": _time(one.bucket_ms),
            "half_life": _time(one.half_life_ms),
            "per": _time(one.per_ms),
            "stale": _time(one.stale_ms),
            "key": one.key,
        }
    )


def _segment(one: CheckedExpression, is_tracked: bool) -> Any:
    return {"condition": one.text, "tracked": True} if is_tracked else one.text


def _model(one: ModelDefinition) -> Source:
    label = None
    if one.label is not None:
        label = _kept(
            {
                "kind": one.label.kind,
                "events": list(one.label.events),
                "horizon": _time(one.label.horizon_ms),
                "active_within": _time(one.label.active_within_ms),
            }
        )
    return _kept(
        {
            "description": one.description,
            "output": one.output,
            "output_type": one.output_type,
            "line": one.line if one.output_type == "bool" else None,
            "progression": one.progression,
            "items": dict(one.items or {}),
            "factors": one.factors,
            "algorithm": one.algorithm,
            "device_form": "" if one.device_form == DEVICE_FORMS[0] else one.device_form,
            "features": list(one.features),
            "label": label,
            "score_on": list(one.score_on),
            "every": _time(one.every_ms),
            "update": _time(one.update_ms, zero=True),
        }
    ) | {"confidence_min": one.confidence_min}


def _trigger(one: Trigger) -> Source:
    goal = one.goal
    return _kept(
        {
            "description": one.description,
            "condition": one.condition.text,
            "on": list(one.on),
            "pattern": None if one.pattern is None else _pattern(one.pattern),
            "segment_entered": list(one.segment_entered),
            "segment_left": list(one.segment_left),
            "placement": one.placement,
            "confidence": "" if one.confidence else "off",
            "escalate": one.escalate,
            "deadline": _time(one.deadline_ms, zero=True),
            "goal": None if goal is None else {"events": list(goal.event_types), "within": _time(goal.within_ms)},
            "life": _time(one.life_ms),
            "dry_run": one.dry_run,
            **_policy(one.policy),
            "action": one.action,
            "follow": [_kept({"action": f.action, "on": list(f.on), "wait": _time(f.wait_ms)}) for f in one.follows],
        }
    )


def _pattern(one: Pattern) -> Source:
    steps = [_step(step) for step in one.steps]
    return _kept({"key": one.key, "within": _time(one.within_ms), "cancel": list(one.cancel), "steps": steps})


def _step(one: Step) -> Source:
    events = list(one.events)
    where = "" if one.where is None else one.where.text
    count = one.count if one.count != 1 else None
    return _kept({"no" if one.absent else "event": events, "where": where, "within": _time(one.within_ms), "count": count})


def _policy(one: Policy) -> Source:
    unit = next((held.unit for held in (one.holdout, one.variants, one.group) if held is not None), "")
    quiet = [_hours(hours) | ({"then": one.quiet_then} if one.quiet_then != "hold" else {}) for hours in one.quiet]
    variants = (
        {way.name: {"share": way.share} | _kept({"action": way.action}) for way in one.variants.ways} if one.variants else {}
    )
    group = one.group
    return {
        "cooldown": _time(one.cooldown_ms),
        "purpose": one.purpose,
        "max_age": _time(one.max_age_ms),
        "holdout": one.holdout.share if one.holdout is not None else None,
        "holdout_unit": unit,
        "holdout_group": one.holdout.salt if one.holdout is not None else "",
        "reentry": one.reentry,
        "exit": list(one.exit),
        "cap": None if one.cap is None else _cap(one.cap),
        "exempt": list(one.exempt),
        "slot": one.slot,
        "priority": one.priority or None,
        "quiet": quiet,
        "window": BEST_HOURS if one.best_hours else [_hours(hours) for hours in one.window],
        "hold": _time(one.hold_ms_max, zero=True),
        "variants": variants,
        "group": None if group is None else {"name": group.name, "from": group.low, "to": group.high},
    }


def _cap(one: Cap) -> Source:
    within = {"each": one.calendar} if one.calendar else {"within": _time(one.window_ms)}
    more = _kept({"channels": list(one.channels), "triggers": list(one.triggers), "scope": one.scope})
    return {"count": one.count, **within, **more}


def _hours(one: Hours) -> Source:
    begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (one.from_minute, one.to_minute))
    return {"from": begin, "to": end} | _kept({"days": [DAYS[day] for day in one.days]})


def _action(one: Action) -> Source:
    payload = {name: _field(field) for name, field in one.payload.items()}
    return _kept({"description": one.description, "payload": payload}) | {"channel": one.channel, "fallback": one.fallback}


def _field(one: Field) -> Any:
    if set(one.languages) == {""}:
        return _template(one.languages[""])
    return {language: _template(template) for language, template in one.languages.items()}


def _template(one: Template) -> Any:
    if one.expression is not None:
        return _written(one.expression)
    if one.text:
        return "".join(part if isinstance(part, str) else _written(part) for part in one.text)
    return one.literal


def _written(one: CheckedExpression) -> str:
    return f"${{{one.text}}}"


def _kept(fields: Source) -> Source:
    """Without what says nothing."""
    return {name: value for name, value in fields.items() if value not in (None, "", False) and value != [] and value != {}}


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _time(ms: int, *, zero: bool = False) -> str:
    """`7d`: in the largest unit that it is whole in; empty for none, unless none has to be said."""
    if ms == 0:
        return "0ms" if zero else ""
    unit = next(name for name, size in sorted(UNITS_MS.items(), key=lambda pair: -pair[1]) if ms % size == 0 and name != "w")
    return f"{ms // UNITS_MS[unit]}{unit}"


class _Dumper(yaml.SafeDumper):
    """Without aliases, which a catalog may not have; text that YAML would read as something else in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
