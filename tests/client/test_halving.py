"""One bad record among many is alone after log2(n) + 1 further calls, whatever is refused beside it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from reflexarc.halving import Halving

NORMAL = 500


def deliver(numbers: list[int], bad: set[int], size_max: int = NORMAL) -> tuple[list[int], list[int], list[int]]:
    """(delivered in order, buried in order, numbers sent first in each call) by a server that refuses whatever holds a bad
    one, or is longer than it likes."""
    halving, left = Halving(), list(numbers)
    delivered: list[int] = []
    buried: list[int] = []
    calls: list[int] = []
    while left:
        sent = left[: halving.count(NORMAL)]
        calls.append(sent[0])
        assert len(calls) < 50 * len(numbers), "it never ends"
        if bad & set(sent) or len(sent) > size_max:
            if halving.refused(sent):
                assert sent[0] in bad
                halving.buried(sent[0])
                buried.append(sent[0])
                left = left[1:]
        else:
            delivered += sent
            left = left[len(sent) :]
            halving.passed(sent[-1])
    return delivered, buried, calls


@given(st.integers(1, NORMAL), st.data())
def test_one_bad_record_waits_for_no_more_than_log2_and_one_calls(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(1, count))
    numbers = list(range(1, count + 1))
    delivered, buried, calls = deliver(numbers, {bad})
    assert delivered == [n for n in numbers if n != bad]
    assert buried == [bad]
    up_to_bad = max(i for i, first in enumerate(calls) if first <= bad)
    assert up_to_bad <= math.ceil(math.log2(count)) + 1


@given(st.integers(1, 300), st.sets(st.integers(1, 300), max_size=40), st.integers(1, NORMAL))
def test_whatever_is_bad_the_good_ones_go_in_order_and_nothing_else_is_buried(count: int, bad: set[int], size_max: int) -> None:
    numbers = list(range(1, count + 1))
    delivered, buried, _ = deliver(numbers, bad, size_max)
    assert delivered == [n for n in numbers if n not in bad]
    assert buried == sorted(bad & set(numbers))


def test_what_was_refused_together_for_its_size_alone_is_not_bad() -> None:
    delivered, buried, _ = deliver(list(range(1, 9)), set(), size_max=1)
    assert (delivered, buried) == (list(range(1, 9)), [])


def test_another_batch_than_was_meant_begins_anew() -> None:
    halving = Halving()
    assert not halving.refused([1, 2, 3, 4])
    assert not halving.refused([7, 8])
    assert halving.count(NORMAL) == 1
    halving.passed(7)
    assert halving.refused([8])
