"""Texts with a sentiment, from a file: with a header or without, CSV, tab-separated or JSON lines.

Owns the framing of files of free text (where a lone quote is only a quote) and what a label's value means. Must never look into a
text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_build.source import nearest
from reflexarc_cli.importing.rows import BadRow, RowFormat, read_frames, read_header, read_records
from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import DefinitionError
from reflexarc_models.sentiment import CLASSES
from reflexarc_models.train.rows.columns import is_missing, number

NEGATIVE, NEUTRAL, POSITIVE = range(len(CLASSES))
LINES: Final = (-0.5, 0.5)
"""Of a mean score: up to the first negative, from the second on positive."""
BAD_SHARE_MAX: Final = 0.5
VALUES_SHOWN_MAX: Final = 8
NUMBER_SHARE_MIN: Final = 0.95
STEP_ROWS: Final = 5_000
DELIMITERS: Final = ("\t", ",", ";", "|")

_WORDS: Final = {
    **dict.fromkeys(("negative", "neg", "bad", "-", "−1", "unhappy", "n", "negativ"), NEGATIVE),
    **dict.fromkeys(("neutral", "neu", "none", "mixed", "ok", "objective", "0"), NEUTRAL),
    **dict.fromkeys(("positive", "pos", "good", "+", "+1", "happy", "p", "positiv"), POSITIVE),
}
_DEGREES: Final = frozenset(("extremely", "highly", "mostly", "slightly", "somewhat", "strongly", "very", "weakly"))
# Scales of whole numbers that people use, by the values that occur: (they are a subset of, and hold all of) -> lines.
_SCALES: Final = (
    ({-1, 0, 1}, {-1}, (-0.5, 0.5), "-1, 0, 1"),
    ({0, 1}, {0, 1}, (0.5, 0.5), "0 is negative, 1 is positive"),
    ({0, 1, 2}, {0, 2, 1}, (0.5, 1.5), "0 is negative, 1 is neutral, 2 is positive"),
    ({0, 2, 4}, {0, 4}, (1.0, 3.0), "0 is negative, 2 is neutral, 4 is positive"),
    ({1, 2, 3, 4, 5}, {1, 5}, (2.5, 3.5), "stars: 1 and 2 are negative, 3 is neutral, 4 and 5 are positive"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTexts:
    """texts: as they stand in the file. labels: int8 [n], places in CLASSES. meaning: how values became classes. notes:
    what was left out on the way.
    """

    texts: list[str]
    labels: NDArray[np.int8]
    meaning: str
    notes: tuple[str, ...]


def read_texts(
    path: Path, text: str, label: str, lines: tuple[float, float] | None, step: Callable[[int], object] = lambda _: None
) -> LabelledTexts:
    """Read and check the whole file. text, label: names of columns, or their numbers from 1 where the file has no header.

    lines: a number up to the first is negative, from the second on positive; None: by the values (`LINES` of a mean score).
    step: called with the number of rows read since the last call. Raises Misused for a column or value that is not there,
    StorageError for a file that cannot be read, DefinitionError for one that holds no texts.
    """
    pairs, notes = _pairs(path, text, label, step)
    filled = [(one, value) for one, value in pairs if one.strip() and not is_missing(value)]
    if len(filled) < len(pairs):
        notes.append(f"{len(pairs) - len(filled):,} rows without a text or a label were left out")
    if not filled:
        raise DefinitionError(f"{path} holds no text with a label", hint="is it the right file, and are these its columns?")
    places, meaning = _classes([value for _, value in filled], label, lines)
    kept = [(one, place) for (one, _), place in zip(filled, places, strict=True) if place is not None]
    if len(kept) < len(filled):
        notes.append(f"{len(filled) - len(kept):,} rows with another label were left out")
    return LabelledTexts([one for one, _ in kept], np.array([place for _, place in kept], np.int8), meaning, tuple(notes))


def _pairs(path: Path, text: str, label: str, step: Callable[[int], object]) -> tuple[list[tuple[str, str]], list[str]]:
    """(text, value of the label) of every row that is one, and notes."""
    stated = _format(path)
    header = read_header_or_none(path, stated)
    numbered = text.isdecimal() and label.isdecimal() and (header is None or not {text, label} <= set(header))
    if not numbered:
        if header is None:
            header = read_header(path, stated)  # says what is wrong with it
        for what, name in (("--text", text), ("--label", label)):
            if name not in header:
                hint = nearest(name, header) or "a file without a header takes the numbers of its columns, from 1"
                raise Misused(f"{path} has no column {name!r} for {what}", hint=hint)
    elif stated.format == "jsonl":
        raise Misused("JSON lines name their columns", hint=f"one of {', '.join((header or ())[:8])}")
    if text == label:
        raise Misused(f"{text} cannot be the text and its label")
    for encoding in ("utf-8", "cp1252"):
        pairs, bad = _read(path, replace(stated, encoding=encoding), text, label, header if not numbered else None, step)
        if not any(reason.startswith("bytes") for reason in bad):
            break
    rows = len(pairs) + bad.total()
    if not rows:
        raise DefinitionError(f"{path} holds no row", hint="is it the right file?")
    if bad.total() > BAD_SHARE_MAX * rows:
        commonest = bad.most_common(1)[0][0]
        raise DefinitionError(f"{bad.total():,} of {rows:,} rows are no rows: {commonest}", hint="is this a table of text?")
    notes = [f"{count:,} rows left out: {reason}" for reason, count in bad.most_common(3)]
    return pairs, [*notes, "the file is not UTF-8: read as cp1252"] if encoding != "utf-8" else notes


def read_header_or_none(path: Path, row_format: RowFormat) -> tuple[str, ...] | None:
    """The header, None where the first record cannot be one (a name twice, or none at all)."""
    try:
        return read_header(path, row_format)
    except DefinitionError:
        return None


def _read(
    path: Path, row_format: RowFormat, text: str, label: str, header: Sequence[str] | None, step: Callable[[int], object]
) -> tuple[list[tuple[str, str]], Counter[str]]:
    pairs: list[tuple[str, str]] = []
    bad: Counter[str] = Counter()
    read = 0
    if row_format.format == "jsonl":
        for row in read_frames(path, row_format):
            if isinstance(row, BadRow):
                bad[row.reason] += 1
            else:
                held, value = row.cells.get(text), row.cells.get(label)
                pairs.append((held if isinstance(held, str) else "", "" if value is None else str(value)))
            read += 1
            step(STEP_ROWS if read % STEP_ROWS == 0 else 0)
        step(read % STEP_ROWS)
        return pairs, bad
    places = (int(text) - 1, int(label) - 1) if header is None else (header.index(text), header.index(label))
    if min(places) < 0:
        raise Misused("columns count from 1")
    quoted = row_format.delimiter != "\t" or not _plain(path, row_format)
    width = 0
    for number_, record in enumerate(read_records(path, row_format, quoted=quoted)):
        if number_ == 0 and header is not None:
            continue
        read += 1
        step(STEP_ROWS if read % STEP_ROWS == 0 else 0)
        if isinstance(record, BadRow):
            bad[record.reason] += 1
        elif max(places) >= len(record):
            width = max(width, len(record))
            bad[f"{len(record)} columns"] += 1
        else:
            pairs.append((_unquoted(record[places[0]]) if not quoted else record[places[0]], record[places[1]]))
    step(read % STEP_ROWS)
    if not pairs and width:
        raise Misused(f"{path} has {width} columns, not {max(places) + 1}", hint="columns count from 1")
    return pairs, bad


def _format(path: Path) -> RowFormat:
    """By the name where it says so, else (and for the delimiter) by the first line."""
    name = path.name.removesuffix(".gz").lower()
    if name.endswith((".jsonl", ".ndjson")):
        return RowFormat("jsonl", "")
    first = next((one for one in read_records(path, RowFormat("csv", "\x00"), quoted=False)), [""])
    line = first.raw if isinstance(first, BadRow) else "\x00".join(first)
    if name.endswith((".tsv", ".tab")) or "\t" in line:
        return RowFormat("tsv", "\t")
    best = max(DELIMITERS[1:], key=line.count)
    return RowFormat("csv", best if line.count(best) else ",")


def _plain(path: Path, row_format: RowFormat) -> bool:
    """Whether the lines of a tab-separated file are its records: read so, nearly all have as many columns as the first."""
    widths = Counter(len(one) for one in read_records(path, row_format, quoted=False) if not isinstance(one, BadRow))
    return not widths or widths.most_common(1)[0][1] >= 0.99 * widths.total()


def _unquoted(cell: str) -> str:
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")
    return cell[1:-1].replace('""', '"') if whole else cell


def _classes(values: Sequence[str], label: str, lines: tuple[float, float] | None) -> tuple[list[int | None], str]:
    """A place in CLASSES for each value, None for one that means none, and what was understood."""
    numbers = [number(value) for value in values]
    finite = [one for one in numbers if math.isfinite(one)]
    if len(finite) >= NUMBER_SHARE_MIN * len(values) or lines is not None:
        low, high, meaning = _lines(finite, label, lines)
        return [None if not math.isfinite(one) else _place(one, low, high) for one in numbers], meaning
    places = [_word(value) for value in values]
    known = sum(place is not None for place in places)
    if known * 2 < len(values):
        counts = Counter(value.strip()[:40] for value in values)
        shown = ", ".join(repr(value) for value, _ in counts.most_common(VALUES_SHOWN_MAX))
        raise Misused(f"{label} does not say a sentiment: {shown}", hint="negative, neutral, positive, or a number")
    return places, "by its words"


def _lines(finite: Sequence[float], label: str, lines: tuple[float, float] | None) -> tuple[float, float, str]:
    if not finite:
        raise Misused(f"{label} holds no number", hint="lines go with numbers")
    if lines is not None:
        if not lines[0] <= lines[1]:
            raise Misused(f"the line below which a text is negative ({lines[0]:g}) is over the other ({lines[1]:g})")
        return (*lines, f"a number up to {lines[0]:g} is negative, from {lines[1]:g} on positive")
    held = set(finite)
    for allowed, needed, (low, high), meaning in _SCALES:
        if needed <= held <= allowed:
            return low, high, meaning
    low, high = LINES
    if min(finite) > low or max(finite) < high:
        raise Misused(
            f"{label} goes from {min(finite):g} to {max(finite):g}: which numbers are negative, which positive?",
            hint="say it with --negative-to and --positive-from",
        )
    return low, high, f"a mean score up to {low:g} is negative, from {high:g} on positive"


def _place(value: float, low: float, high: float) -> int:
    if value >= high:
        return POSITIVE
    return NEGATIVE if value <= low else NEUTRAL


def _word(value: str) -> int | None:
    words = [word for word in value.strip().lower().replace("_", " ").split() if word not in _DEGREES]
    return _WORDS.get(" ".join(words))
