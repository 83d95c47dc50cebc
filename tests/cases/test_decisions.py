"""What is decided, as data: every case on the engine, and on the reference where the reference knows all that is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cases.playing import EnginePlayer, ReferencePlayer, differences

HERE = Path(__file__).parent
FILES = ("patterns", "policies", "hours", "segments", "precedence", "journeys")


def cases(*, plain: bool) -> list[Any]:
    """plain: only those without features and models; of models the reference has no more than `journeys` asks of it."""
    found = []
    for name in FILES:
        read = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        for case in read["cases"]:
            if not plain or name == "journeys" or not (case.get("models") or "features" in str(case["catalogs"])):
                found.append(pytest.param(case, read["catalog"], id=f"{name}: {case['name']}"))
    return found


@pytest.mark.parametrize(("case", "preamble"), cases(plain=False))
def test_the_engine_decides_what_the_case_says(case: dict[str, Any], preamble: str) -> None:
    assert list(differences(case, preamble, EnginePlayer)) == []


@pytest.mark.parametrize(("case", "preamble"), cases(plain=True))
def test_the_reference_decides_what_the_case_says(case: dict[str, Any], preamble: str) -> None:
    assert list(differences(case, preamble, ReferencePlayer)) == []


def test_no_two_cases_have_one_name() -> None:
    names = [param.id for param in cases(plain=False)]
    assert len(names) == len(set(names))
