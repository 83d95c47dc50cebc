"""CEL's meaning on the device, one hazard of a Python evaluation after the other."""

from __future__ import annotations

import math

import pytest

from reflexarc_core.condition import CelType, EvaluationError, compile_expression
from reflexarc_core.condition.checked import make

from .texts import check, evaluate, fails, operands


@pytest.mark.parametrize(
    ("text", "given", "value"),
    [
        ("predicted_churn_risk > 0.7", {"predicted_churn_risk": 0.71}, True),
        ("predicted_churn_risk > 0.7", {"predicted_churn_risk": 0.7}, False),
        ("content_interest_prediction", {"content_interest_prediction": True}, True),
        ("event.s == 'a' ? 1 : 2", {"event_s": "b"}, 2),
        ("has(event.s)", {}, False),
        ("has(event.s) && event.s == 'x'", {}, False),
        ("has(churn_risk_factors.recency)", {"churn_risk_factors": {"recency": 0.0}}, True),
        ("churn_risk_factors.recency > 0.1", {"churn_risk_factors": {"recency": 0.2}}, True),
        ("subject.known", {"subject_known": True}, True),
        ("event.tags.filter(t, t != 'a').map(t, t + '!')", {"event_tags": ["a", "b"]}, ["b!"]),
        ("event.tags.map(t, size(t) > 1, t.upperAscii())", {"event_tags": ["a", "bc"]}, ["BC"]),
        ("event.ns.exists_one(x, x > 1)", {"event_ns": [1, 2, 3]}, False),
        ("event.ns.all(x, event.ns.exists(y, y == x))", {"event_ns": [1, 2]}, True),
        ("'k' in {'k': 1}", {}, True),
    ],
)
def test_the_language_works(text: str, given: dict[str, object], value: object) -> None:
    assert evaluate(text, **given) == value


class TestAbsentOperands:
    def test_an_absent_operand_is_an_error_that_names_it_and_never_zero(self) -> None:
        error = fails("features.views < 1.0")
        assert (error.kind, error.operand_name, error.message) == ("no_value", "features.views", "no value: features.views")

    @pytest.mark.parametrize("text", ["features.views > 1.0 && event.b", "event.b && features.views > 1.0"])
    def test_false_absorbs_an_error_on_either_side_of_and(self, text: str) -> None:
        assert evaluate(text, event_b=False) is False
        assert fails(text, event_b=True).operand_name == "features.views"

    @pytest.mark.parametrize("text", ["features.views > 1.0 || event.b", "event.b || features.views > 1.0"])
    def test_true_absorbs_an_error_on_either_side_of_or(self, text: str) -> None:
        assert evaluate(text, event_b=True) is True
        assert fails(text, event_b=False).operand_name == "features.views"

    def test_exists_and_all_absorb_errors_of_single_elements(self) -> None:
        assert evaluate("event.ns.exists(x, 6 / x == 2)", event_ns=[0, 3]) is True
        assert evaluate("event.ns.all(x, 6 / x == 2)", event_ns=[0, 1]) is False
        assert fails("event.ns.exists(x, 6 / x == 2)", event_ns=[0, 1]).kind == "arithmetic"

    def test_exists_one_and_filter_absorb_nothing(self) -> None:
        assert fails("event.ns.exists_one(x, 6 / x == 2)", event_ns=[3, 0]).kind == "arithmetic"
        assert fails("event.ns.filter(x, 6 / x == 2)", event_ns=[3, 0]).kind == "arithmetic"

    def test_an_absent_operand_in_a_value_that_is_not_looked_at_is_still_an_error(self) -> None:
        assert fails("[2].map(y, event.n).exists(x, event.b)", event_b=True).operand_name == "event.n"

    def test_a_ternary_evaluates_only_the_branch_it_takes(self) -> None:
        assert evaluate("event.b ? 1 : event.n", event_b=True) == 1
        assert fails("event.b ? 1 : event.n", event_b=False).operand_name == "event.n"


class TestNumbers:
    @pytest.mark.parametrize("text", ["event.n + 1", "event.n * 2", "event.n - -1", "-(event.n * -1 - 1)"])
    def test_ints_overflow_instead_of_growing(self, text: str) -> None:
        assert fails(text, event_n=2**63 - 1).kind == "arithmetic"

    @pytest.mark.parametrize(("a", "b", "quotient", "rest"), [(7, 2, 3, 1), (-7, 2, -3, -1), (7, -2, -3, 1), (-7, -2, 3, -1)])
    def test_int_division_truncates_and_the_rest_has_the_dividends_sign(self, a: int, b: int, quotient: int, rest: int) -> None:
        assert evaluate("event.n / event.ns[0]", event_n=a, event_ns=[b]) == quotient
        assert evaluate("event.n % event.ns[0]", event_n=a, event_ns=[b]) == rest

    def test_int_division_by_zero_is_an_error_and_decides_nothing(self) -> None:
        assert fails("event.n / 0 > 1 && true", event_n=1).kind == "arithmetic"
        assert fails("event.n % 0 > 1", event_n=1).kind == "arithmetic"
        assert fails("event.n / -1", event_n=-(2**63)).kind == "arithmetic"

    @pytest.mark.parametrize(("a", "b", "value"), [(1.0, 0.0, math.inf), (1.0, -0.0, -math.inf), (-1.0, 0.0, -math.inf)])
    def test_double_division_by_zero_is_infinite(self, a: float, b: float, value: float) -> None:
        assert evaluate("event.d / features.views", event_d=a, features_views=b) == value

    def test_zero_by_zero_is_nan(self) -> None:
        assert math.isnan(evaluate("event.d / features.views", event_d=0.0, features_views=0.0))

    def test_nan_equals_nothing_not_even_itself_in_containers(self) -> None:
        given = {"event_d": math.nan, "event_ds": [math.nan]}
        given["event_ds"] = [given["event_d"]]  # the very same object: Python's containers would look at identity
        assert evaluate("event.d == event.d", **given) is False
        assert evaluate("event.d in event.ds", **given) is False
        assert evaluate("event.ds == event.ds", **given) is False
        assert evaluate("event.ds in [event.ds]", **given) is False
        assert evaluate("[event.ds] != [event.ds]", **given) is True

    @pytest.mark.parametrize("value", [9.3e18, -9.3e18, math.inf, math.nan])
    def test_a_double_outside_64_bits_is_no_int(self, value: float) -> None:
        assert fails("int(event.d)", event_d=value).kind == "arithmetic"


class TestText:
    def test_a_dollar_does_not_match_before_a_final_newline(self) -> None:
        assert evaluate("event.s.matches('b$')", event_s="b") is True
        assert evaluate("event.s.matches('b$')", event_s="b\n") is False

    def test_digits_and_words_in_patterns_are_ascii(self) -> None:
        assert evaluate(r"event.s.matches('\\d')", event_s="１") is False
        assert evaluate(r"event.s.matches('^\\w+$')", event_s="Straße") is False

    def test_a_pattern_that_would_backtrack_for_ever_returns(self) -> None:
        assert evaluate("event.s.matches('^(a+)+$')", event_s="a" * 5_000 + "!") is False

    def test_a_pattern_that_is_no_literal_may_be_none(self) -> None:
        assert evaluate("'abc'.matches(event.s)", event_s="^a") is True
        assert fails("'abc'.matches(event.s)", event_s="(").kind == "pattern"

    @pytest.mark.parametrize("bomb", [r"(\pL|\pN){300}", "((a{100}){100}){100}", ".{1000}", "a" * 1_001, r"[\pL\pN]{1,500}"])
    def test_a_pattern_that_is_a_bomb_is_an_error_on_the_device_too(self, bomb: str) -> None:
        assert fails("'abc'.matches(event.s)", event_s=bomb).kind == "pattern"

    def test_a_large_pattern_is_given_up_while_it_is_compiled_and_not_after(self) -> None:
        assert "compile failed" in fails("'abc'.matches(event.s)", event_s=r"(\pL|\pN){300}").message

    def test_case_changes_ascii_letters_only(self) -> None:
        assert evaluate("event.s.lowerAscii()", event_s="ÀBÇ") == "ÀbÇ"
        assert evaluate("event.s.upperAscii()", event_s="straße") == "STRAßE"

    def test_positions_count_characters_and_are_errors_outside(self) -> None:
        assert evaluate("event.s.charAt(1)", event_s="😀z") == "z"
        assert evaluate("event.s.charAt(2)", event_s="😀z") == ""
        assert fails("event.s.charAt(3)", event_s="😀z").kind == "range"
        assert fails("event.s.substring(2, 1)", event_s="abc").kind == "range"

    def test_substring_may_end_where_the_text_ends(self) -> None:
        assert evaluate("event.s.substring(1, 3)", event_s="abc") == "bc"

    def test_a_negative_index_is_not_the_end_of_the_list(self) -> None:
        assert fails("event.tags[event.n]", event_tags=["a"], event_n=-1).kind == "range"

    def test_a_missing_map_key_is_an_error(self) -> None:
        assert fails("churn_risk_factors.recency > 0.1", churn_risk_factors={}).kind == "no_key"

    def test_the_same_key_twice_is_an_error(self) -> None:
        assert fails("{event.s: 1, 'a': 2}.size() > 0", event_s="a").kind == "no_key"


class TestTimes:
    def test_operands_and_results_are_milliseconds(self) -> None:
        assert evaluate("event.at + duration('1h')", event_at=1_000) == 3_601_000
        assert evaluate("event.at - timestamp('1970-01-01T00:00:00Z')", event_at=1_500) == 1_500
        assert evaluate("[event.at, event.at]", event_at=7) == [7, 7]

    def test_a_constant_counts_nanoseconds(self) -> None:
        assert evaluate("timestamp('1970-01-01T00:00:00.000000001Z') > event.at", event_at=0) is True

    def test_an_offset_that_no_checker_saw_is_an_error(self) -> None:
        tree = ("call", "timestamp_to_hours_with_tz", ("const", "timestamp", 0), ("const", "string", "Europe/Vienna"))
        with pytest.raises(EvaluationError):
            compile_expression(make("x", CelType("int"), tree)).evaluate(*operands())

    def test_accessors_are_utc(self) -> None:
        assert evaluate("event.at.getHours()", event_at=-1) == 23
        assert evaluate("event.at.getDayOfWeek()", event_at=0) == 4
        assert evaluate("event.at.getMonth()", event_at=951_782_400_000) == 1
        assert evaluate("event.took.getMinutes()", event_took=-90_000) == -1

    def test_a_duration_over_292_years_is_an_error(self) -> None:
        assert fails("event.took + event.took > event.took", event_took=9_000_000_000_000).kind == "arithmetic"

    def test_text_where_a_time_was_declared_is_an_error_and_no_long_text(self) -> None:
        assert fails("event.at > timestamp(0)", event_at="1970").kind == "type"


class TestLimits:
    def test_iterations_are_counted_over_nested_macros(self) -> None:
        wide = list(range(256))
        assert fails("event.ns.all(x, event.ns.all(y, x + y >= 0))", event_ns=wide).kind == "limit"
        assert evaluate("event.ns.all(x, event.ns.exists(y, y == 0))", event_ns=wide) is True

    def test_text_does_not_grow_without_end(self) -> None:
        doubled = "[event.s]" + ".map(x, x + x)" * 25 + "[0].size()"
        assert fails(doubled, event_s="ab").kind == "limit"
        assert fails("event.s.replace('', event.s).size()", event_s="x" * 5_000).kind == "limit"

    def test_a_list_does_not_grow_without_end(self) -> None:
        assert fails("[event.ns]" + ".map(x, x + x)" * 20 + "[0].size()", event_ns=[1, 2]).kind == "limit"


@pytest.mark.parametrize("value", [None, "text", b"bytes", 1, 1.5, [], {}, object()])
@pytest.mark.parametrize(
    "text",
    [
        "event.s.startsWith('a') && event.n + 1 > 2",
        "event.at > timestamp(0)",
        "event.tags.exists(t, t == 'a')",
        "event.tags[0] == 'a'",
        "{event.s: 1}.size() > 0",
        "event.b ? 1 : 2",
        "event.tags.join() == event.s",
        "event.s in event.tags",
        "event.took.getHours() == 1",
        "churn_risk_factors['a'] > 1.0",
        "event.s.matches(event.s)",
        "event.at",
    ],
)
def test_a_host_that_passes_another_type_gets_a_value_or_an_evaluation_error(text: str, value: object) -> None:
    names = ("event_s", "event_n", "event_at", "event_tags", "event_b", "event_took", "churn_risk_factors")
    try:
        compile_expression(check(text)).evaluate(*operands(**dict.fromkeys(names, value)))
    except Exception as error:
        assert type(error).__name__ == "EvaluationError"  # noqa: PT017


def test_constants_are_folded_once() -> None:
    source = compile_expression(
        check("event.at > timestamp('2026-01-01T00:00:00Z') - duration('24h') && 60 * 60 > event.n")
    ).source
    assert "as_timestamp" not in source
    assert "3600" in source


@pytest.mark.parametrize("text", ["'", '"', "\\", "\n", "\x00", "{0}", "}", "')); import os #", "\u2028", "é😀"])
def test_no_text_of_an_author_becomes_code(text: str) -> None:
    literal = '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'
    assert evaluate(f"event.s == {literal}", event_s=text) is True
    assert evaluate(f"event.s in [{literal}, 'other']", event_s=text) is True
    assert evaluate(f"event.s + {literal}", event_s="") == text
