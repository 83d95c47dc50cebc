"""Item factors and one subject's interest: the file, the fold-in, its rank-one update, and the order of a list."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_models.interest import STRENGTH_GRID, WEIGHT_MAX, Interest, top
from reflexarc_models.item_factors import MAGIC, ItemFactors, quantized

ITEM_COUNT, DIMENSION = 1_500, 16


def factors(seed: int = 3, count: int = ITEM_COUNT, *, never_seen: int = 5, **changes: object) -> ItemFactors:
    """Items in a few groups of taste, with links; the last `never_seen` have no factors."""
    random = np.random.default_rng(seed)
    group = random.normal(size=(8, DIMENSION))
    raw = 0.2 * (group[random.integers(0, 8, count)] + 0.5 * random.normal(size=(count, DIMENSION)))
    raw[count - never_seen :] = 0.0
    codes, scales = quantized(raw)
    targets = [np.sort(random.choice(count, size=int(random.integers(0, 6)), replace=False)) for _ in range(count)]
    lengths = [len(one) for one in targets]
    fields: dict[str, object] = {
        "item_ids": tuple(f"item-{number}" for number in range(count)),
        "codes": codes,
        "scales": scales,
        "unobserved_weight": 0.05,
        "regulariser": 2.0,
        "link_starts": np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        "link_targets": np.concatenate(targets).astype(np.int64),
        "link_codes": random.integers(1, 256, sum(lengths)).astype(np.uint8),
        "link_scales": np.full(count, 1 / 512, dtype=np.float32),
        "link_share": 0.4,
        "link_decay": 0.7,
        "link_window": 5,
        "diversity": 0.2,
    }
    return ItemFactors(**{**fields, **changes})  # type: ignore[arg-type]


SHARED = factors()
ITEMS = st.integers(0, ITEM_COUNT - 1).map(lambda number: f"item-{number}")
INTERACTIONS = st.lists(st.tuples(ITEMS, st.sampled_from([0.5, 1.0, 1.5, 3.0])), max_size=40)


def test_what_is_written_is_read_and_written_the_same() -> None:
    content = SHARED.to_bytes()
    read = ItemFactors.from_bytes(content)
    assert read.to_bytes() == content
    assert read.item_ids == SHARED.item_ids
    assert np.array_equal(read.vectors, SHARED.vectors)
    assert read.link_window == 5
    with_names = factors(item_ids=("Ünï/код\n1", *SHARED.item_ids[1:]))
    assert ItemFactors.from_bytes(with_names.to_bytes()).item_ids[0] == "Ünï/код\n1"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_hostile_bytes_are_refused(data: st.DataObject) -> None:
    content = bytearray(factors(count=40).to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 5))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    if data.draw(st.booleans()) and len(content) > 4:  # whoever writes hostile bytes knows checksums, too
        content[-4:] = struct.pack("<I", zlib.crc32(bytes(content[:-4])))
    try:
        found = ItemFactors.from_bytes(bytes(content))
    except ManifestError:
        return
    ranked = Interest(found, [(found.item_ids[0], 1.0)]).rank(10)
    assert len(set(ranked)) == 10
    assert np.isfinite(found.vectors).all()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_byte_is_noticed(data: st.DataObject) -> None:
    content = bytearray(factors(count=40).to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ManifestError):
        ItemFactors.from_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item_ids": ("item-1", *SHARED.item_ids[1:])}, "stands twice"),
        ({"item_ids": SHARED.item_ids[1:]}, "do not fit"),
        ({"item_ids": ("", *SHARED.item_ids[1:])}, "empty"),
        ({"scales": np.full(ITEM_COUNT, np.nan, dtype=np.float32)}, "a scale"),
        ({"link_scales": np.full(ITEM_COUNT, np.inf, dtype=np.float32)}, "a scale"),
        ({"link_targets": SHARED.link_targets + ITEM_COUNT}, "leads to no item"),
        ({"link_targets": SHARED.link_targets * 0}, "do not ascend"),
        ({"regulariser": 0.0}, "regulariser"),
        ({"unobserved_weight": float("nan")}, "unobserved weight"),
        ({"link_share": 1.5}, "link share"),
        ({"link_window": 0}, "link window"),
        ({"codes": SHARED.codes[:10]}, "do not fit"),
    ],
)
def test_contradictions_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        factors(**change)


@pytest.mark.parametrize("spoil", [lambda c: b"", lambda c: MAGIC, lambda c: b"x" + c[1:], lambda c: c + b"\0", lambda c: c[:-1]])
def test_other_files_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ManifestError):
        ItemFactors.from_bytes(spoil(SHARED.to_bytes()))


def test_an_item_never_seen_has_no_factors_and_spoils_nothing() -> None:
    codes, scales = quantized(np.array([[0.0, 0.0], [1.0, -0.5]]))
    assert scales.tolist() == [0.0, np.float32(1 / 127)]
    assert codes.tolist() == [[0, 0], [127, -64]]
    one = Interest(SHARED, [("item-3", 1.0)])
    before = one.scores()
    assert one.add(f"item-{ITEM_COUNT - 1}")  # never seen in training: known, says nothing
    assert np.array_equal(one.scores(), before)
    assert np.isfinite(one.scores()).all() and one.scores()[-1] == 0.0


@settings(max_examples=60, deadline=None)
@given(INTERACTIONS, INTERACTIONS)
def test_updates_equal_the_solution_from_the_kept_pairs(first: list[tuple[str, float]], second: list[tuple[str, float]]) -> None:
    moved = Interest(SHARED, first)
    for item_id, weight in second:
        assert moved.add(item_id, weight)
    built = Interest(SHARED, first + second)
    assert np.allclose(moved.taste, built.taste, rtol=1e-9, atol=1e-12)
    assert moved.rank(20) == built.rank(20)
    assert moved.strength() == built.strength()
    followed = Interest(SHARED, first)
    followed.follow(second)
    assert np.allclose(followed.taste, Interest(SHARED, second).taste, rtol=1e-8, atol=1e-11)
    assert followed.rank(20) == Interest(SHARED, second).rank(20)


def test_the_fold_in_is_the_least_squares_solution() -> None:
    pairs = [("item-3", 1.0), ("item-70", 2.5), ("item-9", 1.0)]
    h = SHARED.vectors.astype(np.float64)
    # The objective as one stacked least-squares problem: all items at 0, the subject's at 1, the regulariser at 0.
    numbers, weights = [3, 70, 9], np.array([1.0, 2.5, 1.0])
    stacked = np.vstack([np.sqrt(0.05) * h, np.sqrt(weights)[:, None] * h[numbers], np.sqrt(2.0) * np.eye(DIMENSION)])
    wanted = np.concatenate([np.zeros(ITEM_COUNT), np.sqrt(weights), np.zeros(DIMENSION)])
    solution = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    assert np.allclose(Interest(SHARED, pairs).taste, solution, rtol=1e-9)


def test_two_thousand_updates_drift_nowhere() -> None:
    random = np.random.default_rng(5)
    moved = Interest(SHARED)
    for _ in range(2_000):
        item_id = f"item-{random.integers(0, 60)}"
        if random.random() < 0.5:
            moved.add(item_id, 1.0)
        else:
            moved.remove(item_id)
    kept = [(SHARED.item_ids[number], weight) for number, weight in moved._weights.items()]
    assert np.allclose(moved.taste, Interest(SHARED, kept).taste, rtol=1e-9, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(INTERACTIONS, st.lists(ITEMS, max_size=20), st.integers(0, 60))
def test_a_list_repeats_nothing_and_begins_every_longer_one(pairs: list[tuple[str, float]], seen: list[str], n: int) -> None:
    one = Interest(SHARED, pairs)
    ranked = one.rank(n, seen)
    assert len(ranked) == n == len(set(ranked))
    assert not set(ranked) & ({item_id for item_id, _ in pairs} | set(seen))
    assert one.rank(60, seen)[:n] == ranked


def test_of_whom_nothing_is_known_gets_what_is_popular() -> None:
    nobody = Interest(SHARED, [("no such item", 1.0)])
    assert not nobody.add("another one")
    assert not nobody.remove("another one")
    assert len(nobody) == 0 and nobody.strength() == 0.0
    assert nobody.rank(4, seen=["item-1", "unknown"]) == ("item-0", "item-2", "item-3", "item-4")


def test_what_comes_next_follows_the_last_item() -> None:
    linked = int(np.flatnonzero(np.diff(SHARED.link_starts) > 0)[0])
    part = slice(SHARED.link_starts[linked], SHARED.link_starts[linked + 1])
    next_ones = {f"item-{number}" for number in SHARED.link_targets[part]}
    by_links = factors(link_share=1.0, diversity=0.0)
    pairs = [("item-900", 1.0), (f"item-{linked}", 1.0)]
    assert set(Interest(by_links, pairs).rank(len(next_ones) - 1)) <= next_ones
    assert Interest(factors(link_share=0.0), pairs).rank(10) != Interest(by_links, pairs).rank(10)
    assert Interest(by_links, pairs).rank(5, last_items=["item-900"]) != Interest(by_links, pairs).rank(5)


def test_all_seen_leaves_nothing_to_show() -> None:
    few = factors(count=20)
    one = Interest(few, [(item_id, 1.0) for item_id in few.item_ids])
    assert one.rank(5) == () and one.strength() == 0.0
    one.remove("item-4")
    assert one.rank(5) == ("item-4",)


def test_weights_of_one_item_add_up_to_a_limit_and_make_it_the_last() -> None:
    often = Interest(SHARED, [("item-5", 1.0), ("item-6", 1.0)])
    for _ in range(20):
        often.add("item-5", 1.0)
    assert np.allclose(often.taste, Interest(SHARED, [("item-6", 1.0), ("item-5", WEIGHT_MAX)]).taste)
    assert list(often._weights) == [6, 5]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ScoringError, match="weighs"):
        Interest(SHARED).add("item-1", weight)
    with pytest.raises(ScoringError, match="weighs"):
        Interest(SHARED, [("item-1", weight)])


def test_a_strength_is_on_its_grid_and_grows_with_what_is_known() -> None:
    one = Interest(factors(link_share=0.0))
    found = []
    for number in (3, 30, 300):
        one.add(f"item-{number}")
        found.append(one.strength())
    assert all(value * STRENGTH_GRID == int(value * STRENGTH_GRID) for value in found)
    assert 0.0 < found[0] < 1.0


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3_000), st.integers(0, 70), st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_the_top_is_that_of_a_stable_sort(length: int, count: int, seed: int, distinct: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, distinct, length).astype(np.float32)
    scores[random.random(length) < 0.3] = -np.inf
    wanted = [n for n in np.argsort(-scores, kind="stable").tolist() if scores[n] > -np.inf][:count]
    assert top(scores, count).tolist() == wanted
