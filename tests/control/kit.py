"""A catalog whose server decides for devices, and devices that take what it decided."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from tests.server.kit import T0

HOUR = 3_600_000
YAML = """
include: standard
version: down
triggers:
  third_page:
    placement: server
    condition: features.page_views == 3.0
    on: [page_view]
    life: 1h
    action: campaign
  every_ticket:
    placement: server
    condition: event.severity != ""
    on: [support_ticket]
    life: 1h
    action: campaign
  with_consent:
    placement: server
    condition: event.amount > 0.0
    on: [purchase]
    purpose: marketing
    life: 1h
    action: campaign
  for_no_device:
    placement: server
    condition: event.page_url == "/plain"
    on: [page_view]
    action: campaign
actions:
  campaign:
    payload: {title: Hello}
"""
QUICK = Config(insecure=True, offset_minutes=0, poll_ms=60_000, flush_interval_ms=5, backoff_ms_min=20, backoff_ms_max=100)


@cache
def catalog() -> Catalog:
    """The built catalog."""
    return build_text(YAML)


class Kiosk:
    """A device that keeps what it was handed."""

    def __init__(self, folder: Path, server: str | None, clock: ManualClock | None = None, config: Config = QUICK) -> None:
        self.clock = clock or ManualClock(T0)
        self.client = Client(folder, catalog=catalog(), server=server, clock=self.clock, config=config)
        self.shown: list[Decision] = []

    def listen(self, *trigger_ids: str) -> Kiosk:
        for trigger_id in trigger_ids or ("third_page", "every_ticket", "with_consent", "for_no_device"):
            self.client.on(trigger_id, self.shown.append)
        return self

    def pages(self, count: int, subject: str | None = None, url: str = "/") -> None:
        for _ in range(count):
            assert self.client.track("page_view", {"page_url": url}, subject=subject).accepted
        assert self.client.flush(10).delivered

    def reasons(self, decision_id: str) -> list[str]:
        """Of the records of one decision in the device's log."""
        records = self.client.log.decision_records(decision_id)
        return [record.decision.reason.value if hasattr(record, "decision") else "handed" for _, record in records]

    def close(self) -> None:
        self.client.close()
