"""The channels that a site has.

Owns the table: whoever brings a channel adds one line. A section that is not written has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from reflexarc_server.channels.channel import Channel
from reflexarc_server.channels.crm import crms
from reflexarc_server.channels.smtp import mailers
from reflexarc_server.channels.webhook import webhooks
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.social import posting

CHANNELS: Final[tuple[Callable[[Parts, Site], Iterable[Channel]], ...]] = (webhooks, crms, posting.channels, mailers)


def configured(parts: Parts, site: Site) -> list[Channel]:
    """Every channel of the site. Raises DefinitionError when one cannot be had, such as for a package that is not installed."""
    return [channel for make in CHANNELS for channel in make(parts, site)]
