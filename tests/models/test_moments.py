"""Rows of a log at a cut: the same numbers as the core's own fold, and nothing of what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.aggregation import DAY_MS
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_models.train.evaluation.moments import CHURN, PURCHASE, LabelRule, outcome_part, rows_at, training_moments
from reflexarc_models.train.rows.behaviour import DERIVED, EventColumns, general_features, to_history
from reflexarc_models.train.rows.history import history

T0 = 1_700_000_000_000
HORIZON = 10 * DAY_MS


def _log(count: int, subjects: int, seed: int, days: int = 60) -> EventColumns:
    random = np.random.default_rng(seed)
    types = random.integers(0, 2, count)
    amounts = np.where(types == 1, np.round(random.gamma(2.0, 10.0, count), 2), np.nan)
    kinds = np.where(types == 0, random.integers(0, 3, count), -1)
    keen = random.random(subjects) ** 2
    who = random.choice(subjects, count, p=keen / keen.sum())
    return EventColumns(
        tuple(f"known:{i}" for i in range(subjects)), who.astype(np.int64),
        T0 + random.integers(0, days * DAY_MS, count), types.astype(np.int64), ("page_view", "purchase"),
        {("purchase", "amount"): amounts}, {("page_view", "category"): (("a", "b", "c"), kinds.astype(np.int64))},
    )  # fmt: skip


def _until(log: EventColumns, end: int) -> EventColumns:
    keep = log.times <= end
    return EventColumns(
        log.subjects, log.subject[keep], log.times[keep], log.types[keep], log.type_names,
        {key: values[keep] for key, values in log.numbers.items()},
        {key: (levels, codes[keep]) for key, (levels, codes) in log.texts.items()},
    )  # fmt: skip


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_columns_fold_as_events_do(seed: int) -> None:
    log = _log(120, 6, seed)
    features = general_features(log, ("purchase",), HORIZON, T0 + 50 * DAY_MS)
    made = to_history(log, features, ("purchase",))
    plain = [feature for feature in features if not set(feature.event_types) & set(DERIVED)]
    events = []
    for place in np.lexsort((log.times, log.subject)):
        properties: dict[str, object] = {}
        if log.types[place]:
            properties["amount"] = float(log.numbers["purchase", "amount"][place])
        else:
            properties["category"] = "abc"[log.texts["page_view", "category"][1][place]]
        event = Event(
            str(place), log.type_names[log.types[place]], log.subjects[log.subject[place]], int(log.times[place]), properties
        )  # type: ignore[arg-type]
        events.append((event.event_time, event))
    usual = history(Catalog(features={feature.name: feature for feature in plain}), events)
    names = [feature.name for feature in plain]
    rule = LabelRule(PURCHASE, ("purchase",), HORIZON)
    moments = [T0 + 20 * DAY_MS, T0 + 35 * DAY_MS]
    one, other = (rows_at(of, rule, moments, T0 + 60 * DAY_MS, names) for of in (made, usual))
    order = {subject: i for i, subject in enumerate(dict.fromkeys(one.subjects))}
    place = np.lexsort((other.score_time, [order[subject] for subject in other.subjects]))
    assert np.array_equal(one.x, other.x[place], equal_nan=True)
    assert np.array_equal(one.y, other.y[place])


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_what_comes_later_changes_no_row(seed: int) -> None:
    log = _log(300, 12, seed)
    cut = T0 + 30 * DAY_MS
    features = general_features(log, ("purchase",), HORIZON, cut)
    assert features == general_features(_until(log, cut), ("purchase",), HORIZON, cut)
    names = [feature.name for feature in features]
    rule = LabelRule(CHURN, ("purchase",), HORIZON)
    whole = rows_at(to_history(log, features, ("purchase",)), rule, [cut], cut + HORIZON, names)
    known = rows_at(to_history(_until(log, cut), features, ("purchase",)), rule, [cut], cut + HORIZON, names)
    assert np.array_equal(whole.x, known.x, equal_nan=True)
    assert np.array_equal(whole.recency_days, known.recency_days)
    assert known.y.all()  # nothing comes after: everybody stays away


def test_derived_events_are_what_they_say() -> None:
    hour = DAY_MS // 24
    start = T0 // DAY_MS * DAY_MS
    times = np.array([start, start + hour // 3, start + 2 * hour, start + 3 * DAY_MS], dtype=np.int64)
    log = EventColumns(("known:1",), np.zeros(4, dtype=np.int64), times, np.zeros(4, dtype=np.int64), ("purchase",), {}, {})
    features = general_features(log, ("purchase",), 4 * DAY_MS, start + 4 * DAY_MS)
    made = to_history(log, features, ("purchase",))
    names = [feature.name for feature in features]
    rows = rows_at(made, LabelRule(CHURN, ("purchase",), HORIZON), [start + 4 * DAY_MS], start + 20 * DAY_MS, names)
    row = dict(zip(names, rows.x[0], strict=True))
    assert row["events_total"] == 4.0
    assert row["visits_total"] == 3.0  # twenty minutes are one visit, two hours are another
    assert row["days_total"] == 2.0
    assert row["tenure_days"] == 4.0
    assert row["recency_days"] == 1.0
    assert row["visit_gap.max"] == pytest.approx(3 - 2 / 24)


def test_no_training_label_reaches_behind_the_cut() -> None:
    log = _log(6_000, 400, 1)
    cut = T0 + 45 * DAY_MS
    part = outcome_part(log, LabelRule(CHURN, ("purchase",), HORIZON), cut, 0)
    times, split = part.dataset.score_time, part.split
    assert (times[split.train] + HORIZON <= cut).all()
    assert (times[split.calibration] == cut - HORIZON).all()
    assert (times[split.test] == cut).all()
    assert not set(part.dataset.subjects[split.train]) & set(part.dataset.subjects[split.calibration])
    assert len(set(part.dataset.subjects[split.test])) == len(split.test)  # one row a subject
    assert set(part.baselines) == {"recency", "frequency"}


def test_moments_lie_behind_the_first_quarter_of_a_horizon() -> None:
    found = training_moments(0, 100 * DAY_MS, 20 * DAY_MS, 100)
    assert found[0] == 80 * DAY_MS
    assert len(found) == 8
    assert training_moments(0, 20 * DAY_MS, 20 * DAY_MS, 100) == []
    assert len(training_moments(0, 100 * DAY_MS, 20 * DAY_MS, 15_000)) == 1


@pytest.mark.parametrize(
    ("day", "reason"),
    [(55, "ends 5 days before the horizon"), (9, "no label was known at the cut"), (-400, "no label was known")],
)
def test_a_cut_that_says_nothing_is_refused_with_one_that_would(day: int, reason: str) -> None:
    log = _log(3_000, 300, 4)
    with pytest.raises(DefinitionError, match=reason) as refused:
        outcome_part(log, LabelRule(CHURN, ("purchase",), HORIZON), T0 + day * DAY_MS, 0)
    assert "a cut" in refused.value.hint
