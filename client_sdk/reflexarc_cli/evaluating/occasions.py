"""Occasions from a file of events, by a mapping: whose, in which hour of their own week.

Owns which local time an event has: the offset that it carries, else that of the mapping's zone. Must never measure.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from reflexarc.definitions import load_catalog
from reflexarc_build.source import nearest
from reflexarc_cli.importing.conversion import Accepted
from reflexarc_cli.importing.mapping import Mapping, all_event_types
from reflexarc_cli.importing.reader import read_events
from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import DefinitionError
from reflexarc_models.train.purchase_window import Occasions, occasions

STEP_ROWS = 2_000
OFFSET_MINUTES_MAX = 18 * 60


@dataclass(frozen=True, slots=True, eq=False)
class ReadOccasions:
    """occasions: of the goal events. goal: their types. notes: what is to be said about the file."""

    occasions: Occasions
    goal: tuple[str, ...]
    events: int
    notes: tuple[str, ...]


def read_occasions(
    file: Path, mapping: Mapping, goal: Sequence[str], step: Callable[[int], object] = lambda _: None
) -> ReadOccasions:
    """goal: event types that count; empty: what purchase intent is about, and where none of it occurs every event.

    step: called with the rows read since the last call. Raises Misused for a goal that does not occur, DefinitionError when no
    row is an event, StorageError when the file cannot be read.
    """
    catalog = load_catalog(None)
    label = catalog.models["purchase_intent"].label
    zone = ZoneInfo(mapping.zone)
    subjects: dict[str, int] = {}
    kinds: dict[str, int] = {}
    subject, times, offsets, kind = array("q"), array("q"), array("q"), array("q")
    shifts: dict[int, int] = {}
    left_out = read = carried = 0
    for outcome in read_events(file, mapping, all_event_types(catalog.event_types, mapping)):
        read += 1
        if read % STEP_ROWS == 0:
            step(STEP_ROWS)
        if not isinstance(outcome, Accepted):
            left_out += 1
            continue
        event = outcome.event
        given = event.context.get("offset_minutes")
        if isinstance(given, int) and abs(given) <= OFFSET_MINUTES_MAX:
            carried += 1
            offset = given
        else:
            hour = event.event_time // 3_600_000
            if hour not in shifts:
                moment = datetime.fromtimestamp(hour * 3_600, UTC).astimezone(zone)
                shifts[hour] = int((moment.utcoffset() or moment - moment).total_seconds() // 60)
            offset = shifts[hour]
        subject.append(subjects.setdefault(event.subject, len(subjects)))
        kind.append(kinds.setdefault(event.event_type, len(kinds)))
        times.append(event.event_time)
        offsets.append(offset)
    step(read % STEP_ROWS)
    if not times:
        raise DefinitionError(f"no row of {file} is an event by the mapping {mapping.name}", hint="is it the right file?")
    types, notes = _goal(goal, label.events if label is not None else (), kinds, file)
    if left_out:
        notes.append(f"{left_out:,} rows left out")
    if not carried:
        notes.append(f"no event carries its offset: hours are those of {mapping.zone}")
    elif carried < len(times):
        notes.append(f"{len(times) - carried:,} events carry no offset: their hours are those of {mapping.zone}")
    chosen = np.isin(np.frombuffer(kind, np.int64), [kinds[name] for name in types])
    whose, when, shift = (np.frombuffer(one, np.int64)[chosen] for one in (subject, times, offsets))
    held = occasions(whose, when, shift, np.array(list(subjects), dtype=object))
    return ReadOccasions(held, types, len(times), tuple(notes))


def _goal(goal: Sequence[str], declared: Sequence[str], there: dict[str, int], file: Path) -> tuple[tuple[str, ...], list[str]]:
    unknown = [name for name in goal if name not in there]
    if unknown:
        raise Misused(f"no event {unknown[0]!r} occurs in {file}", hint=nearest(unknown[0], tuple(there)))
    if goal:
        return tuple(goal), []
    bought = tuple(name for name in declared if name in there)
    if bought:
        return bought, []
    commonest = [name for name, _ in Counter(there).most_common()]
    return tuple(sorted(commonest)), [f"no {' or '.join(declared)} occurs: when people do anything at all is foreseen"]
