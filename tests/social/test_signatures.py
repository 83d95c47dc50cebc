"""Signatures and handshakes: what the platforms compute, what is refused, and that no handshake makes a signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import PermissionDeniedError, UnauthenticatedError
from reflexarc_server.social.post import PLATFORMS
from reflexarc_server.social.signatures import check_age, check_signature, escaped, handshake, is_signed, signature

KEY, OLD = b"consumer-secret", b"the-one-before"
BODY = b'{"object":"page"}'


def test_each_platforms_own_form() -> None:
    made = hmac.new(KEY, BODY, hashlib.sha256)
    assert is_signed("twitter", [KEY], BODY, "sha256=" + base64.b64encode(made.digest()).decode())
    assert is_signed("facebook", [KEY], BODY, "sha256=" + made.hexdigest())
    prefixed = hmac.new(KEY, b"hmacsha256=" + BODY, hashlib.sha256).hexdigest()
    assert is_signed("linkedin", [KEY], BODY, prefixed)
    assert is_signed("linkedin", [KEY], BODY, f"hmacsha256={prefixed}")


def test_known_digests() -> None:
    """Computed once by another program, so that nothing here agrees with itself only."""
    assert signature("facebook", b"secret", b"{}") == "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13"
    _, answer = handshake("twitter", [b"secret"], b"", {"crc_token": "foo"})
    assert answer == {"response_token": "sha256=dzukRpPHVT1u4g9h6l0nV6mk9KRNKEGuTpW1LkzWLbQ="}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_only_whole_right_signatures_pass(platform: str) -> None:
    right = signature(platform, KEY, BODY)
    check_signature(platform, [KEY], BODY, right)
    check_signature(platform, [KEY, OLD], BODY, signature(platform, OLD, BODY))  # while a secret is being replaced
    wrong = ["", "sha256=", right[:-2], right + "00", right.replace("sha256", "sha1"), "sha256=é", "x" * 5_000,
             signature(platform, b"another", BODY), signature(platform, KEY, BODY + b" ")]  # fmt: skip
    for header in wrong:
        if header != right:
            with pytest.raises(UnauthenticatedError):
                check_signature(platform, [KEY, OLD], BODY, header)
    with pytest.raises(UnauthenticatedError):
        check_signature(platform, [], BODY, right)


def test_facebook_signs_the_escaped_form() -> None:
    text = '{"message":"äöå 😀"}'
    sent = json.dumps(json.loads(text), separators=(",", ":")).encode()  # as it goes over the wire: escapes in lower case
    assert sent == b'{"message":"\\u00e4\\u00f6\\u00e5 \\ud83d\\ude00"}'
    header = "sha256=" + hmac.new(KEY, sent, hashlib.sha256).hexdigest()
    assert is_signed("facebook", [KEY], sent, header)
    assert is_signed("facebook", [KEY], text.encode(), header)  # a proxy decoded it on the way
    assert not is_signed("facebook", [KEY], text.encode().replace("ä".encode(), "Ä".encode()), header)
    assert not is_signed("twitter", [KEY], text.encode(), signature("twitter", KEY, sent))


@given(st.text())
def test_escaping_is_jsons(text: str) -> None:
    try:
        body = json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert escaped(body) == json.dumps(text).encode().replace(b"\\u007f", b"\x7f")


def test_handshakes() -> None:
    kind, answer = handshake("twitter", [KEY, OLD], b"", {"crc_token": "abc123"})
    made = base64.b64encode(hmac.new(KEY, b"abc123", hashlib.sha256).digest()).decode()
    assert (kind, answer) == ("application/json", {"response_token": f"sha256={made}"})
    asked = {"hub.mode": "subscribe", "hub.verify_token": "word", "hub.challenge": "1158201444"}
    assert handshake("facebook", [KEY], b"word", asked) == ("text/plain", "1158201444")
    _, answer = handshake("linkedin", [KEY], b"", {"challengeCode": "890e4665-4dfe-4ab1-b689-ed553bceeed0"})
    code = b"890e4665-4dfe-4ab1-b689-ed553bceeed0"
    assert answer == {"challengeCode": code.decode(), "challengeResponse": hmac.new(KEY, code, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    ("platform", "query"),
    [
        ("twitter", {}), ("twitter", {"crc_token": ""}), ("twitter", {"crc_token": "x" * 257}),
        ("facebook", {"hub.mode": "subscribe", "hub.verify_token": "wrong", "hub.challenge": "1"}),
        ("facebook", {"hub.mode": "unsubscribe", "hub.verify_token": "word", "hub.challenge": "1"}),
        ("facebook", {"hub.mode": "subscribe", "hub.verify_token": "word", "hub.challenge": "<script>"}),
        ("linkedin", {"challengeCode": "a b"}), ("linkedin", {}),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(platform: str, query: dict[str, str]) -> None:
    with pytest.raises(PermissionDeniedError):
        handshake(platform, [KEY], b"word", query)
    if platform == "facebook":
        with pytest.raises(PermissionDeniedError):
            handshake(platform, [KEY], b"", {**query, "hub.verify_token": ""})  # no word of ours is no word at all


@pytest.mark.parametrize("body", [BODY, b'{"tweet_create_events":[]}', b" {}"])
def test_a_handshake_never_signs_a_payload(body: bytes) -> None:
    """It signs what the caller chose with the key of the signatures: whoever could have a body signed could forge."""
    for platform, name in (("twitter", "crc_token"), ("linkedin", "challengeCode")):
        for asked in (body.decode(), f"hmacsha256={body.decode()}"):
            with pytest.raises(PermissionDeniedError):
                handshake(platform, [KEY], b"", {name: asked})


def test_age() -> None:
    now, week = 1_700_000_000_000, 7 * 86_400_000
    for sent in (0, now, now - week, now + 3_000_000):
        check_age(sent, now, week)
    for sent in (now - week - 1, now + 3_600_001, 1):
        with pytest.raises(PermissionDeniedError):
            check_age(sent, now, week)
