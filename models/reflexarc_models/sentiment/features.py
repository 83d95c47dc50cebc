"""From marked words to a sparse vector of small integers.

Owns which n-grams and clues a text has, how strongly, and which row of the weights each is. The same code runs in training and
on every host; whoever changes what it gives raises `FEATURES_VERSION`, and models made before are refused. Must never learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

from reflexarc_models.sentiment.polarity import polarity
from reflexarc_models.sentiment.words import Word, words_of

FEATURES_VERSION: Final = 1
UNIT: Final = 256
"""Euclidean length of every vector before its values are rounded to integers."""
BUCKETS: Final = 1 << 14
"""Rows of the weights. Names that fall into one row share its weights."""

_GRAM: Final = 4
_GRAM_BEYOND_ASCII: Final = 2
# How strongly one n-gram speaks beside a whole word (1).
_PAIR, _PIECE, _MARK = 0.7, 0.35, 0.7
_SHOUT, _CONTRAST, _NEGATED, _TALLY_MAX = 0.5, 1.5, 0.6, 4.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What the listed words of a text add up to. up, down: strengths for and against, 0 or more. last: the sign of
    the last listed word, 0 when there is none.
    """

    up: float
    down: float
    last: int
    counts: dict[str, float]


def tally(words: Sequence[Word]) -> Tally:
    """Adds the listed words up: a negated one turns round and weakens, shouting and stretching strengthen, and what
    stands behind a contrast (`but`) weighs more.
    """
    up = down = 0.0
    last = 0
    counts: dict[str, float] = {}
    for one in words:
        value = 0 if one.kind in ("stop", "thing") else polarity(one.text)
        if not value:
            continue
        strength = float(abs(value))
        name = str(value)
        if one.negated:
            name = "not+" if value > 0 else "not-"
            value, strength = (-1 if value > 0 else 1), _NEGATED
        counts[name] = counts.get(name, 0.0) + 1.0
        if one.shouted or one.stretched:
            strength += _SHOUT
        if one.after_contrast:
            strength *= _CONTRAST
        last = 1 if value > 0 else -1
        if value > 0:
            up += strength
        else:
            down += strength
    return Tally(up, down, last, counts)


def strengths_of(text: str) -> dict[str, float]:
    """Feature name -> how strongly the text has it, over 0. Empty for a text without a word or a mark."""
    words = words_of(text)
    if not words:
        return {}
    found = _clues(tally(words))
    before = "^"
    for one in words:
        name = one.text
        if one.kind == "stop":
            found[f"m {name}"] = _MARK
        else:
            found[f"w {name}"] = 1.0
            if one.kind == "word":
                if one.negated:
                    found[f"n {name}"] = 1.0
                found[f"b {before} {name}"] = _PAIR
                for piece in _pieces(name):
                    found[piece] = _PIECE
        before = name
    return found


@lru_cache(maxsize=4_096)
def _pieces(word: str) -> tuple[str, ...]:
    """The character n-grams of a word, its beginning and its end marked; shorter ones beyond ASCII, where signs say more."""
    length = _GRAM if word.isascii() else _GRAM_BEYOND_ASCII
    if len(word) < length:
        return ()
    inner = [f"g {word[start : start + length]}" for start in range(len(word) - length + 1)]
    return tuple(dict.fromkeys([*inner, f"g <{word[: length - 1]}", f"g {word[1 - length :]}>"]))


def _clues(sums: Tally) -> dict[str, float]:
    """The tally as features: amounts, and the case it is."""
    found = {f"c {name}": count for name, count in sums.counts.items()}
    net = sums.up - sums.down
    for name, amount, share in (("up", sums.up, 0.5), ("down", sums.down, 0.5), ("for", net, 0.7), ("against", -net, 0.7)):
        if amount > 0:
            found[f"c {name}"] = min(amount, _TALLY_MAX) * share
    found[f"c net {math.floor(max(-_TALLY_MAX, min(_TALLY_MAX, net)) + 0.5)}"] = 1.5
    found[f"c both {sums.up > 0:d}{sums.down > 0:d}"] = 1.0
    found[f"c last {sums.last}"] = 1.0
    return found


def vector_of(text: str) -> tuple[list[int], list[int]]:
    """(rows, values): the rows of the weights that speak, each once, and how strongly, 1 to UNIT.

    Integers from operations that IEEE 754 rounds in one way only, so that they are equal on every machine.
    """
    sums: dict[int, float] = {}
    for name, strength in strengths_of(text).items():
        row = crc32(name.encode("utf-8", "replace")) % BUCKETS
        sums[row] = sums.get(row, 0.0) + strength
    length = math.sqrt(math.fsum(value * value for value in sums.values())) or 1.0
    rows: list[int] = []
    values: list[int] = []
    for row, value in sums.items():
        whole = math.floor(value * UNIT / length + 0.5)
        if whole:
            rows.append(row)
            values.append(whole)
    return rows, values
