"""The site's `webhooks` section: URLs that leads and actions go to, signed.

webhooks:
  sales:                              # the channel's name: a form's `to`, an action's `channel`
    url: https://hooks.example/lead
    secrets: [env:HOOK_NEW, env:HOOK_OLD]   # Standard Webhooks; signed by each, while a receiver changes over
    envelope: cloudevents             # or: standard
    private: true                     # it may be inside a private network
    timeout: 10s
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import Secret, read_secrets

ENVELOPES: Final = ("standard", "cloudevents")
TIMEOUT_MS_MAX: Final = 30_000
SECRETS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Webhook:
    """One URL. secrets: the newest first. source: of a CloudEvent. private: it may have a private address.

    ca_file: PEM of the only authorities trusted, empty for the system's. timeout_s: of a whole attempt.
    """

    name: str
    url: str
    secrets: tuple[Secret, ...]
    envelope: str = "standard"
    source: str = "/reflexarc"
    private: bool = False
    ca_file: str = ""
    timeout_s: float = 10.0


def read(node: Node, mistakes: Mistakes) -> tuple[Webhook, ...]:
    """The section. What is wrong is noted."""
    found = []
    if not isinstance(node.value, dict):
        mistakes.add(node, "webhooks is not a mapping", "write it as NAME: VALUE lines")
    for name, entry in node.items():
        found.append(_webhook(name, entry, mistakes))
    return tuple(found)


def _webhook(name: str, entry: Node, mistakes: Mistakes) -> Webhook:
    reading = Reading(entry, f"webhook {name}", mistakes)
    url = reading.text("url", required=True)
    parts = urlsplit(url)
    private = reading.flag("private")
    node = reading.node_of("url")
    if node is not None and (parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None):
        mistakes.add(node, f"webhook {name}: this is no URL to send to", "https://HOST/PATH, without a user in it")
    elif node is not None and parts.scheme == "http" and not private:
        mistakes.add(node, f"webhook {name}: http, without encryption", "https, or private: true inside a network of your own")
    secrets = read_secrets(f"webhook {name}: secrets", reading.node_of("secrets", required=True), mistakes)
    if len(secrets) > SECRETS_MAX:
        mistakes.add(entry, f"webhook {name}: {len(secrets)} secrets", f"at most {SECRETS_MAX}")
    made = Webhook(
        name, url, secrets, reading.text("envelope", "standard", one_of=ENVELOPES), reading.text("source", "/reflexarc"),
        private, reading.text("ca_file"), min(TIMEOUT_MS_MAX, reading.duration_ms("timeout", 10_000)) / 1_000,
    )  # fmt: skip
    reading.finish()
    return made
