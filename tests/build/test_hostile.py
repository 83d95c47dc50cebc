"""Hostile catalogs: each is refused soon, by a mistake with its place; nothing is built of it.

The bound is wide, so that only what runs away breaks it: `python -m pytest tests/build/test_hostile.py -s` prints the times.
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from reflexarc_build.reader import build_text, check_file
from reflexarc_build.source import MISTAKES_MAX, NODE_COUNT_MAX, SourceError, parse
from reflexarc_core.catalog import Catalog

SECONDS_MAX = 10.0
BYTES_MAX = 256 * 1024 * 1024


def trigger(condition: str, more: str = "") -> str:
    quoted = condition.replace("'", "''")
    written = f"{{condition: '{quoted}', on: [page_view], action: x{more}}}"
    return f"include: standard\ntriggers:\n  t: {written}\nactions: {{x: {{}}}}\n"


def many(count: int, definition: str) -> str:
    return "include: standard\ntriggers:\n" + "\n".join(f"  t{n}: {definition.replace('#', str(n))}" for n in range(count)) + "\n"


STEPS = ", ".join(["{event: page_view, count: 30}"] * 50)
HOURS = ", ".join(["{from: '22:00', to: '08:00'}"] * 3_000)
HOSTILE = {
    "lists in lists": ("a: " + "[" * 5_000 + "]" * 5_000, 1, "nested deeper"),
    "maps in maps": ("a: " + "{a: " * 5_000 + "}" * 5_000, 1, "nested deeper"),
    "blocks in blocks": ("\n".join(" " * n + "a:" for n in range(2_000)), 25, "nested deeper"),
    "ten megabytes of text": ('include: standard\nversion: "' + "y" * 10_000_000 + '"', 1, "at most 2097152 bytes"),
    "ten megabytes of keys": ("\n".join(f"key{n}: 1" for n in range(1_000_000)), 1, "at most 2097152 bytes"),
    "a list of a million": ("version: [" + "1," * 1_000_000 + "]", 1, "more than 50,000 values"),
    "a list within the limit": ("version: [" + "1," * (NODE_COUNT_MAX - 10) + "]", 1, "version is a list"),
    "an alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\n", 2, "alias"),
    "a section twice": ("include: standard\ntriggers: {}\ntriggers: {}\n", 3, "stands here twice"),
    "an unknown section": ("include: standard\nplugins: {}\n", 2, "no field 'plugins'"),
    "code in a tag": ("include: standard\nactions: !!python/object/apply:os.system [ls]\n", 2, "not a mapping"),
    "sections of other shapes": ("include: standard\ntriggers: [1]\nfeatures: 3\nactions: true\n", 3, "not a mapping"),
    "parentheses": (trigger("(" * 1_500 + "true" + ")" * 1_500), 3, "nested too deeply"),
    "a long condition": (trigger(" && ".join(["true"] * 2_000)), 3, "at most 4096"),
    "a pattern that repeats": (trigger("event.page_url.matches('(a{1000}){1000}')"), 3, "no RE2 pattern"),
    "a long pattern": (trigger(f"event.page_url.matches('{'a?' * 600}')"), 3, "longer than 1000"),
    "segments that read each other": ("include: standard\nsegments: {a: segments.b, b: segments.a}\n", 2, "segments.b"),
    "a segment that reads itself": ("include: standard\nsegments: {a: segments.a}\n", 2, "segments.a"),
    "four thousand wrong triggers": (many(4_000, "{condition: x > #, on: [no#], action: z}"), 3, "no event type"),
    "a thousand wrong conditions": (many(1_000, "{condition: features.no# > 1.0, on: [page_view], action: z}"), 3, "action"),
    "three thousand features": ("features:\n" + "\n".join(f"  f{n}: {{of: [x]}}" for n in range(3_000)), 3_001, "at most 256"),
    "a payload of thousands": (f"actions: {{x: {{payload: {dict.fromkeys(map(str, range(3_000)), 1)}}}}}", 1, "at most 256"),
    "a pattern of hundreds of steps": (trigger("true", f", pattern: {{steps: [{STEPS}]}}"), 3, "at most 32"),
    "three thousand quiet hours": (trigger("true", f", quiet: [{HOURS}]"), 3, "at most 28"),
    "eight thousand times the same": (trigger("true", f", exit: [{', '.join(['purchase'] * 8_000)}]"), 3, "keep one"),
    "a number of five thousand digits": (trigger("true", f", priority: {'9' * 5_000}"), 3, "priority"),
    "a duration of ages": (trigger("true", ", cooldown: 99999999999w"), 3, "up to 520w"),
    "a control character": ('version: "a\x01"\n', 1, "number 1 is not allowed"),
    "nothing at all": ("", 1, "defines nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_soon_with_its_place(name: str) -> None:
    text, line, message = HOSTILE[name]
    started = time.monotonic()
    with pytest.raises(SourceError) as refused:
        build_text(text, "c.yaml")
    took = time.monotonic() - started
    print(f"{name}: {took * 1000:.0f} ms")
    assert took < SECONDS_MAX
    assert len(refused.value.mistakes) <= MISTAKES_MAX
    found = refused.value.mistakes[0]
    assert (found.file, found.line) == ("c.yaml", line), found
    assert message in f"{found.message} {found.hint}"
    assert len(str(refused.value)) < 20_000, "nobody reads what would fill a screen a hundred times"


LARGE = {
    "two thousand triggers": many(2_000, "{condition: 'features.page_views > #.0', on: [page_view], action: x}"),
    "five hundred with hours": many(
        500, "{condition: 'true', on: [page_view], quiet: {from: '22:00', to: '8:00'}, window: {from: '9:00', to: '12:00'},"
        " action: x}"
    ),
    "a thousand caps over five hundred": many(500, "{condition: 'true', on: [page_view], action: x}")
    + "caps:\n" + "".join(f"  c{n}: {{count: 1, within: 1d}}\n" for n in range(1_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_large_catalog_that_is_right_is_built_and_read_soon(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(LARGE[name] + "actions: {x: {}}\n")
    started = time.monotonic()
    built, notes = check_file(tmp_path / "c.yaml")
    assert Catalog.from_bytes(built.to_bytes()).digest == built.digest
    took = time.monotonic() - started
    print(f"{name}: {took * 1000:.0f} ms")
    assert (took < SECONDS_MAX, notes) == (True, [])


def test_memory_stays_bounded() -> None:
    tracemalloc.start()
    for name in ("a list of a million", "a list within the limit", "ten megabytes of text", "four thousand wrong triggers"):
        with pytest.raises(SourceError):
            build_text(HOSTILE[name][0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES_MAX


@pytest.mark.parametrize("text", ["web: [\n", "a: {b: 1\n", "a: 'b\n", "[\n\n"])
def test_a_source_that_ends_too_soon_is_a_mistake_with_a_line(text: str) -> None:
    with pytest.raises(SourceError, match=r"broken\.yaml:\d+: this is no YAML"):
        parse(text, "broken.yaml")
