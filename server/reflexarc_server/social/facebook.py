"""Facebook page webhooks: fields `feed`, `mention` and `ratings` as posts, or by name why not.

Owns the platform's words (items, verbs, fields). Whatever a page's own account writes is `own_post`: answers that this product
gives come back through the same webhook.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from reflexarc_server.social.post import (
    FACEBOOK,
    MENTION,
    SHARE,
    Author,
    Heard,
    NotAPost,
    Passed,
    Post,
    id_in,
    mapping_in,
    mappings_in,
    text_in,
    time_in,
)

VERBS: Final = {
    "edit": NotAPost.EDIT, "edited": NotAPost.EDIT, "update": NotAPost.EDIT, "hide": NotAPost.HIDE, "unhide": NotAPost.UNHIDE,
    "remove": NotAPost.REMOVED, "delete": NotAPost.REMOVED, "block": NotAPost.MODERATION, "unblock": NotAPost.MODERATION,
    "mute": NotAPost.MODERATION,
}  # fmt: skip
"""Verbs that make nothing new."""
IDS: Final = (
    "comment_id", "post_id", "open_graph_story_id", "share_id", "photo_id", "video_id", "album_id", "event_id",
)  # fmt: skip
"""Where an item's own id may stand, the most telling first."""
REACTIONS: Final = ("like", "reaction")
POSTS: Final = ("post", "status", "photo", "video", "album", "event", "note", "link", "share")


def read(payload: Any, accounts: Collection[str] | None = None) -> list[Heard]:
    """What a webhook's payload tells, in its order.

    accounts: ids that are ours; None for the page each entry is about.
    """
    told: list[Heard] = []
    page = mapping_in(payload)
    if not page:
        return [Passed(FACEBOOK, NotAPost.MALFORMED, detail="payload")]
    if page.get("object") != "page":
        return [Passed(FACEBOOK, NotAPost.OTHER_KIND, detail=f"object {id_in(page.get('object')) or 'missing'}")]
    for entry in mappings_in(page.get("entry")):
        told += _entry(entry, accounts)
    return told or [Passed(FACEBOOK, NotAPost.MALFORMED, detail="entry")]


def newest_time(payload: Any) -> int:
    """When the newest entry was sent, ms; 0 where none says."""
    return max((time_in(entry.get("time")) for entry in mappings_in(mapping_in(payload).get("entry"))), default=0)


def _entry(entry: Mapping[str, Any], accounts: Collection[str] | None) -> Iterator[Heard]:
    page_id = id_in(entry.get("id"))
    own = (page_id,) if accounts is None else accounts
    changes = mappings_in(entry.get("changes"))
    if not changes:
        kind = NotAPost.DIRECT_MESSAGE if entry.get("messaging") else NotAPost.MALFORMED
        yield Passed(FACEBOOK, kind, detail="changes")
    for change in changes:
        yield _change(change, page_id, own, time_in(entry.get("time")))


def _change(change: Mapping[str, Any], page_id: str, own: Collection[str], sent_time: int) -> Heard:
    field, value = id_in(change.get("field")), mapping_in(change.get("value"))
    item, verb = id_in(value.get("item")), id_in(value.get("verb"))
    post_id = next(filter(None, (id_in(value.get(name)) for name in IDS)), "")
    detail = f"{field or 'field missing'}: {item or 'item missing'} {verb}".rstrip()
    reason = _why_not(field, item, verb, value)
    if reason is None and not post_id:
        reason = NotAPost.MALFORMED
    author = _author(value)
    if reason is None and _is_own(field, author, own, page_id):
        reason = NotAPost.OWN_POST
    if reason is not None:
        return Passed(FACEBOOK, reason, post_id, detail)
    is_comment = item == "comment"
    parent = id_in(value.get("parent_id")) or (id_in(value.get("post_id")) if is_comment else "")
    return Post(
        FACEBOOK,
        SHARE if item == "share" and field == "feed" else MENTION,
        post_id,
        author,
        text=text_in(value.get("message")),
        url=text_in(value.get("permalink_url")) or text_in(value.get("link")) or text_in(value.get("photo")),
        post_time=time_in(value.get("created_time")) or sent_time,
        account=page_id,
        parent_id=parent,
        is_reply=is_comment,
    )


def _why_not(field: str, item: str, verb: str, value: Mapping[str, Any]) -> NotAPost | None:
    if field not in ("feed", "mention", "ratings"):
        return NotAPost.OTHER_KIND
    if not value:
        return NotAPost.MALFORMED
    if item in REACTIONS:
        return NotAPost.REACTION
    if verb in VERBS:
        return VERBS[verb]
    if field == "ratings":
        return NotAPost.RATING
    if verb != "add" or (item != "comment" and item not in POSTS):
        return NotAPost.OTHER_KIND
    return NotAPost.UNPUBLISHED if value.get("published") == 0 else None


def _author(value: Mapping[str, Any]) -> Author:
    sender = mapping_in(value.get("from"))
    author_id = id_in(sender.get("id")) or id_in(value.get("sender_id"))
    return Author(author_id, text_in(sender.get("name")) or text_in(value.get("sender_name")))


def _is_own(field: str, author: Author, own: Collection[str], page_id: str) -> bool:
    """What stands in a page's feed and names nobody is the page's: only its own stories come without an author."""
    return author.author_id in own if author.author_id else field == "feed" and page_id in own
