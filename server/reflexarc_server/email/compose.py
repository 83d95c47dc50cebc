"""A message as it goes over SMTP: headers and the two bodies.

Owns its headers: the id that answers are matched by, the addresses, and the two that let a mailbox unsubscribe with one press
(RFC 8058). Must never let a value become a header of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_server.email.prepare import Prepared
from reflexarc_server.email.token import REPLY, Mark, Signer

TITLE_LENGTH_MAX: Final = 200
_LINE_MAX: Final = 998
# A signed address must not be folded: what is folded may come back with a space in it.
_POLICY: Final = SMTP.clone(max_line_length=_LINE_MAX)
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FIELD: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_KEPT: Final = "unsubscribe_url"


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom to whom. sender: `Shop <news@shop.example>`. reply_to: an address that takes `+TOKEN`, empty for none.

    domain: of the Message-ID. time: ms.
    """

    sender: str
    to: str
    title: str
    reply_to: str
    domain: str
    time: int


def composed(prepared: Prepared, envelope: Envelope, signer: Signer, mark: Mark) -> EmailMessage:
    """The message. mark: message id and subject. Raises InvalidEventError for an address or a title that could not be one."""
    if not _MAILBOX.fullmatch(envelope.to):
        raise InvalidEventError("an address that is none", hint="one mailbox in ASCII letters: ann@example.org")
    if _CONTROL.search(envelope.title) or len(envelope.title) > TITLE_LENGTH_MAX:
        raise InvalidEventError("a title with a line end, or too long", hint=f"one line of at most {TITLE_LENGTH_MAX} characters")
    message = EmailMessage(policy=_POLICY)
    message["From"] = envelope.sender
    message["To"] = envelope.to
    message["Subject"] = envelope.title
    message["Date"] = format_datetime(datetime.fromtimestamp(envelope.time // 1_000, UTC))
    message["Message-ID"] = f"<{signer.sign(REPLY, Mark(mark.message_id, mark.subject))}@{envelope.domain}>"
    if envelope.reply_to:
        message["Reply-To"] = tagged(envelope.reply_to, signer.sign(REPLY, Mark(mark.message_id)))
    message["List-Unsubscribe"] = f"<{prepared.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    if prepared.text:
        message.set_content(prepared.text, cte="quoted-printable")
        if prepared.html:
            message.add_alternative(prepared.html, subtype="html", cte="quoted-printable")
    else:
        message.set_content(prepared.html, subtype="html", cte="quoted-printable")
    return message


def tagged(address: str, token: str) -> str:
    """`reply@shop.example` -> `reply+TOKEN@shop.example`; a name before the address stays."""
    local, _, domain = address.rpartition("@")
    return f"{local}+{token}@{domain}"


class Templates:
    """The mails in a folder: NAME.subject, and NAME.html or NAME.txt or both, with `{{ field }}` in them.

    Raises DefinitionError when the folder is not there or cannot be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self._texts: dict[str, str] = {}
        if folder is not None and not folder.is_dir():
            raise DefinitionError(
                f"email: templates: there is no folder {folder}",
                hint="make it and put NAME.subject and NAME.html or NAME.txt there, or leave the setting out",
            )
        try:
            for path in sorted(folder.iterdir()) if folder is not None else ():
                if path.suffix in (".html", ".txt", ".subject"):
                    self._texts[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise DefinitionError(
                f"email: templates: {folder} cannot be read",
                hint="a folder of UTF-8 files, NAME.subject, NAME.html, NAME.txt; without templates, leave the setting out",
            ) from None

    def filled(self, name: str, fields: Mapping[str, Any]) -> tuple[str, str, str]:
        """(title, html, text) of a template. Raises InvalidEventError when it is not there, or a field has no value."""
        if f"{name}.subject" not in self._texts:
            raise InvalidEventError(f"there is no mail template {name!r}"[:80], hint="write NAME.subject and NAME.html")
        title = _filled(self._texts[f"{name}.subject"].strip(), fields, is_html=False)
        html = _filled(self._texts.get(f"{name}.html", ""), fields, is_html=True)
        return title, html, _filled(self._texts.get(f"{name}.txt", ""), fields, is_html=False)


def _filled(template: str, fields: Mapping[str, Any], *, is_html: bool) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] == _KEPT:
            return found[0]
        held = fields.get(found[1])
        if not isinstance(held, (str, int, float)):
            raise InvalidEventError(f"a mail template wants {found[1]}", hint="give it in the action's payload")
        return escape(str(held)) if is_html else str(held)

    return _FIELD.sub(value, template)
