"""A device's file key, carried by hand to its server: how a device that never is online enrols.

Owns the file that carries it. The secret itself stays in the store; whoever has the file can sign as this device, so it is
readable for its user alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reflexarc.credential import device_secret
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store.completing import completing
from reflexarc_cli.store.look import Look, looked
from reflexarc_cli.store.place import check_seal, owner_of
from reflexarc_cli.sync.outbox import LookedOutbox
from reflexarc_core.errors import StorageError
from reflexarc_core.secret import SECRET_BYTES, derive_file_key, secret_digest
from reflexarc_edge.log import Log
from reflexarc_edge.seal import Seal

FORMAT: Final = 1
_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class FileKey:
    """file_key: signs the installation's sync files. secret_digest: of its secret."""

    installation: str
    file_key: bytes
    secret_digest: bytes


def key_of_store(folder: Path, seal: Seal | None) -> FileKey:
    """A store's file key, made at the first time. Raises StorageError when it has none and an application runs on it, Misused."""

    def read(look: Look) -> tuple[str, bytes | None]:
        check_seal(folder, look.kept_key(), seal)
        outbox = LookedOutbox(look, seal)
        return outbox.installation, outbox.secret()

    installation, secret = looked(folder, read)
    if secret is None:
        owner = owner_of(folder)
        if owner.is_alive:
            raise StorageError(
                f"the store at {folder} has no key yet, and process {owner.pid or 'unknown'} uses it",
                hint="end that process, run this once, and start it again",
            )
        log = Log(folder, seal=seal, complete=completing())
        try:
            installation, secret = log.installation, device_secret(log)
        finally:
            log.close()
    return FileKey(installation, derive_file_key(secret), secret_digest(secret))


def write_key(path: Path, key: FileKey, *, force: bool) -> None:
    """Write the file that carries a key. Raises Misused when one is there (unless `force`), OSError."""
    text = json.dumps(
        {
            "reflexarc_file_key": FORMAT,
            "installation": key.installation,
            "file_key": key.file_key.hex(),
            "secret_digest": key.secret_digest.hex(),
        }
    )
    if force:
        path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Misused(f"{path} is there already", hint="--force replaces it") from None
    except FileNotFoundError:
        raise StorageError(f"{path.parent} is not there", hint="is the stick plugged in?") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key_file(path: Path) -> FileKey:
    """What `write_key` wrote. Raises Misused."""
    try:
        if path.is_file() and path.stat().st_size <= _BYTES_MAX:
            held = json.loads(path.read_text())
            if held["reflexarc_file_key"] == FORMAT:
                found = FileKey(str(held["installation"]), bytes.fromhex(held["file_key"]), bytes.fromhex(held["secret_digest"]))
                if found.installation and len(found.file_key) == len(found.secret_digest) == SECRET_BYTES:
                    return found
    except OSError as error:
        raise Misused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        pass
    if not path.exists():
        raise Misused(f"{path} is not there", hint="is the stick plugged in, and the name right?")
    raise Misused(f"{path} is no key of a device", hint="reflexarc sync key FILE --store FOLDER writes one, on the device")
