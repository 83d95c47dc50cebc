"""Values: dataclasses to everybody, frozen, and the same bytes in a store."""

from __future__ import annotations

import copy
import pickle
from dataclasses import field, fields, is_dataclass, replace

import msgspec
import pytest

from reflexarc_core.decision import Decision, Reason, ScoreEvidence
from reflexarc_core.event import Event
from reflexarc_core.value import changeable, frozen


@frozen
class Point:
    """Two numbers and what was said of them."""

    x: int
    y: float = 0.5
    said: dict[str, int] = field(default_factory=dict)


def test_it_is_a_dataclass_to_everybody() -> None:
    point = Point(1)
    assert is_dataclass(Point) and [one.name for one in fields(point)] == ["x", "y", "said"]
    assert repr(point) == "Point(x=1, y=0.5, said={})"
    assert replace(point, x=2) == Point(2, said={})
    with pytest.raises(TypeError):
        replace(point, w=2)  # type: ignore[call-arg]
    assert Point(1) != Point(2) and point != (1, 0.5, {})
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0.5)
    assert hash(Point(1, said=())) == hash(Point(1, said=()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        hash(point)


def test_it_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")
    assert point == Point(1)


def test_each_has_its_own_default() -> None:
    Point(1).said["a"] = 1
    assert Point(1).said == {}


@pytest.mark.parametrize("given", [(), (1, 2.0, {}, 4)])
def test_a_wrong_number_of_fields_is_refused(given: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="argument"):
        Point(*given)  # type: ignore[arg-type]


def test_it_is_copied_and_pickled() -> None:
    evidence = ScoreEvidence("churn", "abc", 7, 0.75, 0.7, None, 0.8, "host")
    assert copy.copy(evidence) == copy.deepcopy(evidence) == pickle.loads(pickle.dumps(evidence)) == evidence


def test_a_store_keeps_the_same_bytes_of_it_as_of_any_dataclass() -> None:
    event = Event("e", "page_view", "known:1", 5, {"page_url": "/", "tags": ["a"]})
    assert msgspec.to_builtins(event) == {
        "event_id": "e", "event_type": "page_view", "subject": "known:1", "event_time": 5,
        "properties": {"page_url": "/", "tags": ["a"]}, "context": {}, "source_position": -1,
    }  # fmt: skip
    decision = Decision("d", 0, "t", "known:1", "e", Reason.FIRED, 5, "c", "edge", True, payload={"a": 1})
    for made in (event, decision):
        packed = msgspec.msgpack.encode(made)
        back = msgspec.msgpack.decode(packed, type=type(made))
        assert back == made and type(back) is type(made)
        with pytest.raises(AttributeError):
            back.event_id = "x"  # type: ignore[misc, union-attr]


@changeable
class Tally:
    """What is counted."""

    name: str
    counts: list[int] = field(default_factory=list)


def test_one_that_may_change_is_a_dataclass_too() -> None:
    tally = Tally("a")
    tally.name = "b"
    tally.counts.append(1)
    assert tally == Tally("b", [1]) and Tally("b").counts == []
    assert [one.name for one in fields(tally)] == ["name", "counts"]
    with pytest.raises(AttributeError):
        tally.other = 1  # type: ignore[attr-defined]
