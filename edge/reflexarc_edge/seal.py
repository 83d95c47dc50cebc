"""At-rest encryption of what a store keeps of people, or none.

Owns how bytes are sealed: AES-256-GCM, a fresh 96-bit nonce before each ciphertext, the row's place as associated data, so
that a row cannot be moved to another place. Numbers, kinds and times stay readable: bounds and sync work without the key.
It protects a disk or a copy that is taken away; it is no defence against somebody who runs as the application.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from reflexarc_core.errors import StorageError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_CHECK: Final = b"reflexarc store"


class Seal(Protocol):
    """Closes bytes for the disk and opens them again. place: what the bytes belong to, as text."""

    is_closed: bool

    def close(self, place: str, body: bytes) -> bytes:
        """The bytes as the disk may hold them."""
        ...

    def open(self, place: str, body: bytes) -> bytes:
        """The bytes back. Raises StorageError when they were changed, moved, or closed with another key."""
        ...

    def name(self, text: str) -> str:
        """A text that identifies somebody, as it may stand in a key column."""
        ...


class Open:
    """No encryption."""

    is_closed = False

    def close(self, place: str, body: bytes) -> bytes:
        return body

    def open(self, place: str, body: bytes) -> bytes:
        return body

    def name(self, text: str) -> str:
        return text


class Sealed:
    """AES-256-GCM with a key of the host's (SP 800-38D). Needs the extra `[crypt]`.

    Raises StorageError when the key has another length or the extra is missing.
    """

    is_closed = True

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise StorageError(f"a store key of {len(key)} bytes", hint=f"give {KEY_BYTES} random bytes")
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise StorageError("an encrypted store cannot be opened here", hint="pip install 'reflexarc[crypt]'") from None
        self._cipher = AESGCM(key)
        self._key = key

    def close(self, place: str, body: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, body, place.encode())

    def open(self, place: str, body: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise StorageError(f"{place} was not written with this key") from None

    def name(self, text: str) -> str:
        import hashlib
        import hmac

        return hmac.digest(self._key, text.encode(), hashlib.sha256).hex()


def check_key(seal: Seal, kept: bytes | None) -> bytes | None:
    """What a new store keeps to know its key by; None when `kept` fits this one.

    Raises StorageError when the store belongs to another key, or to one where none was given, or to none.
    """
    is_sealed = kept is not None and len(kept) == _NONCE_BYTES + len(_CHECK) + _TAG_BYTES
    if kept is None or not (is_sealed or kept == _CHECK):
        return seal.close("key", _CHECK)  # a new store, or one in which this has rotted: then the rows tell
    if not seal.is_closed and is_sealed:
        raise StorageError("this store is encrypted", hint="give Client(key=...) the key it was made with")
    if seal.is_closed and not is_sealed:
        raise StorageError("this store is not encrypted", hint="open it without a key, or begin a new one")
    try:
        seal.open("key", kept)
    except StorageError:
        raise StorageError("this store was made with another key", hint="give Client(key=...) that key") from None
    return None
