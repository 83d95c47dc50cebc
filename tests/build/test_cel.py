"""What an author is told: every refusal says where and what to write instead."""

from __future__ import annotations

import contextlib

import pytest

from reflexarc_build.cel import ExpressionError, check_expression
from reflexarc_core.condition import CelType
from reflexarc_core.errors import DefinitionError

NAMES = {
    name: CelType.parse(kind)
    for name, kind in {
        "event.page_url": "string",
        "event.pageUrl": "string",
        "event.n": "int",
        "event.tags": "list(string)",
        "event.at": "timestamp",
        "event.took": "duration",
        "event.scores": "map(string,double)",
        "features.usage_frequency": "double",
        "segments.vip": "bool",
        "subject.known": "bool",
        "predicted_churn_risk": "double",
        "churn_risk_factors": "map(string,double)",
    }.items()
}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("predicted_churn_risk > 1", "> does not go with double and int", "write 1.0 instead of 1"),
        ("1 < predicted_churn_risk", "< does not go with int and double", "write 1.0 instead of 1"),
        ("event.n > 3.5", "> does not go with int and double", "instead of 3.5"),
        ("event.n > predicted_churn_risk", "int and double", "double(...)"),
        ("event.page_ulr == 'x'", "nothing is named event.page_ulr", "event.page_url"),
        ("features.usage == 1.0", "nothing is named features.usage", "features.usage_frequency"),
        ("predicted_chrun_risk > 0.7", "nothing is named predicted_chrun_risk", "predicted_churn_risk"),
        ("evnt.n > 1", "nothing is named evnt.n", "event.n"),
        ("event", "stands alone", "event.NAME"),
        ("event.n && true", "&& does not go with int and bool", "true or false"),
        ("event.n +", "Syntax error", ""),
        ("has(predicted_churn_risk)", "has()", "has(event.NAME)"),
        ("event.page_url.matches('(')", "no RE2 pattern", "RE2"),
        (r"event.page_url.matches('(?=a)')", "no RE2 pattern", "RE2"),
        ("event.at > timestamp('yesterday')", "no timestamp", "2026-01-31T08:00:00Z"),
        ("event.at > timestamp('2026-13-01T00:00:00Z')", "no timestamp", "month"),
        ("event.took > duration('a day')", "no duration", "1h30m"),
        ("event.took > duration('3000000h')", "292 years", "2562047h"),
        ("event.at > timestamp('0001-01-01T00:00:00+01:00')", "outside the years 1 to 9999", "0001"),
        ("event.at > timestamp(event.page_url)", "no literal", "declare the property"),
        ("event.at.getHours('Europe/Vienna') == 1", "getHours with the time zone 'Europe/Vienna'", '"+02:00"'),
        ("event.at.getSeconds('CET') == 1", "getSeconds with the time zone 'CET'", '"+02:00"'),
        ("event.at.getHours('+24:00') == 1", "time zone '+24:00'", '"+02:00"'),
        ("event.at.getHours(event.page_url) == 1", "time zone that is no literal", '"+02:00"'),
        ("event.at > event.n", "> does not go with timestamp and int", ""),
        ("event.n == null", "does not go", ""),
        ("[null].size() == 1", "null is outside", "has(event.NAME)"),
        ("null == null", "null is outside", "has(event.NAME)"),
        ("[]", "several or unknown types", "one type each"),
        ("{1.5: 'a'}.size() == 1", "keys of double", "bool, int, uint, string"),
        ("{b'a': 'a'}.size() == 1", "keys of bytes", "bool, int, uint, string"),
        ("[1] == [1.0]", "list(int) and list(double)", ""),
        ("5.5 % 2.0 > 1.0", "% does not go with double and double", "int()"),
        ("event['n'] == 1", "[] does not go with", "event.NAME"),
        ("event.page_url[0] == 'a'", "[] does not go with string and int", "lists and maps"),
        ("[1, 'a'].size() == 1", "several or unknown types", "one type each"),
        ("dyn(event.n) == 1", "unknown types", ""),
        ("type(event.n) == int", "outside the profile", ""),
        ("int(event.took) > 1", "duration_to_int64", "getSeconds()"),
        ("duration(90) > event.took", "int64_to_duration", '"90s"'),
        ("duration(event.page_url) > event.took", "duration() of a value that is no literal", '"1h30m"'),
        ("optional.of(1).hasValue()", "the extension optional", "has(event.NAME)"),
        ("event.?n.hasValue()", "optional values", "has(event.NAME)"),
        ("[?1].size() == 1", "optional values", "has(event.NAME)"),
        ("cel.bind(x, 1, x + 1) == 2", "the extension cel", "segment"),
        ("math.greatest(1, 2) == 2", "the extension math", "a > b ? a : b"),
        ("sets.contains([1], [1])", "the extension sets", "exists"),
        ("lists.range(3).size() == 3", "the extension lists", "map"),
        ("base64.encode(b'a') == ''", "the extension base64", ""),
        ("regex.replace('a', 'b', 'c') == ''", "the extension regex", "matches()"),
        ("event.tags.all(i, t, t != '')", "all over two variables", "one variable"),
        ("event.tags.transformList(i, t, t).size() == 1", "transformList over two variables", "one variable"),
        ("google.protobuf.Timestamp{seconds: 5} == event.at", "messages (google.protobuf.Timestamp)", "timestamp("),
        ("int", "is a type, not a value", "types are outside"),
        ("'%s'.format([event.n]) == ''", "string_format", "+"),
        ("reflexarc.names.event{n: 1}.n == 1", "a message is no value", "fields"),
        ("event == event", "no value", "fields"),
        ("foo(1)", "nothing is named foo", ""),
        ("event.n.x == 1", "", ""),
    ],
)
def test_a_refusal_says_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        check_expression(text, NAMES)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert isinstance(refused.value, DefinitionError)


def test_a_refusal_says_where() -> None:
    for text in ("segments.vip &&\n  event.nope > 1", "segments.vip &&\n  timestamp('x') > event.at"):
        with pytest.raises(ExpressionError) as refused:
            check_expression(text, NAMES)
        assert refused.value.line == 2
        assert refused.value.column > 2


@pytest.mark.parametrize("text", ["", " ", "x" * 10_000, "(" * 300 + "true" + ")" * 300, "!" * 3_000 + "true", "\x00", "true //"])
def test_odd_texts_are_refused_or_checked_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        check_expression(text, NAMES)


@pytest.mark.parametrize(
    ("text", "kind", "reads"),
    [
        ("predicted_churn_risk > 0.7", "bool", ("predicted_churn_risk",)),
        ("has(event.page_url) && subject.known", "bool", ("event.page_url", "subject.known")),
        ("event.pageUrl + event.page_url", "string", ("event.pageUrl", "event.page_url")),
        ("event.tags.map(t, size(t))", "list(int)", ("event.tags",)),
        ("churn_risk_factors.recency", "double", ("churn_risk_factors",)),
        ("has(event.scores.a) ? event.scores.a : event.scores['b']", "double", ("event.scores",)),
        ("event.at - event.took", "timestamp", ("event.at", "event.took")),
        ("churn_risk_factors", "map(string,double)", ("churn_risk_factors",)),
        ("event.tags == []", "bool", ("event.tags",)),
        ("[1, 2].exists(event, event == 1)", "bool", ()),
    ],
)
def test_types_and_reads(text: str, kind: str, reads: tuple[str, ...]) -> None:
    checked = check_expression(text, NAMES)
    assert (str(checked.result_type), checked.reads, checked.text) == (kind, reads, text)


def test_the_tree_is_the_same_every_time() -> None:
    text = "segments.vip && event.tags.exists(t, t in ['a', 'b']) && event.n > 1"
    assert len({str(check_expression(text, dict(reversed(NAMES.items()))).to_json()) for _ in range(5)}) == 1
    assert check_expression(text, NAMES).to_json() == check_expression(text, {**NAMES, "other": CelType("int")}).to_json()


def test_a_name_that_is_a_namespace_too_is_refused() -> None:
    with pytest.raises(DefinitionError, match="both a name and a namespace"):
        check_expression("true", {"event": CelType("int"), "event.n": CelType("int")})
