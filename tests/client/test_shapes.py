"""Shapes: a look that lets an event pass says just what `EventType.conform` says of it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from reflexarc import Client
from reflexarc.shapes import SHAPES_MAX, Shapes
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import STRING_BYTES_MAX, EventType, PropertyType
from reflexarc_core.record import EventInput

DECLARED = EventType(
    "view",
    {
        "url": PropertyType("string", required=True),
        "title": PropertyType("string"),
        "kind": PropertyType("string", values=("a", "b")),
        "seconds": PropertyType("double"),
        "count": PropertyType("int"),
        "when": PropertyType("timestamp"),
        "known": PropertyType("bool"),
        "tags": PropertyType("list(string)"),
    },
)

# Around every limit there is, and of types that only look alike.
VALUES = st.one_of(
    st.sampled_from([
        "", "plain", "a", "b", "é", "\ud800", "x" * STRING_BYTES_MAX, "x" * (STRING_BYTES_MAX + 1), "é" * STRING_BYTES_MAX,
        0, 1, 2**53, -(2**53), 2**53 + 1, -(2**53) - 1, 10**400, 0.0, -0.5, 1e308, float("nan"), float("inf"), -float("inf"),
        True, False, None, b"bytes", ["t"], {}, type("Text", (str,), {})("sub"), type("Number", (int,), {})(3),
    ]),
    st.text(max_size=20), st.integers(), st.floats(),
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {"url": st.just("/") | VALUES},
    optional={name: VALUES for name in [*DECLARED.properties, "undeclared"] if name != "url"},
)


@given(st.lists(EVENTS, max_size=4), st.booleans())
def test_what_passes_is_what_conform_gives_back(events: list[dict[str, object]], encoded: bool) -> None:
    shapes = Shapes(None, {"view": DECLARED}, {"view"} if encoded else frozenset())
    for event in events:
        fits = shapes.known.get(("view", *event, *map(type, event.values()))) or shapes.learn("view", event)
        if fits is None or not fits(*event.values()):
            continue
        texts = [value for value in event.values() if type(value) is str]
        if encoded and not all(value.isascii() and len(value) <= STRING_BYTES_MAX for value in texts):
            continue  # whoever asks for such a look sees this when the event is encoded
        conformed, unknown_count = DECLARED.conform(event)
        assert unknown_count == 0
        assert list(conformed.items()) == list(event.items())
        assert [type(value) for value in conformed.values()] == [type(value) for value in event.values()]


def test_a_usual_event_passes() -> None:
    shapes = Shapes(None, {"view": DECLARED}, frozenset())
    event = {"url": "/a", "seconds": 1.5, "count": 3, "kind": "a", "known": True, "title": "A"}
    fits = shapes.learn("view", event)
    assert fits is not None and fits(*event.values())
    for seconds in (float("nan"), float("inf"), -float("inf")):
        assert not fits("/a", seconds, 3, "a", True, "A")
    assert not fits("/a", 1.5, 3, "c", True, "A")
    assert not fits("/a", 1.5, 2**53 + 1, "a", True, "A")
    assert not fits("/a", 1.5, 3, "a", True, "é")


def test_names_that_are_anybodys_take_no_place() -> None:
    shapes = Shapes(None, {"view": DECLARED}, frozenset())
    assert shapes.learn("other", {"url": "/"}) is None
    assert shapes.learn("view", {"url": "/", "undeclared": 1}) is None
    assert shapes.learn("view", {"title": "no url"}) is None
    for number in range(SHAPES_MAX):
        shapes.known["view", number] = lambda: True
    assert shapes.learn("view", {"url": "/"}) is None


def test_conform_is_as_strict() -> None:
    """The other way round: what the look is too careful for goes the whole way and may be taken there."""
    assert DECLARED.conform({"url": "é"}) == ({"url": "é"}, 0)
    try:
        DECLARED.conform({"url": "\ud800"})
    except InvalidEventError:
        return
    raise AssertionError("a text that is none was taken")


def test_an_event_that_nothing_waits_for_is_looked_at_as_bytes(tmp_path: Path) -> None:
    with Client(tmp_path) as client:
        assert not client.runtime.waits_for("page_view"), "else this shows nothing"
        usual = {"page_url": "/a"}
        assert client.track("page_view", usual).accepted
        for text in ("\ud800", "x" * (STRING_BYTES_MAX + 1), "é" * (STRING_BYTES_MAX // 2 + 1)):
            refused = client.track("page_view", {"page_url": text})
            assert not refused.accepted and refused.reason.startswith("invalid_event: page_view.page_url")
        for taken in ("é", "x" * STRING_BYTES_MAX, "é" * (STRING_BYTES_MAX // 2)):
            assert client.track("page_view", {"page_url": taken}).accepted
        assert client.track("page_view", MappingProxyType(usual)).accepted
        records = [record for _, record in client.log.records(0) if isinstance(record, EventInput)]
        kept = [str(record.event.properties["page_url"]) for record in records if record.event.event_type == "page_view"]
        assert kept == ["/a", "é", "x" * STRING_BYTES_MAX, "é" * (STRING_BYTES_MAX // 2), "/a"]
