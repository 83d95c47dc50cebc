"""What a sentiment model is worth on somebody's texts: five folds, each judged by a model that saw neither it nor a copy.

Owns the folds, the pooled figures, the rivals beside them and the model trained on everything at the end. Must never let a
tested row choose anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import MODEL_FILE
from reflexarc_models.sentiment.features import BUCKETS
from reflexarc_models.sentiment.model import CLASSES, Sentiment
from reflexarc_models.train.evidence.measures import calibration_error, reliability
from reflexarc_models.train.sentiment.rivals import rivals
from reflexarc_models.train.sentiment.training import build, check_labels, dealt, fit, matrix_of, predict

FOLD_COUNT: Final = 5
STEP_COUNT: Final = FOLD_COUNT + 1
RESAMPLES: Final = 2_000
LATENCY_TEXTS: Final = 2_000
DIGITS: Final = 5
INTERVAL: Final = f"95 % by {RESAMPLES:,} bootstrap resamples of the texts, paired where two are compared"


@dataclass(frozen=True, slots=True, eq=False)
class SentimentEvaluation:
    """model: trained on all texts. figures: everything measured out of fold, ready for JSON."""

    model: Sentiment
    figures: dict[str, Any]


def evaluate_sentiment(
    texts: Sequence[str], labels: NDArray[np.int8], seed: int, step: Callable[[int], object] = lambda _: None
) -> SentimentEvaluation:
    """Measure on five folds, then train on all texts. labels: places in CLASSES. step: called STEP_COUNT times.

    Raises DefinitionError where texts or classes are too few, ManifestError when a gate refuses the export.
    """
    started = time.perf_counter()
    check_labels(labels)
    n = len(texts)
    x = matrix_of(texts)
    copies = np.array([" ".join(text.casefold().split()) for text in texts], dtype=object)
    folds = dealt(labels, copies, seed, FOLD_COUNT)
    probabilities, float_said = np.zeros((n, len(CLASSES))), np.zeros(n, np.int8)
    said = {name: np.zeros(n, np.int8) for name in ("ours", *rivals())}
    for fold in range(FOLD_COUNT):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        fitted = fit(x[train], labels[train], seed)
        scores = predict(fitted, x[test])
        said["ours"][test] = scores.argmax(axis=1)
        odds = scores * fitted.step
        shares = np.exp(np.maximum(odds - odds.max(axis=1, keepdims=True), -745.0))
        probabilities[test] = np.rint(shares / shares.sum(axis=1, keepdims=True) * GRID) / GRID
        float_said[test] = (x[test] @ fitted.float_weights + fitted.float_bias).argmax(axis=1)
        for name, rival in rivals().items():
            said[name][test] = rival([texts[int(row)] for row in train], labels[train], [texts[int(row)] for row in test])
        step(1)
    figures = _figures(labels, probabilities, said, np.random.default_rng(seed))
    figures["float_agreement"] = round(float((float_said == said["ours"]).mean()), DIGITS)
    figures["float_accuracy"] = round(float((float_said == labels).mean()), DIGITS)
    figures["split"] = f"{FOLD_COUNT} folds (seed {seed}), each text tested by a model that saw neither it nor a copy of it"
    figures["copies"] = n - len(set(copies.tolist()))
    whole = fit(x, labels, seed)
    figures["settings"] = {"strength": whole.strength, "temperature": round(whole.temperature, 4), "buckets": BUCKETS}
    evidence = {name: figures[name] for name in ("rows", "classes", "accuracy", "macro_f1", "ece", "settings", "split")}
    model = build(texts, whole, {**evidence, "gates": {"parity": {"holds": True}, "int8": {"holds": True}}})
    figures["bytes"], figures["model_bytes"] = model.download_bytes, len(model.files[MODEL_FILE])
    figures["p50_us"], figures["p99_us"] = latency_us(model, texts, seed)
    figures["warnings"] = _warnings(labels, figures)
    step(1)
    figures["seconds"] = round(time.perf_counter() - started, 2)
    return SentimentEvaluation(model, figures)


def latency_us(model: Sentiment, texts: Sequence[str], seed: int) -> tuple[float, float]:
    """(median, 99th percentile) of one call from text to probabilities, rotating texts, microseconds, on this machine."""
    chosen = np.random.default_rng(seed).permutation(len(texts))[:LATENCY_TEXTS]
    model(texts[int(chosen[0])])
    taken = []
    for place in chosen:
        text = texts[int(place)]
        began = time.perf_counter_ns()
        model(text)
        taken.append(time.perf_counter_ns() - began)
    return round(float(np.median(taken)) / 1e3, 1), round(float(np.quantile(taken, 0.99)) / 1e3, 1)


def macro_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur among the labels. confusion: [..., label, said] counts."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    present = confusion.sum(axis=-1) > 0
    both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = np.where(present, 2 * hits / np.maximum(both, 1e-12), 0.0)
    return np.asarray(f1.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def _figures(
    labels: NDArray[np.int8], probabilities: NDArray[np.float64], said: dict[str, NDArray[np.int8]], random: np.random.Generator
) -> dict[str, Any]:
    n, width = len(labels), len(CLASSES)
    ours = said["ours"]
    confusion = _confusion(labels, ours)
    figures: dict[str, Any] = {
        "rows": n,
        "classes": dict(zip(CLASSES, np.bincount(labels, minlength=width).tolist(), strict=True)),
        **_worth(labels, ours, random),
        "per_class": _per_class(confusion),
        "confusion": confusion.astype(int).tolist(),
    }
    best = probabilities.max(axis=1)
    figures["ece"] = round(calibration_error(reliability(best, (ours == labels).astype(np.int8))), DIGITS)
    chosen = np.maximum(probabilities[np.arange(n), labels], 0.5 / GRID)
    figures["log_loss"] = round(float(-np.log(chosen).mean()), DIGITS)
    shares = np.bincount(labels, minlength=width) / n
    figures["log_loss_base_rate"] = round(float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()), DIGITS)
    figures["baselines"] = {
        name: {**_worth(labels, theirs, random), **_gains(labels, ours, theirs, random)}
        for name, theirs in said.items()
        if name != "ours"
    }
    figures["interval"] = INTERVAL
    return figures


def _confusion(labels: NDArray[np.int8], said: NDArray[np.int8]) -> NDArray[np.float64]:
    width = len(CLASSES)
    return np.bincount(labels.astype(np.int64) * width + said, minlength=width**2).reshape(width, width).astype(np.float64)


def _resampled(cells: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Bootstrap counts [RESAMPLES, count] of rows by cell: drawing rows anew is drawing cells from their shares."""
    shares = np.bincount(cells, minlength=count) / len(cells)
    return random.multinomial(len(cells), shares, size=RESAMPLES).astype(np.float64)


def _worth(labels: NDArray[np.int8], said: NDArray[np.int8], random: np.random.Generator) -> dict[str, float]:
    width = len(CLASSES)
    drawn = _resampled(labels.astype(np.int64) * width + said, width**2, random).reshape(-1, width, width)
    confusion = _confusion(labels, said)
    values = {"accuracy": (_accuracy(confusion), _accuracy(drawn)), "macro_f1": (macro_f1(confusion), macro_f1(drawn))}
    return {key: figure for name, (value, draws) in values.items() for key, figure in _between(name, value, draws).items()}


def _gains(
    labels: NDArray[np.int8], ours: NDArray[np.int8], theirs: NDArray[np.int8], random: np.random.Generator
) -> dict[str, float]:
    """How far ours is ahead of theirs on the same texts."""
    width = len(CLASSES)
    cells = (labels.astype(np.int64) * width + ours) * width + theirs
    drawn = _resampled(cells, width**3, random).reshape(-1, width, width, width)
    whole = np.bincount(cells, minlength=width**3).reshape(1, width, width, width).astype(np.float64)
    found: dict[str, float] = {}
    for name, measure in (("accuracy_gain", _accuracy), ("macro_f1_gain", macro_f1)):
        value, draws = (measure(of.sum(axis=3)) - measure(of.sum(axis=2)) for of in (whole, drawn))
        found |= _between(name, value[0], draws)
    return found


def _accuracy(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1) / confusion.sum(axis=(-2, -1)))


def _between(name: str, value: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    figures = {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    return {key: round(figure, DIGITS) for key, figure in figures.items()}


def _per_class(confusion: NDArray[np.float64]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(CLASSES):
        hits, labelled, said = confusion[place, place], confusion[place].sum(), confusion[:, place].sum()
        found[name] = {
            "precision": round(hits / said, DIGITS) if said else None,
            "recall": round(hits / labelled, DIGITS) if labelled else None,
            "f1": round(2 * hits / (said + labelled), DIGITS) if said + labelled else None,
        }
    return found


def _warnings(labels: NDArray[np.int8], figures: dict[str, Any]) -> list[str]:
    found = []
    for place, name in enumerate(CLASSES):
        count = int((labels == place).sum())
        if not count:
            found.append(f"no text is {name}: the model never says it")
        elif count < 5 * FOLD_COUNT:
            found.append(f"only {count} texts are {name}: what is said of them is mostly chance")
    for name, rival in figures["baselines"].items():
        behind = [said for said in ("accuracy", "macro_f1") if rival[f"{said}_gain_low"] <= 0]
        if behind:
            measures = " and ".join(behind).replace("macro_f1", "macro-F1")
            found.append(f"not shown to be better than {name.replace('_', ' ')} on these texts by {measures}")
    if "vader" not in figures["baselines"]:
        found.append("VADER is not installed and was left out (pip install vaderSentiment)")
    return found
