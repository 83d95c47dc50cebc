"""What a person reads of a condition: its clauses, why it is false, and the lines of its models."""

from __future__ import annotations

import pytest

from reflexarc_core.condition import clauses, compare_lines, explain, line_misuse

from .texts import check, operands


@pytest.mark.parametrize(
    "text",
    [
        "predicted_churn_risk > 0.7",
        "!(event.b || segments.vip)",
        "(event.n + 1) * 2 - -3 > 4 % 3",
        "event.n - (1 - 2) == 0",
        'event.s.matches("^/p") && !has(event.n)',
        "event.b ? event.n > 1 : event.n < 1",
        '"a" in event.tags || event.ns[0] in [1, 2]',
        'event.at + duration("1h") < timestamp("2026-01-01T00:00:00Z")',
        'event.tags.filter(t, t != "a").map(u, u + "b").size() == 1',
        'churn_risk_factors["a"] > 0.5 && event.s.replace("a", "b") == string(event.n)',
        "-event.n == -(-1)",
        "int(7u) == 1",
        "event.ns.exists(x, event.ns.all(y, x == y)) || event.ns.exists_one(x, x == 1)",
        '{"a": 1}.size() == 1',
    ],
)
def test_the_text_of_a_tree_means_the_tree(text: str) -> None:
    checked = check(text)
    again = check(" && ".join(f"({part})" for part, _ in clauses(checked)))
    assert again.tree == checked.tree


def test_a_top_level_conjunction_has_its_clauses_however_it_is_bracketed() -> None:
    checked = check("(event.b && (event.n > 1 && segments.vip)) && (event.n < 9 || event.b)")
    assert [text for text, _ in clauses(checked)] == ["event.b", "event.n > 1", "segments.vip", "event.n < 9 || event.b"]


def test_explain_tells_each_clause_with_what_it_saw() -> None:
    checked = check("features.views > 3.0 && event.b && features.visits > 1.0")
    first, second, third = explain(checked, *operands(features_views=2.0, event_b=True))
    assert (first.text, first.outcome, dict(first.values)) == ("features.views > 3.0", "false", {"features.views": 2.0})
    assert (second.outcome, dict(second.values)) == ("true", {"event.b": True})
    assert (third.outcome, dict(third.values), third.message) == ("error", {}, "no value: features.visits")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("predicted_churn_risk > 0.7", (0.7,)),
        ("0.7 < predicted_churn_risk && segments.vip", (0.7,)),
        ("predicted_churn_risk > 0.9 || (segments.vip && predicted_churn_risk > 0.7)", (0.7, 0.9)),
        ("event.tags.exists(t, t == 'a' && predicted_churn_risk > 0.7)", (0.7,)),
        ("segments.vip ? predicted_churn_risk > 0.5 : predicted_churn_risk > 0.7", (0.5, 0.7)),
        ("features.views > 3.0", ()),
    ],
)
def test_a_score_strictly_over_a_literal_is_a_line(text: str, lines: tuple[float, ...]) -> None:
    checked = check(text)
    assert compare_lines(checked, "predicted_churn_risk") == lines
    assert line_misuse(checked, "predicted_churn_risk") == ""


@pytest.mark.parametrize(
    "text",
    [
        "predicted_churn_risk >= 0.7",
        "predicted_churn_risk < 0.7",
        "predicted_churn_risk == 0.7",
        "!(predicted_churn_risk > 0.7)",
        "(predicted_churn_risk > 0.7) == segments.vip",
        "predicted_churn_risk > features.views",
        "predicted_churn_risk * 2.0 > 1.0",
        "predicted_churn_risk in [0.7]",
        "predicted_churn_risk > 0.7 ? segments.vip : event.b",
        "predicted_churn_risk",
        "event.tags.exists_one(t, predicted_churn_risk > 0.7)",
        "[predicted_churn_risk > 0.7][0]",
        "predicted_churn_risk > 0.7 && predicted_churn_risk < 0.9",
    ],
)
def test_every_other_use_of_a_score_is_named(text: str) -> None:
    assert "predicted_churn_risk" in line_misuse(check(text), "predicted_churn_risk")
