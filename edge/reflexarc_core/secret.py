"""What both sides derive from an installation's secret.

Owns the derivations, so that a device and its server cannot come to differ. Makes no secret and keeps none.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

SECRET_BYTES: Final = 32


def derive_file_key(secret: bytes) -> bytes:
    """The 32-byte key that signs an installation's sync files (HMAC-SHA256).

    The server keeps this one and a digest of the secret, never the secret: whoever reads the server's folder can forge a file
    of the installation, but cannot renew its credential.
    """
    return hmac.new(secret, b"reflexarc sync file 1", hashlib.sha256).digest()


def secret_digest(secret: bytes) -> bytes:
    """What the server compares a secret with. Plain SHA-256 will do: 32 random bytes cannot be tried out."""
    return hashlib.sha256(secret).digest()
