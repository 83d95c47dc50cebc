"""Events of a file in time order, for replay, in bounded memory.

Owns the external merge: runs of at most `chunk_events_max` events are sorted in memory and spilled, then merged. At
about 2 KB an event the default holds some 100 MB; a file that fits into one run never touches the disk. A mapping that
says `in_time_order` streams, and is held to it. Equal times keep their row order.
"""

import heapq
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from reflexarc_cli.importing import mapping as mappings
from reflexarc_cli.importing.conversion import Accepted, Rejected, Skipped
from reflexarc_cli.importing.reader import read_events
from reflexarc_core.errors import DefinitionError, StorageError
from reflexarc_core.event import Event, EventType

CHUNK_EVENTS_MAX: Final = 50_000
RUN_COUNT_MAX: Final = 400
"""Runs merged at once, each an open file: 20 million events at the default size."""


def in_time_order(
    path: Path,
    mapping: mappings.Mapping,
    event_types: Mapping[str, EventType],
    *,
    spill_folder: Path | None = None,
    on_other: Callable[[Rejected | Skipped], None] | None = None,
    chunk_events_max: int = CHUNK_EVENTS_MAX,
) -> Iterator[Accepted]:
    """The file's events by (time, row number).

    spill_folder: where runs may be written, removed at the end; a file of more than one run needs it. on_other: called
    for each rejected or skipped row. Raises DefinitionError when a mapping's `in_time_order` does not hold or a spill
    folder is missing, StorageError when reading or spilling fails.
    """
    events = _accepted(read_events(path, mapping, event_types), on_other)
    if mapping.in_time_order:
        yield from _checked(events, mapping)
        return
    with ExitStack() as stack:
        runs: list[Iterator[Accepted]] = []
        folder: Path | None = None
        chunk: list[Accepted] = []
        for accepted in events:
            chunk.append(accepted)
            if len(chunk) < chunk_events_max:
                continue
            if spill_folder is None:
                raise DefinitionError(
                    f"{path} holds more than {chunk_events_max:,} events and is not in time order",
                    hint="give a folder for temporary files",
                )
            if len(runs) == RUN_COUNT_MAX:
                raise StorageError(f"{path} needs more than {RUN_COUNT_MAX} sorted runs", hint="sort the file by time first")
            try:
                if folder is None:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sort-", dir=spill_folder)))
                file = stack.enter_context((folder / f"{len(runs)}.jsonl").open("w+", encoding="utf-8"))
                _spill(chunk, file)
            except OSError as error:
                raise StorageError(f"{spill_folder} cannot be written: {error.strerror}") from None
            runs.append(_run(file))
            chunk = []
        chunk.sort(key=_order)
        yield from heapq.merge(*runs, chunk, key=_order)


def _order(accepted: Accepted) -> tuple[int, int]:
    return accepted.event.event_time, accepted.row_number


def _accepted(
    outcomes: Iterator[Accepted | Rejected | Skipped], on_other: Callable[[Rejected | Skipped], None] | None
) -> Iterator[Accepted]:
    for outcome in outcomes:
        if isinstance(outcome, Accepted):
            yield outcome
        elif on_other is not None:
            on_other(outcome)


def _checked(events: Iterator[Accepted], mapping: mappings.Mapping) -> Iterator[Accepted]:
    newest = 0
    for accepted in events:
        if accepted.event.event_time < newest:
            raise DefinitionError(
                f"row {accepted.row_number} is earlier than the row before it",
                hint=f"mapping {mapping.name} says in_time_order: true; take that line out",
            )
        newest = accepted.event.event_time
        yield accepted


def _spill(chunk: list[Accepted], file: IO[str]) -> None:
    chunk.sort(key=_order)
    for accepted in chunk:
        e = accepted.event
        row = [accepted.row_number, e.event_id, e.event_type, e.subject, e.event_time, e.properties, e.context]
        file.write(json.dumps(row) + "\n")
    file.seek(0)


def _run(file: IO[str]) -> Iterator[Accepted]:
    for line in file:
        row_number, event_id, event_type, subject, event_time, properties, context = json.loads(line)
        yield Accepted(row_number, Event(event_id, event_type, subject, event_time, properties, context, row_number))
