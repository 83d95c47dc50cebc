"""Records of a store as JSON lines or CSV, one after the other, for `reflexarc store export`.

Owns the form of a line. The one tool that shows what was captured. Never holds more than some records at once.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from reflexarc_cli.misuse import Misused
from reflexarc_cli.store.completing import completing
from reflexarc_cli.store.inspection import captures_waiting, read_journals
from reflexarc_cli.store.look import LogRow, Look
from reflexarc_cli.store.place import check_seal, identity_beside, owner_of
from reflexarc_cli.store.walk import NAMES, each, kind_name, read_row
from reflexarc_core.errors import StorageError
from reflexarc_core.record import KIND_OF, DecisionOutput, EventInput, Record
from reflexarc_edge.capture import CAPTURE_KIND, decode_capture
from reflexarc_edge.codec import checksum
from reflexarc_edge.entry import parts_of
from reflexarc_edge.journal import Frame
from reflexarc_edge.log import CAPTURE_PLACE
from reflexarc_edge.repair import Identity
from reflexarc_edge.seal import Open, Seal

STDOUT: Final = "-"
DEAD: Final = "dead"
KINDS: Final = {"events": EventInput, "decisions": DecisionOutput, "all": None}
CSV_COLUMNS: Final = (
    "seq", "event_time", "event_type", "subject", "event_id", "position", "online", "trusted", "properties", "context"
)  # fmt: skip

_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Exported:
    """record_count: written. unreadable_count: left out, since nobody can read them. captures_waiting: of other processes, no
    records yet."""

    record_count: int = 0
    unreadable_count: int = 0
    captures_waiting: int = 0


def export(folder: Path, output: str, seal: Seal | None, *, as_csv: bool, kind: str, after: int, force: bool) -> Exported:
    """Write the records behind `after` to a file, or to standard output for `-`.

    kind: a key of KINDS, or DEAD for the dead letters, each with its reason.
    A file is there whole or not at all. Raises StorageError, Misused when the file is there already (unless
    `force`) or a key is missing, OSError.
    """
    target = _Target(output, force)
    with Look(folder) as look:  # before anything is written: it may be no store
        check_seal(folder, look.kept_key(), seal)
    with target.open() as file:
        if kind == DEAD:
            found = _export_dead(folder, seal, file, after)
        else:
            write = _csv_writer(file) if as_csv else _json_writer(file)
            found = each_record(folder, seal, write, KINDS[kind], after)
        file.flush()
    return found


def each_record(
    folder: Path, seal: Seal | None, write: Callable[[int, Record], None], wanted: type | None = None, after: int = 0
) -> Exported:
    """Give every record behind `after` to `write`, with its number: what the database holds, then what is still in the journal.

    wanted: only records of this type. Raises StorageError when the store was opened meanwhile.
    """
    journals = read_journals(folder, is_live=owner_of(folder).is_alive)
    found = Exported()
    with Look(folder) as look:
        found.captures_waiting = captures_waiting(look, journals)
        upto = look.last_seq()
        where = "1" if wanted is None else f"kind = {KIND_OF[wanted]}"
        rows = each(lambda behind: look.log_rows(max(after, behind), upto, where))
        for row in rows:
            try:
                record = read_row(row, seal)
            except StorageError:
                found.unreadable_count += 1
                continue
            write(row.seq, record)
            found.record_count += 1
        if look.has_changed():
            raise StorageError(f"the store at {folder} was opened meanwhile", hint="export it again")
    writer = journals.writer or identity_beside(folder) or Identity("", "")
    for seq, record in _in_journal(journals.own or [], writer, max(upto, after), seal, found):
        if wanted is None or type(record) is wanted:
            write(seq, record)
            found.record_count += 1
    return found


def _export_dead(folder: Path, seal: Seal | None, file: IO[bytes], after: int) -> Exported:
    """Write the dead letters, oldest first: number, kind, reason, and the record where it can be read."""
    found = Exported()
    with Look(folder) as look:
        rows = look.query("SELECT seq, kind, body, reason FROM dead ORDER BY id") if "dead" in look.tables else []
    for seq, kind, body, reason in rows:
        if seq <= after:
            continue
        plain: dict[str, object] = {}
        with contextlib.suppress(StorageError, TypeError):  # most of what rotted says nothing
            plain = msgspec.to_builtins(read_row(LogRow(seq, kind, None, body, checksum(seq, kind, body)), seal))
        file.write(_encode({"seq": seq, "kind": kind_name(kind), "reason": str(reason), **plain}) + b"\n")
        found.record_count += 1
    return found


def _in_journal(
    frames: list[Frame], writer: Identity, after: int, seal: Seal | None, found: Exported
) -> Iterator[tuple[int, Record]]:
    """Records that the journal holds and the store not yet."""
    complete = completing()
    for frame in frames:
        if frame.last_seq <= after:
            continue
        try:
            for part in parts_of(frame.first_seq, frame.payload):
                if part.seq <= after:
                    continue
                if part.kind == CAPTURE_KIND:
                    capture = decode_capture((seal or Open()).open(CAPTURE_PLACE, part.body))
                    yield part.seq, complete(writer, part.seq, capture)
                else:
                    row = LogRow(part.seq, part.kind, None, part.body, checksum(part.seq, part.kind, part.body))
                    yield part.seq, read_row(row, seal)
        except (StorageError, ValueError, IndexError):
            found.unreadable_count += 1


# -- forms ------------------------------------------------------------------------------------------------------------


def _json_writer(file: IO[bytes]) -> Callable[[int, Record], None]:
    def write(seq: int, record: Record) -> None:
        plain = msgspec.to_builtins(record)
        file.write(_encode({"seq": seq, "kind": NAMES[type(record)], **plain}) + b"\n")

    return write


def _csv_writer(file: IO[bytes]) -> Callable[[int, Record], None]:
    line = io.StringIO(newline="")
    writer = csv.writer(line)

    def put(*values: object) -> None:
        line.seek(0)
        line.truncate()
        writer.writerow(values)
        file.write(line.getvalue().encode(errors="surrogatepass"))

    def write(seq: int, record: Record) -> None:
        assert isinstance(record, EventInput)
        event, moment = record.event, record.moment
        put(
            seq, event.event_time, event.event_type, event.subject, event.event_id, event.source_position, moment.online,
            moment.trusted, _encode(event.properties).decode(), _encode(event.context).decode(),
        )  # fmt: skip

    put(*CSV_COLUMNS)
    return write


# -- where to ---------------------------------------------------------------------------------------------------------


class _Target:
    """Where the lines go. Raises Misused when a file is there already."""

    def __init__(self, output: str, force: bool) -> None:
        self._is_stdout = output == STDOUT
        self._path = Path(os.path.realpath(output))
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            mode = 0
        if not self._is_stdout and stat.S_ISDIR(mode):
            raise Misused(f"{output} is a folder")
        if not self._is_stdout and stat.S_ISREG(mode) and not force:
            raise Misused(f"{output} is there already", hint="--force replaces it")
        self._is_stream = self._is_stdout or (mode != 0 and not stat.S_ISREG(mode))

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The stream; a file takes its name only when nothing went wrong."""
        if self._is_stdout:
            yield sys.stdout.buffer
            return
        if self._is_stream:
            with self._path.open("wb") as stream:
                yield stream
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)  # readable by us alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise
