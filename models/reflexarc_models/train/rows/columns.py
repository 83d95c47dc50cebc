"""A table's columns as model inputs: what each one is, and how its text becomes numbers, declared from training rows.

Owns the inference of types and the encodings. A fitted `Encoding` is data: hosts would apply the same few rules, and models
see floats only. Must never look at a label outside the rows it is fitted on.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import INPUT_COUNT_MAX
from reflexarc_models.train.evidence.calibrate import area_under_curve
from reflexarc_models.train.rows.split import subject_hash

MISSING_TEXTS: Final = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "nil", "#n/a", "-", "<na>", "inf", "-inf"))
NUMBER: Final = re.compile(r"[£$€]?\s?(-?)[£$€]?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)\s?%?")
PARSED_SHARE_MIN: Final = 0.95
LEVEL_COUNT_MAX: Final = 2_000
ID_SHARE: Final = 0.95
TEXT_SHARE: Final = 0.5
ID_NAME: Final = re.compile(
    r"(?:^|[_\W])(?:u?u?id|guid|key|hash)$|(?:Id|ID|Guid|UUID)$|^(?:id|index|row|rownumber|row_number)$|^$"
)
LEVEL_PRIOR_ROWS: Final = 20.0
CROSSED_LEVELS_MIN: Final = 12
CROSS_COUNT: Final = 5
SEPARATES_AUC: Final = 0.97
BIN_COUNT: Final = 32
DATE_FORMATS: Final = (
    "iso", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y",
    "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%y", "%d/%m/%y",
)  # fmt: skip

NUMBERS: Final = "number"
FLAG: Final = "flag"
LEVELS: Final = "levels"
DATE: Final = "date"

_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is used. kind: `number`; `flag` (two texts, the second of `levels` is 1); `levels` (each text stands
    for the smoothed share of positives among its training rows; a text not seen there for the share of all); `date`
    (days since 1970, weekday, hour, by `date_format`). A missing value is NaN, for `levels` a text of its own.
    """

    name: str
    kind: str
    levels: Mapping[str, float] = field(default_factory=dict)
    other: float = math.nan
    date_format: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs the column becomes."""
        if self.kind == DATE:
            return (f"{self.name}.day", f"{self.name}.weekday", f"{self.name}.hour")
        return (self.name,)

    def values(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """float64 [n, inputs]; NaN where there is no value."""
        if self.kind == NUMBERS:
            return np.array([number(text) for text in texts], dtype=np.float64).reshape(-1, 1)
        if self.kind == DATE:
            return _dates(texts, self.date_format)
        known, other = self.levels, self.other
        return np.array([known.get(_level(text), other) for text in texts], dtype=np.float64).reshape(-1, 1)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Columns used, in order, and those left out with the reason. warnings: what a person should look at."""

    columns: tuple[Column, ...]
    left_out: Mapping[str, str]
    warnings: tuple[str, ...]
    inputs: tuple[str, ...]

    def rows(self, table: Mapping[str, Sequence[str]]) -> NDArray[np.float64]:
        """float64 [n, inputs] of a table of texts by column."""
        blocks = [column.values(table[column.name]) for column in self.columns]
        names = [name for column in self.columns for name in column.inputs]
        whole = np.hstack(blocks)
        return np.asarray(whole[:, [names.index(name) for name in self.inputs]])


@functools.lru_cache(maxsize=200_000)
def number(text: str) -> float:
    """A number as people write it (thousands by comma, a currency sign, a percent sign), NaN for anything else."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        found = NUMBER.fullmatch(text)
        if found is None:
            return math.nan
        value = float(found[1] + found[2].replace(",", ""))
    return value if math.isfinite(value) and abs(value) < 1e30 and "_" not in text else math.nan


def is_missing(text: str) -> bool:
    """Whether the text is one of the usual ways to say that there is none."""
    return text.strip().lower() in MISSING_TEXTS


def fit_encoding(
    table: Mapping[str, Sequence[str]], labels: NDArray[np.int8], keys: NDArray[np.object_]
) -> tuple[Encoding, NDArray[np.float64]]:
    """The encoding that these (training) rows declare, and the rows themselves by it, float64 [n, inputs].

    keys: what rows belong together by. Of columns with many levels a training row's own label is kept out of its value:
    such columns are encoded across CROSS_COUNT parts. Columns that say nothing, name rows or repeat the label are left
    out, each with its reason. At most INPUT_COUNT_MAX inputs, those that alone rank best.
    """
    columns: list[Column] = []
    blocks: list[NDArray[np.float64]] = []
    left_out: dict[str, str] = {}
    warnings: list[str] = []
    half = subject_hash(keys, "alone") < GRID // 2
    for name, texts in table.items():
        column = _column(name, texts, labels)
        if isinstance(column, str):
            left_out[name] = column
            continue
        block = _crossed(column, texts, labels, keys) if column.kind == LEVELS else column.values(texts)
        alone = max(_alone(block[:, place], labels, half) for place in range(block.shape[1]))
        if _repeats(texts, labels):
            left_out[name] = "it repeats the label"
            warnings.append(f"{name} repeats the label and was left out")
            continue
        if alone >= SEPARATES_AUC:
            warnings.append(f"{name} alone separates the labels (AUC {alone:.3f}): is it known when the score is made?")
        columns.append(column)
        blocks.append(block)
    names = [name for column in columns for name in column.inputs]
    if not names:
        return Encoding((), left_out, tuple(warnings), ()), np.zeros((len(labels), 0))
    whole = np.hstack(blocks)
    strength = np.array([_alone(whole[:, place], labels, half) for place in range(len(names))])
    kept = np.sort(np.argsort(-strength, kind="stable")[:INPUT_COUNT_MAX])
    kept = kept[[len(np.unique(whole[:, place])) > 1 for place in kept]]
    inputs = tuple(names[place] for place in kept)
    used = tuple(column for column in columns if set(column.inputs) & set(inputs))
    for column in columns:
        if column not in used:
            left_out[column.name] = f"more than {INPUT_COUNT_MAX} inputs: the weakest alone"
    return Encoding(used, left_out, tuple(warnings), inputs), whole[:, kept]


def _column(name: str, texts: Sequence[str], labels: NDArray[np.int8]) -> Column | str:
    """What the column is, or why it is left out."""
    there = [text.strip() for text in texts if not is_missing(text)]
    if not there:
        return "it is empty"
    distinct = set(there)
    if len(distinct) == 1 and len(there) == len(texts):
        return "it is constant"
    parsed = sum(not math.isnan(number(text)) for text in there)
    if parsed >= PARSED_SHARE_MIN * len(there):
        return _numbers(name, there, len(texts)) if len(distinct) > 1 else Column(name, NUMBERS)
    date_format = _date_format(there)
    if date_format:
        return Column(name, DATE, date_format=date_format)
    if len(there) > 20 and len(distinct) >= ID_SHARE * len(there):
        return "it names rows: nearly every value is another"
    if len(distinct) > LEVEL_COUNT_MAX or (len(there) > 100 and len(distinct) > TEXT_SHARE * len(there)):
        return f"it is free text or an identifier: {len(distinct):,} different values"
    levels = sorted({_level(text) for text in texts})
    if len(levels) == 2 and len(distinct) == 2:
        return Column(name, FLAG, {levels[0]: 0.0, levels[1]: 1.0})
    return Column(name, LEVELS, *_shares([_level(text) for text in texts], labels))


def _numbers(name: str, there: Sequence[str], rows: int) -> Column | str:
    values = [value for text in there if not math.isnan(value := number(text))]
    distinct = set(values)
    if len(values) > 20 and len(distinct) == len(values) and all(value.is_integer() for value in values):
        dense = max(values) - min(values) < 2 * len(values)
        if dense or ID_NAME.search(name):
            return "it names rows: every value is another"
    if ID_NAME.search(name) and len(distinct) > TEXT_SHARE * rows:
        return "it names rows"
    return Column(name, NUMBERS)


def _level(text: str) -> str:
    return "" if is_missing(text) else text.strip()


def _shares(levels: Sequence[str], labels: NDArray[np.int8]) -> tuple[dict[str, float], float]:
    """(smoothed share of positives by level, share of all): a level of few rows is drawn towards the share of all."""
    names, place = np.unique(np.array(levels, dtype=object).astype(str), return_inverse=True)
    base = float(labels.mean()) if len(labels) else 0.0
    rows = np.bincount(place, minlength=len(names))
    hits = np.bincount(place, weights=labels.astype(np.float64), minlength=len(names))
    shares = (hits + LEVEL_PRIOR_ROWS * base) / (rows + LEVEL_PRIOR_ROWS)
    return {str(name): float(f"{share:.6g}") for name, share in zip(names, shares, strict=True)}, float(f"{base:.6g}")


def _crossed(column: Column, texts: Sequence[str], labels: NDArray[np.int8], keys: NDArray[np.object_]) -> NDArray[np.float64]:
    """The training rows' own values of a column of levels."""
    if len(column.levels) < CROSSED_LEVELS_MIN:
        return column.values(texts)
    part = subject_hash(keys, "levels") * CROSS_COUNT // GRID
    values = np.full((len(texts), 1), column.other)
    levels = np.array([_level(text) for text in texts], dtype=object)
    for number_of_part in range(CROSS_COUNT):
        inside = part == number_of_part
        if inside.any() and not inside.all():
            shares, other = _shares(list(levels[~inside]), labels[~inside])
            values[inside, 0] = [shares.get(level, other) for level in levels[inside]]
    return values


def _repeats(texts: Sequence[str], labels: NDArray[np.int8]) -> bool:
    """Whether the column is the label under another name: two texts, one for each label, without an exception."""
    sides = [{_level(text) for text, label in zip(texts, labels, strict=True) if label == side} for side in (0, 1)]
    return len(sides[0]) == len(sides[1]) == 1 and sides[0] != sides[1]


def _alone(values: NDArray[np.float64], labels: NDArray[np.int8], half: NDArray[np.bool_]) -> float:
    """AUC of one input's bins, their shares learnt on one half of the rows and ranked on the other; 0.5 is nothing."""
    if not half.any() or half.all():
        return 0.5
    shares = binned_shares(values[half], labels[half], values[~half], BIN_COUNT)
    return max(0.5, area_under_curve(shares, labels[~half]))


def binned_shares(
    seen: NDArray[np.float64], labels: NDArray[np.int8], values: NDArray[np.float64], bin_count: int = 16
) -> NDArray[np.float64]:
    """For each of `values`, the share of positives among the seen rows of its quantile bin (NaN is a bin of its own)."""
    finite = seen[np.isfinite(seen)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, bin_count + 1)[1:-1])) if len(finite) else np.zeros(0)

    def place(of: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.where(np.isfinite(of), np.searchsorted(edges, of, side="left"), len(edges) + 1)

    rows = np.bincount(place(seen), minlength=len(edges) + 2)
    hits = np.bincount(place(seen), weights=labels.astype(np.float64), minlength=len(edges) + 2)
    shares: NDArray[np.float64] = (hits + labels.mean()) / (rows + 1.0)
    return shares[place(values)]


def _date_format(there: Sequence[str]) -> str:
    """The one format that (nearly) all texts follow; of two that both do, the one more of them follow. Empty for none."""
    sample = there[:: max(1, len(there) // 2_000)]
    if sum(len(text) >= 8 and any(mark in text for mark in "-/. ") for text in sample) < PARSED_SHARE_MIN * len(sample):
        return ""
    best, found = 0, ""
    for date_format in DATE_FORMATS:
        parsed = sum(_moment(text, date_format) is not None for text in sample)
        if parsed > best and parsed >= PARSED_SHARE_MIN * len(sample):
            best, found = parsed, date_format
    return found


def _moment(text: str, date_format: str) -> datetime.datetime | None:
    try:
        text = text.strip()
        read = datetime.datetime.fromisoformat(text) if date_format == "iso" else datetime.datetime.strptime(text, date_format)
    except ValueError:
        return None
    return read.replace(tzinfo=datetime.UTC) if read.tzinfo is None else read


def moments(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Seconds since 1970 of a column of dates, NaN where there is none; None when it is no column of dates."""
    there = [text.strip() for text in texts if not is_missing(text)]
    date_format = _date_format(there) if there else ""
    if not date_format:
        return None
    read = [_moment(text, date_format) for text in texts]
    return np.array([math.nan if one is None else one.timestamp() for one in read], dtype=np.float64)


def _dates(texts: Sequence[str], date_format: str) -> NDArray[np.float64]:
    rows = np.full((len(texts), 3), np.nan)
    for place, text in enumerate(texts):
        read = _moment(text, date_format)
        if read is not None:
            rows[place] = math.floor(read.timestamp() / _DAY_S), read.weekday(), read.hour
    return rows
