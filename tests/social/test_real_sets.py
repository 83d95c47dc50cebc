"""Every payload of the real sets becomes the right event, or by name none: a table made by reading each file.

In the page webhooks nearly every author's id is the page's own; so the second column says what the same payload is when no
account is ours (`accounts=()`), which is what a reader of the file sees without the ids.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reflexarc_build.reader import standard_text
from reflexarc_core.catalog import Catalog
from reflexarc_server.social import facebook, linkedin, twitter
from reflexarc_server.social.post import Heard, Passed, Post, event_of

M, S = "social_mention", "social_share"
OWN = "own_post"

FACEBOOK = {
    "feed-album-add": (OWN, M), "feed-album-edited": ("edit", "edit"), "feed-comment-add-211": (OWN, M),
    "feed-comment-add-25": (OWN, M), "feed-comment-add-with-photo": (OWN, M), "feed-comment-add-with-video": (OWN, M),
    "feed-comment-edited-25": ("edit", "edit"), "feed-comment-edited-with-photo": ("edit", "edit"),
    "feed-comment-edited-with-video": ("edit", "edit"), "feed-comment-hide": ("hide", "hide"),
    "feed-comment-remove-25": ("removed", "removed"), "feed-comment-unhide": ("unhide", "unhide"),
    "feed-event-add": (OWN, M), "feed-like-add-25": ("reaction", "reaction"),
    "feed-like-add-comment-25": ("reaction", "reaction"), "feed-like-add-page-25": ("reaction", "reaction"),
    "feed-like-remove-25": ("reaction", "reaction"), "feed-photo-add-25": (OWN, M), "feed-photo-add-message": (OWN, M),
    "feed-photo-edited": ("edit", "edit"), "feed-photo-edited-message": ("edit", "edit"), "feed-photo-hide": ("hide", "hide"),
    "feed-photo-hide-message": ("hide", "hide"), "feed-photo-remove-25": ("removed", "removed"),
    "feed-post-add-25": (M, M), "feed-post-edit": ("edit", "edit"), "feed-post-hide": ("hide", "hide"),
    "feed-post-remove-25": ("removed", "removed"), "feed-post-unhide": ("unhide", "unhide"),
    "feed-reaction-add": ("reaction", "reaction"), "feed-reaction-add-comment": ("reaction", "reaction"),
    "feed-reaction-add-reply": ("reaction", "reaction"), "feed-reaction-edit": ("reaction", "reaction"),
    "feed-reaction-remove": ("reaction", "reaction"), "feed-share-add-25": (OWN, S), "feed-share-hide": ("hide", "hide"),
    "feed-share-unhide": ("unhide", "unhide"), "feed-status-add-25": (OWN, M), "feed-status-add-photos": (OWN, M),
    "feed-status-edited-25": ("edit", "edit"), "feed-status-edited-photos": ("edit", "edit"),
    "feed-status-hide-25": ("hide", "hide"), "feed-status-unhide": ("unhide", "unhide"),
    "feed-two-entries-25": ("other_kind", "other_kind"), "feed-video-add": (OWN, M),
    "feed-video-block": ("moderation", "moderation"), "feed-video-edited": ("edit", "edit"), "feed-video-hide": ("hide", "hide"),
    "feed-video-mute": ("moderation", "moderation"), "feed-video-remove-25": ("removed", "removed"),
    "feed-video-unblock": ("moderation", "moderation"), "mention-comment-add": (M, M), "mention-post-add": (M, M),
    "mention-post-add-real": (M, M),
    "ratings-comment-add-25": ("rating", "rating"), "ratings-comment-edited-25": ("edit", "edit"),
    "ratings-comment-remove-25": ("removed", "removed"), "ratings-like-add-25": ("reaction", "reaction"),
    "ratings-like-add-40": ("reaction", "reaction"), "ratings-like-remove-25": ("reaction", "reaction"),
    "ratings-like-remove-40": ("reaction", "reaction"), "ratings-rating-add-25": ("rating", "rating"),
    "ratings-rating-add-31": ("rating", "rating"), "ratings-rating-edit-25": ("edit", "edit"),
    "ratings-rating-remove-25": ("removed", "removed"), "ratings-reaction-add": ("reaction", "reaction"),
    "ratings-reaction-edit": ("reaction", "reaction"), "ratings-reaction-remove": ("reaction", "reaction"),
}  # fmt: skip

TWITTER = {
    "like_example": ["no_mention"], "tweet_example_v1": [M], "tweet_example_v2": [M],
    "tweet_list_v2_example": [M, "no_mention", M],
    "tweet_stream_example": [M], "user_timeline_example_v2": [M] * 10,
}  # fmt: skip
LINKEDIN = {
    "current": [S], "group_post_comments": [M] * 5, "group_posts": [M, S, M, M, M, M, M, M, M, S],
    "updates": ["connection", S, "profile_change", "follow", "reaction", "profile_change", "recommendation", "recommendation",
                "application"],
}  # fmt: skip


def _payload(folder: Path, name: str) -> object:
    return json.loads((folder / f"{name}.json").read_bytes())


def _words(heard: list[Heard]) -> list[str]:
    return [each.event_type if isinstance(each, Post) else each.reason.value for each in heard]


@pytest.mark.parametrize("name", FACEBOOK)
def test_a_page_webhook(real_sets: Path, name: str) -> None:
    payload = _payload(real_sets / "social_webhooks_facebook", name)
    with_page, without = FACEBOOK[name]
    assert set(_words(facebook.read(payload))) == {with_page}
    assert set(_words(facebook.read(payload, accounts=()))) == {without}


@pytest.mark.parametrize("name", TWITTER)
def test_a_tweet(real_sets: Path, name: str) -> None:
    assert _words(twitter.read(_payload(real_sets / "social_posts_twitter", name))) == TWITTER[name]


@pytest.mark.parametrize("name", LINKEDIN)
def test_a_linkedin_object(real_sets: Path, name: str) -> None:
    assert _words(linkedin.read(_payload(real_sets / "social_posts_linkedin", name))) == LINKEDIN[name]


def test_no_file_is_left_out(real_sets: Path) -> None:
    for folder, table in (("webhooks_facebook", FACEBOOK), ("posts_twitter", TWITTER), ("posts_linkedin", LINKEDIN)):
        files = {path.stem for path in (real_sets / f"social_{folder}").glob("*.json")}
        assert files == set(table)


def test_every_post_fits_its_declared_event(real_sets: Path, standard: Catalog) -> None:
    readers = {"webhooks_facebook": facebook.read, "posts_twitter": twitter.read, "posts_linkedin": linkedin.read}
    posts = 0
    for folder, read in readers.items():
        for path in (real_sets / f"social_{folder}").glob("*.json"):
            for each in read(json.loads(path.read_bytes()), ()):
                if isinstance(each, Passed):
                    continue
                posts += 1
                event = event_of(each, 1, 0.0)
                conformed, unknown = standard.event_types[event.event_type].conform(event.properties)
                assert unknown == 0, (path.name, event.properties)
                assert conformed["platform"] == each.platform
    assert posts > 40


def test_what_a_tweet_says(real_sets: Path) -> None:
    folder = real_sets / "social_posts_twitter"
    (old,) = twitter.read(_payload(folder, "tweet_example_v1"))
    (new,) = twitter.read(_payload(folder, "tweet_example_v2"))
    first, _, third = twitter.read(_payload(folder, "tweet_list_v2_example"))
    assert isinstance(old, Post)
    assert isinstance(new, Post)
    assert isinstance(first, Post)
    assert isinstance(third, Post)
    assert (old.author.author_id, old.author.followers, old.language, old.is_reply) == ("723996356", 6_339, "fr", True)
    assert (old.post_id, old.parent_id, old.post_time) == ("1223664533451026434", "1223576831170879489", 1_580_579_334_000)
    assert old.counts == {"likes": 1, "replies": 3, "shares": 2, "quotes": 0}
    assert (new.author.name, new.author.followers, new.is_reply) == ("Marco Mornati", 433, True)
    assert new.url == "https://x.com/marcomornati/status/1224044675406925824"
    assert (first.author.handle, first.author.followers, first.author.is_verified) == ("RedouaneBali", 2_018, False)
    assert third.text.startswith("What's happening @GitHub ?")
    (stream,) = twitter.read(_payload(folder, "tweet_stream_example"))
    assert isinstance(stream, Post)
    assert "malades & du nosocomial" in stream.text  # the platform escapes &, < and >


def test_whose_accounts_decide(real_sets: Path) -> None:
    """The same files for somebody whose accounts are known."""
    folder = real_sets / "social_posts_twitter"
    listed = _payload(folder, "tweet_list_v2_example")
    assert _words(twitter.read(listed, ["TwitterAPI"])) == [M, "no_mention", "no_mention"]
    assert _words(twitter.read(listed, ["@GITHUB"])) == ["no_mention", "no_mention", M]
    assert _words(twitter.read(listed, ["1120050519182016513"])) == [OWN, "no_mention", OWN]
    assert _words(twitter.read(_payload(folder, "user_timeline_example_v2"), ["92073489"])) == [M] * 10
    current = _payload(real_sets / "social_posts_linkedin", "current")
    assert _words(linkedin.read(current, ["urn:li:person:UB2kruYmAL"])) == [OWN]


def test_what_a_page_webhook_says(real_sets: Path) -> None:
    folder = real_sets / "social_webhooks_facebook"
    (post,) = facebook.read(_payload(folder, "feed-post-add-25"))
    (comment,) = facebook.read(_payload(folder, "mention-comment-add"))
    (share,) = facebook.read(_payload(folder, "feed-share-add-25"), ())
    assert isinstance(post, Post)
    assert isinstance(comment, Post)
    assert isinstance(share, Post)
    assert (post.author.author_id, post.author.name, post.text) == ("8423678347823", "John Doe", "Let's check this")
    assert (comment.post_id, comment.is_reply, comment.post_time) == ("7363534231324_3754798971271444", True, 1_614_340_862_000)
    assert event_of(comment, 1, None).subject == "anonymous:facebook/unknown/7363534231324_3754798971271444"
    assert (share.url, share.post_id) == ("http://www.google.com/", "1234567890321_98735342324352")
    assert event_of(share, 1, None).event_id == "social/facebook/1234567890321_98735342324352"


@pytest.fixture(scope="module")
def standard() -> Catalog:
    from reflexarc_build.reader import build_text

    return build_text(standard_text(), "standard.yaml")
