"""Mail as an action's channel: a decision's payload becomes a prepared message and is handed to a mail server.

An action's payload has `to`, and either `template` or `title` with `html` or `text` or both; further fields fill the template,
and `campaign` is what reports group by. Owns what each answer of a mail server means for the outbox. The message id follows from
the outbox's key, so a message that goes out twice is one message to its reader. Must never send to who refused the site's
purpose or has no mailbox, nor fall back to plaintext.
"""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from typing import Any, Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, Value
from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.email.compose import Envelope, Templates, composed
from reflexarc_server.email.happening import EMAIL_BOUNCE, EMAIL_SENT, SOURCE
from reflexarc_server.email.log import MailLog
from reflexarc_server.email.prepare import Message, Prepared, Preparer
from reflexarc_server.email.token import RECIPIENT, Mark, event_id_prefix, message_id_of, sent_event_id
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.email import Email, Smtp, address_in

DEADLINE_S: Final = 50.0
"""Of a whole conversation, whatever the other side does."""


class SmtpChannel:
    """One mail server. Raises DefinitionError when the templates cannot be read."""

    def __init__(self, parts: Parts, site: Site, smtp: Smtp) -> None:
        email = site.email
        self.name = smtp.name
        self._parts = parts
        self._smtp: Final = smtp
        self._email: Final[Email] = email
        self._signer = email.signer()
        self._preparer = Preparer(self._signer, email.base_url)
        self._log = MailLog(parts.store, parts.links)
        self._templates = Templates(site.folder / email.templates if email.templates else None)
        self._tls = ssl.create_default_context(cafile=smtp.ca_file or None)

    def send(self, outgoing: Outgoing) -> None:
        """See Channel. An `email_sent` is in the log when it returns, an `email_bounce` when a mail server refused the reader."""
        message_id = message_id_of(outgoing.key)
        if self._log.sent(message_id) is not None:
            return  # it went out, and the outbox did not hear of it
        subject = outgoing.subject or str(outgoing.body.get("subject", ""))
        payload = outgoing.body.get("payload")
        fields = payload if isinstance(payload, Mapping) else {}
        now = self._parts.clock.now_ms()
        reader = self._log.reader(subject, self._email.purpose)
        if reader.why_not:
            raise Refused(reader.why_not, hint="an open, a click, an answer or a new consent of theirs lifts a bounce")
        about = Message(
            message_id, subject, str(fields.get("campaign", outgoing.body.get("action", ""))), now, self._email.utm,
            now + self._email.links_expire_ms if self._email.links_expire_ms else 0, self._email.purpose,
            reader.offset_minutes,
        )  # fmt: skip
        try:
            to, message, prepared = self._composed(fields, about)
        except InvalidEventError as error:
            raise Refused(error.message, hint=error.hint) from None
        self._hand_over(to, message, about)
        properties: dict[str, Value] = {
            "message_id": message_id, "campaign": about.campaign, "link_count": len(prepared.links),
            RECIPIENT: self._signer.recipient_digest(to),
        }  # fmt: skip
        self._keep(Event(sent_event_id(message_id), EMAIL_SENT, subject, now, properties))

    def _composed(self, fields: Mapping[str, Any], about: Message) -> tuple[str, EmailMessage, Prepared]:
        title, html, text = (_text(fields, name) for name in ("title", "html", "text"))
        template = _text(fields, "template")
        if template:
            title, html, text = self._templates.filled(template, fields)
        if not html and not text:
            raise InvalidEventError("a mail without a body", hint="give template, html or text in the action's payload")
        prepared = self._preparer.prepare(html, text, about)
        to = _text(fields, "to") or about.subject.partition(":")[2]
        envelope = Envelope(self._email.sender, to, title, self._email.reply_to, self._email.message_domain, about.made_time)
        return to, composed(prepared, envelope, self._signer, Mark(about.message_id, about.subject)), prepared

    def _hand_over(self, to: str, message: EmailMessage, about: Message) -> None:
        try:
            with _Conversation(self._smtp, self._tls) as smtp:
                smtp.send_message(message, address_in(self._email.sender), [to])
        except smtplib.SMTPRecipientsRefused as error:
            code, _ = next(iter(error.recipients.values()))
            self._judge(code, about, is_reader=True)
        except smtplib.SMTPDataError as error:
            self._judge(error.smtp_code, about, is_reader=True)
        except smtplib.SMTPSenderRefused as error:
            self._judge(error.smtp_code, about, is_reader=False)
        except smtplib.SMTPAuthenticationError as error:
            # Whoever changes the password wants the mails that wait, so none of them is given up.
            raise Unreachable(f"{self.name}: the mail server did not take the login ({error.smtp_code})") from None
        except smtplib.SMTPNotSupportedError:
            raise Unreachable(f"{self.name}: the mail server has no STARTTLS or no login", hint="see smtp: security") from None
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable(f"{self.name} could not be reached: {type(error).__name__}") from None

    def _judge(self, code: int, about: Message, *, is_reader: bool) -> None:
        """4xx: later. 5xx: never, and of the reader's mailbox a bounce."""
        if code == 421:
            raise Unreachable(f"{self.name}: the mail server is closing (421)")
        if code < 500:
            raise Unreachable(f"{self.name}: not now ({code})", only_this=True)
        if is_reader:
            properties: dict[str, Value] = {
                "message_id": about.message_id, "kind": "hard", "status": str(code), "campaign": about.campaign, "believed": True,
            }  # fmt: skip
            event_id = event_id_prefix(about.message_id) + "bounce"
            self._keep(Event(event_id, EMAIL_BOUNCE, about.subject, about.made_time, properties))
        raise Refused(f"{self.name}: refused by the mail server ({code})")

    def _keep(self, event: Event) -> None:
        self._parts.ingest.accept(SOURCE, [event])


class _Conversation:
    """A connection that is ready to take a message, for DEADLINE_S at most."""

    def __init__(self, smtp: Smtp, tls: ssl.SSLContext) -> None:
        self._smtp = smtp
        self._tls = tls
        self._connection: smtplib.SMTP | None = None
        self._watch = threading.Timer(DEADLINE_S, self._cut)
        self._watch.daemon = True

    def __enter__(self) -> smtplib.SMTP:
        self._watch.start()
        try:
            smtp = self._smtp
            if smtp.security == "tls":
                connection: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=smtp.timeout_s, context=self._tls)
            else:
                connection = smtplib.SMTP(smtp.host, smtp.port, timeout=smtp.timeout_s)
            self._connection = connection
            if smtp.security == "starttls":
                connection.starttls(context=self._tls)
            if smtp.user and smtp.password is not None:
                _log_in(connection, smtp.user, smtp.password.text)
            return connection
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        if self._connection is not None:
            try:
                self._connection.quit()
            except (smtplib.SMTPException, OSError):
                self._connection.close()

    def _cut(self) -> None:
        sock = self._connection.sock if self._connection is not None else None
        if sock is not None:
            try:
                # Not TLS's own, which takes the encryption away before it ends the connection.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                return  # it is over already


def _log_in(connection: smtplib.SMTP, user: str, password: str) -> None:
    """The library's own, which has ASCII only; for other letters PLAIN, whose texts are UTF-8 (RFC 4616)."""
    if (user + password).isascii():
        connection.login(user, password)
        return
    connection.ehlo_or_helo_if_needed()
    if "PLAIN" not in connection.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError("no PLAIN")
    code, answer = connection.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
    if code not in (235, 503):
        raise smtplib.SMTPAuthenticationError(code, answer)


def mailers(parts: Parts, site: Site) -> Iterable[Channel]:
    """The channel of a site's `email: smtp`."""
    smtp = site.email.smtp
    return [] if smtp is None else [SmtpChannel(parts, site, smtp)]


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidEventError(f"a mail whose {name} is no text", hint="see the action's payload")
    return value


__all__ = ["SmtpChannel", "mailers"]
