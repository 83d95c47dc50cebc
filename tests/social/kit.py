"""A store, a desk and a clock that a test moves: social events without a port, and a site with every section of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reflexarc_build.reader import build_text, standard_text
from reflexarc_build.source import parse
from reflexarc_core.event import Event, Value
from reflexarc_server.channels import Outbox
from reflexarc_server.ingest import Ingest
from reflexarc_server.links import Links
from reflexarc_server.site.reader import Site, site_of
from reflexarc_server.social.api import apis_of
from reflexarc_server.social.desk import Desk
from reflexarc_server.social.posting import Posting
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.testing.channel import Receiver
from tests.server.kit import ManualClock
from tests.social.payloads import US

NOW = 1_700_006_500_000
MINUTE = 60_000
SECRETS = {"X_SECRET": "x-secret", "X_OLD": "x-before", "FB_SECRET": "fb-secret", "FB_WORD": "fb-word", "LI_SECRET": "li-secret",
           "API_TOKEN": "api-token", "SHARE_KEY": "s" * 32}  # fmt: skip
SITE = f"""
web: {{keys: {{shop: {{key: wk_shop, origins: ["https://shop.example"]}}}}}}
social:
  twitter: {{secrets: [env:X_SECRET, env:X_OLD], accounts: ["{US}", reflexarc_app], token: env:API_TOKEN, base: BASE}}
  facebook: {{secrets: env:FB_SECRET, verify_token: env:FB_WORD, token: env:API_TOKEN, base: BASE}}
  linkedin: {{secrets: env:LI_SECRET, token: env:API_TOKEN, base: BASE}}
  vip: [twitter/44, known:ceo]
  keywords: {{outage: 0.6, not working: 0.5}}
  levels:
    - {{severity: 0.3, notify: support, timeout: 30m}}
    - {{severity: 0.6, notify: lead, timeout: 1h}}
    - {{severity: 0.9, notify: head, timeout: 1h}}
  responses:
    thanks: {{moods: [positive], text: "Thank you, ${{author}}!", severity_max: 0.1}}
    on_it: {{keywords: [outage], text: "We are on it, ${{handle}}.", approval: false, every: 1h}}
sharing:
  base: https://go.shop.example
  signing_keys: [env:SHARE_KEY]
  targets: ["https://shop.example"]
  goals: [purchase]
  within: 7d
"""


def site(monkeypatch: Any, base: str = "https://api.example") -> Site:
    """The site of these tests, its platforms' APIs at `base`."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    return site_of(parse(SITE.replace("BASE", base), "site.yaml"), Path())


class Room:
    """A store with a desk, an outbox that is worked by hand and channels that take everything."""

    def __init__(self, folder: Path, said: Site, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(NOW)
        self.site = said
        self.store = SqliteStore(folder)
        self.links = Links(self.store, self.clock)
        self.outbox = Outbox(self.store, self.clock, draw=lambda low, high: high)
        self.channels = {name: Receiver(name) for name in ("support", "lead", "head")}
        catalog = build_text(standard_text(), "standard.yaml")
        self.ingest = Ingest(self.store, self.clock, lambda: catalog, lambda: None)
        self.posting = Posting(self.store, self.clock, apis_of(said.social), self._put)
        for channel in (*self.channels.values(), self.posting):
            self.outbox.add(channel)
        self.desk = Desk(self.store, self.clock, self.links, said.social, self._put)

    def _put(self, run: Any, channel: str, key: str, order: str, body: Mapping[str, Any], subject: str) -> bool:
        from reflexarc_server.channels import Outgoing

        return self.outbox.put(run, Outgoing(channel, key, order, body, subject))

    def hear(self, post_id: str, text: str, author_id: str = "9", **more: Value) -> str:
        """A mention is stored; its verdict."""
        properties: dict[str, Value] = {"platform": "twitter", "post_id": post_id, "text": text, "author": "Ada Lovelace",
                                        "author_id": author_id, "author_handle": "ada", "reach": 0, **more}  # fmt: skip
        event = Event(f"social/twitter/{post_id}", "social_mention", f"anonymous:twitter/{author_id}", self.clock.now, properties)
        return self.ingest.accept("social/twitter", [event])[0].verdict

    def work(self) -> None:
        """Until nothing is left to do."""
        while self.desk.work():
            pass
        self.outbox.work()

    def told(self, channel: str) -> list[dict[str, Any]]:
        """What a channel was sent, once each."""
        return [dict(outgoing.body) for outgoing in self.channels[channel].taken.values()]

    def again(self, folder: Path) -> Room:
        """The same store opened by another process later."""
        self.store.close()
        return Room(folder, self.site, self.clock)
