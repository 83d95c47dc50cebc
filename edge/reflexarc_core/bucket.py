"""Deterministic assignment: which side of a split a unit falls on, the same on every host, offline.

Owns the versioned hash. A second version would be added beside the first, never in its place.
"""

from __future__ import annotations

import hashlib
from typing import Final

VERSION: Final = "v1"
BUCKET_COUNT: Final = 10_000


def bucket(salt: str, unit: str) -> int:
    """Bucket of `unit` in [0, 10000): the first 8 bytes of SHA-256("v1:" salt NUL unit), big-endian, mod 10000."""
    digest = hashlib.sha256(f"{VERSION}:{salt}\x00{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKET_COUNT


def stable_id(*parts: str) -> str:
    """32 hex digits that identify a cause: SHA-256 over the NUL-joined parts, cut to 16 bytes."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
