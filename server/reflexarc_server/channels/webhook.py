"""Signed webhooks: a message goes to a URL of the site file by POST, signed as Standard Webhooks says, in an envelope of choice.

Owns the envelope, the signature and what a connection may do: the URL comes from the site file only, an address inside a private
network is refused unless the site says so, redirects are not followed, and an attempt ends at its deadline whatever comes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from reflexarc_server.channels.answers import judge
from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.clock import Clock
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.webhooks import Webhook

ANSWER_BYTES_MAX: Final = 65_536
USER_AGENT: Final = "reflexarc-webhooks/1"
PREFIX: Final = "whsec_"


class WebhookChannel:
    """One URL."""

    def __init__(self, webhook: Webhook, clock: Clock) -> None:
        self.name = webhook.name
        self._webhook = webhook
        self._clock = clock
        self._keys = [secret_bytes(secret.text) for secret in webhook.secrets]
        self._tls = ssl.create_default_context(cafile=webhook.ca_file or None)

    def send(self, outgoing: Outgoing) -> None:
        """See Channel."""
        content_type, body = enveloped(outgoing, self._webhook, self._clock.now_ms())
        now_s = int(self._clock.now_ms() / 1_000)
        headers = {
            "content-type": content_type,
            "content-length": str(len(body)),
            "user-agent": USER_AGENT,
            "webhook-id": outgoing.key,
            "webhook-timestamp": str(now_s),
            "webhook-signature": signature(self._keys, outgoing.key, now_s, body),
            "connection": "close",
        }
        status, retry_after = self._post(body, headers)
        judge(self.name, status, retry_after)

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        parts = urlsplit(self._webhook.url)
        host = parts.hostname or ""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        deadline = time.monotonic() + self._webhook.timeout_s
        connected = self._connect(host, parts.port or (443 if parts.scheme == "https" else 80))
        # Whoever drips an answer out byte by byte never runs into a socket's timeout.
        watch = threading.Timer(max(0.1, deadline - time.monotonic()), _shut, (connected,))
        watch.daemon = True
        watch.start()
        try:
            if parts.scheme == "https":
                connected = self._tls.wrap_socket(connected, server_hostname=host)
            connection = http.client.HTTPConnection(host, parts.port)
            connection.sock = connected
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(ANSWER_BYTES_MAX)
            return answer.status, answer.getheader("retry-after")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.name} could not be reached: {type(error).__name__}") from None
        finally:
            watch.cancel()
            connected.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        """A connection to an address that may be used; looked up and judged here, so that nobody changes it in between."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise Unreachable(f"{self.name}: its host is not known") from None
        addresses = [str(each[4][0]) for each in found]
        if not self._webhook.private and not all(ipaddress.ip_address(each).is_global for each in addresses):
            raise Refused(f"{self.name}: its host has a private address", hint="write private: true when that is meant")
        last = ""
        for address in addresses[:4]:
            try:
                return socket.create_connection((address, port), self._webhook.timeout_s)
            except OSError as error:
                last = type(error).__name__
        raise Unreachable(f"{self.name} could not be reached: {last}")


def signature(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature a key, so that a receiver may hold either while keys are changed."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    made = (base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys)
    return " ".join(f"v1,{one}" for one in made)


def secret_bytes(text: str) -> bytes:
    """The key in a Standard Webhooks secret: base64, with or without `whsec_`; other text is its own bytes."""
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return text.encode()


def enveloped(outgoing: Outgoing, webhook: Webhook, now: int) -> tuple[str, bytes]:
    """(content type, body): Standard Webhooks' own shape, or a CloudEvent in structured JSON mode.

    The same message is the same bytes on every attempt: what time it carries is that of what happened.
    """
    happened = int(outgoing.body.get("time") or outgoing.body.get("decision_time") or now)
    said = datetime.fromtimestamp(happened / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kind = str(outgoing.body.get("kind", "message"))
    body: dict[str, Any]
    if webhook.envelope == "cloudevents":
        body = {
            "specversion": "1.0", "id": outgoing.key, "source": webhook.source, "type": f"reflexarc.{kind}", "time": said,
            "datacontenttype": "application/json", "data": outgoing.body,
        }  # fmt: skip
        return "application/cloudevents+json", json.dumps(body).encode()
    body = {"type": f"reflexarc.{kind}", "timestamp": said, "data": outgoing.body}
    return "application/json", json.dumps(body).encode()


def webhooks(parts: Parts, site: Site) -> Iterable[Channel]:
    """The channels of a site's `webhooks`."""
    return [WebhookChannel(webhook, parts.clock) for webhook in site.webhooks]


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is over already


__all__ = ["WebhookChannel", "enveloped", "signature", "webhooks"]
