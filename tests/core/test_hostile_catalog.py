"""Built catalogs from outside: whatever the bytes are, a DefinitionError soon, and nothing else."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import pytest

from reflexarc_build.reader import build_file
from reflexarc_core.catalog import CATALOG_BYTES_MAX, Catalog
from reflexarc_core.engine import Engine
from reflexarc_core.errors import DefinitionError
from reflexarc_core.record import CatalogInput, Moment
from tests.conftest import ROOT
from tests.core.world import T0, catalog

SECONDS_MAX = 10.0


def with_tree(tree: Any) -> bytes:
    built = catalog().to_plain()
    built["triggers"]["pricing"]["condition"]["tree"] = tree
    return json.dumps(built).encode()


def deep(depth: int) -> Any:
    tree: Any = ["const", "bool", True]
    for _ in range(depth):
        tree = ["call", "logical_not", tree]
    return tree


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "lists in lists": b"[" * 200_000 + b"]" * 200_000,
    "maps in maps": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "too many bytes": b" " * (CATALOG_BYTES_MAX + 1),
    "a number of a million digits": b'{"version": ' + b"9" * 1_000_000 + b"}",
    "a list": b"[1, 2, 3]",
    "a later format": b'{"format": 99}',
    "a format that is none": b'{"format": "x"}',
    "an unknown section": b'{"plugins": {}}',
    "sections of other shapes": b'{"triggers": [1], "features": "x"}',
    "a trigger of another shape": b'{"triggers": {"t": {"trigger_id": 3}}}',
    "a deep tree": with_tree(deep(500)),
    "a wide tree": with_tree(["or", *[["const", "bool", True]] * 50_000]),
    "an unknown function": with_tree(["call", "system", ["const", "string", "ls"]]),
    "a variable nobody bound": with_tree(["local", "x"]),
    "a name that is code": with_tree(["operand", "event.__class__('')", "bool"]),
    "a constant of another type": with_tree(["const", "bool", "yes"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_nothing_else_happens(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(DefinitionError):
        Catalog.from_bytes(HOSTILE[name])
    assert time.monotonic() - started < SECONDS_MAX


BOOL = {"text": "true", "type": "bool", "tree": ["const", "bool", True]}


def reading(name: str, kind: str = "double") -> dict[str, Any]:
    """A condition over one name, well formed."""
    if kind == "bool":
        return {"text": name, "type": "bool", "tree": ["operand", name, "bool"]}
    tree = ["call", "greater_double", ["operand", name, kind], ["const", "double", 0.5]]
    return {"text": f"{name} > 0.5", "type": "bool", "tree": tree}


# Right in shape, and nothing that could run: (path in the built form, what stands there).
UNSOUND: dict[str, tuple[str, Any]] = {
    "a window of ages in buckets of nothing": ("features.page_views.bucket_ms", 0),
    "a window in a billion buckets": ("features.page_views.window_ms", 10**12),
    "a window before the beginning": ("features.page_views.window_ms", -604_800_000),
    "an aggregation nobody knows": ("features.page_views.aggregation", "median"),
    "a feature under another name": ("features.page_views.name", "page_vews"),
    "a feature of no event": ("features.page_views.of", [{"event_type": "nope"}]),
    "a sum of text": ("features.time_spent.of", [{"event_type": "content_view", "property_name": "category"}]),
    "a weight that is no number": ("features.page_views.of", [{"event_type": "page_view", "weight": float("nan")}]),
    "a weight without end": ("features.page_views.of", [{"event_type": "page_view", "weight": float("inf")}]),
    "half a character": ("version", "\ud800"),
    "a segment that reads itself": ("segments.loop", reading("segments.loop", "bool")),
    "a segment that is no condition": ("segments.loop", {"text": "1", "type": "int", "tree": ["const", "int", 1]}),
    "a model of a feature that is not there": ("models.churn.features", ["nope"]),
    "a model that scores before time": ("models.churn.every_ms", -1),
    "a condition over a feature that is not there": ("triggers.left_the_cart.condition", reading("features.nope")),
    "a condition over a segment that is not there": ("triggers.left_the_cart.condition", reading("segments.nope", "bool")),
    "a condition over nothing": ("triggers.left_the_cart.condition", reading("nope")),
    "a condition that is a number": (
        "triggers.left_the_cart.condition", {"text": "1.0", "type": "double", "tree": ["const", "double", 1.0]},
    ),
    "an action that is not there": ("triggers.left_the_cart.action", "nope"),
    "no action": ("triggers.left_the_cart.action", ""),
    "a placement in the clouds": ("triggers.left_the_cart.placement", "cloud"),
    "a pattern without steps": ("triggers.left_the_cart.pattern.steps", []),
    "a step of no event": ("triggers.left_the_cart.pattern.steps", [{"events": []}, {"events": ["purchase"]}]),
    "a step a billion times": ("triggers.left_the_cart.pattern.steps", [{"events": ["purchase"], "count": 10**9}]),
    "a step less than once": (
        "triggers.left_the_cart.pattern.steps", [{"events": ["purchase"], "count": -40}, {"events": ["purchase"], "count": 70}],
    ),
    "a step that reads features": (
        "triggers.left_the_cart.pattern.steps", [{"events": ["purchase"], "count": 2, "where": reading("features.page_views")}],
    ),
    "a day that never comes": (
        "triggers.left_the_cart.policy.window", [{"from_minute": 0, "to_minute": 60, "days": [9]}],
    ),
    "hours without number": ("triggers.left_the_cart.policy.quiet", [{"from_minute": 1, "to_minute": 2}] * 29),
    "an hour of no clock": ("triggers.left_the_cart.policy.quiet", [{"from_minute": -5, "to_minute": 10**9}]),
    "a hold of ages": ("triggers.left_the_cart.policy.hold_ms_max", 10**300),
    "a priority without measure": ("triggers.left_the_cart.policy.priority", 10**300),
    "a reentry nobody knows": ("triggers.left_the_cart.policy.reentry", "sometimes"),
    "a holdout of more than all": ("triggers.left_the_cart.policy.holdout", {"share": 2.0}),
    "variants of nothing": ("triggers.left_the_cart.policy.variants", {"ways": []}),
    "a split by the moon": ("triggers.left_the_cart.policy.holdout", {"share": 0.5, "unit": "moon"}),
    "a cap that keeps a billion uses": ("caps.calm.count", 10**9),
    "a cap in no time": ("caps.calm.window_ms", 0),
    "a cap each moon": ("caps.calm", {"count": 1, "calendar": "moon"}),
    "a field in no language": ("actions.discount.payload.text.languages", {}),
}  # fmt: skip


@cache
def journeys() -> str:
    """The worked examples, built."""
    return json.dumps(build_file(ROOT / "examples" / "catalog" / "journeys.yaml").to_plain())


def unsound(name: str) -> bytes:
    """The worked examples, with one thing that cannot be."""
    path, value = UNSOUND[name]
    built = json.loads(journeys())
    *within, last = path.split(".")
    held = built
    for part in within:
        held = held.setdefault(part, {})
    held[last] = value
    return json.dumps(built).encode()


@pytest.mark.parametrize("name", UNSOUND)
def test_what_no_engine_could_run_is_refused_by_name(name: str) -> None:
    """Every one is a well-formed built catalog: only its meaning is impossible."""
    with pytest.raises(DefinitionError) as refused:
        Catalog.from_bytes(unsound(name))
    named = UNSOUND[name][0].split(".")
    assert named[0] == "version" or "JSON cannot" in str(refused.value) or named[1].split(".")[0] in str(refused.value)
    assert len(str(refused.value)) < 400


def test_the_examples_themselves_are_sound_and_run() -> None:
    for file in ("automations", "journeys"):
        built = Catalog.from_bytes(build_file(ROOT / "examples" / "catalog" / f"{file}.yaml").to_bytes())
        Engine(Catalog(), "edge").receive_catalog(CatalogInput(Moment(T0), built.digest, "", {}), built)
