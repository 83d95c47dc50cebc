"""What the server knows about identities: enrolment tokens, installations, keys of services, the ring of signing keys.

Owns `identity.db` beside the store, so that a copy of the log holds no secret. Keeps digests where a digest will do. Must never
give a secret out again, nor write one into a log.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core.errors import StorageError

FILE: Final = "identity.db"
VERSION: Final = 1
NEVER: Final = 2**62
"""A time that does not come."""

_TABLES: Final = """
CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY, digest BLOB NOT NULL, label TEXT NOT NULL, installation TEXT NOT NULL, uses_max INTEGER NOT NULL,
    use_count INTEGER NOT NULL, create_time INTEGER NOT NULL, expiry_time INTEGER NOT NULL, revoke_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE installations (
    installation TEXT PRIMARY KEY, secret_digest BLOB NOT NULL, file_key BLOB NOT NULL, token_id TEXT NOT NULL,
    enrol_time INTEGER NOT NULL, believed_from INTEGER NOT NULL, revoke_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX installations_not_believed ON installations (installation) WHERE revoke_time > 0 OR believed_from > 0;
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY, digest BLOB NOT NULL, role TEXT NOT NULL, label TEXT NOT NULL, create_time INTEGER NOT NULL,
    revoke_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE ring (
    ring_id TEXT PRIMARY KEY, secret BLOB NOT NULL, create_time INTEGER NOT NULL, retire_time INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Token:
    """An enrolment token. installation: the only one it is for, which it may also give a new secret; empty for any new one.

    Times in ms since 1970; revoke_time 0: not revoked.
    """

    token_id: str
    digest: bytes
    label: str
    installation: str
    uses_max: int
    use_count: int
    create_time: int
    expiry_time: int
    revoke_time: int


@dataclass(frozen=True, slots=True)
class Installation:
    """A device that enrolled. file_key: signs its sync files. token_id: what it enrolled with.

    believed_from: credentials issued before count no more; 0 but for one that enrolled again. revoke_time 0: not revoked.
    """

    installation: str
    secret_digest: bytes
    file_key: bytes
    token_id: str
    enrol_time: int
    believed_from: int = 0
    revoke_time: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A service's key. revoke_time 0: not revoked."""

    key_id: str
    digest: bytes
    role: str
    label: str
    create_time: int
    revoke_time: int


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key that signs credentials, or did. retire_time: until when its signatures hold; 0 while it signs."""

    ring_id: str
    secret: bytes
    create_time: int
    retire_time: int


class Registry:
    """The rows, read and written. Raises StorageError when the file cannot be used; safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self.change_count = 0
        """Goes up with every change of a key, and of an installation that was known: whoever keeps a copy looks again then.

        Not with a new installation: a fleet that enrols must not be felt by the calls of the others.
        """
        try:
            self._path.touch(mode=0o600)
            self._path.chmod(0o600)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA trusted_schema=OFF")
            self._db.execute("PRAGMA secure_delete=ON")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                self._db.close()
                raise StorageError(f"{self._path} was written by a later version", hint="update reflexarc")
            if version == 0:
                self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={VERSION}; COMMIT;")
        except OSError as error:
            raise StorageError(f"{self._path} cannot be used: {error.strerror}") from None
        except sqlite3.Error as error:
            raise self._failed(error) from None

    # -- installations --------------------------------------------------------------------------------------------

    def installation(self, installation: str) -> Installation | None:
        """A device that enrolled, also a revoked one."""
        rows = self._rows("SELECT * FROM installations WHERE installation = ?", (installation,))
        return Installation(*rows[0]) if rows else None

    def installations(self, after: str, count_max: int) -> list[Installation]:
        """Devices behind that name, in order of their names."""
        rows = self._rows("SELECT * FROM installations WHERE installation > ? ORDER BY 1 LIMIT ?", (after, count_max))
        return [Installation(*row) for row in rows]

    def file_key(self, installation: str) -> bytes | None:
        """The key that signs an installation's sync files; None when it never enrolled, or is revoked."""
        held = self.installation(installation)
        return held.file_key if held is not None and not held.revoke_time else None

    def believed_from(self) -> dict[str, int]:
        """From when the credentials of an installation count, where that is not always: a revoked one's never do."""
        found = self._rows(
            "SELECT installation, believed_from, revoke_time FROM installations WHERE revoke_time > 0 OR believed_from > 0", ()
        )
        return {installation: NEVER if revoke_time else time for installation, time, revoke_time in found}

    def enrol(self, new: Installation, token_id: str) -> None:
        """Keep an installation, and count a use of the token.

        In place of an earlier one of its name: what that one was given counts no more.
        """
        with self._transaction() as execute:
            known = execute("SELECT 1 FROM installations WHERE installation = ?", (new.installation,)).fetchone()
            believed_from = new.enrol_time if known else new.believed_from
            execute(
                "INSERT OR REPLACE INTO installations VALUES (?, ?, ?, ?, ?, ?, ?)",
                (new.installation, new.secret_digest, new.file_key, new.token_id, new.enrol_time, believed_from,
                 new.revoke_time),
            )  # fmt: skip
            execute("UPDATE tokens SET use_count = use_count + 1 WHERE token_id = ?", (token_id,))
        if known:
            self.change_count += 1

    def revoke_installation(self, installation: str, now: int) -> bool:
        """Believe it no more. False when it is not known."""
        return self._mark("UPDATE installations SET revoke_time = ? WHERE installation = ?", now, installation)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def token(self, token_id: str) -> Token | None:
        """One token, also a spent one."""
        rows = self._rows("SELECT * FROM tokens WHERE token_id = ?", (token_id,))
        return Token(*rows[0]) if rows else None

    def tokens(self) -> list[Token]:
        """Every token, oldest first."""
        return [Token(*row) for row in self._rows("SELECT * FROM tokens ORDER BY create_time, token_id", ())]

    def add_token(self, token: Token) -> None:
        """Keep a new one."""
        with self._transaction() as execute:
            execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (token.token_id, token.digest, token.label, token.installation, token.uses_max, token.use_count,
                 token.create_time, token.expiry_time, token.revoke_time),
            )  # fmt: skip

    def revoke_token(self, token_id: str, now: int) -> bool:
        """Take no more enrolments with it. False when it is not known."""
        return self._mark("UPDATE tokens SET revoke_time = ? WHERE token_id = ?", now, token_id)

    # -- keys -----------------------------------------------------------------------------------------------------

    def all_keys(self) -> list[Key]:
        """Every key, oldest first, also revoked ones."""
        return [Key(*row) for row in self._rows("SELECT * FROM keys ORDER BY create_time, key_id", ())]

    def add_key(self, key: Key) -> None:
        """Keep a new one."""
        with self._transaction() as execute:
            execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)",
                (key.key_id, key.digest, key.role, key.label, key.create_time, key.revoke_time),
            )
        self.change_count += 1

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Believe it no more. False when it is not known."""
        return self._mark("UPDATE keys SET revoke_time = ? WHERE key_id = ?", now, key_id)

    # -- the ring -------------------------------------------------------------------------------------------------

    def ring(self) -> list[RingKey]:
        """The keys of the ring, oldest first."""
        return [RingKey(*row) for row in self._rows("SELECT * FROM ring ORDER BY create_time, ring_id", ())]

    def turn_ring(self, new: RingKey, retire_time: int, now: int) -> None:
        """Let a new key sign; the others verify until `retire_time` at the longest, and what is past its time is forgotten."""
        with self._transaction() as execute:
            execute("DELETE FROM ring WHERE retire_time > 0 AND retire_time <= ?", (now,))
            retire_time = max(1, retire_time)
            execute("UPDATE ring SET retire_time = ?1 WHERE retire_time = 0 OR retire_time > ?1", (retire_time,))
            execute("INSERT INTO ring VALUES (?, ?, ?, ?)", (new.ring_id, new.secret, new.create_time, new.retire_time))

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            self._db.close()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from None

    def _mark(self, query: str, now: int, name: str) -> bool:
        with self._transaction() as execute:
            found = bool(execute(query, (now, name)).rowcount)
        self.change_count += 1
        return found

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock:
            try:
                with self._db:
                    self._db.execute("BEGIN IMMEDIATE")
                    yield self._db.execute
            except sqlite3.Error as error:
                raise self._failed(error) from None

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"{self._path} failed: {error}", hint="restore it from a copy, or free some space on the disk")
