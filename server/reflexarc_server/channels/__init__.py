"""Going out: messages to somebody else's system, kept until it has them.

`Outbox` keeps and sends, a `Channel` knows one foreign system, `Acting` puts what server triggers decide into the outbox. Must
never send what is not in the store, nor tell anybody that something is sent before the other side said so.
"""

from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.channels.outbox import Outbox

__all__ = ["Channel", "Outbox", "Outgoing", "Refused", "Unreachable"]
