"""File keys: with which key an installation signs what it sends by file, and we sign what we send back.

Owns how an installation that never was online becomes known: by what a person brings. Where keys are kept is the registry's.
"""

from __future__ import annotations

from reflexarc_core.errors import SyncFileError
from reflexarc_proto.sync_file import KEY_BYTES
from reflexarc_server.clock import Clock
from reflexarc_server.identity.enrolment import is_name
from reflexarc_server.identity.registry import Installation, Registry


class FileKeys:
    """The file keys of a registry."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def of(self, installation: str) -> bytes | None:
        """The installation's file key, None when it has none. Raises SyncFileError when it was revoked, StorageError."""
        known = self._registry.installation(installation)
        if known is not None and known.revoke_time:
            raise SyncFileError(f"installation {installation} was revoked", hint="enrol it again if that was a mistake")
        return None if known is None else known.file_key

    def enrol(self, installation: str, key: bytes, secret_digest: bytes, *, replace: bool) -> bool:
        """Keep what was brought by hand. True when it was known already.

        Raises SyncFileError when the installation has another key or was revoked (unless `replace`), StorageError.
        """
        if not is_name(installation) or len(key) != KEY_BYTES or len(secret_digest) not in (0, 32):
            raise SyncFileError("that is no file key", hint="bring what reflexarc sync key wrote")
        known = self._registry.installation(installation)
        if known is not None and not replace:
            if known.file_key == key and not known.revoke_time:
                return True
            raise SyncFileError(
                f"installation {installation} {'was revoked' if known.revoke_time else 'has another key'}",
                hint="--replace, if what it had is lost or must not count any more",
            )
        self._registry.enrol(Installation(installation, secret_digest, key, "", self._clock.now_ms(), 0), "")
        return False
