"""Globs: what an author writes for pages, and what it is turned into when a catalog is built."""

from __future__ import annotations

import functools
import random

import pytest

from reflexarc_build.cel import ExpressionError, check_expression
from reflexarc_build.glob import GLOB_LENGTH_MAX
from reflexarc_core.condition import CelType, compile_expression

NAMES = {"event.page_url": CelType("string"), "event.n": CelType("int")}
SEED = 20261126


def literal(glob: str) -> str:
    return '"' + glob.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fits(glob: str, text: str) -> bool:
    checked = check_expression(f"event.page_url.glob({literal(glob)})", NAMES)
    return bool(compile_expression(checked).evaluate({"page_url": text}, {}, {}, {}))


@pytest.mark.parametrize(
    ("glob", "fitting", "others"),
    [
        ("/pricing", ["/pricing"], ["/pricing/", "/pricing\n", "x/pricing", ""]),
        ("/shop/*", ["/shop/", "/shop/hats", "/shop/ü.html"], ["/shop", "/shop/hats/red", "a/shop/x"]),
        ("/shop/*/reviews", ["/shop/hats/reviews", "/shop//reviews"], ["/shop/hats/red/reviews", "/shop/reviews"]),
        ("/shop/**", ["/shop/", "/shop/hats/red?x=1\n"], ["/shop", "/sho"]),
        ("**.pdf", [".pdf", "/a/b.pdf"], ["/a/b.pdf?", "pdf"]),
        ("**/cart/**", ["/cart/", "/de/cart/1"], ["/cart", "cart/"]),
        ("/**/reviews", ["/a/b/reviews", "//reviews"], ["/reviews", "/a/reviews/1"]),
        ("/a?c", ["/abc", "/a/c", "/a😀c", "/a\nc"], ["/ac", "/abbc"]),
        ("/a.b+(c)|^$*", ["/a.b+(c)|^$", "/a.b+(c)|^$x"], ["/aXb+(c)|^$", "/"]),
        ("/search\\?q=\\*", ["/search?q=*"], ["/searchXq=*", "/search?q=x"]),
        ("\\[x\\]\\{y\\}\\\\", ["[x]{y}\\"], ["x"]),
        ("*", ["", "a"], ["/", "a/b"]),
        ("**", ["", "/a/b\n"], []),
    ],
)
def test_a_glob_fits_the_whole_text(glob: str, fitting: list[str], others: list[str]) -> None:
    assert [text for text in fitting if not fits(glob, text)] == []
    assert [text for text in others if fits(glob, text)] == []


def expected(glob: str, text: str) -> bool:
    """A glob by its definition, without a pattern language."""

    @functools.cache
    def rest(i: int, j: int) -> bool:
        if i == len(glob):
            return j == len(text)
        if glob.startswith("**", i):
            return rest(i + 2, j) or (j < len(text) and rest(i, j + 1))
        if glob[i] == "*":
            return rest(i + 1, j) or (j < len(text) and text[j] != "/" and rest(i, j + 1))
        return j < len(text) and (glob[i] in ("?", text[j])) and rest(i + 1, j + 1)

    return rest(0, 0)


def test_random_globs_fit_what_their_definition_says() -> None:
    rng = random.Random(SEED)
    found = {True: 0, False: 0}
    while sum(found.values()) < 6_000:
        glob = "".join(rng.choice(["a", "b", "/", ".", "*", "**", "?"]) for _ in range(rng.randint(1, 5)))
        if "***" in glob:
            continue
        checked = check_expression(f"event.page_url.glob({literal(glob)})", NAMES)
        evaluate = compile_expression(checked).evaluate
        for _ in range(12):
            text = "".join(rng.choice("ab/.\n") for _ in range(rng.randint(0, 5)))
            want = expected(glob, text)
            assert evaluate({"page_url": text}, {}, {}, {}) is want, (glob, text)
            found[want] += 1
    assert min(found.values()) > 500


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('event.page_url.glob("")', "'' is no glob", "== ''"),
        ('event.page_url.glob("/a/***")', "is no glob", "** over several"),
        ('event.page_url.glob("/[ab]")', "is no glob", "\\["),
        ('event.page_url.glob("/{a,b}")', "is no glob", "matches()"),
        ('event.page_url.glob("/a\\\\")', "is no glob", "backslash"),
        ('event.page_url.glob("/\\\\d")', "is no glob", "backslash"),
        (f'event.page_url.glob("{"a" * (GLOB_LENGTH_MAX + 1)}")', "is no glob", "at most 500"),
        ("event.page_url.glob(event.page_url)", "no literal", "in quotes"),
        ('event.n.glob("/a")', "glob does not go with int and string", ""),
        ('glob(event.page_url, "/a")', "glob", ""),
    ],
)
def test_what_is_no_glob_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        check_expression(text, NAMES)
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize(("glob", "overload"), [("/a", "equals"), ("/a/**", "starts_with_string"), ("**a", "ends_with_string"),
                                                ("**a**", "contains_string"), ("/a/*", "matches_string")])  # fmt: skip
def test_a_device_is_given_the_cheapest_way_to_say_it(glob: str, overload: str) -> None:
    assert check_expression(f"event.page_url.glob({literal(glob)})", NAMES).tree[1] == overload


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\\pL|\\pN){300}", "((a{100}){100}){100}", "a{1001}", r"[\\pL\\pN]{1,500}", ".{1000}", "(.{500}){2}",
        "(x+x+)+y{900}.{900}", "(a|b|c|d){0,999}", "a" * 1_001,
    ],
)  # fmt: skip
def test_a_pattern_that_is_a_bomb_is_refused_when_a_catalog_is_built(pattern: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        check_expression(f"event.page_url.matches('{pattern}')", NAMES)
    assert "pattern" in refused.value.message
