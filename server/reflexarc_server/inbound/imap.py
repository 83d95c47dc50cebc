"""An IMAP folder as a mailbox (RFC 3501), by the standard library's client.

Owns the conversation: TLS checked before a password is said, one connection a round, nothing read that is larger than a mail may
be. What was taken has the keyword `$ReflexarcTaken`, what could not be read `$ReflexarcSetAside` and a flag; where a server keeps
no keywords, `\\Seen` takes their place. Must never fall back to plaintext, delete, or mark a mail as read where it need not.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from reflexarc_core.errors import TransportError
from reflexarc_server.inbound.mailbox import BATCH, too_large
from reflexarc_server.inbound.message import MAIL_BYTES_MAX
from reflexarc_server.site.mailboxes import Imap

TAKEN: Final = "$ReflexarcTaken"
SET_ASIDE: Final = "$ReflexarcSetAside"
DEADLINE_S: Final = 300.0
"""Of one step, whatever the other side does: 25 MiB at 700 kbit/s."""
_LITERAL_MAX: Final = MAIL_BYTES_MAX + 65_536
_WINDOW: Final = 50_000
"""Mails that one search looks at: a longer list of numbers is more than the client reads as one line."""
_UIDS: Final = re.compile(rb"\d{1,10}")


class ImapMailbox:
    """See Mailbox. A key is a mail's UID; it is good for a round."""

    def __init__(self, imap: Imap) -> None:
        self.name: Final = imap.name
        self._imap = imap
        self._tls = ssl.create_default_context(cafile=imap.ca_file or None)
        self._client: imaplib.IMAP4 | None = None
        self._raw: socket.socket | None = None
        self._has_keywords = True
        self._count = 0

    def waiting(self) -> list[str]:
        """See Mailbox."""
        with self._step() as client:
            found: list[str] = []
            for start in range(1, self._count + 1, _WINDOW):
                within = f"{start}:{min(start + _WINDOW - 1, self._count)}"
                not_yet = ("UNKEYWORD", TAKEN) if self._has_keywords else ("UNSEEN",)
                answer = _ok(client.uid("SEARCH", within, "UNDELETED", *not_yet), "a search")
                found += [uid.decode() for uid in _UIDS.findall(answer[0] or b"")]
                if len(found) >= BATCH:
                    break
            return sorted(found, key=int)[:BATCH]

    def read(self, key: str) -> bytes | None:
        """See Mailbox."""
        with self._step() as client:
            answer = _ok(client.uid("FETCH", key, f"(BODY.PEEK[]<0.{MAIL_BYTES_MAX + 1}>)"), "a mail")
        for item in answer:
            if isinstance(item, tuple) and b"BODY[" in item[0].upper():
                if len(item[1]) > MAIL_BYTES_MAX:
                    raise too_large(len(item[1]))
                return bytes(item[1])
        return b"" if any(isinstance(item, bytes) and b"BODY[" in item.upper() for item in answer) else None

    def taken(self, key: str) -> None:
        """See Mailbox."""
        self._mark(key, TAKEN if self._has_keywords else "\\Seen")

    def set_aside(self, key: str) -> None:
        """See Mailbox."""
        self._mark(key, f"{TAKEN} {SET_ASIDE} \\Flagged" if self._has_keywords else "\\Seen \\Flagged")

    def close(self) -> None:
        """See Mailbox."""
        client, self._client = self._client, None
        if client is not None:
            for end in (client.logout, client.shutdown):  # who cannot say goodbye goes without
                try:
                    with _Deadline(self.cut):
                        end()
                except (imaplib.IMAP4.error, OSError, ValueError, LookupError, TypeError, AttributeError):
                    continue
        self._raw = None

    def cut(self) -> None:
        """See Mailbox."""
        raw = self._raw
        if raw is not None:
            try:
                # Not TLS's own, which takes the encryption away before it ends the connection.
                socket.socket.shutdown(raw, socket.SHUT_RDWR)
            except OSError:
                return  # it is over already

    def _mark(self, key: str, marks: str) -> None:
        with self._step() as client:
            _ok(client.uid("STORE", key, "+FLAGS.SILENT", f"({marks})"), "a mark")

    @contextmanager
    def _step(self) -> Iterator[imaplib.IMAP4]:
        """The connection, for one question. What goes wrong in it is a TransportError that repeats nothing of an answer."""
        try:
            with _Deadline(self.cut):
                yield self._connected()
        except TransportError:
            raise
        except imaplib.IMAP4.readonly:
            raise TransportError("the folder is read-only", hint="let this user set flags in it") from None
        except ssl.SSLCertVerificationError as error:
            raise TransportError(f"the certificate is not to be trusted ({error.verify_message})") from None
        except (imaplib.IMAP4.error, OSError) as error:
            raise TransportError(f"the mail server could not be reached: {type(error).__name__}") from None
        except (ValueError, LookupError, TypeError, AttributeError) as error:  # the client's own, on answers that are none
            raise TransportError(f"the mail server does not speak IMAP: {type(error).__name__}") from None

    def _connected(self) -> imaplib.IMAP4:
        if self._client is not None:
            return self._client
        imap = self._imap
        client: _Client | _TlsClient
        if imap.security == "tls":
            client = _TlsClient(imap.host, imap.port, ssl_context=self._tls, timeout=imap.timeout_s)
        else:
            client = _Client(imap.host, imap.port, timeout=imap.timeout_s)
        self._client, self._raw = client, client.sock
        try:
            if imap.security == "starttls":
                if "STARTTLS" not in client.capabilities:
                    raise TransportError("the mail server has no STARTTLS", hint="see replies: sources: security")
                client.starttls(ssl_context=self._tls)
                self._raw = client.sock
            self._log_in(client)
            self._open_folder(client)
        except BaseException:
            self.close()
            raise
        return client

    def _log_in(self, client: imaplib.IMAP4) -> None:
        user, password = self._imap.user, self._imap.password.text
        try:
            if "AUTH=PLAIN" in client.capabilities:  # any letters, where LOGIN has ASCII only
                client.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
            elif "LOGINDISABLED" in client.capabilities:
                raise TransportError("the mail server takes no password here", hint="see its settings")
            else:
                client.login(user, password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error:
            raise TransportError("the mail server did not take the login", hint="look at user and password") from None

    def _open_folder(self, client: imaplib.IMAP4) -> None:
        quoted = '"' + self._imap.folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
        status, answer = client.select(quoted)
        if status != "OK":
            raise TransportError(f"there is no folder {self._imap.folder}", hint="as the mail server spells it")
        self._count = int(answer[0] or b"0")
        _, flags = client.response("PERMANENTFLAGS")
        kept = (flags[0] or b"").lower().split(b"(")[-1].rstrip(b")").split() if flags and flags[0] is not None else [b"\\*"]
        self._has_keywords = b"\\*" in kept or TAKEN.lower().encode() in kept
        if not self._has_keywords and b"\\seen" not in kept:
            raise TransportError("the mail server keeps no flags here", hint="let this user set flags in it")


class _Bounded:
    """What a server says is as long as it says; what is longer than any mail may be is not waited for."""

    def read(self, size: int) -> bytes:
        if size > _LITERAL_MAX:
            raise imaplib.IMAP4.abort(f"a literal of {size} bytes")
        return super().read(size)  # type: ignore[misc, no-any-return]


class _Client(_Bounded, imaplib.IMAP4):
    pass


class _TlsClient(_Bounded, imaplib.IMAP4_SSL):
    pass


class _Deadline:
    """Cuts what takes longer than DEADLINE_S."""

    def __init__(self, cut: Any) -> None:
        self._timer = threading.Timer(DEADLINE_S, cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()


def _ok(answer: tuple[str, list[Any]], what: str) -> list[Any]:
    status, lines = answer
    if status != "OK":
        raise TransportError(f"the mail server refused {what}", hint="look at its log")
    return lines


__all__ = ["SET_ASIDE", "TAKEN", "ImapMailbox"]
