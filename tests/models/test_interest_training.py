"""Training of content interest: the fit, the links, the split by time, the settings, and the artifact with its claim."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from interest_worlds import DAY_MS, audience, interactions

from reflexarc.definitions import load_catalog
from reflexarc_core.event import Event
from reflexarc_core.interaction import INTERACTIONS_MAX, INTEREST_STRENGTH, WEIGHT_MAX
from reflexarc_core.model import GRID
from reflexarc_models.artifact import Artifact
from reflexarc_models.interest import ITEMS_FILE, Interest, ItemFactors
from reflexarc_models.scorer import self_test
from reflexarc_models.train.forms.compose import with_file
from reflexarc_models.train.promotion import Live, judge
from reflexarc_models.train.ranking.claim import CLAIM_HORIZON_MS, claim_dataset, own_rows
from reflexarc_models.train.ranking.ials import IalsSettings, Matrix, fit_ials, fold_in
from reflexarc_models.train.ranking.interactions import gather, leave_last_out, of_history
from reflexarc_models.train.ranking.interest import factors_cuts, train_interest
from reflexarc_models.train.ranking.links import sequence_links, similar_links
from reflexarc_models.train.ranking.measures import MISSED, figures, ndcg, neighbour_places, place_of, popularity_places
from reflexarc_models.train.ranking.tuning import InterestSettings, fit_items, tune
from reflexarc_models.train.rows.history import History, history
from reflexarc_models.train.train import NoData, TrainedModel

CATALOG = load_catalog(None)
MODEL = CATALOG.models["content_interest"]


@cache
def log() -> History:
    return history(CATALOG, ((event.event_time, event) for event in audience()))


@cache
def trained() -> TrainedModel:
    found = train_interest(CATALOG, MODEL, log(), seed=1)
    assert not isinstance(found, NoData), found
    return found


@cache
def older() -> list[tuple[int, ItemFactors]]:
    """Factors as they were at each cut."""
    found = of_history(log())
    return [(cut, fit_items(found.until(cut), InterestSettings(), seed=1)) for cut in factors_cuts(found)]


def view(subject: str, item: str, at: int, **properties: float) -> Event:
    return Event(f"{subject}{item}{at}", "content_view", subject, at, {"content_id": item, **properties})


def test_a_fit_solves_its_own_equations() -> None:
    seen = interactions().matrix()
    settings = IalsSettings(dimension=12, epoch_count=3)
    items = fit_ials(seen, settings, seed=4)
    assert np.array_equal(items, fit_ials(seen, settings, seed=4))
    tastes = fold_in(seen, items, 0.1, 3.0)
    wide = items.astype(np.float64)
    for subject in (0, 7, 100):  # few interactions and many: both ways of solving
        part = slice(seen.starts[subject], seen.starts[subject + 1])
        rows, weights = wide[seen.items[part]], seen.weights[part].astype(np.float64)
        a = 0.1 * wide.T @ wide + 3.0 * np.eye(12) + (rows * weights[:, None]).T @ rows
        assert np.allclose(tastes[subject], np.linalg.solve(a, weights @ rows), rtol=1e-8, atol=1e-10)


def test_an_item_that_nobody_had_to_do_with_keeps_no_factors() -> None:
    seen = Matrix(np.array([0, 1, 1]), np.array([0], dtype=np.int32), np.ones(1, dtype=np.float32), 3)
    items = fit_ials(seen, IalsSettings(dimension=4, epoch_count=2), seed=0)
    assert np.isfinite(items).all() and not items[1:].any()


def test_weights_of_one_item_add_up_and_order_is_time() -> None:
    found = gather(
        [view("u", "b", 3), view("u", "a", 1, rating=5.0), view("u", "b", 2), view("u", "a", 4, rating=5.0), view("v", "a", 9)]
    )
    assert found.pairs(0) == [("b", 2.0), ("a", WEIGHT_MAX)]
    assert found.repeated.tolist() == [False, False, True, True, False]
    seen = found.matrix()
    assert {found.item_ids[i]: w for i, w in zip(seen.items[:2].tolist(), seen.weights[:2].tolist(), strict=True)} == {
        "a": WEIGHT_MAX,
        "b": 2.0,
    }


def test_pairs_are_what_an_engine_keeps() -> None:
    found = gather([view("u", f"i{n}", n) for n in range(INTERACTIONS_MAX + 5)])
    assert [item for item, _ in found.pairs(0)] == [f"i{n}" for n in range(5, INTERACTIONS_MAX + 5)]
    assert len(found.seen(0)) == INTERACTIONS_MAX + 5


def test_the_last_new_item_is_held_back_with_all_behind_it() -> None:
    held = leave_last_out(
        gather([view("u", "a", 1), view("u", "b", 2), view("u", "c", 3), view("u", "a", 4), view("v", "a", 1), view("v", "a", 2)])
    )
    assert [held.history.item_ids[item] for item in held.targets.tolist()] == ["c"]
    assert held.subjects.tolist() == [0]  # the other one has no item before its only one
    assert held.history.pairs(0) == [("a", 1.0), ("b", 1.0)]
    assert held.tied.tolist() == [False]


def test_links_count_what_follows() -> None:
    found = gather(
        [
            view("u", "a", 1),
            view("u", "b", 2),
            view("u", "c", 3),
            view("v", "a", 1),
            view("v", "b", 2),
            view("w", "c", 1),
            view("w", "a", 2),
        ]
    )
    links = sequence_links(found, 5)
    names = found.item_ids
    of_a = {
        names[int(links.targets[p])]: float(links.strengths[p])
        for p in range(links.starts[names.index("a")], links.starts[names.index("a") + 1])
    }
    assert of_a == pytest.approx({"b": 2 / 3**0.5, "c": 0.5 / 3**0.5})
    starts, targets, codes, scales = links.quantized()
    assert codes.max() == 255 and (codes >= 1).all()
    assert np.allclose(codes * np.repeat(scales, np.diff(starts)), links.strengths, rtol=0.01)
    assert np.array_equal(targets, links.targets)


def test_neighbours_are_the_cosines_of_a_plain_matrix() -> None:
    seen = interactions().matrix()
    plain = np.zeros((seen.subject_count, seen.item_count))
    plain[np.repeat(np.arange(seen.subject_count), np.diff(seen.starts)), seen.items] = 1.0
    lengths = np.maximum(np.sqrt((plain**2).sum(axis=0)), 1.0)
    cosines = (plain.T @ plain) / lengths[:, None] / lengths
    np.fill_diagonal(cosines, 0.0)
    links = similar_links(seen, 7)
    for item in (0, 3, 77):
        part = slice(links.starts[item], links.starts[item + 1])
        assert np.allclose(np.sort(links.strengths[part]), np.sort(cosines[item])[-7:], atol=1e-6)
        assert np.allclose(links.strengths[part], cosines[item, links.targets[part]], atol=1e-6)


def test_places_and_measures() -> None:
    scores = np.array([0.5, 0.9, 0.5, -np.inf, 0.5])
    assert [place_of(scores, item) for item in range(5)] == [1, 0, 2, MISSED, 3]
    places = np.array([0, 2, MISSED])
    assert ndcg(places, 10).tolist() == [1.0, 0.5, 0.0]
    found = figures(places, (2,), seed=0)
    assert found["recall@2"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["recall@2_interval"][0] <= found["recall@2"] <= found["recall@2_interval"][1]


def test_settings_are_chosen_without_the_item_they_are_judged_by_and_find_the_series() -> None:
    held = leave_last_out(interactions())
    settings = tune(held.history, seed=1)
    assert settings.link_kind == "sequence" and settings.link_share > 0.0
    factors = fit_items(held.history, settings, seed=1)
    places = []
    for subject, target in zip(held.subjects.tolist(), held.targets.tolist(), strict=True):
        ranked = Interest(factors, held.history.pairs(subject)).rank(20)
        name = held.history.item_ids[target]
        places.append(ranked.index(name) if name in ranked else MISSED)
    seen = held.history.by_popularity()
    number = {name: place for place, name in enumerate(seen.item_ids)}
    targets = np.array([number.get(held.history.item_ids[target], -1) for target in held.targets.tolist()])
    ours = ndcg(np.array(places), 10).mean()
    popular = ndcg(popularity_places(seen.matrix(), seen.counts(), held.subjects, targets), 10).mean()
    neighbours = ndcg(neighbour_places(seen.matrix(), held.subjects, targets), 10).mean()
    assert ours > neighbours + 0.05 > popular + 0.1


def test_too_few_to_judge_by_get_the_defaults() -> None:
    assert tune(gather([view("u", "a", 1), view("u", "b", 2)]), seed=0) == InterestSettings()


def test_the_artifact_is_an_ordinary_one_with_its_items() -> None:
    device = trained().device
    self_test(device)
    assert device.algorithm == "collaborative_filtering"
    assert INTEREST_STRENGTH in device.inputs and 0.5 in device.lines
    factors = ItemFactors.from_bytes(device.files[ITEMS_FILE])
    assert trained().server.files[ITEMS_FILE] == device.files[ITEMS_FILE]
    assert len(factors) == len(interactions().item_ids)
    assert Artifact.from_files(device.files).digest == device.digest
    items = device.evidence["items"]
    assert max(items["claim_calibrated_with_factors_until"]) < items["factors_until"]


def test_the_claim_ranks_and_is_calibrated_on_people_it_never_saw() -> None:
    evidence = trained().device.evidence
    assert evidence["auc"] > 0.6
    assert evidence["brier"] < evidence["brier_base_rate"]
    # 72 people calibrate, 48 test: two standard errors.
    assert abs(evidence["score_mean_test"] - evidence["positive_rate_test"]) < 0.15


def test_a_row_is_what_a_device_has_at_that_moment() -> None:
    fitted = older()
    rows = claim_dataset(CATALOG, MODEL, log(), fitted)
    assert len(rows) > 300 and (rows.score_time > fitted[0][0]).all() and len(fitted) > 1
    strength = rows.inputs.index(INTEREST_STRENGTH)
    events = audience()
    for row in range(0, len(rows), 97):
        mine = [e for e in events if e.subject == rows.subjects[row]]
        at = rows.score_time[row]
        held = gather(e for e in mine if e.event_time <= at)
        factors = [each for cut, each in fitted if cut < at][-1]
        interest = Interest(factors, held.pairs(0))
        assert interest.strength() == rows.x[row, strength]
        later = {e.properties["content_id"] for e in mine if at < e.event_time <= at + CLAIM_HORIZON_MS}
        assert bool(later & set(interest.rank(3))) == bool(rows.y[row])


def test_a_log_that_says_too_little_gives_no_model() -> None:
    short = history(CATALOG, ((e.event_time, e) for e in audience()[:100]))
    found = train_interest(CATALOG, MODEL, short)
    assert isinstance(found, NoData) and "interactions" in found.reason
    quick = [view(f"u{n % 50}", f"i{n % 7}", n) for n in range(1_000)]  # all within a second: no claim ever matures
    assert isinstance(train_interest(CATALOG, MODEL, history(CATALOG, ((e.event_time, e) for e in quick))), NoData)
    assert isinstance(train_interest(CATALOG, MODEL, history(CATALOG, ())), NoData)


def test_moments_after_an_action_are_no_rows() -> None:
    plain = claim_dataset(CATALOG, MODEL, log(), older())
    subject, at = str(plain.subjects[0]), int(plain.score_time[0])
    acted = claim_dataset(CATALOG, MODEL, log(), older(), {subject: [at + DAY_MS]})
    assert acted.acted_on_count > 0 and len(acted) + acted.acted_on_count == len(plain)
    assert all(grid <= GRID for grid in trained().device.score_grid)


def test_a_live_claim_is_judged_by_its_own_items_at_moments_its_factors_have_not_seen() -> None:
    challenger, (until, factors) = trained(), older()[0]
    evidence = {**challenger.device.evidence, "items": {**challenger.device.evidence["items"], "factors_until": until}}
    device, server = (
        with_file(one, ITEMS_FILE, factors.to_bytes(), evidence=evidence) for one in (challenger.device, challenger.server)
    )
    own = own_rows(CATALOG, MODEL, log(), device, challenger.test)
    assert own is not None and len(own.y) > 50 and (own.score_time > until).all()
    moments = set(zip(challenger.test.subjects, challenger.test.score_time, strict=True))
    assert set(zip(own.subjects, own.score_time, strict=True)) <= moments
    strength, events = own.inputs.index(INTEREST_STRENGTH), audience()
    for row in range(0, len(own.y), 29):  # each is what a device with the live factors has at that moment
        mine, at = [e for e in events if e.subject == own.subjects[row]], own.score_time[row]
        interest = Interest(factors, gather(e for e in mine if e.event_time <= at).pairs(0))
        assert interest.strength() == own.x[row, strength]
        later = {e.properties["content_id"] for e in mine if at < e.event_time <= at + CLAIM_HORIZON_MS}
        assert bool(later & set(interest.rank(3))) == bool(own.y[row])
    live, now = Live(device, server), log().end_time
    met = judge(challenger, live, now, own).figures["items_met"]
    assert met["live"] == round(float(own.y.mean()), 5)
    # A live model whose items are met far more often stays; by the challenger's rows nobody would see that.
    better = replace(own, y=(np.arange(len(own.y)) % 20 > 0).astype(np.int8))
    refused = judge(challenger, live, now, better)
    assert not refused.promoted and any("met less often" in reason for reason in refused.reasons), refused
    assert "items_met" not in judge(challenger, live, now).figures
    # Factors that have seen these moments are not asked about them.
    assert own_rows(CATALOG, MODEL, log(), challenger.device, challenger.test) is None
