"""In a process of its own, on one core: our factors and `implicit`'s on the same splits, and one live update of each.

Owns how both are tuned and judged: alike, on people of whom neither learnt anything. The settings of both are chosen on
TUNING_COUNT people who are never among the tested ones.
"""

import csv
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.interest import Interest, ItemFactors
from reflexarc_models.item_factors import quantized
from reflexarc_models.train.ranking.ials import IalsSettings, Matrix, fit_ials, fold_in

TUNING_COUNT, TEST_COUNT = 100, 150
DEPTH, SHOWN = 100, 10
HELD_SHARE = 0.2
HISTORY_MIN = 5
SEED = 20261126
# The same objective in both libraries' words: implicit's alpha is 1 / w0, its regularization is ours times alpha.
WEIGHTS, REGULARISERS, DIMENSIONS = (0.1, 0.4, 1.0), (1.0, 3.0, 10.0), (32, 64)

Histories = list[NDArray[np.int64]]


def read(file: str) -> tuple[Histories, int]:
    """(items of each person, ascending; how many items). An empty name: a made-up audience of 1,500 with tastes."""
    if not file:
        random = np.random.default_rng(SEED)
        groups = random.dirichlet(np.full(2_000, 0.02), size=12)
        tastes = random.dirichlet(np.full(12, 0.2), size=1_500)
        return [np.unique(random.choice(2_000, int(random.integers(20, 120)), p=one @ groups)) for one in tastes], 2_000
    people: dict[str, list[str]] = {}
    with Path(file).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            people.setdefault(row["userId"], []).append(row["movieId"])
    names = {name: number for number, name in enumerate(sorted({name for seen in people.values() for name in seen}))}
    return [np.unique([names[name] for name in seen]) for seen in people.values()], len(names)


def matrix(histories: Histories, item_count: int) -> Matrix:
    """Every interaction weighs one."""
    starts = np.concatenate(([0], np.cumsum([len(one) for one in histories]))).astype(np.int64)
    items = np.concatenate(histories).astype(np.int32)
    return Matrix(starts, items, np.ones(len(items), dtype=np.float32), item_count)


def ndcg(ranked: list[int], wanted: set[int]) -> float:
    """NDCG at DEPTH for several wanted items, each worth one."""
    gains = sum(1.0 / np.log2(place + 2.0) for place, item in enumerate(ranked[:DEPTH]) if item in wanted)
    return float(gains / sum(1.0 / np.log2(place + 2.0) for place in range(min(DEPTH, len(wanted)))))


class Ours:
    """`fit_ials`, int8, `Interest` as on a device; lists are not spread and no links speak."""

    def __init__(self, trained: Matrix, w0: float, regulariser: float, dimension: int) -> None:
        self.settings = IalsSettings(dimension=dimension, unobserved_weight=w0, regulariser=regulariser)
        self.vectors = fit_ials(trained, self.settings, seed=1)
        codes, scales = quantized(self.vectors)
        nothing = np.zeros(0, dtype=np.int64)
        self.factors = ItemFactors(
            tuple(str(number) for number in range(trained.item_count)), codes, scales, w0, regulariser,
            np.zeros(trained.item_count + 1, dtype=np.int64), nothing, nothing.astype(np.uint8), np.zeros_like(scales),
        )  # fmt: skip

    def rank(self, known: NDArray[np.int64]) -> list[int]:
        interest = Interest(self.factors, [(str(item), 1.0) for item in known.tolist()])
        return [int(name) for name in interest.rank(DEPTH)]

    def rank_exactly(self, known: NDArray[np.int64]) -> list[int]:
        """The same by the factors before they were rounded."""
        settings = self.settings
        taste = fold_in(matrix([known], len(self.vectors)), self.vectors, settings.unobserved_weight, settings.regulariser)[0]
        scores = self.vectors.astype(np.float64) @ taste
        scores[known] = -np.inf
        return [int(item) for item in np.argsort(-scores, kind="stable")[:DEPTH]]


class Implicit:
    """`implicit`'s alternating least squares with its default number of iterations."""

    def __init__(self, trained: Matrix, w0: float, regulariser: float, dimension: int) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self.model = AlternatingLeastSquares(
            factors=dimension, regularization=regulariser / w0, alpha=1.0 / w0, num_threads=1, random_state=1
        )
        self.model.fit(self.sparse(trained), show_progress=False)
        self.item_count = trained.item_count

    @staticmethod
    def sparse(given: Matrix) -> Any:
        from scipy.sparse import csr_matrix

        shape = (given.subject_count, given.item_count)
        return csr_matrix((given.weights, given.items, given.starts), shape=shape)

    def rank(self, known: NDArray[np.int64]) -> list[int]:
        row = self.sparse(matrix([known], self.item_count))
        found, _ = self.model.recommend(0, row, N=DEPTH, recalculate_user=True)
        return [int(item) for item in found]


def quality(histories: Histories, item_count: int, splits: int, quick: bool) -> dict[str, Any]:
    """NDCG@100 of both on `splits` draws of tested people, per person; what int8 costs."""
    random = np.random.default_rng(SEED)
    usable = random.permutation([place for place, seen in enumerate(histories) if len(seen) >= HISTORY_MIN])
    tuning, rest = usable[:TUNING_COUNT], usable[TUNING_COUNT:]
    kinds: dict[str, Any] = {"reflexarc": Ours, "implicit": Implicit}
    chosen = {name: _tuned(kind, histories, item_count, tuning, random, quick) for name, kind in kinds.items()}
    people: dict[int, list[float]] = {}
    values: dict[str, list[float]] = {"reflexarc": [], "implicit": [], "exact": []}
    fit_s: dict[str, list[float]] = {"reflexarc": [], "implicit": []}
    for _ in range(splits):
        tested = random.choice(rest, min(TEST_COUNT, len(rest) // 2), replace=False)
        out = set(tested.tolist())
        trained = matrix([seen if place not in out else seen[:0] for place, seen in enumerate(histories)], item_count)
        fitted = {}
        for name, kind in kinds.items():
            began = time.perf_counter()
            fitted[name] = kind(trained, *chosen[name])
            fit_s[name].append(time.perf_counter() - began)
        for person in tested.tolist():
            known, wanted = _parted(histories[person], random)
            found = {name: ndcg(model.rank(known), wanted) for name, model in fitted.items()}
            found["exact"] = ndcg(fitted["reflexarc"].rank_exactly(known), wanted)
            for name, value in found.items():
                values[name].append(value)
            people.setdefault(person, []).append(found["reflexarc"] - found["implicit"])
    differences = np.array([np.mean(of_person) for of_person in people.values()])
    means = [float(random.choice(differences, len(differences)).mean()) for _ in range(2_000)]
    return {
        "ndcg": {name: float(np.mean(of)) for name, of in values.items()},
        "difference": float(differences.mean()),
        "difference_low": float(np.quantile(means, 0.025)),
        "difference_high": float(np.quantile(means, 0.975)),
        "int8_loss": float(np.mean(values["exact"]) - np.mean(values["reflexarc"])),
        "people": len(people),
        "tested": len(values["exact"]),
        "chosen": {name: list(settings) for name, settings in chosen.items()},
        "fit_s": {name: float(np.median(of)) for name, of in fit_s.items()},
    }


def live(histories: Histories, item_count: int, rounds: int) -> dict[str, Any]:
    """Nanoseconds of one more interaction and the next ten items, per round, both in turns on the same people."""
    trained = matrix(histories, item_count)
    ours, theirs = Ours(trained, 0.4, 3.0, 32), Implicit(trained, 0.4, 3.0, 32)
    people = [seen for seen in histories if len(seen) >= HISTORY_MIN][:300]
    rows = [theirs.sparse(matrix([seen], item_count)) for seen in people]
    taken: dict[str, list[list[int]]] = {"reflexarc": [], "implicit": []}

    def our_round() -> list[int]:
        states = [Interest(ours.factors, [(str(item), 1.0) for item in seen[:-1].tolist()]) for seen in people]
        found = []
        for state, seen in zip(states, people, strict=True):
            newest = str(seen[-1])
            began = time.perf_counter_ns()
            state.add(newest, 1.0)
            state.rank(SHOWN)
            found.append(time.perf_counter_ns() - began)
        return found

    def their_round() -> list[int]:
        found = []
        for row in rows:
            began = time.perf_counter_ns()
            theirs.model.recommend(0, row, N=SHOWN, recalculate_user=True)
            found.append(time.perf_counter_ns() - began)
        return found

    our_round(), their_round()
    for number in range(rounds):
        for name, one in (("reflexarc", our_round), ("implicit", their_round))[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(one())
    return {"ns": taken, "items": item_count}


def _parted(seen: NDArray[np.int64], random: np.random.Generator) -> tuple[NDArray[np.int64], set[int]]:
    held = random.choice(len(seen), max(1, int(len(seen) * HELD_SHARE)), replace=False)
    known = np.delete(seen, held)
    return known, set(seen[held].tolist())


def _tuned(
    kind: Any, histories: Histories, item_count: int, tuning: NDArray[np.int64], random: np.random.Generator, quick: bool
) -> tuple[float, float, int]:
    """(w0, regulariser, dimension) with the best mean NDCG on the tuning people: first the two at the smaller dimension."""
    out = set(tuning.tolist())
    trained = matrix([seen if place not in out else seen[:0] for place, seen in enumerate(histories)], item_count)
    parted = [_parted(histories[person], np.random.default_rng(SEED + person)) for person in tuning.tolist()]

    def value(settings: tuple[float, float, int]) -> float:
        model = kind(trained, *settings)
        return float(np.mean([ndcg(model.rank(known), wanted) for known, wanted in parted]))

    pairs = [(0.4, 3.0)] if quick else list(itertools.product(WEIGHTS, REGULARISERS))
    w0, regulariser, _ = max(((w0, reg, DIMENSIONS[0]) for w0, reg in pairs), key=value)
    if quick:
        return w0, regulariser, DIMENSIONS[0]
    return max(((w0, regulariser, dimension) for dimension in DIMENSIONS), key=value)


def main() -> None:
    """Run what the one argument (JSON) asks for and print the result."""
    given = json.loads(sys.argv[1])
    histories, item_count = read(given["file"])
    if given["what"] == "quality":
        found = quality(histories, item_count, given["splits"], given["quick"])
    else:
        found = live(histories, item_count, given["rounds"])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
