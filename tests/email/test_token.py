"""Tokens: whole or nothing."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_server.email.token import (
    CLICK,
    CLICK_ID,
    OPEN,
    REPLY,
    UNSUBSCRIBE,
    ExpiredTokenError,
    Mark,
    Signer,
    message_id_of,
)

KINDS = (OPEN, CLICK, UNSUBSCRIBE, REPLY, CLICK_ID)
KEY, OLD_KEY = b"k" * 32, b"o" * 32
SIGNER = Signer([KEY])
NOW = 1_700_000_000_000
WHOLE = Mark("m-1", "known:42", "spring", NOW, NOW + 60_000, 3, 7, "https://example.org/?a=1&b=%20#f", "email")

marks = st.builds(
    Mark,
    message_id=st.one_of(
        st.text(string.ascii_letters + string.digits, min_size=1, max_size=64),
        st.integers(0).map(lambda n: message_id_of(str(n))),
    ),
    subject=st.one_of(st.just(""), st.text(min_size=1, max_size=20).map(lambda text: f"known:{text}")),
    campaign=st.text(max_size=20),
    made_time=st.integers(0, 2**40).map(lambda n: n * 1_000),
    position=st.integers(0, 500),
    link_count=st.integers(0, 500),
    url=st.text(max_size=200),
    purpose=st.sampled_from(["", "email", "newsletter"]),
    offset_minutes=st.integers(-1_080, 1_080),
)


@given(marks, st.sampled_from(KINDS))
def test_a_token_says_what_was_signed(mark: Mark, kind: str) -> None:
    assert SIGNER.read(kind, SIGNER.sign(kind, mark), NOW) == mark


@pytest.mark.parametrize("kind", KINDS)
def test_an_altered_token_is_none(kind: str) -> None:
    token = SIGNER.sign(kind, WHOLE)
    letters = (string.ascii_lowercase + "234567") if kind == REPLY else string.ascii_letters + string.digits + "-_"
    for place, held in enumerate(token):
        for other in letters:
            if other != held:
                with pytest.raises(InvalidEventError):
                    SIGNER.read(kind, token[:place] + other + token[place + 1 :], NOW)
    for text in ("", token[:-1], token + "A", token + "=", f" {token}", token + "\n", "é", "\x00", token * 200, "//evil.example"):
        with pytest.raises(InvalidEventError):
            SIGNER.read(kind, text, NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_another_kind_or_key_is_none(kind: str) -> None:
    for other in KINDS:
        if other != kind:
            with pytest.raises(InvalidEventError):
                SIGNER.read(other, SIGNER.sign(kind, WHOLE), NOW)
    with pytest.raises(InvalidEventError):
        Signer([OLD_KEY]).read(kind, SIGNER.sign(kind, WHOLE), NOW)


def test_a_token_is_over_when_it_said_so() -> None:
    token = SIGNER.sign(CLICK, WHOLE)
    assert SIGNER.read(CLICK, token, WHOLE.expire_time - 1) == WHOLE
    with pytest.raises(ExpiredTokenError):
        SIGNER.read(CLICK, token, WHOLE.expire_time)


def test_the_first_key_signs_and_all_of_them_verify() -> None:
    before, both, after = Signer([OLD_KEY]), Signer([KEY, OLD_KEY]), Signer([KEY])
    assert both.read(OPEN, before.sign(OPEN, WHOLE), NOW) == WHOLE
    assert after.read(OPEN, both.sign(OPEN, WHOLE), NOW) == WHOLE
    with pytest.raises(InvalidEventError):
        before.read(OPEN, both.sign(OPEN, WHOLE), NOW)


def test_a_reply_token_survives_a_relay_that_changes_the_case_and_fits_an_address() -> None:
    token = SIGNER.sign(REPLY, Mark(message_id_of("d-1")))
    assert SIGNER.read(REPLY, token.upper(), NOW) == SIGNER.read(REPLY, token, NOW)
    assert len("reply+" + token) <= 64


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY] * 9])
def test_keys_that_cannot_sign_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(DefinitionError):
        Signer(keys)


@pytest.mark.parametrize("message_id", ["", "a b", "-a", "a\r\nb", "a~b", "x" * 65, "é", "a/b"])
def test_a_message_id_that_could_break_a_header_is_refused(message_id: str) -> None:
    with pytest.raises(InvalidEventError):
        SIGNER.sign(OPEN, Mark(message_id))
