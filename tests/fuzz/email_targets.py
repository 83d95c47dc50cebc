"""Mail under fuzz: any HTML is prepared or refused, nothing but its links changes, and no bytes are a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NAME: Final = "email"
BASE: Final = "https://go.example"


def opened(broken: type[Exception]) -> Callable[[bytes], None]:
    """The target: a mail, and its bytes as a token of each kind."""
    from reflexarc_core.errors import InvalidEventError
    from reflexarc_server.email.html import scan
    from reflexarc_server.email.prepare import Message, Preparer
    from reflexarc_server.email.token import CLICK, CLICK_ID, OPEN, REPLY, UNSUBSCRIBE, Signer

    signer = Signer([b"a key of the fuzzer, 32 bytes long"])
    preparer = Preparer(signer, BASE)
    about = Message("m", "known:1")

    def target(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        for kind in (OPEN, CLICK, UNSUBSCRIBE, REPLY, CLICK_ID):
            try:
                signer.read(kind, text, 0)
            except InvalidEventError:
                continue
            raise broken("bytes that nobody signed are a token")
        try:
            made = preparer.prepare(text, text, about, pixel=False)
        except InvalidEventError:
            return
        if "{{" in text:
            return
        before, after = scan(text).links, scan(made.html).links
        rest = [_without(text, before), _without(made.html, after)]
        if len(before) != len(after) or rest[0] != rest[1]:
            raise broken("more than links changed")

    return target


def _without(text: str, links: tuple[object, ...]) -> str:
    for link in reversed(links):
        text = text[: link.start] + text[link.end :]  # type: ignore[attr-defined]
    return text


def seeds() -> list[bytes]:
    """Mails that mean something."""
    return [
        b'<html><body><a href="https://a.example/?x=1&amp;y=2#z">x</a></body></html>',
        b"<!--[if mso]><a href='https://a.example/'><![endif]--><script><!--<script></script><a href=x></script>",
        b"<a href=https://a.example/ data-reflexarc-track=off><area href=https://b.example/><template><a href=c></template>",
        b"see https://a.example/x. and <https://b.example/(y)>",
    ]
