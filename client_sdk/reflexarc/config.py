"""Every knob of the client, with its unit and its default."""

from __future__ import annotations

from dataclasses import dataclass, field

from reflexarc.tls import Trust
from reflexarc_edge.upkeep import Bounds


@dataclass(frozen=True, slots=True)
class Config:
    """How a client behaves. Unknown names are refused by the constructor itself.

    app_version, device_class, locale, offset_minutes: enrichment; offset_minutes None takes the machine's.
    session_gap_ms: silence after which a new session begins. batch_records_max, batch_bytes_max: one upload.
    push_deadline_ms: for one upload. poll_ms: how often the server is asked when there is nothing to send.
    backoff_ms_min, backoff_ms_max: full-jitter pause after a failed attempt. escalation_workers: questions to the
    server under way at once. flush_interval_ms: pause before new records are sent, so that they travel together.
    store_bytes_max: every file in the store's folder but bundles, within 1 MiB. store_rows_max: records.
    history_rows: records the server holds that stay on the device, for explain and replay.
    ca_file: PEM of the only authorities that may vouch for the server; empty for the system's. insecure: plaintext and no
    authentication, for a server on this machine (loopback) only. enrolment_token: the operator's, to become known to the server
    once; without use after that.
    """

    app_version: str = ""
    device_class: str = "desktop"
    locale: str = ""
    offset_minutes: int | None = None
    session_gap_ms: int = 1_800_000
    batch_records_max: int = 500
    batch_bytes_max: int = 1_048_576
    push_deadline_ms: int = 10_000
    poll_ms: int = 5_000
    flush_interval_ms: int = 100
    backoff_ms_min: int = 1_000
    backoff_ms_max: int = 300_000
    escalation_workers: int = 2
    store_bytes_max: int = 268_435_456
    store_rows_max: int = 1_000_000
    history_rows: int = 20_000
    enrolment_token: str = field(default="", repr=False)
    ca_file: str = ""
    insecure: bool = False

    def bounds(self) -> Bounds:
        """The store's. Raises DefinitionError when they leave it no room."""
        return Bounds(self.store_bytes_max, self.store_rows_max, self.history_rows)

    def trust(self) -> Trust:
        """Whom the connection to the server trusts."""
        return Trust(self.insecure, self.ca_file)
