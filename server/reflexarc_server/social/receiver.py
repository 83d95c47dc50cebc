"""One delivery of a platform: verified, young enough, read, stored, answered with what became of each thing it told.

Owns the order of these steps. A delivery is remembered only behind its events, so a kill between the two makes the platform's
next attempt the one that counts. Must never log or answer with what somebody wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.ingest import Ingest
from reflexarc_server.site.social import Platform
from reflexarc_server.social import facebook, linkedin, signatures, twitter
from reflexarc_server.social.post import FACEBOOK, LINKEDIN, TWITTER, Post, event_of
from reflexarc_server.store import social as table
from reflexarc_server.store.sqlite import SqliteStore

READERS: Final = {TWITTER: twitter, FACEBOOK: facebook, LINKEDIN: linkedin}
CHANGES_MAX: Final = 1_000
Mood = Callable[[str], float | None]
"""A text to its sentiment, -1 to 1; None where nothing can be said."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a delivery. is_copy: its bytes were taken before. counts: `stored`, `duplicate`, `rejected`, or a reason why
    something was no post -> how many."""

    is_copy: bool
    counts: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The answer's body."""
        return {"verdict": "duplicate" if self.is_copy else "taken", "told": dict(self.counts)}


class Receiver:
    """One server's. mood: how a text sounds."""

    def __init__(self, store: SqliteStore, ingest: Ingest, mood: Mood) -> None:
        self._store = store
        self._ingest = ingest
        self._mood = mood

    def take(self, platform: str, said: Platform, body: bytes, header: str, now: int) -> Received:
        """A delivery at `now` (ms).

        Raises UnauthenticatedError for a wrong signature, PermissionDeniedError for one that is too old, InvalidEventError for
        what is no JSON object or holds too much, StorageError.
        """
        signatures.check_signature(platform, said.keys, body, header)
        payload = parsed(body)
        reader = READERS[platform]
        signatures.check_age(reader.newest_time(payload), now, said.age_max_ms)
        digest = hashlib.sha256(platform.encode() + b"\n" + body).hexdigest()
        if table.is_seen(self._store, digest):
            return Received(True, {})
        heard = reader.read(payload, said.accounts)
        if len(heard) > CHANGES_MAX:
            raise InvalidEventError(f"a delivery of {len(heard)} things", hint=f"at most {CHANGES_MAX}")
        posts = [each for each in heard if isinstance(each, Post)]
        counts = Counter(each.reason.value for each in heard if not isinstance(each, Post))
        if posts:
            events = [event_of(post, now, self._mood(post.text) if post.text else None) for post in posts]
            counts.update(told.verdict for told in self._ingest.accept(f"social/{platform}", events))
        with self._store.transaction() as transaction:
            table.see(transaction.run, digest, now, said.age_max_ms + 2 * 3_600_000)
        return Received(False, counts)


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises InvalidEventError when there is none."""
    try:
        payload = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise InvalidEventError("the delivery is no JSON object", hint="the platforms send one")
    return payload


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)
