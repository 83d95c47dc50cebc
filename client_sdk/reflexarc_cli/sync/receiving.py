"""A server's answers brought to a device, for `reflexarc sync import --store`.

Owns the way to whoever owns the store: nobody, then the store is opened for this; a running application, then the checked file is
laid into its inbox and it takes it within seconds.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reflexarc import Client
from reflexarc.answers import SUFFIX, Applied, apply_answers, open_answers
from reflexarc.device import INBOX
from reflexarc_cli.store.look import Look, looked
from reflexarc_cli.store.place import check_seal, owner_of, read_key, seal_of
from reflexarc_cli.sync.exporting import store_key
from reflexarc_cli.sync.outbox import LookedOutbox
from reflexarc_core.errors import StorageError
from reflexarc_edge.journal import make_folder, sync_folder
from reflexarc_edge.seal import Seal
from reflexarc_edge.whole import whole_file
from reflexarc_proto.sync_file import SyncFile

TAKEN_S: Final = 10.0
_LOOK_S: Final = 0.1


@dataclass(slots=True)
class Received:
    """applied: what each file did, by its name; empty when the application that owns the store, process owner_pid, was given
    them. is_taken: whether it took all of them while this waited. acked_seq: what the store has as acknowledged now."""

    acked_before: int
    acked_seq: int
    upto_seq: int
    owner_pid: int = 0
    is_taken: bool = True
    applied: list[tuple[str, Applied]] = field(default_factory=list)


def receive(folder: Path, paths: list[Path], key_file: Path | None, *, allow_unsigned: bool) -> Received:
    """Apply files of answers, oldest first. All of them are checked before anything of any is applied.

    Raises SyncFileError, StorageError, Misused.
    """
    seal = seal_of(key_file)
    installation, before, _ = _standing(folder, seal)

    def key_of() -> bytes | None:
        return looked(folder, lambda look: store_key(LookedOutbox(look, seal), folder))

    files = [open_answers(path, installation, key_of, allow_unsigned=allow_unsigned) for path in paths]
    files.sort(key=lambda file: file.header.created_time)
    found = Received(before, before, 0)
    owner = owner_of(folder)
    if owner.is_alive:
        if seal is not None:
            raise StorageError(
                f"the store at {folder} is encrypted, and in use by process {owner.pid or 'unknown'}",
                hint="answers are not laid down in the clear: end that process, import, and start it again",
            )
        found.owner_pid = owner.pid
        found.is_taken = _hand_over(folder, files)
    else:
        with Client(folder, share=False, key=read_key(key_file)) as client:
            found.applied = [(file.path.name, apply_answers(client.device, file)) for file in files]
    _, found.acked_seq, found.upto_seq = _standing(folder, seal)
    return found


def _standing(folder: Path, seal: Seal | None) -> tuple[str, int, int]:
    """(installation, acknowledged up to, newest number) of a store. Raises Misused when its key is missing."""

    def read(look: Look) -> tuple[str, int, int]:
        check_seal(folder, look.kept_key(), seal)
        outbox = LookedOutbox(look, seal)
        return outbox.installation, outbox.acked_seq, outbox.upto_seq

    return looked(folder, read)


def _hand_over(folder: Path, files: list[SyncFile]) -> bool:
    """Lay files into the inbox; whether the owner took them while this waited. Raises StorageError."""
    inbox = folder / INBOX
    laid: list[Path] = []
    try:
        make_folder(inbox)
        for file in files:
            path = inbox / f"{file.header.created_time:020}-{file.header.file_id}{SUFFIX}"
            with file.path.open("rb") as source, whole_file(path) as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            laid.append(path)
        sync_folder(inbox)
    except OSError as error:
        raise StorageError(f"{inbox} cannot be written: {error.strerror}", hint="run this as the user of the store") from None
    deadline, pause = time.monotonic() + TAKEN_S, threading.Event()
    while any(path.exists() for path in laid) and time.monotonic() < deadline:
        pause.wait(_LOOK_S)
    return not any(path.exists() for path in laid)
