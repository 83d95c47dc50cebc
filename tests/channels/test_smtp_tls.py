"""Mail over TLS with a login, against a real SMTP server whose certificate a local authority vouches for."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from reflexarc_server.channels.channel import Unreachable
from reflexarc_server.channels.smtp import SmtpChannel
from reflexarc_server.site import read_site
from reflexarc_server.site.email import Smtp
from tests.channels.test_smtp import NOW, Postbox, _mail
from tests.email.kit import KEY, SITE, Served
from tests.identity.kit import Authority
from tests.server.kit import ManualClock

# It cannot see that its socket is TLS from the start.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

PASSWORD = "a password of the tests, with ü"
LOGIN = (b"shop", PASSWORD.encode())


class Logins:
    """Who logged in, and whether the connection was encrypted."""

    def __init__(self, is_tls: bool) -> None:
        self.seen: list[tuple[bytes, bytes, bool]] = []
        self._is_tls = is_tls

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, said: Any) -> AuthResult:
        assert isinstance(said, LoginPassword)
        self.seen.append((said.login, said.password, self._is_tls or session.ssl is not None))
        return AuthResult(success=(said.login, said.password) == LOGIN, handled=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@contextmanager
def listening(postbox: Postbox, authority: Authority, security: str, **issued: Any) -> Iterator[tuple[int, Logins]]:
    """(port, logins) of a server that takes mail after a login only, and a login after TLS only."""
    files = authority.issue(**issued).files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    logins = Logins(security == "tls")
    more: dict[str, Any] = {"authenticator": logins, "auth_required": True, "decode_data": False}
    if security == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    else:
        more |= {"ssl_context": context, "auth_require_tls": False}
    controller = Controller(postbox, hostname="127.0.0.1", port=0, **more)
    controller._trigger_server = lambda: socket.create_connection(controller.server.sockets[0].getsockname(), 5).close()
    controller.start()
    try:
        yield controller.server.sockets[0].getsockname()[1], logins
    finally:
        controller.stop()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("MAIL_KEY", KEY.decode())
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    (tmp_path / "site.yaml").write_text(SITE)
    started = Served(tmp_path / "server", read_site(tmp_path / "site.yaml"), ManualClock(NOW))
    yield started
    started.stop()


def channel_to(served: Served, port: int, security: str, ca_file: str, host: str = "localhost") -> SmtpChannel:
    """The channel as a site file says it."""
    path = served.folder.parent / f"site-{port}.yaml"
    smtp = f"host: {host}, port: {port}, security: {security}, user: shop, password: env:SMTP_PASSWORD, timeout: 5s"
    path.write_text(SITE + f"  smtp: {{{smtp}, ca_file: '{ca_file}'}}\n")
    site = read_site(path)
    assert isinstance(site.email.smtp, Smtp)
    return SmtpChannel(served.server.parts, site, site.email.smtp)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_over_tls_with_a_login(served: Served, authority: Authority, postbox: Postbox, security: str) -> None:
    with listening(postbox, authority, security) as (port, logins):
        channel_to(served, port, security, authority.ca_file).send(_mail())
    assert [mail["Subject"] for mail in postbox.mails] == ["Hello"]
    assert logins.seen == [(*LOGIN, True)]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("what", ["another authority", "another host", "over", "signs itself", "the system's authorities"])
def test_a_wrong_certificate_is_refused_before_the_login_is_sent(
    served: Served, authority: Authority, postbox: Postbox, tmp_path: Path, security: str, what: str
) -> None:
    from datetime import timedelta

    issued: dict[str, Any] = {"name": f"wrong-{security}"}
    ca_file = authority.ca_file
    if what == "another authority":
        ca_file = Authority(tmp_path / "other", "other").ca_file
    elif what == "another host":
        issued["hosts"] = ("mail.example",)
    elif what == "over":
        issued |= {"begins_in": timedelta(days=-9), "ends_in": timedelta(days=-1)}
    elif what == "signs itself":
        issued["signs_itself"] = True
    else:
        ca_file = ""
    with listening(postbox, authority, security, **issued) as (port, logins), pytest.raises(Unreachable) as caught:
        channel_to(served, port, security, ca_file).send(_mail())
    assert "SSLCertVerificationError" in caught.value.message and PASSWORD not in str(caught.value)
    assert (logins.seen, postbox.mails, served.events("email_bounce")) == ([], [], [])


def test_a_login_that_is_not_taken_gives_no_mail_up(
    served: Served, authority: Authority, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "an old password")
    with listening(postbox, authority, "starttls") as (port, logins):
        with pytest.raises(Unreachable, match="did not take the login"):
            channel_to(served, port, "starttls", authority.ca_file).send(_mail())
        assert logins.seen and all(encrypted for _, _, encrypted in logins.seen)
        monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
        channel_to(served, port, "starttls", authority.ca_file).send(_mail())
    assert len(postbox.mails) == 1
