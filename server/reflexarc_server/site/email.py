"""The site's `email` section: how mail is marked, sent and followed.

    email:
      base_url: https://go.shop.example      # where /o, /c and /u of this server are reached from outside
      signing_keys: [env:MAIL_KEY, file:before.key]   # the first signs, all verify; 32 characters or more
      from: Shop <news@shop.example>
      reply_to: reply@shop.example           # answers come to reply+TOKEN@shop.example
      smtp: {host: smtp.shop.example, port: 587, security: starttls, user: shop, password: env:SMTP_PASSWORD}

Everything else has a default. Without the section there is no mail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_core.errors import InvalidEventError
from reflexarc_server.email.address import check_target
from reflexarc_server.email.token import KEY_LENGTH_MIN, KEYS_MAX, Signer
from reflexarc_server.site.secret import Secret, read_secret, read_secrets

SECURITIES: Final = ("starttls", "tls", "plain")
_PORTS: Final = {"starttls": 587, "tls": 465, "plain": 25}
_MAILBOX: Final = re.compile(r"(?:[^<>\r\n\"@]{0,100} )?<?([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253})>?")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_REPLY_LOCAL_MAX: Final = 8
"""Characters before the `+`: with a token behind it, a local part has at most 64."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """Where mail is handed over. name: of the channel. security: starttls, tls from the start, or plain (loopback only).

    user: empty for no login. ca_file: PEM of the only authorities trusted, empty for the system's. timeout_s: for each answer.
    """

    host: str
    port: int
    security: str = "starttls"
    user: str = ""
    password: Secret | None = None
    ca_file: str = ""
    name: str = "email"
    timeout_s: float = 20.0


@dataclass(frozen=True, slots=True)
class ClickId:
    """A parameter that a followed link brings to our own pages, so that a visit can be joined to the mail.

    parameter: its name. hosts: whose links get it; `*.shop.example` for every host below. within_ms: how long it is believed.
    identify: whether the browser that brings it becomes the person the mail went to.
    """

    parameter: str
    hosts: tuple[str, ...]
    within_ms: int = 30 * 60_000
    identify: bool = False

    def concerns(self, host: str) -> bool:
        """Whether links to this host get it."""
        return any(host == known or (known.startswith("*.") and host.endswith(known[1:])) for known in self.hosts)


@dataclass(frozen=True, slots=True)
class Email:
    """The section. base_url: without a slash at its end; empty when there is no mail. links_expire_ms: 0 for never.

    utm: merged into links when a mail is sent by the channel, and where a caller asks for it. purpose: the consent that
    unsubscribing takes back. prompt_ms: an open or click so soon after sending is hardly a person's. gateway_score: from here on
    a request counts as a security gateway's.
    """

    base_url: str = ""
    signing_keys: tuple[Secret, ...] = ()
    sender: str = ""
    reply_to: str = ""
    message_domain: str = ""
    purpose: str = "email"
    links_expire_ms: int = 0
    utm: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    prompt_ms: int = 5_000
    gateway_score: float = 0.8
    templates: str = ""
    click_id: ClickId | None = None
    smtp: Smtp | None = None

    @property
    def is_on(self) -> bool:
        """Whether the site has mail at all."""
        return bool(self.base_url)

    def signer(self) -> Signer:
        """Makes and reads its tokens. Raises DefinitionError when there is no mail."""
        return Signer([key.bytes for key in self.signing_keys])


def read(node: Node, mistakes: Mistakes) -> Email:
    """The section. What is wrong is noted."""
    reading = Reading(node, "email", mistakes)
    base_url = _base_url(reading, mistakes)
    sender = _mailbox(reading, "from", mistakes)
    reply_to = _mailbox(reading, "reply_to", mistakes)
    if reply_to and len(address_in(reply_to).partition("@")[0]) > _REPLY_LOCAL_MAX:
        hint = f"at most {_REPLY_LOCAL_MAX} characters before the @: a token follows them"
        mistakes.add(reading.node_of("reply_to") or node, "email: reply_to is too long", hint)
    domain = reading.text("message_domain", address_in(sender).rpartition("@")[2] or "localhost").lower()
    if not _HOST.fullmatch(domain):
        mistakes.add(reading.node_of("message_domain") or node, "email: message_domain is no domain", "write shop.example")
    found = Email(
        base_url=base_url,
        signing_keys=_keys(reading, mistakes),
        sender=sender,
        reply_to=reply_to,
        message_domain=domain,
        purpose=reading.text("purpose", "email"),
        links_expire_ms=reading.duration_ms("links_expire"),
        utm=MappingProxyType(_utm(reading, mistakes)),
        prompt_ms=reading.duration_ms("prompt", 5_000),
        gateway_score=reading.number("gateway_score", 0.8, low=0.1, high=1.0),
        templates=reading.text("templates"),
        click_id=_click_id(reading, mistakes),
        smtp=_smtp(reading, mistakes),
    )
    if found.smtp is not None and not sender:
        mistakes.add(reading.node_of("smtp") or node, "email: smtp without from", "write from: Shop <news@shop.example>")
    reading.finish()
    return found


def address_in(mailbox: str) -> str:
    """`Shop <news@shop.example>` -> `news@shop.example`, empty when it is no mailbox."""
    found = _MAILBOX.fullmatch(mailbox)
    return found[1] if found else ""


def _base_url(reading: Reading, mistakes: Mistakes) -> str:
    base_url = reading.text("base_url", required=True).rstrip("/")
    node = reading.node_of("base_url")
    if base_url and node is not None:
        try:
            check_target(base_url)
        except InvalidEventError as error:
            mistakes.add(node, f"email: base_url: {error.message}", "write https://go.shop.example")
        if "?" in base_url or "#" in base_url:
            mistakes.add(node, "email: base_url with a query or a fragment", "write https://go.shop.example")
    return base_url


def _keys(reading: Reading, mistakes: Mistakes) -> tuple[Secret, ...]:
    node = reading.node_of("signing_keys", required=True)
    before = len(mistakes.found)
    keys = read_secrets("email: signing_keys", node, mistakes)
    if node is not None and len(mistakes.found) == before and not 0 < len(keys) <= KEYS_MAX:
        mistakes.add(node, f"email: {len(keys)} signing keys", f"1 to {KEYS_MAX}: the first signs, all verify")
    for key in keys:
        if len(key.bytes) < KEY_LENGTH_MIN and node is not None:
            mistakes.add(node, f"email: the key at {key.where} is too short", f"{KEY_LENGTH_MIN} random characters or more")
    return keys


def _mailbox(reading: Reading, name: str, mistakes: Mistakes) -> str:
    mailbox = reading.text(name)
    node = reading.node_of(name)
    if mailbox and node is not None and not address_in(mailbox):
        mistakes.add(node, f"email: {name} is no mailbox", "write Shop <news@shop.example>, in ASCII letters")
    return mailbox


def _utm(reading: Reading, mistakes: Mistakes) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, node in reading.entries("utm"):
        if not isinstance(node.value, str) or not _NAME.fullmatch(name):
            mistakes.add(node, f"email: utm: {name} is no parameter with a text", "write utm_source: mail")
        else:
            found[name] = node.value
    return found


def _click_id(outer: Reading, mistakes: Mistakes) -> ClickId | None:
    node = outer.node_of("click_id")
    if node is None:
        return None
    reading = Reading(node, "email: click_id", mistakes)
    parameter = reading.text("parameter", "rx_click")
    if not _NAME.fullmatch(parameter):
        mistakes.add(node, "email: click_id: parameter is no name", "letters, digits, _")
    hosts = tuple(host.lower() for host in reading.names("hosts", required=True))
    for host in hosts:
        if not _HOST.fullmatch(host):
            mistakes.add(node, "email: click_id: hosts has one that is none", "write shop.example or *.shop.example")
    found = ClickId(parameter, hosts, reading.duration_ms("within", 30 * 60_000), reading.flag("identify"))
    reading.finish()
    return found


def _smtp(outer: Reading, mistakes: Mistakes) -> Smtp | None:
    node = outer.node_of("smtp")
    if node is None:
        return None
    reading = Reading(node, "email: smtp", mistakes)
    security = reading.text("security", "starttls", one_of=SECURITIES)
    host = reading.text("host", required=True)
    password_node = reading.node_of("password")
    password = read_secret("email: smtp: password", password_node, mistakes) if password_node is not None else None
    user = reading.text("user")
    if bool(user) != (password_node is not None):
        mistakes.add(node, "email: smtp: user and password go together", "write both, or none")
    if security == "plain" and host not in ("127.0.0.1", "::1", "localhost"):
        mistakes.add(node, "email: smtp: plain to another machine", "write security: starttls, or tls")
    found = Smtp(
        host,
        int(reading.number("port", _PORTS[security], low=1, high=65_535)),
        security,
        user,
        password,
        reading.text("ca_file"),
        reading.text("channel", "email"),
        reading.duration_ms("timeout", 20_000) / 1_000,
    )
    reading.finish()
    return found


__all__ = ["ClickId", "Email", "Smtp", "address_in", "read"]
