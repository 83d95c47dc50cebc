"""Payloads for which no file is at hand, written from the platforms' documentation: their shapes, not their samples.

X: Account Activity objects (developer.x.com, Account Activity API), filtered stream of v2. LinkedIn: Organization Social Action
Notifications (Microsoft Learn, Community Management). Names and texts are invented.
"""

from __future__ import annotations

from typing import Any

US = "2244994945"


def tweet(post_id: str, text: str, *, user: str = "901", handle: str = "ada_l", **more: Any) -> dict[str, Any]:
    """A post of v1.1, as Account Activity wraps it."""
    return {
        "created_at": "Wed Nov 15 00:00:00 +0000 2023", "id": int(post_id), "id_str": post_id, "text": text, "truncated": False,
        "in_reply_to_status_id_str": None, "in_reply_to_user_id_str": None,
        "user": {"id_str": user, "name": "Ada", "screen_name": handle, "followers_count": 1_200, "verified": False},
        "entities": {"user_mentions": []}, "lang": "en", "timestamp_ms": "1700006400000",
        "quote_count": 0, "reply_count": 0, "retweet_count": 0, "favorite_count": 0, **more,
    }  # fmt: skip


def naming_us(handle: str = "reflexarc_app") -> dict[str, Any]:
    """The entities of a post that names us."""
    return {"user_mentions": [{"screen_name": handle, "name": "Us", "id_str": US, "indices": [0, 14]}]}


def activity(**lists: Any) -> dict[str, Any]:
    """An Account Activity delivery for our account."""
    return {"for_user_id": US, **lists}


def notification(action: str, **more: Any) -> dict[str, Any]:
    """A LinkedIn delivery of one notification."""
    one = {
        "notificationId": 7_001, "organizationalEntity": "urn:li:organization:5590506", "action": action,
        "sourcePost": "urn:li:share:7129000000000000001", "lastModifiedAt": 1_700_006_400_000,
        "generatedActivity": "urn:li:comment:(urn:li:activity:7129000000000000009,7129000000000000010)",
        "decoratedGeneratedActivity": {
            "comment": {"entity": "urn:li:activity:7129000000000000009", "text": "This broke twice",
                        "owner": "urn:li:person:abc123"}
        },
        "subscriber": "urn:li:person:admin1", **more,
    }  # fmt: skip
    return {"type": "ORGANIZATION_SOCIAL_ACTION_NOTIFICATIONS", "notifications": [one]}


def comment(text: str, comment_id: str = "11_22", sender: str = "8423", **value: Any) -> dict[str, Any]:
    """A page webhook about a visitor's comment."""
    return {
        "object": "page",
        "entry": [{
            "id": "1234567890321", "time": 1_700_006_400,
            "changes": [{"field": "feed", "value": {
                "item": "comment", "verb": "add", "comment_id": comment_id, "post_id": "1234567890321_11",
                "parent_id": "1234567890321_11", "from": {"id": sender, "name": "Grace"}, "created_time": 1_700_006_399,
                "message": text, **value,
            }}],
        }],
    }  # fmt: skip
