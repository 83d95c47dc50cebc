"""`reflexarc evaluate content_interest`: real ratings, a log of one's own, and everything that is none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from reflexarc_cli.main import cli
from reflexarc_core.errors import ReflexArcError

MAPPING = """
description: views
columns: [who, what, at, spent]
zone: UTC
subject: {column: who, kind: known}
time: {column: at, format: epoch_s}
event_type: content_view
properties:
  content_view: {content_id: what, time_spent: spent}
"""


def evaluate(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "content_interest", *map(str, words)])


def views(subject_count: int = 80, seed: int = 2) -> list[tuple[str, str, int, str]]:
    """(who, what, at, spent): everybody walks a ring of 30 items, mostly one step at a time."""
    random = np.random.default_rng(seed)
    rows = []
    for subject in range(subject_count):
        item, at = int(random.integers(30)), 1_600_000_000 + int(random.integers(10**6))
        for _ in range(int(random.integers(4, 12))):
            rows.append((f"u{subject}", f"item {item}", at, str(int(random.integers(5, 600)))))
            item = (item + 1) % 30 if random.random() < 0.8 else int(random.integers(30))
            at += int(random.integers(60, 90_000))
    return rows


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def write(rows: list[tuple[str, str, int, str]], name: str = "views.csv") -> tuple[Path, Path]:
        text = "who,what,at,spent\n" + "".join(f"{who},{what},{at},{spent}\n" for who, what, at, spent in rows)
        file, mapping = tmp_path / name, tmp_path / "views.yaml"
        file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        mapping.write_text(MAPPING)
        return file, mapping

    return write


def test_a_log_with_order_is_ranked_by_it(made: Callable[..., tuple[Path, Path]]) -> None:
    file, mapping = made(views(), "views.csv.gz")
    done = evaluate("--events", file, "--map", mapping, "--k", "5", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["items"] == 30 and found["k"] == 5 and found["measured"] == found["subjects"] <= 80
    assert found["recall@5"] > found["baselines"]["item_knn_50"]["recall@5"] > found["baselines"]["popularity"]["recall@5"]
    assert found["gain"]["popularity"]["recall@5_interval"][0] > 0.2
    assert found["settings"]["links"] == "sequence" and found["settings"]["link_share"] > 0
    assert abs(found["int8_loss_ndcg_100"]) < 0.01
    assert 0 < found["coverage@5"] <= 1 and found["bytes"] > 0 and found["peak_mb"] > 0
    # The order of the rows says nothing: their times do.
    shuffled = [views()[place] for place in np.random.default_rng(0).permutation(len(views()))]
    again = json.loads(evaluate("--events", made(shuffled)[0], "--map", mapping, "--k", "5", "--json").stdout)
    assert abs(again["recall@5"] - found["recall@5"]) < 0.1


def test_a_page_for_people(made: Callable[..., tuple[Path, Path]]) -> None:
    file, mapping = made([*views(), views()[0]])
    done = evaluate("--events", file, "--map", mapping)
    assert done.exit_code == 0, done.output
    for said in ("content interest, as shown", "item knn 50", "ahead of popularity by", "int8 costs", "chosen on validation"):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no item"),
        ([("u1", "a", 1, "1"), ("u1", "a", 2, "1")], "at least 20"),
        ([(f"u{n}", "a", n, "1") for n in range(50)], "at least 20"),
        ([("u1", "", 1, "1")], "no item"),
        ([("u1", "a", 1, "x")] * 30, "no item"),
    ],
)
def test_a_log_that_cannot_be_used_says_why(
    made: Callable[..., tuple[Path, Path]], rows: list[tuple[str, str, int, str]], said: str
) -> None:
    file, mapping = made(rows)
    done = evaluate("--events", file, "--map", mapping, "--json")
    assert isinstance(done.exception, ReflexArcError), done.output
    assert said in str(done.exception)


def test_bytes_and_files_that_are_no_log(tmp_path: Path, made: Callable[..., tuple[Path, Path]]) -> None:
    _, mapping = made([])
    garbage = tmp_path / "garbage.csv"
    garbage.write_bytes(np.random.default_rng(1).bytes(4_000))
    for file in (garbage, tmp_path / "not there.csv"):
        assert isinstance(evaluate("--events", file, "--map", mapping).exception, ReflexArcError)
    assert evaluate("--events", garbage, "--map", "no such mapping").exception is not None


def test_everybody_with_the_same_items_and_times(made: Callable[..., tuple[Path, Path]]) -> None:
    same = [(f"u{subject}", f"i{item}", 5, "1") for subject in range(40) for item in range(3)]
    file, mapping = made(same)
    done = evaluate("--events", file, "--map", mapping, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["targets_tied_share"] == 1.0 and found["untied"] is None
    assert evaluate("--events", file, "--map", mapping).exit_code == 0


def test_real_ratings_are_ranked_better_than_by_neighbours(real_sets: Path) -> None:
    file = real_sets / "content_ml_latest_small" / "ratings.csv"
    done = evaluate("--events", file, "--map", "content_ml_latest_small", "--json")
    found = json.loads(done.stdout)
    assert found["baselines"]["popularity"]["recall@20"] == pytest.approx(0.064, abs=0.001)
    assert found["baselines"]["item_knn_50"]["recall@20"] == pytest.approx(0.124, abs=0.001)
    assert found["baselines"]["item_knn_50"]["ndcg@10"] == pytest.approx(0.035, abs=0.001)
    assert found["recall@20"] > 0.15 and found["ndcg@10"] > 0.05
    assert found["gain"]["item_knn_50"]["ndcg@10_interval"][0] > 0
    assert found["int8_loss_ndcg_100"] <= 0.002
