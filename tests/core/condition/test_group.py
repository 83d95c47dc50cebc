"""Fused conditions: the same answers, each on its own, with the clause that was false first counted."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reflexarc_core.condition import CheckedExpression, EvaluationError, compile_group
from reflexarc_core.condition.comparison import clauses_of
from reflexarc_core.condition.group import finished
from reflexarc_core.condition.straight import Straight
from reflexarc_core.condition.table import Table
from reflexarc_core.condition.tree import clause_trees
from reflexarc_core.condition.walk import Walk
from reflexarc_core.errors import DefinitionError

from .texts import check, operands


def run(texts: list[str], **given: object) -> tuple[list[int], list[tuple[int, str]], dict[str, int]]:
    group = compile_group([check(text) for text in texts])
    counts = [0] * group.count_total
    failed: list[tuple[int, EvaluationError]] = []
    matched = group.evaluate(*operands(**given), counts, failed)
    named = {
        f"{index}: {group.clause_text(index, clause)}": count
        for index, found in enumerate(group.false_counts(counts))
        for clause, count in enumerate(found)
    }
    return matched, [(index, error.message) for index, error in failed], {text: count for text, count in named.items() if count}


def test_each_condition_is_matched_false_or_failed() -> None:
    matched, failed, counted = run(
        ["features.views > 1.0", "features.views > 5.0", "features.visits > 1.0 && event.b", "event.n / 0 == 1"],
        features_views=2.0,
        event_n=1,
        event_b=True,
    )
    assert matched == [0]
    assert failed == [(2, "no value: features.visits"), (3, "division by zero")]
    assert counted == {"1: features.views > 5.0": 1}


def test_the_first_false_clause_is_counted() -> None:
    text = "features.views > 1.0 && features.visits > 1.0 && event.b"
    assert run([text], features_views=2.0, features_visits=0.0, event_b=False)[2] == {"0: features.visits > 1.0": 1}
    assert run([text], features_views=2.0, features_visits=2.0, event_b=False)[2] == {"0: event.b": 1}


def test_a_conjunction_without_a_value_is_false_when_another_clause_is() -> None:
    text = "features.views > 1.0 && features.visits > 1.0"
    assert run([text], features_visits=0.0) == ([], [], {"0: features.visits > 1.0": 1})
    assert run([text], features_visits=2.0) == ([], [(0, "no value: features.views")], {})
    assert run([text]) == ([], [(0, "no value: features.views")], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("features.views > 1.0 || event.b", ([0], [])),
        ("!has(features.views) || features.views > 1.0", ([0], [])),
        ("event.b ? event.b : features.views > 1.0", ([0], [])),
        ("!event.b ? event.b : features.views > 1.0", ([], [(0, "no value: features.views")])),
        ("features.views > 1.0 || features.views < 0.0", ([], [(0, "no value: features.views")])),
        ("event.tags.exists(t, t == 'a' || features.views > 1.0)", ([0], [])),
    ],
)
def test_what_absorbs_an_absent_operand_is_not_skipped(text: str, expected: object) -> None:
    matched, failed, counted = run([text, text], event_b=True, event_tags=["a"])
    doubled = ([0, 1] if expected[0] else [], [(i, m) for i in (0, 1) for _, m in expected[1]])  # type: ignore[index]
    assert (matched, failed) == doubled
    assert not counted


def test_counts_add_up_over_events() -> None:
    group = compile_group([check("event.n > 3")])
    counts = [0] * group.count_total
    for n in range(10):
        group.evaluate(*operands(event_n=n), counts, [])
    assert group.false_counts(counts) == [[4]]


def test_many_clauses_and_many_conditions_fit() -> None:
    text = " && ".join(f"event.n > {i}" for i in range(200))
    matched, failed, _ = run([text] * 50, event_n=500)
    assert (len(matched), failed) == (50, [])


def test_an_expression_that_is_no_condition_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"event.n \+ 1 is int"):
        compile_group([check("event.n + 1")])


def naive(checked: list[CheckedExpression], held: tuple[dict[str, Any], ...], false: list[list[int]]) -> tuple[object, object]:
    """Each condition by itself, by the tree walk alone: what `evaluate` must give, and what it must count."""
    matched, failed = [], []
    for index, one in enumerate(checked):
        outcomes: list[object] = []
        for part in clause_trees(one.tree):
            try:
                outcomes.append(Walk(*held).truth(part))
            except EvaluationError as error:
                outcomes.append(error.message)
        if False in outcomes:
            false[index][outcomes.index(False)] += 1
        elif set(outcomes) == {True}:
            matched.append(index)
        else:
            failed.append((index, next(outcome for outcome in outcomes if outcome is not True)))
    return matched, failed


CLAUSES = (
    [f"event.s == '{text}'" for text in ("a", "b", "c", "a b")]
    + [f"event.n {sign} {n}" for sign in (">", ">=", "<", "<=", "==", "!=") for n in (-1, 0, 2)]
    + [f"features.views {sign} {n}" for sign in (">", ">=", "<", "<=", "==") for n in ("0.0", "-0.0", "1.5", "double('nan')")]
    + [f"event.s {sign} '{text}'" for sign in ("!=", "<", ">=") for text in ("a", "b")]
    + ["event.s in ['a', 'zz']", "event.s in ['b', 'b']", "event.n in [0, 2, 9]", "features.views in [0.0, 1.5]"]
    + [f"{n} {sign} features.visits" for sign in (">", "<=", "==") for n in ("0.5", "1.0", "3.0")]
    + ["predicted_churn_risk > 0.7"] * 6
    + ["event.b", "!event.b", "segments.vip", "has(event.s)", "event.tags.exists(t, t == 'a')", "event.s.startsWith('a')"]
    + ["6 / event.n > 2", "event.n % 2 == 0", "event.s == 'a' || event.b", "event.d > 1.0 || features.views > 1.0"]
)
VALUES: dict[str, list[Any]] = {
    "event_s": ["a", "b", "zz"],
    "event_n": [-1, 0, 1, 2, 9, "mistyped"],
    "event_d": [0.5, 2.0],
    "event_b": [True, False],
    "event_tags": [["a"], []],
    "features_views": [0.0, -0.0, 1.5, 9.0, float("nan")],
    "features_visits": [0.0, 1.0, 2.5],
    "segments_vip": [True, False],
    "predicted_churn_risk": [0.2, 0.9],
}


@pytest.mark.parametrize("seed", range(40))
def test_conditions_fused_are_what_each_is_by_itself(seed: int) -> None:
    """Whatever stands behind whatever test: the same outcomes, the same reasons, the same clause counted, and that for
    operands that are absent or of another type than declared too."""
    draw = random.Random(seed)
    pool = draw.sample(CLAUSES, draw.randrange(4, len(CLAUSES)))
    count = draw.choice([3, 12, 60])
    fused_is_naive(draw, [" && ".join(draw.choices(pool, k=draw.choice([1, 1, 2, 2, 3, 4]))) for _ in range(count)])


@pytest.mark.parametrize("seed", range(12))
def test_a_long_row_of_lines_is_what_each_is_by_itself(seed: int) -> None:
    """Comparisons in one direction stand behind tests within tests, those that are true soonest first."""
    draw = random.Random(seed)
    sign = draw.choice([">", ">=", "<", "<="])
    starts = [f"event.n {draw.choice([sign, sign[0], sign[0] + '='])} {draw.randrange(-3, 12)}" for _ in range(70)]
    starts += [f"features.views {sign} {draw.randrange(-2, 12)}.0" for _ in range(30)]
    fused_is_naive(draw, [start + draw.choice(["", "", " && event.b", " && event.n % 2 == 0"]) for start in starts])


def fused_is_naive(draw: random.Random, texts: list[str]) -> None:
    """The same outcomes and counts for random operands, some of them absent: as a group, and all in either form."""
    checked = [check(text) for text in texts]
    group = compile_group(checked)
    clauses = [clauses_of(one.tree) for one in checked]
    table, straight = Table(clauses, range(len(texts)), 0), Straight(clauses, range(len(texts)), 0)
    forms = [
        (group.evaluate, group.false_counts, [0] * group.count_total),
        (finished(table.compiling()), table.false_counts, [0] * table.cell_count),
        (finished(straight.compiling()), straight.false_counts, [0] * straight.cell_count),
    ]
    expected = [[0] * len(clause_trees(one.tree)) for one in checked]
    for _ in range(60):
        absent = draw.choice([0.0, 0.0, 0.2, 0.6])
        held = operands(**{name: draw.choice(values) for name, values in VALUES.items() if draw.random() >= absent})
        wanted = naive(checked, held, expected)
        for evaluate, _, counts in forms:
            failed: list[tuple[int, EvaluationError]] = []
            matched = evaluate(*held, counts, failed)
            assert (matched, [(index, error.message) for index, error in failed]) == wanted
    for _, false_counts, counts in forms:
        assert false_counts(counts) == expected


def test_conditions_that_ask_alike_are_looked_up_together() -> None:
    """What an event costs grows with the values that are asked about, not with the conditions."""
    urls = [f"event.s == 'page-{i}'" for i in range(40)]
    lines = [f"event.n > {i}" for i in range(50, 90)]
    same = [f"predicted_churn_risk > 0.7 && event.n <= {i}" for i in range(40)]
    (table,) = compile_group([check(text) for text in urls + lines + same]).parts
    assert isinstance(table, Table)
    assert table.line_count == 3, "the page, the number and the score"


def test_conditions_with_nothing_in_common_are_asked_one_by_one() -> None:
    alike = [f"event.n > {i}" for i in range(40)]
    texts = [one for i, text in enumerate(alike) for one in (text, f"event.n % {i + 7} == 3")]
    group = compile_group([check(text) for text in texts], range(1000, 1080))
    assert [type(part) for part in group.parts] == [Table, Straight]
    found = group.evaluate(*operands(event_n=10), [0] * group.count_total, [])
    assert found == [1000 + number for number, text in enumerate(texts) if _holds(text, 10)]


def _holds(text: str, n: int) -> bool:
    return n > int(text.split("> ")[1]) if ">" in text else n % int(text.split()[2]) == 3


@pytest.mark.parametrize("event_count", [254, 255, 256, 700])
def test_counts_add_up_over_more_events_than_a_lane_can_count(event_count: int) -> None:
    group = compile_group([check(f"event.n > {i} && event.d <= 1.0") for i in range(-1, 29)])
    counts = [0] * group.count_total
    for n in range(event_count):
        group.evaluate(*operands(event_n=n % 40, event_d=float(n % 3)), counts, [])
    expected = [[sum(n % 40 <= i for n in range(event_count)), sum(n % 40 > i and n % 3 > 1 for n in range(event_count))]
                for i in range(-1, 29)]  # fmt: skip
    assert group.false_counts(counts) == expected
    assert group.false_counts(counts) == expected, "reading them changes nothing"


def test_no_conditions_are_a_group_too() -> None:
    assert run([]) == ([], [], {})
