"""Enrolment and renewal: the rules, against the registry and the ring themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError, InvalidEventError, PermissionDeniedError, UnauthenticatedError
from reflexarc_server.identity import Identity, open_identity
from reflexarc_server.identity.credential import LIFE_MS
from reflexarc_server.identity.gate import Caller, Guard
from reflexarc_server.identity.roles import DEVICE

PUSH = "/reflexarc.v1.EventService/Push"
DAY_MS = 86_400_000
SECRET, OTHER = b"s" * 32, b"o" * 32


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def identity(tmp_path: Path, clock: Hand) -> Iterator[Identity]:
    opened = open_identity(tmp_path, clock, insecure=False)
    yield opened
    opened.close()


def token(identity: Identity, uses: int = 1, installation: str = "") -> str:
    return identity.enrolment.create_token("", uses, 0, installation)[0]


def admitted(identity: Identity, credential: str) -> Caller:
    return identity.gate.admit(PUSH, (("authorization", f"Bearer {credential}"),))


def test_an_enrolment_whose_answer_was_lost_is_repeated_and_counts_once(identity: Identity) -> None:
    text = token(identity)
    first, _ = identity.enrolment.enrol(text, "dev-1", SECRET)
    second, _ = identity.enrolment.enrol(text, "dev-1", SECRET)
    for credential in (first, second):
        assert admitted(identity, credential) == Caller(DEVICE, "dev-1", "dev-1")
    assert [held.use_count for held in identity.registry.tokens()] == [1]


def test_a_token_takes_as_many_as_it_says_and_no_longer_than_it_says(identity: Identity, clock: Hand) -> None:
    text = token(identity, uses=2)
    identity.enrolment.enrol(text, "dev-1", SECRET)
    identity.enrolment.enrol(text, "dev-2", OTHER)
    with pytest.raises(PermissionDeniedError, match="spent"):
        identity.enrolment.enrol(text, "dev-3", b"3" * 32)
    late = token(identity)
    clock.now += 7 * DAY_MS
    with pytest.raises(PermissionDeniedError, match="over"):
        identity.enrolment.enrol(late, "dev-4", b"4" * 32)
    revoked = token(identity)
    identity.registry.revoke_token(identity.registry.tokens()[-1].token_id, clock.now)
    with pytest.raises(PermissionDeniedError, match="revoked"):
        identity.enrolment.enrol(revoked, "dev-5", b"5" * 32)
    with pytest.raises(UnauthenticatedError, match="not known"):
        identity.enrolment.enrol("rxt_guessed", "dev-6", b"6" * 32)
    assert [held.installation for held in identity.registry.installations("", 9)] == ["dev-1", "dev-2"]


def test_nobody_takes_another_ones_name(identity: Identity, clock: Hand) -> None:
    stolen, _ = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    with pytest.raises(PermissionDeniedError, match="another secret"):
        identity.enrolment.enrol(token(identity, uses=9), "dev-1", OTHER)
    with pytest.raises(PermissionDeniedError, match="another installation"):
        identity.enrolment.enrol(token(identity, installation="dev-2"), "dev-1", OTHER)
    clock.now += 1
    fresh, _ = identity.enrolment.enrol(token(identity, installation="dev-1"), "dev-1", OTHER)
    assert admitted(identity, fresh).installation == "dev-1"
    with pytest.raises(PermissionDeniedError):
        admitted(identity, stolen)
    with pytest.raises(UnauthenticatedError):
        identity.enrolment.renew("dev-1", SECRET)


def test_a_revoked_device_comes_back_with_a_token_of_its_own_only(identity: Identity, clock: Hand) -> None:
    before, _ = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    clock.now += 1
    identity.registry.revoke_installation("dev-1", clock.now)
    for call in (
        lambda: admitted(identity, before),
        lambda: identity.enrolment.renew("dev-1", SECRET),
        lambda: identity.enrolment.enrol(token(identity, uses=9), "dev-1", SECRET),
    ):
        with pytest.raises(PermissionDeniedError, match="revoked"):
            call()
    clock.now += 1
    after, _ = identity.enrolment.enrol(token(identity, installation="dev-1"), "dev-1", SECRET)
    assert admitted(identity, after).installation == "dev-1"
    with pytest.raises(PermissionDeniedError):
        admitted(identity, before)


def test_a_stranger_learns_nothing_about_which_names_there_are(identity: Identity) -> None:
    identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    said = []
    for name, secret in (("dev-1", OTHER), ("nobody", OTHER)):
        with pytest.raises(UnauthenticatedError) as refused:
            identity.enrolment.renew(name, secret)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_secret_renews_after_four_hundred_days(identity: Identity, clock: Hand) -> None:
    old, expiry_time = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    assert expiry_time == clock.now + LIFE_MS
    clock.now = expiry_time - 1
    assert admitted(identity, old).installation == "dev-1"
    clock.now += 1
    with pytest.raises(UnauthenticatedError, match="over"):
        admitted(identity, old)
    clock.now += 400 * DAY_MS
    fresh, _ = identity.enrolment.renew("dev-1", SECRET)
    assert admitted(identity, fresh).installation == "dev-1"


def test_a_new_signing_key_lets_the_old_one_run_out_or_ends_it_at_once(identity: Identity, clock: Hand) -> None:
    old, _ = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    identity.ring.turn()
    fresh, _ = identity.enrolment.renew("dev-1", SECRET)
    assert admitted(identity, old).installation == admitted(identity, fresh).installation == "dev-1"
    identity.ring.turn(at_once=True)
    for credential in (old, fresh):
        with pytest.raises(UnauthenticatedError, match="not signed"):
            admitted(identity, credential)
    clock.now += 2 * LIFE_MS
    identity.ring.turn()
    assert len(identity.registry.ring()) == 2, "what is over is forgotten"


def test_a_credential_that_was_touched_is_none(identity: Identity) -> None:
    credential, _ = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    for place in range(4, len(credential)):
        for other in "ABab09-_":
            if credential[place] != other:
                with pytest.raises(UnauthenticatedError):
                    admitted(identity, credential[:place] + other + credential[place + 1 :])


@pytest.mark.parametrize(
    "shown", ["", "rxc_", "rxc_=", "rxc_" + "A" * 600, "rxc_\N{SNOWMAN}", "rxk_", "basic x", "rxc_" + "_" * 80]
)
def test_what_is_no_credential_is_refused_in_order(identity: Identity, shown: str) -> None:
    with pytest.raises(UnauthenticatedError):
        admitted(identity, shown)
    for metadata in ((), (("authorization", b"\xff"),), (("authorization", "Bearer a"), ("authorization", "Bearer b"))):
        with pytest.raises(UnauthenticatedError):
            identity.gate.admit(PUSH, metadata)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=300).map(lambda raw: "rxc_" + base64.urlsafe_b64encode(raw).decode())))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_believed_and_none_breaks_the_gate(identity: Identity, shown: str) -> None:
    with pytest.raises(UnauthenticatedError):
        admitted(identity, shown)


@pytest.mark.parametrize(("name", "secret"), [("", SECRET), ("a b", SECRET), ("x" * 65, SECRET), ("dev", b""), ("dev", b"short")])
def test_what_is_no_name_or_no_secret_is_refused(identity: Identity, name: str, secret: bytes) -> None:
    with pytest.raises(InvalidEventError):
        identity.enrolment.enrol(token(identity), name, secret)


def test_a_token_has_bounds(identity: Identity) -> None:
    for uses, life_ms in ((-1, 0), (10_000_000, 0), (1, -5), (1, 2**62)):
        with pytest.raises(DefinitionError):
            identity.enrolment.create_token("", uses, life_ms, "")
    with pytest.raises(DefinitionError):
        identity.enrolment.create_token("x" * 201, 1, 0, "")


def test_the_first_admin_key_is_written_once_for_its_owner(tmp_path: Path, clock: Hand) -> None:
    plain = open_identity(tmp_path, clock, insecure=True)
    assert plain.admin_key_file is None and not (tmp_path / "admin-key").exists()
    plain.close()
    first = open_identity(tmp_path, clock, insecure=False)
    assert first.admin_key_file is not None
    assert first.admin_key_file.stat().st_mode & 0o077 == 0
    text = first.admin_key_file.read_text().strip()
    assert first.gate.admit("/reflexarc.v1.AdminService/SetPaused", (("authorization", f"Bearer {text}"),)).role == "admin"
    first.close()
    second = open_identity(tmp_path, clock, insecure=False)
    assert second.admin_key_file is None
    assert text.encode() not in (tmp_path / "identity.db").read_bytes()
    second.close()
    third = open_identity(tmp_path, clock, insecure=False, new_admin_key=True)
    assert third.admin_key_file is not None and third.admin_key_file.read_text().strip() != text
    for key in third.registry.all_keys():
        third.registry.revoke_key(key.key_id, clock.now)
    third.close()
    fourth = open_identity(tmp_path, clock, insecure=False)
    assert fourth.admin_key_file is not None, "a server that nobody could steer"
    fourth.close()


def test_a_guard_hears_of_every_change(identity: Identity, clock: Hand) -> None:
    assert isinstance(identity.gate, Guard)
    credential, _ = identity.enrolment.enrol(token(identity), "dev-1", SECRET)
    caller = admitted(identity, credential)
    assert identity.gate.holds(caller)
    identity.registry.revoke_installation("dev-1", clock.now + 1)
    assert not identity.gate.holds(caller)
