"""`replies: sources`: mailboxes that the server looks through by itself, beside the mail that is handed in.

    sources:
      - {name: replies, maildir: /var/mail/replies, every: 5s}
      - {name: office, imap: imap.shop.example, user: reply, password: env:IMAP_PASSWORD, folder: INBOX, every: 1m}

A maildir's path starts at the site file's folder. IMAP is TLS unless it says otherwise, and plaintext is for this machine only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import Secret, read_secret

SOURCES_MAX: Final = 20
EVERY_MS_MIN: Final = 1_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_FOLDER: Final = re.compile(r"[ -~]{1,255}")
_SECURITIES: Final = ("tls", "starttls", "plain")
_PORTS: Final = {"tls": 993, "starttls": 143, "plain": 143}
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Maildir:
    """A maildir. path: the folder that holds new, cur and tmp. every_ms: between two looks."""

    name: str
    path: Path
    every_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Imap:
    """A folder of an IMAP server. security: tls from the start, starttls, or plain (loopback only).

    ca_file: PEM of the only authorities trusted, empty for the system's. timeout_s: for each answer.
    """

    name: str
    host: str
    port: int
    user: str
    password: Secret
    security: str = "tls"
    folder: str = "INBOX"
    ca_file: str = ""
    every_ms: int = 60_000
    timeout_s: float = 20.0


Source = Maildir | Imap


def read_sources(node: Node | None, mistakes: Mistakes) -> tuple[Source, ...]:
    """The list; what is wrong is noted."""
    if node is None:
        return ()
    if not isinstance(node.value, list) or len(node.value) > SOURCES_MAX:
        mistakes.add(node, "replies: sources is no list", f"write - {{name: ..., maildir: ...}} lines, at most {SOURCES_MAX}")
        return ()
    found: list[Source] = []
    for entry in node.value:
        source = _source(entry, mistakes)
        if source is None:
            continue
        if any(source.name == other.name for other in found):
            mistakes.add(entry, f"replies: sources: {source.name} is there twice", "another name")
        found.append(source)
    return tuple(found)


def _source(node: Node, mistakes: Mistakes) -> Source | None:
    reading = Reading(node, "replies: sources", mistakes)
    name = reading.text("name", required=True)
    if name and not _NAME.fullmatch(name):
        mistakes.add(reading.node_of("name") or node, "replies: sources: name is none", "lower-case letters, digits, - and _")
    path, host = reading.text("maildir"), reading.text("imap")
    if bool(path) == bool(host):
        mistakes.add(node, "replies: sources: a source is a maildir or an imap host", "write one of them")
    found: Source | None = None
    if host:
        found = _imap(reading, name, host, mistakes)
    elif path:
        found = Maildir(name, Path(node.file).parent / path, _every(reading, 5_000, mistakes))
    reading.finish()
    return found


def _imap(reading: Reading, name: str, host: str, mistakes: Mistakes) -> Imap | None:
    security = reading.text("security", "tls", one_of=_SECURITIES)
    if security == "plain" and host not in _LOOPBACK:
        mistakes.add(reading.node, "replies: sources: plain to another machine", "write security: tls, or starttls")
    folder = reading.text("folder", "INBOX")
    if not _FOLDER.fullmatch(folder):
        hint = "in ASCII letters; others as the mail server spells them (modified UTF-7)"
        mistakes.add(reading.node_of("folder") or reading.node, "replies: sources: folder is none", hint)
    password_node = reading.node_of("password", required=True)
    password = read_secret("replies: sources: password", password_node, mistakes) if password_node is not None else None
    port = int(reading.number("port", _PORTS.get(security, 993), low=1, high=65_535))
    user, ca_file = reading.text("user", required=True), reading.text("ca_file")
    every_ms, timeout_s = _every(reading, 60_000, mistakes), reading.duration_ms("timeout", 20_000) / 1_000
    if password is None:
        return None
    if any(letter in text for text in (user, password.text) for letter in "\0\r\n"):
        mistakes.add(reading.node, "replies: sources: user or password with a line end in it", "one line each")
    return Imap(name, host, port, user, password, security, folder, ca_file, every_ms, timeout_s)


def _every(reading: Reading, default: int, mistakes: Mistakes) -> int:
    found = reading.duration_ms("every", default)
    if found < EVERY_MS_MIN:
        mistakes.add(reading.node_of("every") or reading.node, "replies: sources: every is too short", "1s or more")
    return found


__all__ = ["Imap", "Maildir", "Source", "read_sources"]
