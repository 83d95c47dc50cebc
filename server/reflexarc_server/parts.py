"""The parts that make state, decisions and answers of what comes in, put together once.

Owns which part is told what by which other. Knows neither gRPC nor who may call: a server that runs serves these parts, and one
that does not is opened for an import with the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reflexarc_core.catalog import Catalog
from reflexarc_server.channels.acting import Acting
from reflexarc_server.channels.outbox import Outbox
from reflexarc_server.clock import Clock
from reflexarc_server.deliveries import Deliveries
from reflexarc_server.distribution import Distribution
from reflexarc_server.down import Down
from reflexarc_server.erasures import Erasures
from reflexarc_server.fold import Fold
from reflexarc_server.identity.registry import Registry
from reflexarc_server.ingest import Ingest
from reflexarc_server.leases import Leases
from reflexarc_server.links import Links
from reflexarc_server.live import Switch
from reflexarc_server.promotion import Promotion
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.sync_files import SyncFiles
from reflexarc_server.sync_files.answering import Answering
from reflexarc_server.sync_files.keys import FileKeys
from reflexarc_server.sync_files.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Parts:
    """One server's. The fold and the outbox are not started yet."""

    store: SqliteStore
    clock: Clock
    distribution: Distribution
    switch: Switch
    promotion: Promotion
    links: Links
    outbox: Outbox
    fold: Fold
    erasures: Erasures
    ingest: Ingest
    down: Down
    sync_files: SyncFiles


def put_together(
    data: Path,
    store: SqliteStore,
    registry: Registry,
    catalog: Catalog,
    clock: Clock,
    hint: Callable[[str], None],
) -> Parts:
    """catalog: what is live until a bundle is activated. hint: told of an installation for which something waits.

    Raises StorageError, ManifestError when the live bundle is damaged.
    """
    distribution = Distribution(data)
    switch = Switch(store, distribution, clock, catalog)
    links = Links(store, clock)
    deliveries = Deliveries(store, links, hint)
    outbox = Outbox(store, clock)
    fold = Fold(store, distribution, clock, deliveries, links, Acting(outbox, store))
    erasures = Erasures(store, links, clock, hint, fold.wake)
    links.wake = fold.wake
    fold.chores.extend((lambda: links.work(fold.rebuild), lambda: erasures.work(fold.rebuild), outbox.tidy))
    leases = Leases(store, links, switch)
    down = Down(fold.values, deliveries, erasures, leases, switch, clock, hint)
    fold.on_changed = down.changed
    ingest = Ingest(
        store, clock, lambda: switch.live.catalog, fold.wake, fold.precedence, gates=(erasures, deliveries, leases),
        admit_events=erasures.admit_events, on_handed=deliveries.acknowledge,
    )  # fmt: skip
    answering = Answering(store, distribution, switch, clock, down.pull, lambda: fold.lag)
    sync_files = SyncFiles(Uploads(data), FileKeys(registry, clock), store, ingest, answering)
    promotion = Promotion(distribution, switch)
    return Parts(store, clock, distribution, switch, promotion, links, outbox, fold, erasures, ingest, down, sync_files)
