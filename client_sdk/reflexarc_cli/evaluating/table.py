"""A table with a label, from a file: texts by column, which rows are positive, which rows belong together.

Owns the framing (delimiter, encoding), the guess of the positive value and the words for what cannot be used. Must never
turn a text into a model input: that is `reflexarc_models.train.rows.columns`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_build.source import nearest
from reflexarc_cli.importing.rows import BadRow, Row, RowFormat, format_of, read_frames, read_header
from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import DefinitionError
from reflexarc_models.train.rows.columns import is_missing, moments, number

POSITIVE_TEXTS: Final = (
    "yes", "true", "1", "1.0", "y", "t", "positive", "pos", "churn", "churned", "left", "exited", "attrited", "attrited customer",
    "cancelled", "canceled", "purchase", "purchased", "bought", "buy", "converted", "buyer",
)  # fmt: skip
DELIMITERS: Final = (",", ";", "\t", "|")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
BAD_SHARE_MAX: Final = 0.5
COPIES_SHARE_MAX: Final = 0.5
VALUES_SHOWN_MAX: Final = 6
STEP_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTable:
    """columns: texts by name, without label, time, subject and dropped columns. labels: int8 [n]. keys: text [n].
    times: float64 [n] ascending with time, None without a time column. notes: what was left out on the way.
    """

    columns: dict[str, list[str]]
    labels: NDArray[np.int8]
    keys: NDArray[Any]
    times: NDArray[np.float64] | None
    positive: str
    notes: tuple[str, ...]


def read_table(
    path: Path, label: str, positive: str | None, time: str | None, drop: Sequence[str], subject: str | None,
    step: Callable[[int], object] = lambda _: None,
) -> LabelledTable:  # fmt: skip
    """Read and check the whole table. step: called with the number of rows read since the last call.

    Raises Misused for a column or value that is not there, StorageError for a file that cannot be read, DefinitionError
    for one that is no table.
    """
    row_format = _framing(path)
    header = read_header(path, row_format)
    for what, name in (("--label", label), ("--time", time), ("--subject", subject), *(("--drop", name) for name in drop)):
        if name is not None and name not in header:
            raise Misused(f"{path} has no column {name!r} for {what}", hint=nearest(name, header))
    if label in drop or label in (time, subject):
        raise Misused(f"{label} is the label and cannot be another column too")
    columns, bad, notes = _read(path, row_format, header, step)
    count = len(columns[label])
    if not count:
        raise DefinitionError(f"{path} holds no row under its header", hint="is it the right file?")
    if bad.total() > BAD_SHARE_MAX * (count + bad.total()):
        raise DefinitionError(
            f"{bad.total():,} of {count + bad.total():,} rows are no rows: {bad.most_common(1)[0][0]}",
            hint="is this a table of text?",
        )
    notes += [f"{rows:,} rows left out: {reason}" for reason, rows in bad.most_common(3)]
    chosen, labels = _labels(columns[label], label, positive)
    known = [place for place, text in enumerate(columns[label]) if not is_missing(text)]
    if time is not None:
        times = _times(columns[time], time)
        notes += [f"{missing:,} rows left out: no {time}"] if (missing := int(np.isnan(times[known]).sum())) else []
        known = [place for place in known if not np.isnan(times[place])]
        times = times[known]
    else:
        times = None
    if len(known) < count:
        notes.append(f"{count - len(known):,} rows without a {label} or a time were left out")
    kept = {name: [texts[place] for place in known] for name, texts in columns.items()}
    keys, said = _keys(kept, subject)
    notes += said
    inputs = {name: texts for name, texts in kept.items() if name not in {label, time, subject, *drop}}
    if not inputs:
        raise Misused("no column is left to learn from", hint=f"the file has {', '.join(header[:8])}")
    return LabelledTable(inputs, labels[known], keys, times, chosen, tuple(notes))


def _keys(kept: dict[str, list[str]], subject: str | None) -> tuple[NDArray[Any], list[str]]:
    """What rows belong together by: the subject, or a row's own content. Where most rows have a twin, the columns only take few
    values: twins are then different people, and every row is its own.
    """
    if subject is not None:
        return np.array(kept[subject], dtype=object), []
    keys = [_row_key(cells) for cells in zip(*kept.values(), strict=True)]
    copies = len(keys) - len(set(keys))
    if not copies:
        return np.array(keys, dtype=object), []
    if copies > COPIES_SHARE_MAX * len(keys):
        alone = [f"{key} {place}" for place, key in enumerate(keys)]
        return np.array(alone, dtype=object), [f"{copies:,} rows have a twin: too many to be copies, each is taken for its own"]
    return np.array(keys, dtype=object), [f"{copies:,} rows are copies of another: kept, and never apart"]


def _row_key(cells: Sequence[str]) -> str:
    """Equal for equal rows, and short."""
    return hashlib.blake2b("\x00".join(cells).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _framing(path: Path) -> RowFormat:
    """The format by the name, the delimiter by the header, the encoding by whether it can be read."""
    stated = format_of(path)
    if stated.format == "jsonl":
        return stated
    header = ",".join(read_header(path, replace(stated, delimiter="\x00")))
    counts = {delimiter: header.count(delimiter) for delimiter in DELIMITERS}
    best = max(counts, key=lambda delimiter: (counts[delimiter], delimiter == stated.delimiter))
    return replace(stated, delimiter=best) if counts[best] else stated


def _read(
    path: Path, row_format: RowFormat, header: tuple[str, ...], step: Callable[[int], object]
) -> tuple[dict[str, list[str]], Counter[str], list[str]]:
    columns: dict[str, list[str]] = {name: [] for name in header}
    bad: Counter[str] = Counter()
    encodings = 0
    read = 0
    for row in read_frames(path, row_format):
        if isinstance(row, BadRow):
            bad[row.reason] += 1
            encodings += row.code == "encoding"
            continue
        _add(columns, row)
        read += 1
        if read % STEP_ROWS == 0:
            step(STEP_ROWS)
    step(read % STEP_ROWS)
    if encodings and row_format.encoding == "utf-8":
        columns, bad, notes = _read(path, replace(row_format, encoding="cp1252"), header, lambda _: None)
        return columns, bad, [*notes, f"{encodings:,} rows are not UTF-8: the file was read as cp1252"]
    return columns, bad, []


def _add(columns: dict[str, list[str]], row: Row) -> None:
    for name, texts in columns.items():
        held = row.cells.get(name)
        texts.append(held if isinstance(held, str) else "" if held is None else json.dumps(held))


def _labels(texts: Sequence[str], label: str, positive: str | None) -> tuple[str, NDArray[np.int8]]:
    """(the value that counts as positive, int8 [n] with 0 where there is none)."""
    counts = Counter(text.strip() for text in texts if not is_missing(text))
    shown = ", ".join(f"{value[:40]!r}" for value, _ in counts.most_common(VALUES_SHOWN_MAX)) + (
        f" and {len(counts) - VALUES_SHOWN_MAX:,} more" if len(counts) > VALUES_SHOWN_MAX else ""
    )
    if not counts:
        raise DefinitionError(f"{label} is empty in every row", hint="is it the right --label?")
    if positive is not None:
        found = {value for value in counts if _same(value, positive)}
        if not found:
            raise Misused(f"no row has {positive!r} in {label}", hint=f"its values are {shown}")
    elif len(counts) > 2:
        raise Misused(f"{label} has {len(counts):,} different values: {shown}", hint="say which one counts with --positive VALUE")
    else:
        found = {value for value in counts if value.lower().rstrip(".") in POSITIVE_TEXTS}
        if len(counts) == 1 and not found:
            found = set()
        elif len(found) != 1:
            raise Misused(f"{label} is {shown}: which one is positive?", hint="say it with --positive VALUE")
    chosen = sorted(found)[0] if found else ""
    return chosen, np.array([text.strip() in found for text in texts], dtype=np.int8)


def _same(value: str, wanted: str) -> bool:
    if value.lower() == wanted.strip().lower():
        return True
    one, other = number(value), number(wanted)
    return one == other  # NaN, for what is no number, equals nothing


def _times(texts: Sequence[str], name: str) -> NDArray[np.float64]:
    """Numbers that ascend with time: of dates, of numbers (a year, seconds), or of the names of months."""
    there = [text for text in texts if not is_missing(text)]
    values = np.array([number(text) for text in texts], dtype=np.float64)
    if there and np.isfinite(values).sum() >= 0.95 * len(there):
        return values
    dates = moments(texts)
    if dates is not None:
        return dates
    months = [MONTHS.index(start) if (start := text.strip().lower()[:3]) in MONTHS else np.nan for text in texts]
    if there and np.isfinite(months).sum() >= 0.95 * len(there):
        return np.array(months, dtype=np.float64)
    raise Misused(
        f"{name} holds no times: {there[0][:40]!r}" if there else f"{name} is empty", hint="ISO dates, numbers or months"
    )
