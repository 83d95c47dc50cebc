"""The compiled scan of a page's body and the long way through the core's values: the same records byte for byte, or no scan."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any

import numba
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reflexarc.definitions import load_catalog
from reflexarc_core.catalog import Catalog
from reflexarc_core.event import EventType, PropertyType
from reflexarc_server import collect
from reflexarc_server.collect import browser, json_tokens, scanning, usual_body
from reflexarc_server.collect.browser import Entry
from reflexarc_server.collect.identities import Source, installation_of
from reflexarc_server.collect.usual_body import UsualBodies, UsualBody, _Tables
from reflexarc_server.records import web_row

NOW = 1_790_000_000_123
KEYS = {"wk_shop": "shop", "wk_é": "ü"}
VIEW = EventType(
    "view",
    {
        "text": PropertyType("string", required=True), "number": PropertyType("double"), "flag": PropertyType("bool"),
        "count": PropertyType("int"), "kind": PropertyType("string", values=("a", "bé", "")), "texts": PropertyType("string"),
        "time": PropertyType("timestamp"), "list": PropertyType("list(string)"),
    },
)  # fmt: skip
TYPES = {"view": VIEW, "bare": EventType("bare", {}), "identify": EventType("identify", {}), "asks": EventType(
    "asks", {"list": PropertyType("list(string)", required=True)})}  # fmt: skip
CATALOG = Catalog(event_types=TYPES)
usual_body.load()
BODIES = UsualBodies(KEYS)


def _plain() -> ModuleType:
    """The scan as it is written, not compiled: an index that is out of bounds raises."""
    compiled = {module.__name__: module for module in (json_tokens, scanning)}
    numba.config.DISABLE_JIT = True
    try:
        for name in compiled:
            del sys.modules[name]
        return importlib.import_module(scanning.__name__)
    finally:
        numba.config.DISABLE_JIT = False
        sys.modules.update(compiled)
        for name, module in compiled.items():
            setattr(collect, name.rpartition(".")[2], module)


class Checked:
    """Bytes of which none can be read before the first or behind the last."""

    def __init__(self, content: bytes, _: str) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def __getitem__(self, at: int) -> int:
        assert 0 <= at < len(self._content)
        return self._content[at]


PLAIN = _Tables(_plain(), CATALOG, KEYS)
PLAIN._of_bytes = Checked  # type: ignore[misc, assignment]

_texts = st.text(max_size=5) | st.sampled_from([
    "", "a", "bé", 'a "quoted"\\ / text\n\t\r\b\f', "\u0001", "\u2028", "x" * 127, "é" * 64, "x" * 1_791, "x" * 1_792, "é" * 896,
    "x" * 8_193, "\ud83d",
])  # fmt: skip
_numbers = st.integers(-(10**18), 10**18) | st.floats() | st.decimals(-(10**12), 10**12, places=6).map(float) | st.sampled_from([
    0, -0.0, 1, -1, 127, 128, 0.1, 1e-7, 1e22, 999_999_999_999_999, 1_000_000_000_000_000, -999_999_999_999_999, 2**53, 2**63,
    4.35,
])  # fmt: skip
_values = _texts | _numbers | st.booleans() | st.none() | st.lists(_texts, max_size=1) | st.just({})
_times = st.sampled_from([0, -1, 1, NOW - 60_000, NOW + 60_000, NOW + 60_000.5, 1e300, 0.25, True, None, "5"]) | _numbers
_ids = st.sampled_from(["x" * 120, "x" * 121, "x" * 255, "x" * 256, "é" * 60, "é" * 61, "é" * 200, "", 'a"b', 7]) | _texts
_kinds = st.sampled_from(["a", "bé", "", "c", "b\\"])
# What is true of a property or a context now and then, by name.
_ODD = {
    "text": _texts, "number": _numbers, "flag": _values, "count": _numbers, "kind": _kinds, "texts": _values, "time": _numbers,
    "list": st.just(["a"]), "other": _values, "session_id": _texts, "session_step": _numbers, "online": _values,
}  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """What a page sends, most of it usual but for one thing or two; some of it damaged as bytes."""
    events: list[dict[str, Any]] = [
        {"id": f"e{number}", "type": "view", "time": NOW - 5,
         "properties": {"text": "t", "number": 1.5, "count": 3, "flag": True}, "context": {"session_id": "s", "session_step": 2}}
        for number in range(draw(st.integers(1, 3)))
    ]  # fmt: skip
    body: dict[str, Any] = {"key": "wk_shop", "sent": NOW - 3_000, "anonymous_id": "a", "batch": events, "handed": []}
    for _ in range(draw(st.integers(0, 3))):
        event = draw(st.sampled_from(events))
        match draw(st.integers(0, 12)):
            case 0:
                event["id"] = draw(_ids)
            case 1:
                event["type"] = draw(st.sampled_from(["bare", "identify", "asks", "unknown", "", 5]))
            case 2:
                event["time"] = draw(_times)
            case 3:
                event.pop(draw(st.sampled_from(sorted(event))))
            case 4:
                event[draw(st.sampled_from(["properties", "context", "more"]))] = draw(_values)
            case 5:
                body[draw(st.sampled_from(["anonymous_id", "known_id", "known_proof"]))] = draw(_ids)
                body["batch"], body["handed"] = body.pop("batch"), body.pop("handed")
            case 6:
                body["sent"] = draw(_times)
            case 7:
                body["key"] = draw(st.sampled_from(["wk_é", "wk_none", "", 5]))
            case 8:
                body["handed"] = draw(st.sampled_from([["d"], None, {}]))
            case 9 if isinstance(event.get("properties"), dict):
                event["properties"].pop("text", None)
            case 10:  # in another order
                event["id"] = event.pop("id", "e")
            case _:
                name = draw(st.sampled_from(sorted(_ODD)))
                fields = event.get(draw(st.sampled_from(["properties", "properties", "context"])))
                if isinstance(fields, dict):
                    fields[name] = draw(_ODD[name])
    compact = {"separators": (",", ":")} if draw(st.booleans()) else {"indent": draw(st.sampled_from([None, 1]))}
    text = json.dumps(body, ensure_ascii=draw(st.integers(0, 3)) == 0, **compact)  # type: ignore[arg-type]
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(content) - 1))
        piece = draw(st.sampled_from([b"", b"\x00", b"\xc3", *(bytes([byte]) for byte in b'0-.e"\\{}[],: ')]))
        content[at : at + draw(st.integers(0, 2))] = piece
    return bytes(content[: draw(st.integers(1, len(content)))] if draw(st.integers(0, 20)) == 0 else content)


def _same(body: bytes, catalog: Catalog, usual: UsualBody | None) -> bool:
    """Whether it was usual; then the long way takes it whole and makes the same rows."""
    if usual is None:
        return False
    head, entries = browser.read_batch(body)
    found = usual.head
    assert (head.key, head.anonymous_id, head.known_id, head.known_proof, head.handed) == (
        found.key, found.anonymous_id, found.known_id, found.known_proof, found.handed,
    )  # fmt: skip
    subject, installation = browser.subject_of(head), installation_of(head.anonymous_id)
    assert usual.subject == subject
    for entry, its_id, row in zip(entries, usual.ids, usual.rows, strict=True):
        assert isinstance(entry, Entry)
        assert entry.id == its_id
        wanted = web_row(browser.event_of(entry, head, subject, Source(KEYS[head.key]), NOW, catalog), installation, NOW)
        assert row == wanted
    return True


@settings(max_examples=300)
@given(bodies())
@example(b"")
@example(b'{"key":"wk_shop","anonymous_id":"a","batch":[]} x')
@example(b'{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"bare","time":00}]}')
@example(b'{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"view","properties":{"text":"a","text":"b"}}]}')
@example(b'{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"bare"},]}')
@example(b'{"key":"wk_shop","anonymous_id":"a","handed":[1]}')
def test_what_is_usual_is_what_the_long_way_makes(body: bytes) -> None:
    usual = BODIES.read(body, NOW, CATALOG)
    _same(body, CATALOG, usual)
    assert PLAIN.read(body, NOW) == usual


USUAL = [
    b'{"key":"wk_shop","sent":1790000000000,"anonymous_id":"a","batch":[]}',
    '{"key":"wk_é","anonymous_id":"ü","known_id":"k","known_proof":"p","batch":[{"id":"é","type":"bare"}],"handed":[]}'.encode(),
    b' { "key" : "wk_shop" ,\n"anonymous_id"\t:"a", "batch":[ {"id":"1" , "type":"bare", "properties": { } ,"context": {}} ] } ',
    json.dumps({
        "key": "wk_shop", "sent": NOW - 5_000, "anonymous_id": "a" * 255,
        "batch": [
            {"id": "x" * 120, "type": "view", "time": time,
             "properties": {"text": text, "number": number, "count": count, "flag": flag, "kind": kind},
             "context": {"session_step": count, "online": flag, "session_id": text}}
            for time, text, number, count, flag, kind in (
                (NOW - 5_000, 'quoted "\\/\n', 0.1, -5, True, "a"),
                (NOW - 65_000.5, "x" * 1_791, -2, 999_999_999_999_999, False, "bé"),
                (NOW * 2, "é" * 895, 123456789.123456, 0, True, ""), (0, "", -0.25, 128, False, "a"),
            )
        ],
    }, ensure_ascii=False).encode(),
]  # fmt: skip


@pytest.mark.parametrize("body", USUAL)
def test_what_pages_send_is_usual(body: bytes) -> None:
    usual = BODIES.read(body, NOW, CATALOG)
    assert _same(body, CATALOG, usual)
    assert PLAIN.read(body, NOW) == usual


def _body(*events: str, head: str = '"key":"wk_shop","anonymous_id":"a"', behind: str = "") -> bytes:
    return ("{" + head + ',"batch":[' + ",".join(events) + "]" + behind + "}").encode()


NUMBERS = [
    "0", "-0", "-0.0", "00", "01", "-01", "1.", ".5", "-", "1e5", "1E5", "0.1", "4.35", "-2.675", "1.0", "-1", "127", "128", "1-",
    "999999999999999", "1000000000000000", "-999999999999999", "9007199254740993", "0.12345678901234", "0.123456789012345",
    "1.23456789012345", "123456789.123456", "123456789.1234567", "true", "false", "null", "tru", "truex", "falsy", '"5"', "[]",
    "{}",
]  # fmt: skip
EVENTS = [
    "{}", "1", "", '{"id":"1"}', '{"type":"bare"}', '{"type":"bare","id":"1"}', '{"id":"1","type":"view"}',
    '{"id":"1","type":"asks"}',
    '{"id":"1","type":"bare"},', '{"id":"1","type":"bare"}}', "]", '{"id":"1","type":"bare","context":{"session_step":1}}',
    '{"id":"1","type":"bare","context":{"session_step":"1"}}', '{"id":"1","type":"bare","context":{"x":1}}',
]  # fmt: skip
PROPERTIES = [
    "", '"number":1', '"text":"a",', '"text":"a","texts":"b","text":"a"', '"text" "a"', r'"te\nxt":"a"', r'"text":"\x"',
    r'"text":"a","kind":"\n"', r'"text":"a","kind":"b\u00e9"', *(f'"text":"a","kind":"{kind}"' for kind in ("a", "b", "bé", "")),
    *(f'"text":"{text * size}"' for size in (1, 1_790, 1_791, 1_792, 8_192, 8_193) for text in ("x", r"\n")),
    *(f'"text":"a","{name}":{value}' for name in ("number", "count", "flag", "time", "texts") for value in NUMBERS),
]  # fmt: skip
IDS = ["", "a", r"\n", *(sign * size for sign in "xé" for size in (59, 60, 61, 119, 120, 121, 127, 128, 254, 255, 256))]
SENT = ["0", "-5", *(str(NOW + offset) for offset in (-1_000, -999, 999, 1_000)), f"{NOW - 1_000}.5", "1e3", '"1"']


def _bounds() -> list[bytes]:
    """Every bound from both sides, one change a body."""
    made = [_body(event) for event in EVENTS]
    made += [_body('{"id":"1","type":"view","properties":{' + each + "}}") for each in PROPERTIES]
    made += [_body('{"id":"1","type":"bare","time":' + time + "}") for time in (*NUMBERS, *map(str, (NOW - 1, NOW, NOW + 1)))]
    for each in IDS:
        made.append(_body('{"id":"' + each + '","type":"bare"}'))
        made.append(_body(head='"key":"wk_shop","anonymous_id":"' + each + '"'))
        made.append(_body(head='"key":"wk_shop","anonymous_id":"a","known_id":"' + each + '","known_proof":"' + each + '"'))
    late = '{"id":"1","type":"bare","time":' + str(NOW - 70_000) + "}"
    made += [_body(late, head='"key":"wk_shop","sent":' + sent + ',"anonymous_id":"a"') for sent in SENT]
    made += [_body(behind=',"handed":' + each) for each in ("[]", "[ ]", '["d"]', "null", "{}")]
    made += [_body() + behind for behind in (b"}", b" \r\n\t", b"\x00")]
    return [*made, b"{}", b"[]", b"1", b"{", b'{"key":"wk_shop"}', b'{"key":"wk_shop","batch":[],"anonymous_id":"a"}']


def test_every_bound_from_both_sides() -> None:
    usual_count = 0
    bodies = _bounds()
    for body in bodies:
        usual = BODIES.read(body, NOW, CATALOG)
        usual_count += _same(body, CATALOG, usual)
        assert PLAIN.read(body, NOW) == usual, body[:200]
    assert len(bodies) // 5 < usual_count < len(bodies) // 2


def test_nothing_is_read_behind_its_end() -> None:
    for body in USUAL[1:3]:
        for size in range(len(body) - 1):
            assert PLAIN.read(body[:size], NOW) is BODIES.read(body[:size], NOW, CATALOG) is None


def test_a_text_is_usual_when_it_is_text() -> None:
    """UTF-8 and what is nearly that: every first byte, with the bounds of what may follow."""
    follows = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    texts = [bytes([first]) for first in range(256)]
    texts += [bytes([first, then]) for first in range(0xC0, 256) for then in follows]
    texts += [bytes([first, then, 0x80]) for first in range(0xE0, 256) for then in follows]
    texts += [bytes([first, then, 0xBF, last]) for first in range(0xF0, 256) for then in follows for last in (0x7F, 0x80, 0xC0)]
    form = b'{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"view","properties":{"text":"%b"}}]}'
    for text in texts:
        try:
            is_text = json.loads((form % text).decode()) is not None
        except ValueError:
            is_text = False
        usual = BODIES.read(form % text, NOW, CATALOG)
        assert _same(form % text, CATALOG, usual) == is_text, text


def test_what_does_not_fit_its_room_is_read_the_long_way() -> None:
    """500 events and half a megabyte are usual; one more event is not, nor what would be too much for the records."""
    event = '{"id":"%d","type":"bare"}'
    form = '{"key":"wk_shop","anonymous_id":"%s","batch":[%s]}'
    for count, is_usual in ((500, True), (501, False)):
        body = (form % ("a" * 255, ",".join(event % number for number in range(count)))).encode()
        usual = BODIES.read(body, NOW, CATALOG)
        assert (usual is not None) == is_usual
        if is_usual:
            assert _same(body, CATALOG, usual)
        assert PLAIN.read(body, NOW) == usual
    view = '{"id":"%d","type":"view","properties":{"text":"' + "x" * 900 + '","count":1,"number":1}}'
    views = ",".join(view % number for number in range(499))
    body = (form % ("a" * 255, views)).encode()
    assert _same(body, CATALOG, BODIES.read(body, NOW, CATALOG))


def test_another_catalog_is_looked_up_anew() -> None:
    body = b'{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"page_view","properties":{"page_url":"/"}}]}'
    bodies, shipped = UsualBodies(KEYS), load_catalog(None)
    assert bodies.read(body, NOW, CATALOG) is None
    assert _same(body, shipped, bodies.read(body, NOW, shipped))
    assert bodies.read(body, NOW, CATALOG) is None
    assert UsualBodies({}).read(body, NOW, shipped) is None


def test_a_catalog_of_any_size_has_tables() -> None:
    long = {"n" * 600: PropertyType("string")}
    odd = Catalog(
        event_types={"none": EventType("none", {}), "t" * 600: EventType("t" * 600, {}), "long": EventType("long", long)}
    )
    form = '{"key":"wk_shop","anonymous_id":"a","batch":[{"id":"1","type":"%s"}]}'
    bodies = UsualBodies({**KEYS, "wk_long": "k" * 600})
    found: list[Any] = [bodies.read((form % name).encode(), NOW, odd) for name in ("none", "t" * 600, "long")]
    assert [one is not None for one in found] == [True, False, False]
    assert bodies.read((form % "none").replace("wk_shop", "wk_long").encode(), NOW, odd) is None
