"""X (Twitter): Account Activity events, v1.1 posts, v2 posts and filtered-stream items as posts, or by name why not.

Owns the platform's words. Whether a post is about us it says by our accounts (ids and handles). Where none are known, whoever
addresses somebody is taken at that: such objects come only to somebody who asked for them.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from reflexarc_server.social.post import (
    MENTION,
    SHARE,
    TWITTER,
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

ACTIVITIES: Final = {
    "favorite_events": NotAPost.REACTION,
    "follow_events": NotAPost.FOLLOW,
    "unfollow_events": NotAPost.FOLLOW,
    "block_events": NotAPost.MODERATION,
    "unblock_events": NotAPost.MODERATION,
    "mute_events": NotAPost.MODERATION,
    "unmute_events": NotAPost.MODERATION,
    "direct_message_events": NotAPost.DIRECT_MESSAGE,
    "direct_message_indicate_typing_events": NotAPost.DIRECT_MESSAGE,
    "direct_message_mark_read_events": NotAPost.DIRECT_MESSAGE,
    "tweet_delete_events": NotAPost.REMOVED,
    "tweet_edit_events": NotAPost.EDIT,
    "user_event": NotAPost.OTHER_KIND,
}
"""Account Activity lists that hold no post of anybody's."""


def read(payload: Any, accounts: Collection[str] | None = None) -> list[Heard]:
    """What a payload tells, in its order. accounts: ours, ids or handles without @; None where they are not known."""
    page = mapping_in(payload)
    owner = id_in(page.get("for_user_id"))
    own = {account.lower().lstrip("@") for account in accounts or ()} | ({owner} if owner else set())
    told: list[Heard] = [_v1(tweet, own, owner) for tweet in mappings_in(page.get("tweet_create_events"))]
    for name, reason in ACTIVITIES.items():
        held = page.get(name)
        told += [Passed(TWITTER, reason, _id(each), name) for each in mappings_in(held if isinstance(held, list) else [held])]
    if "data" in page:
        told += _v2_page(page, own)
    elif "text" in page or "full_text" in page:
        told.append(_v1(page, own, owner))
    return told or [Passed(TWITTER, NotAPost.MALFORMED if not page else NotAPost.OTHER_KIND, detail="payload")]


def newest_time(payload: Any) -> int:
    """When the newest post in it was written, ms; 0 where none says."""
    page = mapping_in(payload)
    data = page.get("data")
    posts = [*mappings_in(page.get("tweet_create_events")), *mappings_in(data if isinstance(data, list) else [data]), page]
    return max((time_in(post.get("timestamp_ms")) or time_in(post.get("created_at")) for post in posts), default=0)


# -- v1.1 ---------------------------------------------------------------------------------------------------------


def _v1(tweet: Mapping[str, Any], own: set[str], owner: str) -> Heard:
    post_id = _id(tweet)
    user = mapping_in(tweet.get("user"))
    if not post_id or not user:
        return Passed(TWITTER, NotAPost.MALFORMED, post_id, "post")
    full = mapping_in(tweet.get("extended_tweet")) or tweet
    entities = mapping_in(full.get("entities")) or mapping_in(tweet.get("entities"))
    author = Author(
        _id(user), text_in(user.get("name")), text_in(user.get("screen_name")), count_in(user.get("followers_count"), -1),
        user.get("verified") is True,
    )  # fmt: skip
    answered = {id_in(tweet.get(f"in_reply_to_user_id{end}")) for end in ("", "_str")}
    addressed = _named(mappings_in(entities.get("user_mentions")), "screen_name") | answered
    addressed |= {id_in(tweet.get("in_reply_to_screen_name")).lower()}
    passed_on, quoted = (mapping_in(tweet.get(name)) for name in ("retweeted_status", "quoted_status"))
    original = passed_on or quoted
    quoted_id = id_in(tweet.get("quoted_status_id_str")) or id_in(tweet.get("quoted_status_id"))
    event_type, reason = _kind(
        author, own, addressed - {""},
        is_retweet=bool(passed_on), is_quote=bool(quoted or quoted_id),
        of=_people(mapping_in(original.get("user"))), is_asked_for=_by_rule(tweet),
    )  # fmt: skip
    if reason is not None:
        return Passed(TWITTER, reason, post_id, "post")
    replied = id_in(tweet.get("in_reply_to_status_id_str")) or id_in(tweet.get("in_reply_to_status_id"))
    counts = {"likes": "favorite_count", "replies": "reply_count", "shares": "retweet_count", "quotes": "quote_count"}
    return Post(
        TWITTER,
        event_type,
        post_id,
        author,
        text=html.unescape(text_in(full.get("full_text")) or text_in(full.get("text")) or text_in(tweet.get("text"))),
        url=_url(author, post_id),
        language=_language(tweet),
        post_time=time_in(tweet.get("timestamp_ms")) or time_in(tweet.get("created_at")),
        account=owner or next(iter(sorted(own & addressed)), ""),
        parent_id=(_id(original) or quoted_id) if event_type == SHARE else replied,
        is_reply=bool(replied),
        counts={name: count_in(tweet[field]) for name, field in counts.items() if field in tweet},
    )


# -- v2 -----------------------------------------------------------------------------------------------------------


def _v2_page(page: Mapping[str, Any], own: set[str]) -> list[Heard]:
    data, includes = page.get("data"), mapping_in(page.get("includes"))
    users = {id_in(user.get("id")): user for user in mappings_in(includes.get("users"))}
    others = {id_in(post.get("id")): post for post in mappings_in(includes.get("tweets"))}
    posts = mappings_in(data if isinstance(data, list) else [data])
    return [_v2(post, users, others, own, is_asked_for=_by_rule(page)) for post in posts] or [
        Passed(TWITTER, NotAPost.MALFORMED, detail="data")
    ]


def _v2(
    post: Mapping[str, Any],
    users: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, Mapping[str, Any]],
    own: set[str],
    *,
    is_asked_for: bool,
) -> Heard:
    post_id, author_id = id_in(post.get("id")), id_in(post.get("author_id"))
    if not post_id:
        return Passed(TWITTER, NotAPost.MALFORMED, detail="post")
    history = post.get("edit_history_tweet_ids")
    if isinstance(history, list) and len(history) > 1 and id_in(history[0]) != post_id:
        return Passed(TWITTER, NotAPost.EDIT, post_id, "post")
    user = users.get(author_id, {})
    metrics = mapping_in(user.get("public_metrics"))
    author = Author(
        author_id, text_in(user.get("name")), text_in(user.get("username")), count_in(metrics.get("followers_count"), -1),
        user.get("verified") is True,
    )  # fmt: skip
    addressed = _named(mappings_in(mapping_in(post.get("entities")).get("mentions")), "username")
    addressed |= {id_in(post.get("in_reply_to_user_id"))} - {""}
    references = {id_in(each.get("type")): id_in(each.get("id")) for each in mappings_in(post.get("referenced_tweets"))}
    passed_on, quoted = references.get("retweeted", ""), references.get("quoted", "")
    original_author = id_in(others.get(passed_on or quoted, {}).get("author_id"))
    event_type, reason = _kind(
        author, own, addressed, is_retweet=bool(passed_on), is_quote=bool(quoted),
        of=_people({"id": original_author, **users.get(original_author, {})}), is_asked_for=is_asked_for,
    )  # fmt: skip
    if reason is not None:
        return Passed(TWITTER, reason, post_id, "post")
    told = mapping_in(post.get("public_metrics"))
    counts = {"likes": "like_count", "replies": "reply_count", "shares": "retweet_count", "quotes": "quote_count"}
    note = mapping_in(post.get("note_tweet"))  # the whole of a long post
    return Post(
        TWITTER,
        event_type,
        post_id,
        author,
        text=html.unescape(text_in(note.get("text")) or text_in(post.get("text"))),
        url=_url(author, post_id),
        language=_language(post),
        post_time=time_in(post.get("created_at")),
        account=next(iter(sorted(own & addressed)), ""),
        parent_id=(passed_on or quoted) if event_type == SHARE else references.get("replied_to", ""),
        is_reply="replied_to" in references,
        counts={name: count_in(told[field]) for name, field in counts.items() if field in told},
    )


# -- both ---------------------------------------------------------------------------------------------------------


def _kind(
    author: Author,
    own: set[str],
    addressed: set[str],
    *,
    is_retweet: bool,
    is_quote: bool,
    of: set[str],
    is_asked_for: bool,
) -> tuple[str, NotAPost | None]:
    """Mention, share or why neither.

    of: who wrote the post that is passed on, where told. is_asked_for: a rule of ours matched it.
    """
    if own & {author.author_id, author.handle.lower()}:
        return "", NotAPost.OWN_POST
    is_ours = bool(own & of) or not own or not of
    if is_retweet:
        return (SHARE, None) if is_ours else ("", NotAPost.OTHERS_SHARE)
    is_addressed = bool(own & addressed if own else addressed)
    if is_quote and is_ours and (of or not is_addressed):
        return SHARE, None
    if is_addressed or is_asked_for:
        return MENTION, None
    return "", NotAPost.OTHERS_SHARE if is_quote else NotAPost.NO_MENTION


def _id(value: Mapping[str, Any]) -> str:
    return id_in(value.get("id_str")) or id_in(value.get("id"))


def _named(mentions: Iterable[Mapping[str, Any]], name: str) -> set[str]:
    """Ids and handles, in lower case, of whoever is named in a post."""
    return {part for each in mentions for part in (_id(each), id_in(each.get(name)).lower()) if part}


def _people(user: Mapping[str, Any]) -> set[str]:
    handle = id_in(user.get("screen_name")) or id_in(user.get("username"))
    return {_id(user), handle.lower()} - {""}


def _by_rule(page: Mapping[str, Any]) -> bool:
    return bool(mappings_in(page.get("matching_rules")))


def _language(post: Mapping[str, Any]) -> str:
    """A tag of two or three letters; the platform says `und` and a few of its own where there is no language."""
    tag = id_in(post.get("lang"))
    return "" if tag in ("und", "qam", "qct", "qht", "qme", "qst", "zxx") else tag


def _url(author: Author, post_id: str) -> str:
    return f"https://x.com/{author.handle or 'i/web'}/status/{post_id}"
