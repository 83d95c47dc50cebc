"""Who calls, and what they may: installations and their credentials, keys of services, limits.

Owns what is put together here once for a server. Identity comes from what a call shows, never from what it says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reflexarc_core.errors import StorageError
from reflexarc_server.clock import Clock
from reflexarc_server.identity.credential import LIFE_MS, Ring
from reflexarc_server.identity.enrolment import Enrolment
from reflexarc_server.identity.gate import Gate, Guard, OpenGate, new_key
from reflexarc_server.identity.limits import Limits, Meter
from reflexarc_server.identity.registry import Registry
from reflexarc_server.identity.roles import ADMIN

ADMIN_KEY_FILE: Final = "admin-key"


@dataclass(frozen=True, slots=True)
class Identity:
    """One server's. gate: what every call passes. admin_key_file: written by this start, None when there was a key already."""

    registry: Registry
    ring: Ring
    enrolment: Enrolment
    gate: Gate
    admin_key_file: Path | None

    def close(self) -> None:
        """Close the registry."""
        self.registry.close()


def open_identity(
    data: Path,
    clock: Clock,
    *,
    insecure: bool,
    limits: Limits | None = None,
    credential_life_ms: int = LIFE_MS,
    new_admin_key: bool = False,
) -> Identity:
    """Open a server's identities in its folder. insecure: everybody is believed.

    limits: for each caller; None for the defaults, and for none at all where everybody is believed. The first time that callers
    have to show who they are, the first admin key is written into the folder; another one with `new_admin_key`, for whoever lost
    theirs but has the folder. Raises StorageError.
    """
    registry = Registry(data)
    try:
        ring = Ring(registry, clock, credential_life_ms)
        enrolment = Enrolment(registry, ring, clock)
        if insecure:
            return Identity(registry, ring, enrolment, OpenGate(Meter(limits) if limits else None), None)
        is_steered = any(key.role == ADMIN and not key.revoke_time for key in registry.all_keys())
        written = _admin_key(registry, clock, data) if new_admin_key or not is_steered else None
        return Identity(registry, ring, enrolment, Guard(registry, ring, clock, Meter(limits or Limits())), written)
    except BaseException:
        registry.close()
        raise


def _admin_key(registry: Registry, clock: Clock, data: Path) -> Path:
    """An admin's key in a file of its own: printed, it would stand in every log of the start."""
    path = data / ADMIN_KEY_FILE
    text, key = new_key(clock, ADMIN, "made by a start of the server")
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
    registry.add_key(key)  # last: cut off before, the next start writes another file
    return path
