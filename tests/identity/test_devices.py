"""Devices and a server that asks who they are: enrolled, renewed, revoked, rotated, and never a record lost."""

from __future__ import annotations

import logging
import socket
import sqlite3
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from reflexarc import Client
from reflexarc.credential import bearer, device_secret
from reflexarc.tls import LOOPBACK
from reflexarc_core.errors import PermissionDeniedError, TransportError, UnauthenticatedError
from reflexarc_proto.v1 import event_service_pb2
from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub
from reflexarc_server.certificates import TlsFiles
from tests.identity.kit import Authority, Secured
from tests.identity.test_enrolment import DAY_MS, Hand


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def secured(tmp_path: Path, clock: Hand) -> Iterator[Secured]:
    running = Secured(tmp_path, clock)
    yield running
    running.stop()


def device(secured: Secured, token: str = "", name: str = "device", **more: object) -> Client:
    return Client(secured.folder / name, server=secured.address, config=secured.config(token), **more)  # type: ignore[arg-type]


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return False


def pages(secured: Secured) -> list[tuple[str, int]]:
    """(installation, how many page views) as the server stored them."""
    with sqlite3.connect(secured.data / "server.db") as database:
        found = database.execute(
            "SELECT installation, count(*) FROM log WHERE event_type = 'page_view' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    database.close()
    return found


def test_a_device_enrols_once_and_needs_no_token_after_that(secured: Secured) -> None:
    token, _ = secured.operator.create_token("shop 4")
    for given in (token, "", token):
        with device(secured, given) as client:
            client.page("/")
            assert client.flush(20).delivered
            name = client.log.installation
    assert pages(secured) == [(name, 3)]
    assert [held["use_count"] for held in secured.operator.tokens()] == [1]
    assert [held["installation"] for held in secured.operator.installations()] == [name]


def test_a_device_with_neither_secret_nor_token_says_which_field_to_set(secured: Secured) -> None:
    heard: list[Exception] = []
    with device(secured, on_error=heard.append) as client:
        client.page("/")
        assert not client.flush(1).delivered
        assert "Config.enrolment_token" in client.stats()["uplink"]["last_error"]
        assert until(lambda: bool(heard))
        assert [type(error) for error in heard] == [UnauthenticatedError], "told once, not at every attempt"
        assert client.log.acked_seq == 0
    with device(secured, secured.operator.create_token()[0]) as client:
        assert client.flush(20).delivered
    assert [count for _, count in pages(secured)] == [1]


def test_four_hundred_days_later_a_device_comes_back_by_itself(secured: Secured, clock: Hand) -> None:
    with device(secured, secured.operator.create_token()[0]) as client:
        client.page("/")
        assert client.flush(20).delivered
        clock.now += 400 * DAY_MS
        client.page("/later")
        assert client.flush(20).delivered
    with device(secured) as client:
        clock.now += 400 * DAY_MS
        client.page("/much later")
        assert client.flush(20).delivered
    assert [count for _, count in pages(secured)] == [3]


def test_a_credential_is_renewed_before_it_is_over(tmp_path: Path) -> None:
    short = Secured(tmp_path, credential_life_ms=600)
    shown: set[object] = set()

    def renewed() -> bool:
        uplink = client._at.uplink
        assert uplink is not None and uplink._transport._credential is not None
        shown.add(uplink._transport._credential._text)
        return len(shown) > 4

    try:
        with device(short, short.operator.create_token()[0]) as client:
            assert until(renewed)
            client.page("/")
            assert client.flush(20).delivered
            assert client.stats()["uplink"]["failures"] == 0
    finally:
        short.stop()


def test_a_revoked_device_keeps_everything_and_delivers_it_when_it_is_let_in_again(secured: Secured, clock: Hand) -> None:
    heard: list[Exception] = []
    with device(secured, secured.operator.create_token()[0], on_error=heard.append) as client:
        client.page("/")
        assert client.flush(20).delivered
        name = client.log.installation
        clock.now += 1
        secured.operator.revoke_installation(name)
        for number in range(50):
            client.page(f"/{number}")
        assert not client.flush(1).delivered
        assert "revoked" in client.stats()["uplink"]["last_error"]
        assert until(lambda: bool(heard)) and isinstance(heard[0], PermissionDeniedError)
        assert len(heard) == 1, "told once, not at every attempt"
        waiting = client.log.last_seq - client.log.acked_seq
        assert waiting >= 50
    with device(secured, secured.operator.create_token()[0]) as client:
        assert not client.flush(1).delivered
        assert "revoked" in client.stats()["uplink"]["last_error"], "a token for anybody does not let it in"
    clock.now += 1
    token, _ = secured.operator.create_token(installation=name)
    with device(secured, token) as client:
        assert client.flush(20).delivered
    assert pages(secured) == [(name, 51)]


def test_the_open_stream_of_a_revoked_device_ends_at_once(secured: Secured, clock: Hand) -> None:
    token, _ = secured.operator.create_token()
    credential, _ = secured.server.identity.enrolment.enrol(token, "dev-1", b"s" * 32)
    with open(secured.ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(secured.address, credentials) as channel:
        # The deadline is before the next heartbeat: the stream is told at once.
        stream = EventServiceStub(channel).Watch(event_service_pb2.WatchRequest(), timeout=10, metadata=bearer(credential))
        assert next(stream).heartbeat_ms > 0
        clock.now += 1
        secured.operator.revoke_installation("dev-1")
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]


def test_rotation_reaches_a_running_device(secured: Secured) -> None:
    with device(secured, secured.operator.create_token()[0]) as client:
        for at_once in (False, True, True):
            client.page("/")
            assert client.flush(20).delivered
            secured.operator.rotate_signing_key(at_once=at_once)
        client.page("/")
        assert client.flush(20).delivered
        assert client.stats()["uplink"]["failures"] == 0, "renewed within the call that was refused"
    assert [count for _, count in pages(secured)] == [4]


def test_a_server_that_forgot_the_device_is_enrolled_at_again(secured: Secured) -> None:
    token, _ = secured.operator.create_token(uses_max=2)
    with device(secured, token) as client:
        client.page("/")
        assert client.flush(20).delivered
        name = client.log.installation
    with sqlite3.connect(secured.data / "identity.db") as database:  # an older copy of it was put in place
        database.execute("DELETE FROM installations")
    database.close()
    with device(secured, token) as client:
        client.page("/")
        assert client.flush(20).delivered
    assert pages(secured) == [(name, 2)]


def test_who_calls_is_what_the_credential_says_and_nothing_else(secured: Secured) -> None:
    credential, _ = secured.server.identity.ring.issue("dev-1")
    key, _ = secured.operator.create_key("ingest")
    with open(secured.ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    lie = (("reflexarc-installation", "dev-2"),)
    with grpc.secure_channel(secured.address, credentials) as channel:
        stub = EventServiceStub(channel)
        stub.Push(event_service_pb2.PushRequest(incarnation="i"), timeout=10, metadata=bearer(credential) + lie)
        for shown in (lie, bearer(key) + lie):
            with pytest.raises(grpc.RpcError):
                stub.Push(event_service_pb2.PushRequest(incarnation="i"), timeout=10, metadata=shown)
    assert "dev-2" not in str(secured.operator.installations())


def test_a_revoked_key_is_refused_from_the_next_call_on(secured: Secured) -> None:
    text, kept = secured.operator.create_key("read", "dashboard")
    reader = secured.backend(text)
    assert reader.status()["events"] == 0
    with pytest.raises(PermissionDeniedError, match="role read"):
        reader.pause("x")
    secured.operator.revoke_key(kept["key_id"])
    with pytest.raises(UnauthenticatedError):
        reader.status()
    reader.close()


def test_a_renewed_certificate_is_served_without_a_restart_and_half_a_pair_is_not(secured: Secured) -> None:
    def serial() -> str:
        host, port = secured.address.rsplit(":", 1)
        return ssl.get_server_certificate((host, int(port)))

    files = secured.pair.files
    before = serial()
    cert, key = files.cert.read_bytes(), files.key.read_bytes()
    secured.authority.issue()
    new_cert = files.cert.read_bytes()
    files.key.write_bytes(key)  # the certificate is there, its key not yet
    assert serial() == before
    files.cert.write_bytes(cert)
    assert serial() == before
    renewed = secured.authority.issue()
    assert renewed.files.cert.read_bytes() != new_cert
    assert serial() != before
    assert secured.operator.status()["events"] == 0


def test_a_running_device_follows_when_the_authority_is_replaced(secured: Secured, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.pem"
    pinned.write_bytes(Path(secured.ca_file).read_bytes())
    token, _ = secured.operator.create_token()
    config = secured.config(token, ca_file=str(pinned))
    with Client(tmp_path / "device", server=secured.address, config=config) as client:
        client.page("/")
        assert client.flush(20).delivered
        secured.stop()
        secured.authority = Authority(tmp_path / "tls")  # in place of the old one
        secured.pair = secured.authority.issue()
        again = Secured(tmp_path, address=secured.address)
        try:
            client.page("/")
            assert not client.flush(1).delivered, "nothing is trusted that was not pinned"
            pinned.write_bytes(Path(again.ca_file).read_bytes())
            assert client.flush(20).delivered
        finally:
            again.stop()
    assert [count for _, count in pages(secured)] == [2]


def test_the_oldest_version_that_the_server_speaks_is_1_2(secured: Secured) -> None:
    host, port = secured.address.rsplit(":", 1)
    for version, speaks in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = ssl.create_default_context(cafile=secured.ca_file)
        context.set_alpn_protocols(["h2"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if not speaks:
                context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        with socket.create_connection((host, int(port)), 10) as plain:
            if speaks:
                context.wrap_socket(plain, server_hostname=host).close()
            else:
                with pytest.raises((ssl.SSLError, OSError)):
                    context.wrap_socket(plain, server_hostname=host)


def test_no_secret_is_ever_told(secured: Secured, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    token, _ = secured.operator.create_token()
    heard: list[str] = []
    with caplog.at_level(logging.DEBUG), device(secured, token, on_error=lambda error: heard.append(repr(error))) as client:
        client.page("/")
        assert client.flush(20).delivered
        secret = device_secret(client.log)
        secured.operator.revoke_installation(client.log.installation)
        client.page("/")
        client.flush(0.5)
        told = repr(client.stats()) + repr(secured.config(token)) + caplog.text + repr(heard) + "".join(capfd.readouterr())
    stored = b"".join(path.read_bytes() for path in secured.data.rglob("*") if path.is_file() and path.name != "admin-key")
    for kept in (secret, token.encode(), secured.admin_key.encode()):
        assert kept not in stored
        assert kept.decode("latin-1") not in told and kept.hex() not in told
    assert "Bearer" not in told and "rxc_" not in told


def test_a_start_without_a_certificate_says_how_to_get_one(tmp_path: Path) -> None:
    from reflexarc.definitions import load_catalog
    from reflexarc_server.app import start_server

    with pytest.raises(TransportError, match=r"--tls-cert .*reflexarc tls init"):
        start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None))
    nothing = TlsFiles(tmp_path / "no.pem", tmp_path / "no-key.pem")
    with pytest.raises(TransportError, match="cannot be read"):
        start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None), tls=nothing)
    for path in (nothing.cert, nothing.key):
        path.write_text("no PEM")
    with pytest.raises(TransportError, match="no certificate and its key"):
        start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None), tls=nothing)
    with pytest.raises(TransportError, match="only one"):
        start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None), tls=nothing, insecure=True)
    assert not (tmp_path / "s").exists()
    assert "0.0.0.0" not in LOOPBACK
