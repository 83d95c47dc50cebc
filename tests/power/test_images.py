"""The model of a disk: what was synced is there, and nothing is there that was never written."""

from __future__ import annotations

import random

import pytest

from tests.power.images import WAYS, Content, Disk, Names
from tests.power.tape import FOLDER, PAGE, SECTOR, Make, Rename, Resize, Sync, SyncFolder, Unlink, Write

SIZE = 4 * PAGE


def draw(rng: random.Random, number: int) -> Write | Resize:
    if rng.random() < 0.1:
        return Resize(1, rng.choice((0, SECTOR, PAGE, SIZE)))
    at = rng.randrange(SIZE - SECTOR)
    return Write(1, at, bytes([number % 255 + 1]) * rng.randint(1, min(SIZE - at, 2 * PAGE)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_survives_each_way(seed: int, way: str) -> None:
    rng = random.Random(f"{seed} {way}")
    content = Content()
    for number in range(rng.randint(1, 30)):
        content.change(draw(rng, number))
    content.sync()
    assert content.survivor(rng, way) == bytes(content.live), f"seed {seed}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(20))
def test_each_byte_is_of_a_version_there_was(seed: int, way: str) -> None:
    """Bytes, not sectors: one that is torn holds bytes of both sides, and neither way makes one up."""
    rng = random.Random(f"{seed} {way}")
    content = Content(bytes([255]) * SIZE)
    versions = [bytes(content.live)]
    for number in range(rng.randint(1, 12)):
        content.change(draw(rng, number))
        versions.append(bytes(content.live))
    left = content.survivor(rng, way)
    assert len(left) in {len(version) for version in versions}, f"seed {seed}"
    for at, byte in enumerate(left):
        held = {version[at] for version in versions if at < len(version)}
        assert byte in held | {0}, f"seed {seed}: byte {at} was never {byte}"


def test_a_mixture_is_torn_at_sectors_only() -> None:
    content = Content(bytes([1]) * SIZE)
    content.change(Write(1, 0, bytes([2]) * SIZE))
    seen = set()
    for seed in range(200):
        left = content.survivor(random.Random(seed), "sectors")
        sectors = [set(left[at : at + SECTOR]) for at in range(0, SIZE, SECTOR)]
        assert all(len(sector) == 1 for sector in sectors), f"seed {seed}"
        seen |= {len({frozenset(sector) for sector in sectors})}
    assert seen == {2}, "never torn"


def test_a_file_that_is_cut_off_is_whole_or_gone() -> None:
    content = Content(bytes([1]) * SIZE)
    content.change(Resize(1, 0))
    left = {content.survivor(random.Random(seed), way) for seed in range(50) for way in WAYS}
    assert left == {b"", bytes([1]) * SIZE}


def test_a_replaced_name_is_never_without_a_file() -> None:
    disk = Disk()
    for event in (Make("a", 1), Make("a.new", 2), SyncFolder(""), Rename("a", 2, "a.new")):
        disk.play(event)
    for model in disk.names:
        left = [frozenset(disk.names[model].survivors(random.Random(seed)).items()) for seed in range(100)]
        assert set(left) == {frozenset({("a", 1), ("a.new", 2)}), frozenset({("a", 2)})}, model


def test_strict_names_are_kept_by_their_folder_and_ordered_ones_by_their_file() -> None:
    disk = Disk()
    for event in (Make("d", FOLDER), Make("d/a", 1), Make("d/b", 2), Sync(1)):
        disk.play(event)

    def left(model: str) -> set[frozenset[str]]:
        return {frozenset(disk.names[model].survivors(random.Random(seed))) for seed in range(300)}

    assert left("ordered") == {frozenset({"d", "d/a"}), frozenset({"d", "d/a", "d/b"})}
    assert left("strict") == {frozenset(), *map(frozenset, ({"d"}, {"d", "d/a"}, {"d", "d/b"}, {"d", "d/a", "d/b"}))}
    disk.play(SyncFolder("d"))
    assert left("strict") == {frozenset(), frozenset({"d", "d/a", "d/b"})}, "the folder's own name is its parent's"
    disk.play(SyncFolder(""))
    assert left("strict") == {frozenset({"d", "d/a", "d/b"})}


def test_an_unlink_may_be_undone_until_its_folder_is_synced() -> None:
    names = Names(is_ordered=False)
    for change in (Make("a", 1), Unlink("a", 1)):
        names.change(change)
        if isinstance(change, Make):
            names.sync_folder("")
    assert {len(names.survivors(random.Random(seed))) for seed in range(50)} == {0, 1}
    names.sync_folder("")
    assert {len(names.survivors(random.Random(seed))) for seed in range(50)} == {0}
