"""Deliveries that no real set holds: Account Activity, filtered streams, LinkedIn's notifications; and what is no payload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.event import STRING_BYTES_MAX, subject_parts
from reflexarc_server.social import facebook, linkedin, twitter
from reflexarc_server.social.post import EVENT_ID_LENGTH_MAX, Heard, Post, event_of
from tests.social.payloads import US, activity, comment, naming_us, notification, tweet

READERS = (twitter.read, facebook.read, linkedin.read)


def _words(heard: list[Heard]) -> list[str]:
    return [each.event_type if isinstance(each, Post) else each.reason.value for each in heard]


def _ours(post_id: str = "5") -> dict[str, Any]:
    return tweet(post_id, "We shipped", user=US, handle="reflexarc_app")


@pytest.mark.parametrize(
    ("post", "word"),
    [
        (tweet("1", "@reflexarc_app hello", entities=naming_us()), "social_mention"),
        (tweet("2", "no, it is not", in_reply_to_user_id_str=US, in_reply_to_status_id_str="5"), "social_mention"),
        (tweet("3", "RT @reflexarc_app: We shipped", retweeted_status=_ours()), "social_share"),
        (tweet("4", "finally", quoted_status=_ours(), quoted_status_id_str="5", is_quote_status=True), "social_share"),
        (_ours("6"), "own_post"),
        (tweet("7", "RT @x: hi", retweeted_status=tweet("70", "hi @reflexarc_app", user="77", handle="x")), "others_share"),
        (tweet("8", "nothing about you"), "no_mention"),
    ],
)
def test_account_activity(post: dict[str, Any], word: str) -> None:
    assert _words(twitter.read(activity(tweet_create_events=[post]))) == [word]


def test_a_share_names_what_is_shared() -> None:
    (share,) = twitter.read(activity(tweet_create_events=[tweet("3", "RT", retweeted_status=_ours("5"))]))
    assert isinstance(share, Post)
    event = event_of(share, 9, None)
    assert (event.event_type, event.properties["content_id"], event.subject) == ("social_share", "5", "anonymous:twitter/901")
    assert event.event_time == 1_700_006_400_000


@pytest.mark.parametrize("created", [10**60, 2**53 + 1, 253_402_300_800_000, -5, 1.5e300])
def test_a_time_that_is_none_is_the_time_of_the_delivery(created: Any) -> None:
    page = comment("hello")
    page["entry"][0]["changes"][0]["value"]["created_time"] = created
    page["entry"][0]["time"] = 1_700_006_400
    (post,) = facebook.read(page)
    assert isinstance(post, Post)
    assert post.post_time == 1_700_006_400_000


def test_a_share_of_a_long_address_is_an_event() -> None:
    value = {"item": "share", "verb": "add", "post_id": "9", "from": {"id": "2"}, "link": "https://a.example/" + "x" * 9_000}
    page = {"object": "page", "entry": [{"id": "1", "changes": [{"field": "feed", "value": value}]}]}
    (share,) = facebook.read(page)
    assert isinstance(share, Post)
    assert len(str(event_of(share, 1, None).properties["content_id"])) == STRING_BYTES_MAX


@pytest.mark.parametrize("name", twitter.ACTIVITIES)
def test_other_activity_has_a_name(name: str) -> None:
    assert _words(twitter.read(activity(**{name: [{"id": "1"}]}))) == [twitter.ACTIVITIES[name].value]


def test_a_long_post_is_read_whole() -> None:
    long = "@reflexarc_app " + "x" * 200
    (post,) = twitter.read(activity(tweet_create_events=[
        tweet("1", "@reflexarc_app xx…", truncated=True, extended_tweet={"full_text": long, "entities": naming_us()})
    ]))  # fmt: skip
    assert isinstance(post, Post)
    assert post.text == long


def test_a_filtered_stream_item() -> None:
    data: dict[str, Any] = {"id": "10", "author_id": "901", "text": "reflexarc again", "lang": "und",
                            "edit_history_tweet_ids": ["10"]}  # fmt: skip
    page = {"data": data, "matching_rules": [{"id": "1", "tag": "brand"}]}
    (post,) = twitter.read(page, [US])
    assert isinstance(post, Post)
    assert (post.language, post.author.followers, post.url) == ("", -1, "https://x.com/i/web/status/10")
    assert "reach" not in event_of(post, 1, None).properties
    edited = {"data": {**data, "id": "11", "edit_history_tweet_ids": ["10", "11"]}, "matching_rules": [{"id": "1"}]}
    assert _words(twitter.read(edited, [US])) == ["edit"]
    quote = {**data, "referenced_tweets": [{"type": "quoted", "id": "5"}]}
    ours = {"tweets": [{"id": "5", "author_id": US}]}
    theirs = {"tweets": [{"id": "5", "author_id": "77"}]}
    assert _words(twitter.read({"data": quote, "includes": ours}, [US])) == ["social_share"]
    assert _words(twitter.read({"data": quote, "includes": theirs}, [US])) == ["others_share"]


@pytest.mark.parametrize(
    ("action", "word"),
    [("COMMENT", "social_mention"), ("SHARE_MENTION", "social_mention"), ("SHARE", "social_share"), ("LIKE", "reaction"),
     ("ADMIN_COMMENT", "own_post"), ("COMMENT_EDIT", "edit"), ("COMMENT_DELETE", "removed"), ("NEWS", "other_kind")],
)  # fmt: skip
def test_linkedin_actions(action: str, word: str) -> None:
    assert _words(linkedin.read(notification(action))) == [word]


def test_a_linkedin_comment() -> None:
    (post,) = linkedin.read(notification("COMMENT"))
    assert isinstance(post, Post)
    assert (post.text, post.author.author_id, post.is_reply) == ("This broke twice", "urn:li:person:abc123", True)
    assert (post.account, post.parent_id) == ("urn:li:organization:5590506", "urn:li:share:7129000000000000001")
    assert post.post_time == 1_700_006_400_000
    own = {"comment": {"text": "Thanks", "owner": "urn:li:organization:5590506"}}
    assert _words(linkedin.read(notification("COMMENT", decoratedGeneratedActivity=own))) == ["own_post"]


def test_one_comment_is_one_event_whichever_field_brings_it() -> None:
    (feed,) = facebook.read(comment("hello"))
    page = comment("hello @us")
    page["entry"][0]["changes"][0]["field"] = "mention"
    (mention,) = facebook.read(page)
    assert isinstance(feed, Post)
    assert isinstance(mention, Post)
    assert event_of(feed, 1, None).event_id == event_of(mention, 1, None).event_id


def test_other_objects_and_messages_have_a_name() -> None:
    assert _words(facebook.read({"object": "instagram", "entry": []})) == ["other_kind"]
    assert _words(facebook.read({"object": "page", "entry": [{"id": "1", "messaging": [{"message": {}}]}]})) == ["direct_message"]
    assert _words(facebook.read(comment("draft", published=0))) == ["unpublished"]


def test_what_does_not_fit_an_event_is_cut() -> None:
    (post,) = facebook.read(comment("ä" * 20_000 + "\ud800", comment_id="9" * 250))
    assert isinstance(post, Post)
    event = event_of(post, 1, None)
    text = event.properties["text"]
    assert isinstance(text, str)
    assert len(text.encode()) <= 8_192
    assert len(event.event_id) <= EVENT_ID_LENGTH_MAX


_NAMES = (
    "object", "entry", "changes", "value", "field", "item", "verb", "id", "data", "text", "user", "notifications", "action",
    "values", "creator", "tweet_create_events", "entities", "mentions", "from", "updateType", "updateContent", "includes",
    "users",
)  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(
        st.sampled_from(_NAMES),
        inside, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(_json)
def test_any_json_is_read(payload: object) -> None:
    for read in READERS:
        heard = read(payload)
        assert heard
        for each in heard:
            if isinstance(each, Post):
                subject_parts(event_of(each, 1, 0.5).subject)
    for newest in (twitter.newest_time, facebook.newest_time, linkedin.newest_time):
        assert newest(payload) >= 0
