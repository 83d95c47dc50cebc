"""What a platform told: a post about us or of ours, or by name why it is neither.

Owns the values every platform's reading ends in, the closed list of reasons, and how a post becomes an event. Must never know
a platform's own words, read a clock or judge a text.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from reflexarc_core.event import STRING_BYTES_MAX, Event, Value
from reflexarc_server.collect.times import time_of

TWITTER: Final = "twitter"
FACEBOOK: Final = "facebook"
LINKEDIN: Final = "linkedin"
PLATFORMS: Final = (TWITTER, FACEBOOK, LINKEDIN)
MENTION: Final = "social_mention"
SHARE: Final = "social_share"
INT_MAX: Final = 2**53
ID_LENGTH_MAX: Final = 256
EVENT_ID_LENGTH_MAX: Final = 200


class NotAPost(enum.StrEnum):
    """Why something a platform told is neither a mention nor a share. The list is closed."""

    REACTION = "reaction"
    OWN_POST = "own_post"
    EDIT = "edit"
    HIDE = "hide"
    UNHIDE = "unhide"
    REMOVED = "removed"
    MODERATION = "moderation"
    RATING = "rating"
    UNPUBLISHED = "unpublished"
    NO_MENTION = "no_mention"
    OTHERS_SHARE = "others_share"
    FOLLOW = "follow"
    DIRECT_MESSAGE = "direct_message"
    PROFILE_CHANGE = "profile_change"
    CONNECTION = "connection"
    RECOMMENDATION = "recommendation"
    APPLICATION = "application"
    OTHER_KIND = "other_kind"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote. author_id: the platform's, empty where it does not say. followers: -1 where it does not say."""

    author_id: str = ""
    name: str = ""
    handle: str = ""
    followers: int = -1
    is_verified: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """A mention or a share. event_type: `social_mention` or `social_share`.

    post_id: the platform's, what makes it one happening. post_time: ms, 0 where the platform does not say.
    account: ours that it is about, parent_id: the post that it answers or passes on; both may be empty.
    counts: likes, replies, shares, quotes, where told.
    """

    platform: str
    event_type: str
    post_id: str
    author: Author
    text: str = ""
    url: str = ""
    language: str = ""
    post_time: int = 0
    account: str = ""
    parent_id: str = ""
    is_reply: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passed:
    """Something that is no post for us. detail: the platform's own word for it, never text of a person."""

    platform: str
    reason: NotAPost
    post_id: str = ""
    detail: str = ""


Heard = Post | Passed


class Mood(Protocol):
    """How a text sounds. score: -1 to 1."""

    @property
    def score(self) -> float:
        """-1 bad, 0 neutral, 1 good."""
        ...


def subject_of(post: Post) -> str:
    """The author as a subject: `anonymous:twitter/ID`.

    Where the platform does not say who wrote, nobody can: that author is one of that post only.
    """
    who = post.author.author_id or f"unknown/{post.post_id}"
    return f"anonymous:{post.platform}/{who}"


def event_of(post: Post, now: int, sentiment: float | None) -> Event:
    """The post as an event. now: ms, the time of a post that has none. sentiment: -1 to 1, None where nothing is to be said."""
    author = post.author
    properties: dict[str, Value] = {
        "platform": post.platform, "post_id": post.post_id, "is_reply": post.is_reply, "verified": author.is_verified,
    }  # fmt: skip
    texts = {
        "text": post.text, "author": author.name or author.handle, "author_id": author.author_id, "author_handle": author.handle,
        "url": post.url, "language": post.language, "account": post.account, "parent_id": post.parent_id,
    }  # fmt: skip
    properties.update({name: fitting(text) for name, text in texts.items() if text})
    if author.followers >= 0:
        properties["reach"] = author.followers
    properties.update(post.counts)
    if sentiment is not None:
        properties["sentiment"] = sentiment
    if post.event_type == SHARE:
        properties["content_id"] = fitting(post.parent_id or post.url or post.post_id)
    return Event(event_id_of(post), post.event_type, subject_of(post), post.post_time or now, properties)


def event_id_of(post: Post) -> str:
    """The same for every delivery of one post, whichever webhook brings it."""
    event_id = f"social/{post.platform}/{post.post_id}"
    return event_id if len(event_id) <= EVENT_ID_LENGTH_MAX else f"social/{post.platform}/{_digest(post.post_id)}"


# -- what a payload may hold ---------------------------------------------------------------------------------------


def text_in(value: Any) -> str:
    """Text, or an id that came as a number, as storable text; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def id_in(value: Any) -> str:
    """As `text_in`, empty for what cannot be an id: no text, too long, or with spaces and control characters in it."""
    text = text_in(value)
    return text if 0 < len(text) <= ID_LENGTH_MAX and text.isprintable() and " " not in text else ""


def count_in(value: Any, default: int = 0) -> int:
    """A count within what an event can hold; the default for anything else."""
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return default
    return min(int(value), INT_MAX) if value >= 0 else default


def time_in(value: Any) -> int:
    """Seconds or milliseconds since the epoch, or an ISO or Twitter's date, in ms; 0 for anything else."""
    if isinstance(value, str) and not value.isdecimal():
        return _date_in(value)
    count = count_in(value)
    return time_of(count if count >= 10**11 else count * 1_000)  # seconds reach this in the year 5138


def _date_in(text: str) -> int:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        try:
            made = datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y")
        except ValueError:
            return 0
    return max(0, round((made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp() * 1_000))


def mapping_in(value: Any) -> Mapping[str, Any]:
    """A mapping; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def mappings_in(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fitting(text: str) -> str:
    """As much of a text as an event can hold."""
    if len(text) * 4 <= STRING_BYTES_MAX:
        return text
    return text.encode()[:STRING_BYTES_MAX].decode("utf-8", "ignore")
