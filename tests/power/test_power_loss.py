"""Whatever moment the power goes: nothing that was promised is lost, nothing is malformed, no number comes twice.

Owns the figures. Each life of a store is recorded once and cut many times, under both models of a folder; a store whose syncs
are weakened has to lose, or this proves nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from reflexarc_edge import store
from reflexarc_edge.journal import Journal
from reflexarc_edge.store import Store
from tests.power.cuts import MODELS, Result, cut_often
from tests.power.life import Plan
from tests.power.recording import Recorder
from tests.power.tape import SyncFolder
from tests.power.workload import History, record

IMAGES: Final = int(os.environ.get("REFLEXARC_POWER_IMAGES", "2000"))
"""How many in all; a long run asks for more."""

PLANS: Final = [
    Plan(
        seed,
        ("power", "process")[seed % 2],
        ("nothing", "nothing", "rots", "nothing", "first")[seed % 5],
        rows_max=(1_000_000, 150, 400)[seed % 3],
        history_rows=(0, 50)[seed // 2 % 2],
    )
    for seed in range(20)
]
CALM: Final = [Plan(seed, "power", rows_max=(1_000_000, 150)[seed % 2], is_calm=True) for seed in range(4)]
CONTROL_IMAGES: Final = 50

_histories: dict[Plan, History] = {}


def history_of(plan: Plan, place: Path) -> History:
    """One life, lived once for both models."""
    if plan not in _histories:
        (place / "life").mkdir()
        _histories[plan] = record(plan, place / "life")
    return _histories[plan]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_nothing_promised_is_lost(plan: Plan, model: str, place: Path) -> None:
    history = history_of(plan, place)
    assert not history.wrongs, f"{plan}, cut off within its life behind {len(history.tape)} events: {history.wrongs}"
    result = cut_often(plan, history.tape, model, max(1, IMAGES // (len(MODELS) * len(PLANS))), place)
    assert_whole(result)


def test_one_seed_is_one_tape(place: Path) -> None:
    tapes = []
    for name in ("first", "second"):
        (place / name).mkdir()
        tapes.append(record(PLANS[0], place / name).tape)
    assert tapes[0] == tapes[1], f"{PLANS[0]}: its images could not be brought back"


# -- what must lose ---------------------------------------------------------------------------------------------------


def test_a_calm_life_loses_nothing(place: Path) -> None:
    """The same lives as those that follow, whole."""
    assert_whole(cut_calm(place, "ordered"))


def test_a_journal_that_is_not_synced_loses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "sync", lambda self: None)
    weak = cut_calm(place, "ordered")
    assert weak.share("lost") > 0.1, weak.wrong
    assert weak.wrong["reused"], "a number that was sent has to come again"


def test_a_journal_used_again_before_the_store_is_synced_loses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(self: Store) -> None:
        self.synced_seq = self.last_seq

    monkeypatch.setattr(Store, "sync_to_disk", pretend)
    weak = cut_calm(place, "ordered")
    assert weak.share("lost") > 0.04, weak.wrong


def test_a_store_that_never_syncs_is_malformed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pragmas = tuple(pragma.replace("synchronous=NORMAL", "synchronous=OFF") for pragma in store._PRAGMAS)
    monkeypatch.setattr(store, "_PRAGMAS", pragmas)
    weak = cut_calm(place, "ordered")
    assert weak.share("malformed") > 0.2, weak.wrong


def test_folders_that_are_not_synced_lose(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Recorder.put

    def put(self: Recorder, event: Any) -> None:
        if not isinstance(event, SyncFolder):
            real(self, event)

    monkeypatch.setattr(Recorder, "put", put)
    weak = cut_calm(place, "strict")
    assert weak.share("lost") > 0.3, weak.wrong


def assert_whole(result: Result) -> None:
    """Nothing is wrong with any image."""
    told = f"{dict(result.wrong)} of {result.image_count} images\n" + "\n".join(result.texts)
    assert not result.texts, told


def cut_calm(place: Path, model: str) -> Result:
    """Lives without an end or another thread: what is lost then is lost by what was weakened."""
    result = Result()
    for plan in CALM:
        base = place / str(plan)
        base.mkdir()
        result += cut_often(plan, record(plan, base).tape, model, CONTROL_IMAGES, base)
    return result
