"""What became of the rows: counts per verdict and reason, and the file of those that were not taken.

Owns both. A bad row is counted and written down; it never stops an import.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from reflexarc_cli.importing.conversion import Rejected
from reflexarc_core.errors import StorageError

REASON_COUNT_MAX: Final = 200
COLUMNS: Final = ("row_number", "code", "reason", "raw")


@dataclass(slots=True)
class ImportResult:
    """Counts of one import. accepted: stored now. duplicate: stored before. reasons: rejected rows by reason, at most
    REASON_COUNT_MAX different ones, the rest under `...`. first_time, last_time: of accepted and duplicate events."""

    mapping: str
    file: str
    row_count: int = 0
    accepted_count: int = 0
    duplicate_count: int = 0
    rejected_count: int = 0
    skipped_count: int = 0
    event_types: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    first_time: int | None = None
    last_time: int | None = None
    rejected_file: str = ""

    def note_rejected(self, rejected: Rejected) -> None:
        """Count one rejected row."""
        self.rejected_count += 1
        self.codes[rejected.code] += 1
        known = rejected.reason in self.reasons or len(self.reasons) < REASON_COUNT_MAX
        self.reasons[rejected.reason if known else "..."] += 1

    def note_time(self, event_time: int) -> None:
        """Widen the span of event times."""
        self.first_time = event_time if self.first_time is None else min(self.first_time, event_time)
        self.last_time = event_time if self.last_time is None else max(self.last_time, event_time)

    def to_json(self) -> dict[str, Any]:
        """One JSON-able object."""
        return {
            "mapping": self.mapping, "file": self.file, "rows": self.row_count, "accepted": self.accepted_count,
            "duplicates": self.duplicate_count, "rejected": self.rejected_count, "skipped": self.skipped_count,
            "event_types": dict(self.event_types.most_common()), "rejected_by_code": dict(self.codes.most_common()),
            "rejected_by_reason": dict(self.reasons.most_common(20)), "skipped_by_kind": dict(self.skipped.most_common()),
            "first_time": self.first_time, "last_time": self.last_time, "rejected_file": self.rejected_file,
        }  # fmt: skip


class RejectedRows:
    """The file of rejected rows: CSV when its name ends so, else JSON lines. Made with the first rejected row.

    path None keeps none. A file of the same name from an earlier import is replaced, or removed when no row is
    rejected now, so that it never tells of another import. Raises StorageError when it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._write: Callable[[Rejected], object] | None = None

    def __enter__(self) -> "RejectedRows":
        if self._path is not None and self._path.exists():
            self._guard(lambda path: path.unlink())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            file = self._file
            self._guard(lambda _: file.close())

    @property
    def written(self) -> str:
        """Name of the file, empty when no row was rejected."""
        return str(self._path) if self._file is not None else ""

    def add(self, rejected: Rejected) -> None:
        """Write one row down."""
        if self._path is None:
            return
        self._guard(lambda path: self._open(path)(rejected))

    def _open(self, path: Path) -> Callable[[Rejected], object]:
        if self._write is None:
            self._file = file = path.open("w", encoding="utf-8", newline="")
            if path.suffix == ".csv":
                table = csv.writer(file)
                table.writerow(COLUMNS)
                self._write = lambda r: table.writerow((r.row_number, r.code, r.reason, r.raw))
            else:
                self._write = lambda r: file.write(json.dumps({name: getattr(r, name) for name in COLUMNS}) + "\n")
        return self._write

    def _guard(self, act: Callable[[Path], object]) -> None:
        assert self._path is not None
        try:
            act(self._path)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror or error}") from None
