"""What a sentiment model has to be better than: the commonest class, two word lists, and VADER where it is installed.

Owns the rivals' rules. Each sees the training rows of a part only. Must never be part of what travels to a device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.sentiment.features import tally
from reflexarc_models.sentiment.model import CLASSES
from reflexarc_models.sentiment.words import words_of

NEGATIVE, NEUTRAL, POSITIVE = range(len(CLASSES))
VADER_LINE: Final = 0.05
"""The line its authors give: compound over it is positive, under its negative, else neutral."""

Labels = NDArray[np.int8]
Rival = Callable[[Sequence[str], Labels, Sequence[str]], Labels]
"""(training texts, their labels, texts to judge) -> labels of the last."""


def majority(train: Sequence[str], labels: Labels, texts: Sequence[str]) -> Labels:
    """The commonest class of the training rows for every text."""
    return np.full(len(texts), np.bincount(labels, minlength=len(CLASSES)).argmax(), np.int8)


def word_list(train: Sequence[str], labels: Labels, texts: Sequence[str]) -> Labels:
    """Our short list of words with negation, nothing learned: more for than against is positive, and the other way."""
    sums = (tally(words_of(text)) for text in texts)
    return np.array([NEUTRAL + (one.up > one.down) - (one.up < one.down) for one in sums], np.int8)


def learned_lexicon(train: Sequence[str], labels: Labels, texts: Sequence[str]) -> Labels:
    """A lexicon learned from the training rows: a word is worth the log odds of standing in a positive rather than a
    negative text, a text the mean of its words; the two lines are those that get most training rows right.
    """
    counts: defaultdict[str, list[float]] = defaultdict(lambda: [1.0, 1.0])
    for text, label in zip(train, labels, strict=True):
        if label != NEUTRAL:
            for word in _marked(text):
                counts[word][int(label == POSITIVE)] += 1.0
    rest = np.log(max(1, int((labels == POSITIVE).sum())) / max(1, int((labels == NEGATIVE).sum())))
    worth = {word: float(np.log(up / down) - rest) for word, (down, up) in counts.items()}

    def judged(one: str) -> float:
        values = [worth.get(word, 0.0) for word in _marked(one)]
        return sum(values) / len(values) if values else 0.0

    low, high = _lines(np.array([judged(text) for text in train]), labels)
    sums = np.array([judged(text) for text in texts])
    return np.where(sums >= high, POSITIVE, np.where(sums < low, NEGATIVE, NEUTRAL)).astype(np.int8)


def vader(train: Sequence[str], labels: Labels, texts: Sequence[str]) -> Labels:
    """VADER (Hutto and Gilbert, 2014) with its authors' lines; needs the package `vaderSentiment`."""
    analyzer = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
    sums = np.array([analyzer.polarity_scores(text)["compound"] for text in texts])
    return np.where(sums >= VADER_LINE, POSITIVE, np.where(sums <= -VADER_LINE, NEGATIVE, NEUTRAL)).astype(np.int8)


def rivals() -> dict[str, Rival]:
    """Every rival that can run here, by name."""
    found: dict[str, Rival] = {"majority": majority, "word_list": word_list, "learned_lexicon": learned_lexicon}
    return {**found, "vader": vader} if find_spec("vaderSentiment") is not None else found


@lru_cache(maxsize=1 << 16)
def _marked(text: str) -> tuple[str, ...]:
    return tuple(f"not {one.text}" if one.negated else one.text for one in words_of(text) if one.kind != "stop")


def _lines(sums: NDArray[np.float64], labels: Labels) -> tuple[float, float]:
    """(low, high): under low negative, from high on positive; one line after the other, each getting most rows right."""
    cuts = np.unique(np.quantile(sums, np.linspace(0, 1, 101)))
    # Right among the rows under each cut, by class; every pair of cuts is then three differences.
    under = np.array([np.bincount(labels[sums < cut], minlength=len(CLASSES)) for cut in cuts])
    positives = int((labels == POSITIVE).sum())
    right = under[:, None, NEGATIVE] + (under[None, :, NEUTRAL] - under[:, None, NEUTRAL]) + positives - under[None, :, POSITIVE]
    right[np.tril_indices(len(cuts), -1)] = -1  # the low line is not over the high one
    low, high = np.unravel_index(int(right.argmax()), right.shape)
    return float(cuts[low]), float(cuts[high])
