"""The product's rules as data: any other implementation runs the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reflexarc_core.aggregation import half
from reflexarc_core.bucket import VERSION, bucket, stable_id
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout
from reflexarc_core.policy import Group, Holdout, Variant, Variants

HERE = Path(__file__).parent


def cases(name: str) -> list[Any]:
    read = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in read["cases"]]


def test_the_hash_has_the_version_of_its_cases() -> None:
    assert json.loads((HERE / "bucket.json").read_text())["version"] == VERSION


@pytest.mark.parametrize("case", cases("bucket"))
def test_buckets(case: dict[str, Any]) -> None:
    assert bucket(case["salt"], case["unit"]) == case["bucket"]


@pytest.mark.parametrize("case", cases("decision_id"))
def test_decision_ids(case: dict[str, Any]) -> None:
    assert stable_id(*case["parts"]) == case["id"]


@pytest.mark.parametrize("case", cases("splits"))
def test_splits(case: dict[str, Any]) -> None:
    if case["kind"] == "holdout":
        found: object = Holdout(case["share"], salt=case["salt"]).assign(case["trigger"], case["unit"])
    elif case["kind"] == "variants":
        ways = tuple(Variant(name, share) for name, share in case["ways"].items())
        found = Variants(ways, salt=case["salt"]).assign(case["trigger"], case["unit"]).name
    else:
        found = Group(case["group"], case["low"], case["high"]).holds(case["unit"])
    assert found == case["expected"]


@pytest.mark.parametrize("case", cases("decay"))
def test_decay(case: dict[str, Any]) -> None:
    assert half(float(case["x"])) == pytest.approx(case["value"], rel=1e-14, abs=0)


@pytest.mark.parametrize("case", cases("windows"))
def test_windows(case: dict[str, Any]) -> None:
    start = json.loads((HERE / "windows.json").read_text())["start_time"]
    property_name = "" if case["aggregation"] in ("count", "recency") else "v"
    definition = FeatureDefinition(
        "f", case["aggregation"], (Contribution("e", 1.0, property_name),),
        window_ms=case["window_ms"], bucket_ms=case["bucket_ms"],
    )  # fmt: skip
    layout = Layout([definition])
    vector = layout.empty()
    for after, value in case["events"]:
        layout.fold(vector, "e", {"v": value}, start + after)
    for after, expected in case["reads"]:
        value = layout.by_name["f"].read(vector, start + after)
        assert (value == expected) if expected is not None else (value != value), f"read {after} ms after the start: {value}"
