"""The JSON Schema of a catalog's source, for editors: which fields there are, what each takes, what it is for.

Owns the schema (draft 2020-12). What it lets through is still read by `reader`, which knows names, types and placements; what it
refuses, the reader refuses too. A test holds its fields against those the reader asks for.
"""

from __future__ import annotations

from typing import Any, Final

from reflexarc_build.models import ALGORITHMS, LABELS
from reflexarc_build.policies import BEST_HOURS, DAYS
from reflexarc_build.triggers import FOLLOW_COUNT_MAX, OUTCOMES
from reflexarc_core.aggregation import KINDS
from reflexarc_core.event import PROPERTY_TYPES
from reflexarc_core.hours import STRETCH_COUNT_MAX
from reflexarc_core.model import DEVICE_FORMS
from reflexarc_core.pattern import STEP_COUNT_MAX
from reflexarc_core.policy import CAP_COUNT_MAX, REENTRIES, UNITS
from reflexarc_core.soundness import PRIORITY_MAX
from reflexarc_core.trigger import ESCALATIONS, PLACEMENTS

ADDRESS: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
_VALUE: Final = {"type": ["string", "number", "boolean"]}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}


def catalog_schema() -> dict[str, Any]:
    """The schema, JSON-able."""
    names = _several(_TEXT)
    sections = {
        "event_types": _event_type(), "features": _feature(names), "segments": _segment(),
        "models": _model(names), "triggers": _trigger(names), "actions": _action(), "caps": _cap(names, shared=True),
    }  # fmt: skip
    return {
        "$schema": ADDRESS,
        "title": "A reflexarc catalog",
        **_object(
            {
                "include": {**names, "description": "standard: the event types, features and models that ship."},
                "version": {"type": "string", "description": "Your text; hosts compare the digest."},
                "test_subjects": {**names, "description": "People who try things out, kind:id."},
                **{name: _named(definition) for name, definition in sections.items()},
            }
        ),
        "$defs": {"duration": {"type": "string", "pattern": r"^\s*\d{1,15}(\.\d{1,15})?\s*(ms|s|m|h|d|w)\s*$"}},
    }


def _event_type() -> dict[str, Any]:
    described = _object({"type": {"enum": list(PROPERTY_TYPES)}, "required": _FLAG, "values": _several(_TEXT)})
    either = {"anyOf": [{"type": "string", "description": "A type; with ! it must be there."}, described]}
    return _object({"properties": _named(either), "description": _TEXT})


def _feature(names: dict[str, Any]) -> dict[str, Any]:
    weights = {"type": "object", "additionalProperties": {"type": ["number", "string"]}}
    return _object(
        {
            "aggregation": {"enum": list(KINDS)},
            "of": {"anyOf": [*names["anyOf"], weights], "description": "Event types, or each with a weight or a property."},
            "where": {"type": "object", "additionalProperties": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE}]}},
            "scope": {"enum": ["device", "subject"]},
            "window": _duration(), "bucket": _duration(), "half_life": _duration(), "per": _duration(), "stale": _duration(),
            "key": _TEXT, "unit": _TEXT, "description": _TEXT,
        },
        "aggregation", "of",
    )  # fmt: skip


def _segment() -> dict[str, Any]:
    tracked = {"type": "boolean", "description": "The server follows who is in it, for reports."}
    return {"anyOf": [_TEXT, _object({"condition": _TEXT, "tracked": tracked}, "condition")]}


def _model(names: dict[str, Any]) -> dict[str, Any]:
    label = _object(
        {
            "kind": {"enum": list(LABELS)}, "events": names, "horizon": _duration(), "active_within": _duration(),

        },
        "kind", "events", "horizon",
    )  # fmt: skip
    items = {"type": "object", "additionalProperties": _TEXT, "description": "By event type: the property that names the item."}
    return _object(
        {
            "output": _TEXT, "factors": _TEXT, "features": names, "label": label, "score_on": names, "every": _duration(),
            "algorithm": {"enum": list(ALGORITHMS)}, "line": _SHARE, "items": items, "progression": _TEXT,
            "confidence_min": _SHARE, "update": _duration(), "output_type": {"enum": ["double", "bool"]}, "description": _TEXT,
            "device_form": {"enum": list(DEVICE_FORMS)},
        },
        "output", "algorithm", "features",
    )  # fmt: skip


def _trigger(names: dict[str, Any]) -> dict[str, Any]:
    step = _object(
        {
            "event": names,
            "no": names,
            "where": {"type": "string", "minLength": 1},
            "within": _duration(),
            "count": _whole(1, STEP_COUNT_MAX),
        }
    )
    pattern = _object(
        {"steps": {"type": "array", "items": step, "minItems": 1}, "within": _duration(), "key": _TEXT, "cancel": names}, "steps"
    )
    variant = _object({"share": _SHARE, "action": _TEXT}, "share")
    follow = _object({"action": _TEXT, "on": _several({"enum": list(OUTCOMES)}), "wait": _duration()}, "action")
    group = _object({"name": _TEXT, "from": _SHARE, "to": _SHARE}, "name")
    return _object(
        {
            "condition": {"type": "string", "description": "CEL, true or false."},
            "on": {**names, "description": "Event types whose arrival evaluates it."},
            "pattern": pattern,
            "inactive": _object({"events": names, "for": _duration(), "key": _TEXT}, "events", "for"),
            "segment_entered": {**names, "description": "Segments; a subject that comes into one of them evaluates it."},
            "segment_left": {**names, "description": "Segments; a subject that goes out of one of them evaluates it."},
            "placement": {"enum": list(PLACEMENTS)}, "confidence": {"const": "off"}, "action": _TEXT,
            "escalate": {"enum": list(ESCALATIONS)}, "deadline": _duration(), "life": _duration(), "dry_run": _FLAG,
            "goal": _object({"events": names, "within": _duration()}, "events", "within"),
            "follow": {"type": "array", "items": follow, "minItems": 1, "maxItems": FOLLOW_COUNT_MAX},
            "cooldown": _duration(), "purpose": _TEXT, "max_age": _duration(), "hold": _duration(),
            "holdout": _SHARE, "holdout_unit": {"enum": list(UNITS)}, "holdout_group": _TEXT,
            "reentry": {"enum": list(REENTRIES)}, "exit": names, "exempt": names, "cap": _cap(names, shared=False),
            "slot": _TEXT, "priority": _whole(-PRIORITY_MAX, PRIORITY_MAX),
            "quiet": _hours({"then": {"enum": ["hold", "drop"]}}),
            "window": {"anyOf": [*_hours({})["anyOf"], {"const": BEST_HOURS}]},
            "variants": _named(variant), "group": group, "description": _TEXT,
        },
        "action",
    )  # fmt: skip


def _action() -> dict[str, Any]:
    field = {"anyOf": [_VALUE, {"type": "object", "additionalProperties": _VALUE, "description": "One for each language."}]}
    return _object(
        {"channel": _TEXT, "fallback": _TEXT, "payload": {"type": "object", "additionalProperties": field}, "description": _TEXT}
    )


def _cap(names: dict[str, Any], *, shared: bool) -> dict[str, Any]:
    of_several = {"channels": names, "triggers": names} if shared else {}
    return _object(
        {
            "count": _whole(1, CAP_COUNT_MAX), "within": _duration(), "each": {"enum": ["day", "week"]},
            "scope": {"enum": ["device", "global"]}, **of_several,
        },
        "count",
    )  # fmt: skip


def _hours(more: dict[str, Any]) -> dict[str, Any]:
    time = {"type": "string", "pattern": r"^(([01]?\d|2[0-3]):[0-5]\d|24:00)$"}
    stretch = _object({"from": time, "to": time, "days": _several({"enum": list(DAYS)}), **more}, "from", "to")
    return {"anyOf": [stretch, {"type": "array", "items": stretch, "maxItems": STRETCH_COUNT_MAX}]}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _named(definition: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": _NAME}, "additionalProperties": definition}


def _several(one: dict[str, Any]) -> dict[str, Any]:
    """One, or a list of them."""
    return {"anyOf": [one, {"type": "array", "items": one, "uniqueItems": True}]}


def _whole(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _duration() -> dict[str, Any]:
    return {"$ref": "#/$defs/duration"}
