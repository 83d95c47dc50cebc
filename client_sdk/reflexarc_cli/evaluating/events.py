"""A file of events, by a mapping, as columns. Owns reading and counting; must never fold or label anything."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from reflexarc_cli.importing.conversion import Accepted, Rejected
from reflexarc_cli.importing.mapping import Mapping as FileMapping
from reflexarc_cli.importing.reader import read_events
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import EventType
from reflexarc_models.train.rows.behaviour import LEVELS_MAX, EventColumns

STEP_ROWS = 2_000


class _Numbers:
    """One number property: values with their row, for most rows have none."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.values = array("d")

    def column(self, count: int) -> np.ndarray:
        found = np.full(count, np.nan)
        found[np.frombuffer(self.rows, dtype=np.int64)] = np.frombuffer(self.values, dtype=np.float64)
        return found


class _Texts:
    """One text property, given up once it has more than LEVELS_MAX values."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.codes = array("q")
        self.levels: dict[str, int] | None = {}

    def add(self, row: int, value: str) -> None:
        if self.levels is None:
            return
        code = self.levels.setdefault(value, len(self.levels))
        if code >= LEVELS_MAX:
            self.levels = None
            return
        self.rows.append(row)
        self.codes.append(code)

    def column(self, count: int) -> np.ndarray:
        found = np.full(count, -1, dtype=np.int64)
        found[np.frombuffer(self.rows, dtype=np.int64)] = np.frombuffer(self.codes, dtype=np.int64)
        return found


def read_columns(
    file: Path, mapping: FileMapping, event_types: Mapping[str, EventType], step: Callable[[int], object] = lambda _: None
) -> tuple[EventColumns, tuple[str, ...]]:
    """The events of the file, and notes about rows that are none. step: called with the rows read since the last call.

    Raises DefinitionError when no row is an event, StorageError when the file cannot be read.
    """
    subjects: dict[str, int] = {}
    types: dict[str, int] = {}
    numbers: dict[tuple[str, str], _Numbers] = {}
    texts: dict[tuple[str, str], _Texts] = {}
    subject, times, kinds = array("q"), array("q"), array("q")
    seen: set[str] = set()
    rejected: Counter[str] = Counter()
    skipped = repeated = read = 0
    first_reason = ""
    for outcome in read_events(file, mapping, event_types):
        read += 1
        if read % STEP_ROWS == 0:
            step(STEP_ROWS)
        if not isinstance(outcome, Accepted):
            if isinstance(outcome, Rejected):
                rejected[outcome.code] += 1
                first_reason = first_reason or f"row {outcome.row_number}: {outcome.reason}"
            else:
                skipped += 1
            continue
        event = outcome.event
        if mapping.event_id_columns:
            if event.event_id in seen:
                repeated += 1
                continue
            seen.add(event.event_id)
        row = len(times)
        subject.append(subjects.setdefault(event.subject, len(subjects)))
        times.append(event.event_time)
        kinds.append(types.setdefault(event.event_type, len(types)))
        for name, value in event.properties.items():
            key = event.event_type, name
            if isinstance(value, str):
                texts.setdefault(key, _Texts()).add(row, value)
            elif isinstance(value, (int, float)) and value == value:
                held = numbers.setdefault(key, _Numbers())
                held.rows.append(row)
                held.values.append(float(value))
    step(read % STEP_ROWS)
    count = len(times)
    if not count:
        why = f"the first, {first_reason}" if first_reason else "it holds no rows" if not read else "the mapping skips them all"
        raise DefinitionError(f"no row of {file} is an event: {why}", hint="is it the right file and the right --map?")
    notes = []
    if rejected:
        notes.append(f"{rejected.total():,} of {read:,} rows are no events ({first_reason})")
    if repeated:
        notes.append(f"{repeated:,} rows repeat the id of an earlier one and were left out")
    if skipped:
        notes.append(f"{skipped:,} rows are skipped by the mapping")
    columns = EventColumns(
        tuple(subjects), np.frombuffer(subject, dtype=np.int64), np.frombuffer(times, dtype=np.int64),
        np.frombuffer(kinds, dtype=np.int64), tuple(types),
        {key: held.column(count) for key, held in numbers.items()},
        {key: (tuple(held.levels), held.column(count)) for key, held in texts.items() if held.levels},
    )  # fmt: skip
    return columns, tuple(notes)
