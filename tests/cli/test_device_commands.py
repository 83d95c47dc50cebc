"""`reflexarc stats` and `reflexarc explain`: they open the store, so they say when it is in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.kit import owned_store, reflexarc


def test_counters_of_a_closed_store(sound: Path) -> None:
    done = reflexarc("stats", sound)
    assert done.status == 0
    assert json.loads(done.out)["records"] >= 601


def test_why_a_trigger_would_fire(sound: Path) -> None:
    done = reflexarc("explain", sound, "--trigger", "hesitating")
    assert done.status == 0
    assert "hesitating" in done.out
    unknown = reflexarc("explain", sound, "--trigger", "nobody")
    assert (unknown.status, len(unknown.lines)) == (1, 1)


def test_an_encrypted_store_with_its_key(sealed: Path, key: Path) -> None:
    assert json.loads(reflexarc("stats", sealed, "--key-file", key).out)["records"] >= 601
    assert reflexarc("explain", sealed, "--trigger", "hesitating", "--key-file", key).status == 0


@pytest.mark.parametrize("words", [("stats",), ("explain", "--trigger", "hesitating")])
def test_a_store_in_use_is_one_line_and_nobody_captures_for_it(words: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with owned_store(folder) as process:
        done = reflexarc(words[0], folder, *words[1:])
        assert done.status == 1
        assert done.lines == [
            f"reflexarc: the store at {folder} is in use by process {process.pid} (ask there, or end that process first)"
        ]
        assert not (folder / "captures").exists()
