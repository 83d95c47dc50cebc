"""A look at what a device has for its server, reading only, beside whoever owns the store.

Owns how far such a look may go: to what outlives a power cut, since a number that was carried away must never be given out
again. What cannot be read is a loss in the look; the store keeps it as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflexarc.credential import secret_beside
from reflexarc_cli.store.look import LogRow, Look, opened, opened_state
from reflexarc_cli.store.walk import is_sound, read_row
from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput, Record
from reflexarc_core.secret import SECRET_BYTES
from reflexarc_edge.cursor import ACKED, kept_check
from reflexarc_edge.entry import LOSS_KIND
from reflexarc_edge.journal import sync_file
from reflexarc_edge.seal import Seal
from reflexarc_edge.store import FILE, WAL, Row


class LookedOutbox:
    """See Outbox. Raises StorageError when the store cannot be read."""

    def __init__(self, look: Look, seal: Seal | None) -> None:
        self._look = look
        self._seal = seal
        self.packed_meta = look.packed_meta()
        self.upto_seq = look.last_seq()
        """The last number that may leave the device."""
        sync_to_disk(look.path.parent)

    @property
    def incarnation(self) -> str:
        """Of the numbering."""
        return str(self.meta("incarnation", ""))

    @property
    def acked_seq(self) -> int:
        """Number up to which the server holds everything, as far as the device was told."""
        return int(self.meta("acked_seq", 0))

    def meta(self, name: str, default: Any) -> Any:
        """See Outbox."""
        if name not in self.packed_meta:
            return default
        return opened(self._seal, f"meta {name}", self.packed_meta[name])

    def check_of(self, seq: int) -> int:
        """See Outbox."""
        kept = kept_check(self.meta(ACKED, []), seq)
        if kept:
            return kept
        rows = self._rows(seq - 1, 1, seq)
        return rows[0].crc if rows and is_sound(rows[0]) and rows[0].kind != LOSS_KIND else 0

    def read_rows(self, after: int, count_max: int, upto: int) -> Iterator[tuple[Row, Record]]:
        """See Outbox."""
        rows = self._rows(after, count_max, upto)
        if not rows or rows[0].seq > after + 1:
            yield from self._loss_over(after)
        for row in rows:
            try:
                record, crc = read_row(row, self._seal), row.crc
            except StorageError:
                record, crc = LossOutput("unreadable" if is_sound(row) else "damaged", row.seq, row.seq, 1), 0
            body = row.body if type(row.body) is bytes else b""
            yield Row(row.seq, LOSS_KIND if isinstance(record, LossOutput) else row.kind, body, crc), record

    @property
    def installation(self) -> str:
        """Whose store it is."""
        return str(self.meta("installation", ""))

    def secret(self) -> bytes | None:
        """The device's secret, None when it has none yet."""
        held = self.meta("secret", None)
        if isinstance(held, bytes) and len(held) == SECRET_BYTES:
            return held
        return secret_beside(self._look.path.parent, self.installation)

    def subjects(self, count_max: int) -> list[str]:
        """Subjects of the kept state, some where there are more; without those that cannot be read."""
        found = []
        for name, state in self._look.query(f"SELECT subject, state FROM subjects LIMIT {int(count_max)}"):
            with contextlib.suppress(StorageError):
                found.append(opened_state(self._seal, name, state)[0])
        return found

    def _loss_over(self, after: int) -> Iterator[tuple[Row, Record]]:
        """What is left, behind a number, of a loss that began before it: losses grow together while somebody reads."""
        query = f"SELECT seq, kind, NULL, body, crc FROM log WHERE seq <= {int(after)} ORDER BY seq DESC LIMIT 1"
        for found in self._look.query(query):
            row = LogRow(*found)
            if row.kind == LOSS_KIND and is_sound(row):
                with contextlib.suppress(StorageError):
                    loss = read_row(row, self._seal)
                    if isinstance(loss, LossOutput) and loss.last_seq > after:
                        rest = LossOutput(loss.reason, after + 1, loss.last_seq, loss.last_seq - after)
                        yield Row(after + 1, LOSS_KIND, row.body, row.crc), rest

    def _rows(self, after: int, count_max: int, upto: int) -> list[LogRow]:
        query = (
            f"SELECT seq, kind, NULL, body, crc FROM log WHERE seq > {int(after)} AND seq <= {int(upto)}"
            f" ORDER BY seq LIMIT {int(count_max)}"
        )
        return [LogRow(*row) for row in self._look.query(query)]


def sync_to_disk(folder: Path) -> None:
    """Returns when everything committed to a store's database outlives a power cut, whoever wrote it. Raises StorageError.

    Whatever the owner moves from the write-ahead log into the file meanwhile, it syncs itself.
    """
    for name in (WAL, FILE):
        try:
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"{folder / name} cannot be read: {error.strerror}") from None
        try:
            sync_file(descriptor)
        except OSError as error:
            raise StorageError(f"{folder / name} cannot be synced: {error.strerror}") from None
        finally:
            os.close(descriptor)
