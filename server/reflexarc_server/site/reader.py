"""Reads a site file whole.

Owns the table of sections. A section that is not written is its default; an unknown one is a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reflexarc_build.reader import SECTIONS as CATALOG_SECTIONS
from reflexarc_build.source import SOURCE_BYTES_MAX, Mistakes, Node, Reading, parse
from reflexarc_core.errors import DefinitionError
from reflexarc_models.sentiment import Sentiment
from reflexarc_server.enrichment.rules import Rules
from reflexarc_server.site import crm, email, enrichment, forms, identity, replies, sentiment, sharing, social, web, webhooks
from reflexarc_server.site.crm import Crm
from reflexarc_server.site.email import Email
from reflexarc_server.site.forms import Forms
from reflexarc_server.site.identity import Identity
from reflexarc_server.site.replies import Replies
from reflexarc_server.site.sharing import Sharing
from reflexarc_server.site.social import Social
from reflexarc_server.site.web import Web
from reflexarc_server.site.webhooks import Webhook

WRITE_KEY_HINT: Final = 'write web: {keys: {shop: {key: wk_shop_4f9c2d, origins: ["https://shop.example"]}}} (docs/site.md)'


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a site file says, one attribute a section. folder: where its relative paths start."""

    web: Web = field(default_factory=Web)
    email: Email = field(default_factory=Email)
    replies: Replies = field(default_factory=Replies)
    forms: Forms = field(default_factory=lambda: MappingProxyType({}))
    crm: tuple[Crm, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    social: Social = field(default_factory=Social)
    sharing: Sharing = field(default_factory=Sharing)
    sentiment: Sentiment | None = None
    enrichment: Rules | None = None
    identity: Identity = field(default_factory=Identity)
    folder: Path = Path()


# A section's reader takes (node, mistakes) and gives its value; it notes what is wrong and never raises.
SECTIONS: Final = {
    "web": web.read,
    "email": email.read,
    "replies": replies.read,
    "forms": forms.read,
    "crm": crm.read,
    "webhooks": webhooks.read,
    "social": social.read,
    "sharing": sharing.read,
    "sentiment": sentiment.read,
    "enrichment": enrichment.read,
    "identity": identity.read,
}


def read_site(path: Path) -> Site:
    """The site in a YAML file. Raises DefinitionError when it cannot be read, with every mistake in it, file and line."""
    try:
        content = path.read_bytes()[: SOURCE_BYTES_MAX + 1]
        text = content.decode()
    except OSError as error:
        raise DefinitionError(f"{path} cannot be read: {error.strerror}", hint="name a site file") from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{path} is no text", hint="a site file is YAML in UTF-8") from None
    root = parse(text, str(path))
    if not root.value:
        raise DefinitionError(f"{path} says nothing: no write key is known, nor anything else", hint=WRITE_KEY_HINT)
    return site_of(root, path.parent)


def site_of(root: Node, folder: Path) -> Site:
    """The site that a document says. Raises DefinitionError with every mistake."""
    mistakes = Mistakes()
    named = {name for name, _ in root.items()}
    if named & {"include", *CATALOG_SECTIONS} and not named & SECTIONS.keys():
        mistakes.add(root, "this is a catalog, not a site file", "a server takes it with --catalog")
        mistakes.raise_if_any()
    reading = Reading(root, "the site", mistakes)
    said: dict[str, Any] = {}
    for name, read in SECTIONS.items():
        node = reading.node_of(name)
        if node is not None:
            said[name] = read(node, mistakes)
    reading.finish()
    mistakes.found.sort(key=lambda mistake: mistake.line)
    mistakes.raise_if_any()
    return Site(**said, folder=folder)
