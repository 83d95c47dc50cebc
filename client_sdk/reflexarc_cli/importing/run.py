"""An import from file to sink, in batches.

Owns the order: read, convert, send, count. The sink is a port: a server, or a list in a test.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from reflexarc_cli.importing import mapping as mappings
from reflexarc_cli.importing.conversion import Accepted, Rejected, Skipped, raw_text
from reflexarc_cli.importing.reader import read_events, source_file
from reflexarc_cli.importing.verdicts import ImportResult, RejectedRows
from reflexarc_core.errors import TransportError
from reflexarc_core.event import Event, EventType

BATCH_EVENTS_MAX: Final = 500

STORED: Final = "stored"
DUPLICATE: Final = "duplicate"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sink says of one event: `stored`, `duplicate` (it holds this id already) or `refused` with a reason."""

    code: str
    reason: str = ""


class Sink(Protocol):
    """Where imported events go."""

    def add(self, events: Sequence[Event]) -> list[Verdict]:
        """Store the events, at most BATCH_EVENTS_MAX, durably: one verdict each, in order. Raises TransportError."""
        ...


class MemorySink:
    """A sink that keeps events in memory, refusing ids it holds: the fake for tests and dry runs."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    def add(self, events: Sequence[Event]) -> list[Verdict]:
        verdicts = []
        for event in events:
            verdicts.append(Verdict(DUPLICATE if event.event_id in self.events else STORED))
            self.events.setdefault(event.event_id, event)
        return verdicts


def run_import(
    path: Path,
    mapping: mappings.Mapping,
    sink: Sink,
    event_types: Mapping[str, EventType],
    rejected_path: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> ImportResult:
    """Send every event of the file to the sink, in file order.

    rejected_path: file for the rows that were not taken. progress: called with the number of rows done since the last
    call. Raises SourceError (mapping), StorageError (file), TransportError (sink; what was sent stays, and a second
    import sends it again without adding anything).
    """
    file = source_file(path, mapping)
    result = ImportResult(mapping=mapping.name, file=str(file))
    with RejectedRows(rejected_path) as rejected_rows:

        def reject(rejected: Rejected) -> None:
            result.note_rejected(rejected)
            rejected_rows.add(rejected)

        for batch, row_count in _batches(read_events(file, mapping, event_types), result, reject):
            if batch:
                _send(sink, batch, result, reject)
            result.row_count += row_count
            if progress is not None:
                progress(row_count)
        result.rejected_file = rejected_rows.written
    return result


def _batches(
    outcomes: Iterator[Accepted | Rejected | Skipped], result: ImportResult, reject: Callable[[Rejected], None]
) -> Iterator[tuple[list[Event], int]]:
    batch: list[Event] = []
    row_count = 0
    for outcome in outcomes:
        row_count += 1
        if isinstance(outcome, Accepted):
            batch.append(outcome.event)
        elif isinstance(outcome, Rejected):
            reject(outcome)
        else:
            result.skipped_count += 1
            result.skipped[outcome.kind] += 1
        if row_count == BATCH_EVENTS_MAX:
            yield batch, row_count
            batch, row_count = [], 0
    if row_count:
        yield batch, row_count


def _send(sink: Sink, batch: list[Event], result: ImportResult, reject: Callable[[Rejected], None]) -> None:
    verdicts = sink.add(batch)
    if len(verdicts) != len(batch):
        raise TransportError(
            f"{len(batch)} events were sent, {len(verdicts)} verdicts came back", hint="is it a reflexarc server?"
        )
    for event, verdict in zip(batch, verdicts, strict=True):
        if verdict.code == REFUSED:
            raw = {"event_type": event.event_type, "subject": event.subject, **event.properties}
            reject(Rejected(event.source_position, "refused", verdict.reason, raw_text(raw)))
            continue
        result.note_time(event.event_time)
        if verdict.code == DUPLICATE:
            result.duplicate_count += 1
        else:
            result.accepted_count += 1
            result.event_types[event.event_type] += 1
