"""LinkedIn: social action notifications of an organization, and objects of the old v1 API, as posts, or by name why not.

Owns the platform's words. The v1 API is gone; its shapes are read because archives hold them. Of its group posts an id is not
enough: one id covers a whole discussion there, so the time is part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from reflexarc_server.social.post import (
    LINKEDIN,
    MENTION,
    SHARE,
    Author,
    Heard,
    NotAPost,
    Passed,
    Post,
    count_in,
    id_in,
    mapping_in,
    mappings_in,
    text_in,
    time_in,
)

ACTIONS: Final = {
    "COMMENT": MENTION, "SHARE_MENTION": MENTION, "PHOTO_MENTION": MENTION, "MENTION": MENTION, "SHARE": SHARE,
}  # fmt: skip
PASSED_ACTIONS: Final = {
    "LIKE": NotAPost.REACTION, "ADMIN_COMMENT": NotAPost.OWN_POST, "COMMENT_EDIT": NotAPost.EDIT,
    "COMMENT_DELETE": NotAPost.REMOVED,
}  # fmt: skip
UPDATES: Final = {
    "CONN": NotAPost.CONNECTION, "NCON": NotAPost.CONNECTION, "CCEM": NotAPost.CONNECTION, "PROF": NotAPost.PROFILE_CHANGE,
    "PICU": NotAPost.PROFILE_CHANGE, "PRFX": NotAPost.PROFILE_CHANGE, "PREC": NotAPost.RECOMMENDATION,
    "SVPR": NotAPost.RECOMMENDATION, "JGRP": NotAPost.FOLLOW, "MSFC": NotAPost.FOLLOW, "APPM": NotAPost.APPLICATION,
    "APPS": NotAPost.APPLICATION, "CMPY": NotAPost.OTHER_KIND, "JOBS": NotAPost.OTHER_KIND, "JOBP": NotAPost.OTHER_KIND,
}  # fmt: skip
"""Kinds of network updates of the v1 API in which nothing is written or passed on."""


def read(payload: Any, accounts: Collection[str] | None = None) -> list[Heard]:
    """What a payload tells, in its order.

    accounts: ids or URNs that are ours; None for the organization each notification names.
    """
    page = mapping_in(payload)
    if not page:
        return [Passed(LINKEDIN, NotAPost.MALFORMED, detail="payload")]
    own = {account.rpartition(":")[2] for account in accounts} if accounts is not None else None
    if "notifications" in page:
        told = [_notification(each, own) for each in mappings_in(page["notifications"])]
    elif "currentShare" in page:
        told = [_share(mapping_in(page["currentShare"]), own or set(), "current share")]
    else:
        told = [_v1(each, own or set()) for each in mappings_in(page.get("values"))]
    if told:
        return told
    kind = NotAPost.OTHER_KIND if "type" in page else NotAPost.MALFORMED
    return [Passed(LINKEDIN, kind, detail=id_in(page.get("type")) or "payload")]


def newest_time(payload: Any) -> int:
    """When the newest notification was made, ms; 0 where none says."""
    notifications = mappings_in(mapping_in(payload).get("notifications"))
    return max((time_in(each.get("lastModifiedAt")) for each in notifications), default=0)


# -- notifications --------------------------------------------------------------------------------------------------


def _notification(told: Mapping[str, Any], accounts: set[str] | None) -> Heard:
    action = id_in(told.get("action"))
    activity, source = id_in(told.get("generatedActivity")), id_in(told.get("sourcePost"))
    if action in PASSED_ACTIONS:
        return Passed(LINKEDIN, PASSED_ACTIONS[action], activity or source, action)
    if action not in ACTIONS:
        return Passed(LINKEDIN, NotAPost.OTHER_KIND if action else NotAPost.MALFORMED, activity or source, action or "action")
    post_id = activity or source or id_in(told.get("notificationId"))
    if not post_id:
        return Passed(LINKEDIN, NotAPost.MALFORMED, detail=action)
    made = mapping_in(told.get("decoratedGeneratedActivity"))
    written = mapping_in(made.get("comment")) or mapping_in(made.get("share")) or mapping_in(made.get("post")) or made
    origin = mapping_in(told.get("decoratedSourcePost"))
    if not written and action != "COMMENT":
        written = origin if action != "SHARE" else {}
    owner = id_in(written.get("owner")) or id_in(written.get("author")) or id_in(written.get("actor"))
    organization = id_in(told.get("organizationalEntity"))
    own = accounts if accounts is not None else {organization.rpartition(":")[2]}
    if owner and owner.rpartition(":")[2] in own:
        return Passed(LINKEDIN, NotAPost.OWN_POST, post_id, action)
    return Post(
        LINKEDIN,
        ACTIONS[action],
        post_id,
        Author(owner, text_in(written.get("ownerName"))),
        text=_text(written.get("text")),
        url=f"https://www.linkedin.com/feed/update/{source or activity}" if (source or activity).startswith("urn:li:") else "",
        post_time=time_in(told.get("lastModifiedAt")),
        account=organization,
        parent_id=source,
        is_reply=action == "COMMENT",
    )


def _text(value: Any) -> str:
    """A text, or one that comes with its annotations."""
    return text_in(value) or text_in(mapping_in(value).get("text"))


# -- the old v1 API -------------------------------------------------------------------------------------------------


def _v1(told: Mapping[str, Any], own: set[str]) -> Heard:
    if "updateType" in told:
        return _update(told, own)
    if "creator" in told:
        return _group(told, own)
    return Passed(LINKEDIN, NotAPost.MALFORMED, id_in(told.get("id")), "value")


def _update(told: Mapping[str, Any], own: set[str]) -> Heard:
    kind, key = id_in(told.get("updateType")), id_in(told.get("updateKey"))
    content = mapping_in(told.get("updateContent"))
    whose = mapping_in(content.get("person")) or mapping_in(content.get("company"))
    if kind == "SHAR":
        share = mapping_in(whose.get("currentShare"))
        counts = {
            "likes": count_in(told.get("numLikes")),
            "replies": count_in(mapping_in(told.get("updateComments")).get("_total")),
        }
        return _share(share, own, kind, counts) if share else Passed(LINKEDIN, NotAPost.MALFORMED, key, kind)
    if kind == "VIRL":
        action = id_in(mapping_in(mapping_in(content.get("updateAction")).get("action")).get("code"))
        is_reaction = action in ("LIKE", "")
        return Passed(LINKEDIN, NotAPost.REACTION if is_reaction else NotAPost.OTHERS_SHARE, key, f"{kind} {action}".rstrip())
    return Passed(LINKEDIN, UPDATES.get(kind, NotAPost.OTHER_KIND), key, kind)


def _share(share: Mapping[str, Any], own: set[str], detail: str, counts: Mapping[str, int] | None = None) -> Heard:
    post_id, author = id_in(share.get("id")), _author(mapping_in(share.get("author")))
    if not post_id:
        return Passed(LINKEDIN, NotAPost.MALFORMED, detail=detail)
    if author.author_id in own:
        return Passed(LINKEDIN, NotAPost.OWN_POST, post_id, detail)
    content = mapping_in(share.get("content"))
    links = (text_in(content.get(name)) for name in ("resolvedUrl", "submittedUrl", "shortenedUrl"))
    return Post(
        LINKEDIN,
        SHARE,
        post_id,
        author,
        text=text_in(share.get("comment")),
        url=next(filter(None, links), ""),
        post_time=time_in(share.get("timestamp")),
        counts=counts or {},
    )


def _group(told: Mapping[str, Any], own: set[str]) -> Heard:
    """A post or a comment of a group. Creators come without an id there: name and picture tell one from another."""
    made = time_in(told.get("creationTimestamp"))
    creator = mapping_in(told.get("creator"))
    author = _author(creator)
    if author.author_id in own:
        return Passed(LINKEDIN, NotAPost.OWN_POST, id_in(told.get("id")), "group")
    parts = [id_in(told.get("id")), str(made), author.author_id, text_in(told.get("text")) or text_in(told.get("title"))]
    attachment = mapping_in(told.get("attachment"))
    is_comment = "text" in told
    written = (text_in(told.get("title")), text_in(told.get("summary")))
    return Post(
        LINKEDIN,
        SHARE if attachment.get("contentUrl") else MENTION,
        f"group/{_digest(parts)}",
        author,
        text=text_in(told.get("text")) if is_comment else "\n".join(filter(None, written)),
        url=text_in(attachment.get("contentUrl")),
        post_time=made,
        parent_id=parts[0] if is_comment else "",
        is_reply=is_comment,
        counts={"likes": count_in(mapping_in(told["likes"]).get("_total"))} if "likes" in told else {},
    )


def _author(person: Mapping[str, Any]) -> Author:
    name = " ".join(filter(None, (text_in(person.get("firstName")), text_in(person.get("lastName")))))
    picture = text_in(person.get("pictureUrl"))
    known = id_in(person.get("id"))
    return Author(known or (f"unnamed/{_digest([name, picture])}" if name else ""), name)


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
