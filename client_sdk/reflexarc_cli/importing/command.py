"""`reflexarc import`: from the words of the command line to an import and its counts.

Owns the defaults: which mapping, which event types, where rejected rows go.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reflexarc.definitions import load_catalog
from reflexarc_cli.access import Access
from reflexarc_cli.importing.reader import choose
from reflexarc_cli.importing.rows import line_count
from reflexarc_cli.importing.run import DUPLICATE, REFUSED, STORED, Verdict, run_import
from reflexarc_cli.progress import Progress
from reflexarc_core.errors import TransportError
from reflexarc_core.event import Event

CALL_TIMEOUT_S: Final = 30.0
VERIFIED: Final = Access()
VERDICTS: Final = {"stored": STORED, "duplicate": DUPLICATE, "rejected": REFUSED}


class GrpcSink:
    """A server as a sink: EventService.Track at `host:port`, which knows an event it holds by its id."""

    def __init__(self, address: str, access: Access) -> None:
        self._backend = access.backend(address, timeout_s=CALL_TIMEOUT_S)

    def add(self, events: Sequence[Event]) -> list[Verdict]:
        """One verdict per event, in order. Raises TransportError, also when the server takes nothing for now."""
        return [verdict_of(word, reason) for word, reason in self._backend.track(events)]

    def close(self) -> None:
        """Close the connection."""
        self._backend.close()


def verdict_of(word: str, reason: str) -> Verdict:
    """The server's word as a sink's verdict. Raises TransportError when it said that it takes nothing for now."""
    if word not in VERDICTS:
        raise TransportError(f"the server takes no events for now: {reason or word}", hint="run the import again later")
    return Verdict(VERDICTS[word], reason)


def import_into(
    file: Path, mapping: str | None, server: str, rejected: Path | None, progress: Progress, catalog: Path | None = None,
    access: Access = VERIFIED,
) -> dict[str, Any]:  # fmt: skip
    """Import a file, or the folder of a data set, into the server at `server`; the counts.

    mapping: a YAML file or a shipped name, None to find it by the header. rejected: file for rows that were not taken,
    beside the imported file by default. catalog: whose event types rows must fit, the shipped one by default. access: whom to
    trust there.
    Raises ReflexArcError in one line when file, mapping or server cannot be used.
    """
    chosen_file, chosen = choose(file, mapping)
    event_types = load_catalog(catalog).event_types
    rejected = rejected or _beside(chosen_file)
    sink = GrpcSink(server, access)
    try:
        # The header is a line too; a quoted line break makes it one more. A bar may be off by that much.
        with progress.stage(f"Importing {chosen_file.name} by mapping {chosen.name}", line_count(chosen_file)) as step:
            result = run_import(chosen_file, chosen, sink, event_types, rejected, step)
    finally:
        sink.close()
    if result.rejected_count and not result.rejected_file:
        progress.note("rejected rows were counted only; --rejected FILE keeps them")
    return result.to_json()


def _beside(file: Path) -> Path | None:
    """Where rejected rows go by default, None where nothing can be written."""
    folder = file.absolute().parent
    return folder / f"{file.name}.rejected.jsonl" if os.access(folder, os.W_OK) else None
